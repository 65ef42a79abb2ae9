"""Folders of a study under `runs/`, and what removes or renames a study as a whole.

Row and folder change together: the folder is moved while the transaction is
still open, so a crash leaves either both as they were or the rows gone and the
folder under a name that the next clean-up removes.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from autoglm_nb import settings
from autoglm_nb.errors import StoreError
from autoglm_nb.protocol import TrialState
from autoglm_nb.store import _trials
from autoglm_nb.store._front import pareto_front
from autoglm_nb.store._spec import directions_of
from autoglm_nb.store.lease import Leases
from autoglm_nb.store.notes import Notes
from autoglm_nb.store.runs import RunRow, Runs
from autoglm_nb.store.studies import check_name

__all__ = ["Folders", "Tidied", "delete_from_optuna"]

_LARGE = ("adapter", "checkpoints")
_TRASH = ".deleted-"
_TRIAL_TABLES = (
    "trial_user_attributes",
    "trial_system_attributes",
    "trial_params",
    "trial_values",
    "trial_intermediate_values",
    "trial_heartbeats",
)
_STUDY_TABLES = ("trials", "study_directions", "study_user_attributes", "study_system_attributes", "studies")


@dataclass(frozen=True)
class Tidied:
    """What `tidy` did: bytes freed, and bytes that are still above the quota."""

    freed: int
    over: int


class Folders(Runs, Notes, Leases):
    """The part of the store that knows the folders."""

    def study_dir(self, study: str) -> Path:
        """`runs/<study>`; not created here."""
        check_name(study)
        return self.home / "runs" / study

    def run_dir(self, study: str, run: str) -> Path:
        """`runs/<study>/<run>`; not created here."""
        return self.study_dir(study) / run

    def delete_study(self, name: str) -> None:
        """Removes a study with its trials, notes, adapters and logs.

        Raises:
            StudyNotFoundError: no study of that name.
            StoreError: a worker is on it.
        """
        folder, trash = self.study_dir(name), self.home / "runs" / f"{_TRASH}{uuid.uuid4().hex[:8]}"
        with self._write() as connection:
            self._existing(connection, name)
            self._refuse_living(connection, name, "deleted")
            connection.execute("DELETE FROM autoglm_studies WHERE name = ?", (name,))
            delete_from_optuna(connection, name)
            if folder.exists():
                folder.rename(trash)
        self._empty_trash()

    def rename_study(self, old: str, new: str) -> None:
        """Gives a study another name, its folder and its place in Optuna's tables too.

        Raises:
            StudyNotFoundError: no study of the old name.
            StoreError: the new name is taken, or a worker is on the study.
        """
        source, target = self.study_dir(old), self.study_dir(new)
        with self._write() as connection:
            self._existing(connection, old)
            self._refuse_living(connection, old, "renamed")
            if self._row(connection, new) is not None or target.exists() or _known_to_optuna(connection, new):
                raise StoreError(f"A study named {new!r} exists already. Choose another name, or delete it first.")
            connection.execute(
                "UPDATE autoglm_studies SET name = ?, spec = json_set(spec, '$.name', ?) WHERE name = ?",
                (new, new, old),
            )
            if _trials.has_optuna_tables(connection):
                connection.execute("UPDATE studies SET study_name = ? WHERE study_name = ?", (new, old))
            if source.exists():
                source.rename(target)

    def clean(self, name: str, keep: Collection[str] | None = None, *, last: int = 0) -> int:
        """Removes the adapters of losing runs and the checkpoints of all runs that have ended.

        Args:
            name: the study's name.
            keep: names of the runs whose adapters stay. None: the best trial (with several
                objectives the Pareto front) and every starred one.
            last: so many of the adapters made last stay too.

        Returns:
            Bytes freed.
        """
        with self._read() as connection:
            self._existing(connection, name)
            ended = [r for r in self.runs(name) if r.state.final]
            kept = set(self._worth_keeping(connection, name) if keep is None else keep)
        kept |= {r.run for r in self._losing(name, ended, kept)[:last]}
        freed = self._empty_trash()
        for run in ended:
            for part in _LARGE:
                if part == "adapter" and run.run in kept:
                    continue
                freed += _remove(self.run_dir(name, run.run) / part)
        return freed

    def tidy(self, name: str) -> Tidied:
        """Keeps a study within the limits of `settings`: for its worker, after each run.

        Only the last `AUTOGLM_KEEP_ADAPTERS` adapters stay, besides the best and the starred ones.
        Where all runs of the store take more than `AUTOGLM_DISK_QUOTA_GB`, checkpoints of runs
        that have ended go first, then losing adapters, the oldest first, of studies without a
        worker too. What is best or starred in any study stays, even over the quota.
        """
        keep, quota = settings.keep_adapters(), settings.disk_quota_bytes()
        with self._read() as connection:
            runs, kept = self.runs(name), self._worth_keeping(connection, name)
        losing = self._losing(name, [r for r in runs if r.state.final], kept)
        freed = 0 if keep is None else sum(_remove(self.run_dir(name, r.run) / "adapter") for r in losing[keep:])
        if quota is None:
            return Tidied(freed, 0)
        used = _size(self.home / "runs")
        for folder in self._expendable() if used > quota else ():
            if used <= quota:
                break
            gone = _remove(folder)
            freed, used = freed + gone, used - gone
        return Tidied(freed, max(0, used - quota))

    def _losing(self, name: str, ended: Collection[RunRow], kept: Collection[str]) -> list[RunRow]:
        """Runs with an adapter that nothing speaks for, the latest first."""
        found = [r for r in ended if r.run not in kept and (self.run_dir(name, r.run) / "adapter").is_dir()]
        return sorted(found, key=lambda r: (-(r.ended_at or 0.0), r.run))

    def _expendable(self) -> list[Path]:
        """Folders that may go where room is short: those that matter least first."""
        checkpoints: list[Path] = []
        adapters: list[tuple[float, Path]] = []
        with self._read() as connection:
            names = [str(row[0]) for row in connection.execute("SELECT name FROM autoglm_studies")]
            for name in names:
                ended = [r for r in self.runs(name) if r.state.final]
                checkpoints += [self.run_dir(name, r.run) / "checkpoints" for r in ended]
                for run in self._losing(name, ended, self._worth_keeping(connection, name)):
                    adapters.append((run.ended_at or 0.0, self.run_dir(name, run.run) / "adapter"))
        return checkpoints + [folder for _, folder in sorted(adapters)]

    def _worth_keeping(self, connection: sqlite3.Connection, name: str) -> set[str]:
        numbers = {n["trial"] for n in self.notes(name) if n["kind"] == "star" and n["trial"] is not None}
        trials = [t for t in _trials.facts(connection, name) if t.state == TrialState.COMPLETED and t.feasible]
        spec = self.spec(name)
        directions = _trials.directions(connection, name) or directions_of(spec)
        if len(directions) > 1:
            values = _trials.objective_values(connection, [t.trial_id for t in trials if t.trial_id is not None])
            numbers |= pareto_front({t.number: values.get(t.trial_id or -1, []) for t in trials}, directions)
        best = _trials.best_value(trials, directions[0])
        numbers |= {t.number for t in trials if best is not None and t.value == best}
        return {r.run for r in self.runs(name) if r.trial in numbers}

    def _empty_trash(self) -> int:
        """Removes what a deletion has set aside, this one or one that was interrupted."""
        runs = self.home / "runs"
        return sum(_remove(p) for p in runs.glob(f"{_TRASH}*")) if runs.is_dir() else 0


def _known_to_optuna(connection: sqlite3.Connection, name: str) -> bool:
    if not _trials.has_optuna_tables(connection):
        return False
    return connection.execute("SELECT 1 FROM studies WHERE study_name = ?", (name,)).fetchone() is not None


def delete_from_optuna(connection: sqlite3.Connection, name: str) -> None:
    """Removes a study and its trials from Optuna's tables, within the caller's transaction."""
    if not _trials.has_optuna_tables(connection):
        return
    tables = {r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    row = connection.execute("SELECT study_id FROM studies WHERE study_name = ?", (name,)).fetchone()
    if row is None:
        return
    for table in _TRIAL_TABLES:
        if table in tables:
            connection.execute(
                f"DELETE FROM {table} WHERE trial_id IN (SELECT trial_id FROM trials WHERE study_id = ?)", (row[0],)
            )
    for table in _STUDY_TABLES:
        if table in tables:
            connection.execute(f"DELETE FROM {table} WHERE study_id = ?", (row[0],))


def _remove(folder: Path) -> int:
    """Removes a folder (a link is left alone); the bytes its files had."""
    if not folder.is_dir() or folder.is_symlink():
        return 0
    size = _size(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return size


def _size(folder: Path) -> int:
    """Bytes of the files below a folder; what goes while it is looked at counts nothing."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(place, name))
            except OSError:
                continue
            size += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return size
