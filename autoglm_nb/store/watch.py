"""Whether a store or one of its studies has changed, told without reading its trials.

SQLite counts the commits of others for each connection (`PRAGMA data_version`),
so one connection that only watches answers in microseconds at any number of
trials. What changes without a commit is added: a worker that died, events that
were appended. After a commit, a study's fingerprint tells whether it was meant:
its row, the heartbeat of its worker, and how many trials it has, which shows
the work of other programs too.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Hashable, Sequence
from pathlib import Path

from autoglm_nb.store import _trials
from autoglm_nb.store.lease import LeaseRow, lease_rows
from autoglm_nb.store.store import Store

__all__ = ["Watch"]

# A folder changes when a file in it is replaced.
_FILES = ("events.jsonl", "decisions.json", "importance.json", "hooks")


class Watch:
    """Stamps of one store: equal stamps of one `Watch` mean that nothing has changed in between.

    Take the stamp before reading, so that a change during the reading is seen the next time.
    Threads may share it. Stamps of two objects cannot be compared.

    Args:
        store: the store; what is written through other connections counts, of this process too.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._known: tuple[Hashable, dict[str, Hashable]] = (None, {})

    def stamp(self) -> Hashable:
        """Of everything in the tables, and of which workers live."""
        with self._lock, self._store._errors():
            return self._stamp(self._watching())

    def fingerprints(self) -> dict[str, Hashable]:
        """A stamp for each study's own rows; counted anew only when the store's has changed."""
        with self._lock, self._store._errors():
            connection = self._watching()
            stamp = self._stamp(connection)
            if self._known[0] != stamp:
                self._known = (stamp, _fingerprints(connection))
            return self._known[1]

    def study_stamp(self, name: str) -> Hashable:
        """Of one study: its rows, its worker, and the files that its picture is drawn from."""
        folder = self._store.study_dir(name)
        return self.fingerprints().get(name), tuple(_file(folder / file) for file in _FILES)

    def close(self) -> None:
        """Closes the watching connection; the next stamp opens another and may differ from all before."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            self._known = (None, {})

    def _watching(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._store._separate_connection()
        return self._connection

    def _stamp(self, connection: sqlite3.Connection) -> Hashable:
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        return version, tuple((x.study, x.device, x.alive) for x in lease_rows(connection))


def _fingerprints(connection: sqlite3.Connection) -> dict[str, Hashable]:
    leases, counts = lease_rows(connection), _counts(connection)
    rows = connection.execute("SELECT name, created_at, updated_at FROM autoglm_studies").fetchall()
    return {row[0]: (*row[1:], _worker(row[0], leases), tuple(counts.get(row[0], ()))) for row in rows}


def _counts(connection: sqlite3.Connection) -> dict[str, list[Hashable]]:
    """How many runs of each state we have, and how many trials Optuna has.

    Our worker touches the study's row whenever a trial ends; another program does not. Optuna's
    states are therefore counted too, which reads the table, in studies that have trials not ours.
    """
    found: dict[str, list[Hashable]] = {}
    ours: dict[str, int] = {}
    query = "SELECT study, role, state, COUNT(*) FROM autoglm_runs GROUP BY study, role, state ORDER BY 1, 2, 3"
    for study, role, state, count in connection.execute(query).fetchall():
        found.setdefault(study, []).append((role, state, count))
        ours[study] = ours.get(study, 0) + (count if role == "trial" else 0)
    if not _trials.has_optuna_tables(connection):
        return found
    totals = connection.execute("SELECT study_id, COUNT(*), MAX(trial_id) FROM trials GROUP BY study_id").fetchall()
    names = dict(connection.execute("SELECT study_id, study_name FROM studies").fetchall())
    for id, count, last in totals:
        study = names.get(id, "")
        found.setdefault(study, []).append((count, last))
        if count > ours.get(study, 0):
            query = "SELECT state, COUNT(*) FROM trials WHERE study_id = ? GROUP BY state ORDER BY state"
            found[study] += [tuple(row) for row in connection.execute(query, (id,)).fetchall()]
    return found


def _worker(study: str, leases: Sequence[LeaseRow]) -> Hashable:
    """Device, last heartbeat and life of a study's worker: with each beat its study is looked at again."""
    return next(((x.device, x.heartbeat_at, x.alive) for x in leases if x.study == study), None)


def _file(path: Path) -> Hashable:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
