"""Notes: stars, tags and comments on a study or one of its trials.

Every note is a row of its own with an id of its own, so that people writing at
the same time never overwrite each other.
"""

from __future__ import annotations

import time
import uuid

from autoglm_nb.errors import UsageError
from autoglm_nb.protocol import NoteSnapshot
from autoglm_nb.store.studies import Studies

__all__ = ["Notes"]

_KINDS = ("comment", "star", "tag")


class Notes(Studies):
    """The part of the store that holds notes."""

    def add_note(
        self, study: str, text: str, *, trial: int | None = None, kind: str = "comment", author: str = ""
    ) -> str:
        """Adds a note; its id.

        Args:
            study: the study's name.
            text: what it says; a star needs no text.
            trial: the trial's number, None for the study as a whole.
            kind: `comment`, `star` or `tag`.
            author: who wrote it.

        Raises:
            StudyNotFoundError: no study of that name.
            UsageError: another kind, or no text.
        """
        if kind not in _KINDS:
            raise UsageError(f"A note's kind must be one of {', '.join(_KINDS)}, but got {kind!r}.")
        if kind != "star" and not text.strip():
            raise UsageError(f"A {kind} needs some text, but it was empty.")
        id = uuid.uuid4().hex
        with self._write() as connection:
            self._touch(connection, study)
            connection.execute(
                "INSERT INTO autoglm_notes (id, study, trial, kind, text, author, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (id, study, trial, kind, text, author, time.time()),
            )
        return id

    def notes(self, study: str) -> list[NoteSnapshot]:
        """The notes of a study and its trials, oldest first."""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT id, trial, kind, text, author, created_at FROM autoglm_notes WHERE study = ? "
                "ORDER BY created_at, rowid",
                (study,),
            ).fetchall()
        return [
            NoteSnapshot(
                id=r["id"],
                trial=r["trial"],
                kind=r["kind"],
                text=r["text"],
                author=r["author"],
                created_at=r["created_at"],
            )
            for r in rows
        ]

    def remove_note(self, id: str) -> bool:
        """Removes a note; False when it is gone already."""
        with self._write() as connection:
            row = connection.execute("SELECT study FROM autoglm_notes WHERE id = ?", (id,)).fetchone()
            if row is None:
                return False
            connection.execute("DELETE FROM autoglm_notes WHERE id = ?", (id,))
            self._touch(connection, row["study"])
            return True
