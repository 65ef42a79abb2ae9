"""Leases: at most one worker per study, and one per device of a host.

A lease row names its holder by process id and start time. On the holder's own
machine that decides at once whether it lives; elsewhere the heartbeat's age
does. Threads of one process share an id, so each lease also has a token: it is
good as long as its `Lease` object exists in the process that acquired it.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import time
import uuid
import weakref
from dataclasses import dataclass
from typing import Self

from autoglm_nb.errors import StoreError, StudyNotFoundError
from autoglm_nb.record import words
from autoglm_nb.resources import machine_id, process_alive, process_started
from autoglm_nb.settings import LEASE_STALE_SECONDS
from autoglm_nb.store._database import Database

__all__ = ["Lease", "LeaseRow", "Leases", "lease_row", "lease_rows"]


@dataclass(frozen=True)
class LeaseRow:
    """A lease as stored, with whether its holder lives."""

    study: str
    device: str
    pid: int
    pid_started: float
    host: str
    heartbeat_at: float
    alive: bool
    here: bool = True  # on this machine, where its process id means something


class Lease:
    """The right to work on one study on one device. A context manager; release it in the end.

    An object that is dropped without `release` no longer counts as a living holder.
    """

    def __init__(self, database: Database, study: str, device: str, token: str) -> None:
        self.study = study
        self.device = device
        self.token = token
        self._database = database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def heartbeat(self) -> bool:
        """Says that the holder lives; False when the lease has been taken over or deleted, so stop working."""
        with self._database._write() as connection:
            changed = connection.execute(
                "UPDATE autoglm_leases SET heartbeat_at = ? WHERE token = ?", (time.time(), self.token)
            )
            return changed.rowcount == 1

    def move(self, device: str) -> bool:
        """Goes over to another device, keeping the study.

        Args:
            device: `"cpu"`, `"cuda:0"`, ..., or a name of one's own to leave the devices to others.

        Returns:
            False, and nothing changed, while a living worker has that device, or when this lease was
            taken over (which `heartbeat` tells).
        """
        with self._database._write() as connection:
            row = connection.execute(
                "SELECT * FROM autoglm_leases WHERE host = ? AND device = ? AND token <> ?",
                (socket.gethostname(), device, self.token),
            ).fetchone()
            if row is not None and _alive(row):
                return False
            if row is not None:
                connection.execute("DELETE FROM autoglm_leases WHERE token = ?", (row["token"],))
            changed = connection.execute(
                "UPDATE autoglm_leases SET device = ?, heartbeat_at = ? WHERE token = ?",
                (device, time.time(), self.token),
            )
            if changed.rowcount == 0:
                return False
        self.device = device
        return True

    def release(self) -> None:
        """Gives the lease back; a second call, or one after a take-over, does nothing."""
        with self._database._write() as connection:
            connection.execute("DELETE FROM autoglm_leases WHERE token = ?", (self.token,))
        _HELD.pop(self.token, None)


_HELD: weakref.WeakValueDictionary[str, Lease] = weakref.WeakValueDictionary()


class Leases(Database):
    """The part of the store that holds leases."""

    def acquire(self, study: str, device: str) -> Lease | None:
        """Takes the lease unless a living worker holds this study or this device of this host.

        The check and the taking are one transaction; a dead holder's lease is taken over.

        Args:
            study: the study's name.
            device: `"cpu"`, `"cuda:0"`, ...

        Raises:
            StudyNotFoundError: no study of that name.
        """
        pid, host, machine = os.getpid(), socket.gethostname(), machine_id()
        started, token, now = process_started(pid) or 0.0, uuid.uuid4().hex, time.time()
        lease = Lease(self, study, device, token)
        with self._write() as connection:
            if connection.execute("SELECT 1 FROM autoglm_studies WHERE name = ?", (study,)).fetchone() is None:
                raise StudyNotFoundError(f"There is no study named {study!r} to work on.")
            for row in connection.execute(
                "SELECT * FROM autoglm_leases WHERE study = ? OR (host = ? AND device = ?)", (study, host, device)
            ).fetchall():
                if _alive(row):
                    return None
                connection.execute("DELETE FROM autoglm_leases WHERE token = ?", (row["token"],))
            connection.execute(
                "INSERT INTO autoglm_leases (study, device, machine, host, pid, pid_started, token, acquired_at, "
                "heartbeat_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (study, device, machine, host, pid, started, token, now, now),
            )
            _HELD[token] = lease
        return lease

    def holder(self, study: str) -> LeaseRow | None:
        """Who works on the study, dead or alive; None without a lease."""
        with self._read() as connection:
            return lease_row(connection, study)

    def leases(self) -> list[LeaseRow]:
        """Every lease of the store, living or dead, by study."""
        with self._read() as connection:
            return lease_rows(connection)

    def device_holder(self, device: str) -> LeaseRow | None:
        """Who works on this device of this host, dead or alive; None without a lease."""
        with self._read() as connection:
            row = connection.execute(
                "SELECT * FROM autoglm_leases WHERE host = ? AND device = ?", (socket.gethostname(), device)
            ).fetchone()
        return None if row is None else _read_row(row)

    def _refuse_living(self, connection: sqlite3.Connection, study: str, action: str) -> None:
        lease = lease_row(connection, study)
        if lease is not None and lease.alive:
            # A shared notebook need not tell the names of machines.
            where = f"process {lease.pid}" if lease.here else "on another machine"
            raise StoreError(
                f"Study {study!r} is being worked on ({where}) and cannot be {action}. "
                f"Stop it first: `%autotune stop {words.quoted(study)}`."
            )


def lease_row(connection: sqlite3.Connection, study: str) -> LeaseRow | None:
    """The lease of a study, within the caller's transaction."""
    row = connection.execute("SELECT * FROM autoglm_leases WHERE study = ?", (study,)).fetchone()
    return None if row is None else _read_row(row)


def lease_rows(connection: sqlite3.Connection) -> list[LeaseRow]:
    """Every lease, living or dead, by study; within the caller's transaction, or as one of its own."""
    return [_read_row(row) for row in connection.execute("SELECT * FROM autoglm_leases ORDER BY study").fetchall()]


def _read_row(row: sqlite3.Row) -> LeaseRow:
    return LeaseRow(
        row["study"], row["device"], row["pid"], row["pid_started"], row["host"], row["heartbeat_at"], _alive(row),
        row["machine"] == machine_id(),
    )  # fmt: skip


def _alive(row: sqlite3.Row) -> bool:
    if row["machine"] != machine_id():
        return bool(time.time() - row["heartbeat_at"] < LEASE_STALE_SECONDS)
    if row["pid"] == os.getpid() and process_alive(row["pid"], row["pid_started"]):
        return row["token"] in _HELD
    return process_alive(row["pid"], row["pid_started"])
