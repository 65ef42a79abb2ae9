"""What a study is among people: notes on it, sharing it, bringing in one that was shared.

`Teamwork` is the part of a `StudyHandle` that writes notes and shares; `share` and
`open_shared` are the same by name. Sharing and opening need libraries that a kernel does
without (figures, Optuna), so they are imported when they are called; the magics use a
process of their own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from autoglm_nb import settings
from autoglm_nb.errors import UsageError
from autoglm_nb.protocol import NoteSnapshot
from autoglm_nb.record import words
from autoglm_nb.store import Store

if TYPE_CHECKING:
    from autoglm_nb.session.handle import StudyHandle

__all__ = ["Teamwork", "open_shared", "share"]


class Teamwork:
    """Notes and sharing of one study."""

    home: Path
    name: str
    _store: Store

    def note(
        self,
        text: str = "",
        *,
        trial: int | None = None,
        tag: str | None = None,
        star: bool = False,
        author: str | None = None,
    ) -> list[str]:
        """Write a comment, set a tag, set a star, or several of these at once.

        Args:
            text: the comment; "" for none.
            trial: the trial's number; None for the study as a whole.
            tag: a short label.
            star: whether to star it.
            author: who signs; `AUTOGLM_AUTHOR` or the name that JupyterHub gives when left out, else nobody.

        Returns:
            Ids of the notes, as `remove_note` takes them.

        Raises:
            UsageError: nothing to note, or no such trial.
        """
        if not (text.strip() or tag is not None or star):
            raise UsageError("A note needs a text, a tag or a star, but none was given. Write what is worth knowing.")
        self._check_trial(trial)
        signed = settings.author() if author is None else author
        parts = [("comment", text)] if text.strip() else []
        parts += [("tag", tag)] if tag is not None else []
        parts += [("star", "")] if star else []
        return [self._store.add_note(self.name, said, trial=trial, kind=kind, author=signed) for kind, said in parts]

    def notes(self) -> list[NoteSnapshot]:
        """All notes on the study and its trials, oldest first: id, trial, kind, text, author, created_at."""
        return self._store.notes(self.name)

    def unstar(self, trial: int | None = None) -> int:
        """Take every star off a trial (or off the study as a whole); how many there were."""
        self._check_trial(trial)
        return self._store.unstar(self.name, trial)

    def remove_note(self, id: str) -> NoteSnapshot:
        """Remove a note by its id or the beginning of it; the note that is gone.

        Raises:
            UsageError: no note's id begins so, or several do.
        """
        note = self._store.find_note(self.name, id)
        self._store.remove_note(note["id"], self.name)
        return note

    def share(self, path: str | os.PathLike[str], *, include_data: bool = False, force: bool = False) -> Path:
        """Write the study to one file: a page where `path` ends in `.html`, else a zip that `open_shared` takes.

        Neither holds an absolute path, the account's or the machine's name, or a row of the data
        (unless `include_data`, for a zip).

        Raises:
            UsageError: the folder of the file does not exist.
            RejectedError: a decision system rejected the model; `force` puts it into a zip all the same.
        """
        from autoglm_nb import sharing

        if Path(path).suffix.lower() not in (".html", ".htm"):
            return sharing.share_zip(self.home, self.name, path, include_data=include_data, force=force)
        if include_data:
            raise UsageError("A page holds no data rows, but `include_data` was given. Share a .zip, or leave it out.")
        return sharing.share_page(self.home, self.name, path)

    def _check_trial(self, trial: int | None) -> None:
        if trial is not None and not self._store.has_trial(self.name, trial):
            raise UsageError(
                f"A note is on a trial that exists, but study {self.name!r} has no trial {trial}. "
                f"`%autotune status {words.quoted(self.name)}` lists them; without a trial the note is on the study."
            )


def share(
    name: str, path: str | os.PathLike[str], *, include_data: bool = False, home: str | os.PathLike[str] | None = None
) -> Path:
    """Write a stored study to one file for a teammate; see `StudyHandle.share`.

    Raises:
        StudyNotFoundError: no study of that name.
    """
    from autoglm_nb.session.handle import attach

    return attach(name, home).share(path, include_data=include_data)


def open_shared(
    path: str | os.PathLike[str], name: str | None = None, *, home: str | os.PathLike[str] | None = None
) -> StudyHandle:
    """Bring a shared zip into the store, beside what is there; a handle on the study.

    A study that is here already gets the notes it lacks. Another study of the same name is
    left alone: the one that comes takes the next free name, which the handle tells.

    Raises:
        SharedFileError: the file cannot be opened.
        UsageError: `name` is taken by another study.
    """
    from autoglm_nb import sharing
    from autoglm_nb.session.handle import attach

    folder = Path(home).expanduser().resolve() if home else settings.home()
    return attach(sharing.open_shared(path, folder, name).name, folder)
