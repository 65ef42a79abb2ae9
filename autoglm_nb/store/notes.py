"""Notes: stars, tags and comments on a study or one of its trials.

Every note is a row of its own with an id of its own, and a removal is a row
too, so that people writing at the same time, or on copies of a study that meet
again later, never overwrite each other: two sets of notes merge by taking the
union of both and leaving out what either has removed.

An id is 32 hexadecimal digits drawn at random. Where the same note comes into a
store a second time under another study, eight more digits are appended: the
first 32 stay what identifies it.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoglm_nb.errors import UsageError, did_you_mean
from autoglm_nb.protocol import NoteSnapshot
from autoglm_nb.record import words
from autoglm_nb.store import _trials
from autoglm_nb.store.studies import Studies

__all__ = ["KINDS", "LONGEST_NOTE", "MergedNotes", "Notes", "origin_of"]

KINDS = ("comment", "star", "tag")
LONGEST_NOTE = 10_000
"""Characters of a note."""

_ID = 32
_SHORTEST_PREFIX = 4


@dataclass(frozen=True)
class MergedNotes:
    """How many notes a merge added and how many it removed."""

    added: int
    removed: int


class Notes(Studies):
    """The part of the store that holds notes."""

    def add_note(
        self, study: str, text: str, *, trial: int | None = None, kind: str = "comment", author: str = ""
    ) -> str:
        """Adds a note; its id. One that the same author has written already, on the same thing in the same words,
        is left as it is, so that a notebook that is run again does not double its notes.

        Args:
            study: the study's name.
            text: what it says; a star needs no text.
            trial: the trial's number, None for the study as a whole.
            kind: `comment`, `star` or `tag`.
            author: who wrote it.

        Raises:
            StudyNotFoundError: no study of that name.
            UsageError: another kind, no text, or too much of it.
        """
        if kind not in KINDS:
            raise UsageError(f"A note's kind must be one of {', '.join(KINDS)}, but got {kind!r}.")
        if len(text) > LONGEST_NOTE:
            raise UsageError(f"A note holds at most {LONGEST_NOTE} characters, but got {len(text)}. Shorten it.")
        text = words.clean(text, LONGEST_NOTE, lines=kind == "comment").strip()
        author = words.clean(author, 80)
        if kind != "star" and not text:
            raise UsageError(f"A {kind} needs some text, but it was empty.")
        id = uuid.uuid4().hex
        with self._write() as connection:
            row = connection.execute(
                "SELECT id FROM autoglm_notes WHERE study = ? AND trial IS ? AND kind = ? AND text = ? AND author = ?",
                (study, trial, kind, text, author),
            ).fetchone()
            if row is not None:
                return str(row["id"])
            self._touch(connection, study)
            _insert(connection, study, NoteSnapshot(
                id=id, trial=trial, kind=kind, text=text, author=author, created_at=time.time()
            ))  # fmt: skip
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

    def find_note(self, study: str, id: str) -> NoteSnapshot:
        """The note whose id begins so (four digits or more).

        Raises:
            UsageError: there is none, or several begin so.
        """
        given = self.notes(study)
        found = [note for note in given if note["id"].startswith(id)] if len(id) >= _SHORTEST_PREFIX else []
        if len(found) != 1:
            problem = f"{len(found)} do" if found else "none does"
            known = [note["id"][:8] for note in given]
            raise UsageError(
                f"The id of one note of study {study!r} must begin with {id[:40]!r}, but {problem}. "
                + (did_you_mean(id[:8], known[-20:]) or "It has no notes.")
            )
        return found[0]

    def remove_note(self, id: str, study: str | None = None) -> bool:
        """Removes a note for good, also from copies of the study that are merged later.

        Args:
            id: the note's whole id.
            study: where given, a note of another study is left alone.

        Returns:
            False when it is gone already.
        """
        with self._write() as connection:
            row = connection.execute(
                "SELECT study FROM autoglm_notes WHERE id = :id AND (:study IS NULL OR study = :study)",
                {"id": id, "study": study},
            ).fetchone()
            if row is None:
                return False
            _bury(connection, row["study"], [id])
            self._touch(connection, row["study"])
            return True

    def unstar(self, study: str, trial: int | None = None) -> int:
        """Removes every star of a trial, or of the study as a whole; how many there were."""
        with self._write() as connection:
            rows = connection.execute(
                "SELECT id FROM autoglm_notes WHERE study = ? AND trial IS ? AND kind = 'star'", (study, trial)
            ).fetchall()
            _bury(connection, study, [row["id"] for row in rows])
            self._touch(connection, study)
            return len(rows)

    def removed_notes(self, study: str) -> list[str]:
        """Ids of the notes that were removed, sorted: what a copy of the study must drop too."""
        with self._read() as connection:
            return sorted(_removed(connection, study))

    def merge_notes(self, study: str, notes: Iterable[NoteSnapshot], removed: Sequence[str] = ()) -> MergedNotes:
        """Takes over the notes of a copy of the study; what is here already is not doubled.

        Args:
            study: the study's name.
            notes: of the copy, checked by the caller.
            removed: ids of the notes removed there.

        Raises:
            StudyNotFoundError: no study of that name.
        """
        with self._write() as connection:
            self._existing(connection, study)
            rows = connection.execute("SELECT id FROM autoglm_notes WHERE study = ?", (study,)).fetchall()
            mine = {origin_of(row["id"]): str(row["id"]) for row in rows}
            gone = _removed(connection, study)
            new_gone = {origin_of(id) for id in removed} - gone
            dropped = [mine[origin] for origin in sorted(new_gone) if origin in mine]
            _bury(connection, study, [*sorted(new_gone), *dropped])
            added = 0
            for note in notes:
                origin = origin_of(note["id"])
                if origin in mine or origin in gone or origin in new_gone:
                    continue
                taken = connection.execute("SELECT 1 FROM autoglm_notes WHERE id = ?", (origin,)).fetchone()
                id = origin if taken is None else origin + uuid.uuid4().hex[:8]
                _insert(connection, study, NoteSnapshot(**{**note, "id": id}))
                mine[origin] = id
                added += 1
            if added or new_gone:
                self._touch(connection, study)
        return MergedNotes(added, len(dropped))

    def has_trial(self, study: str, number: int) -> bool:
        """Whether the study has a trial of that number."""
        with self._read() as connection:
            return any(fact.number == number for fact in _trials.facts(connection, study))


def origin_of(id: str) -> str:
    """What identifies a note in every copy of its study: the first 32 digits of its id."""
    return id[:_ID]


def _insert(connection: sqlite3.Connection, study: str, note: NoteSnapshot) -> None:
    connection.execute(
        "INSERT INTO autoglm_notes (id, study, trial, kind, text, author, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (note["id"], study, note["trial"], note["kind"], note["text"], note["author"], note["created_at"]),
    )


def _bury(connection: sqlite3.Connection, study: str, ids: Sequence[str]) -> None:
    """Deletes notes and remembers that they were removed."""
    for id in ids:
        connection.execute("DELETE FROM autoglm_notes WHERE id = ? AND study = ?", (id, study))
        connection.execute(
            "INSERT OR IGNORE INTO autoglm_note_removals (study, note, removed_at) VALUES (?, ?, ?)",
            (study, origin_of(id), time.time()),
        )


def _removed(connection: sqlite3.Connection, study: str) -> set[str]:
    made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'autoglm_note_removals'").fetchone()
    if made is None:  # a store of an earlier program that cannot be written
        return set()
    return {row[0] for row in connection.execute("SELECT note FROM autoglm_note_removals WHERE study = ?", (study,))}
