"""The store's own tables, their version, and how a connection to the file is made.

Optuna's tables (`studies`, `trials`, ...) lie in the same `studies.db` and are
made by Optuna; ours all begin with `autoglm_` and carry their own version, so
that either side may change without the other.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from pathlib import Path

from autoglm_nb.errors import StoreVersionError

__all__ = [
    "BUSY_SECONDS",
    "SCHEMA_VERSION",
    "add_tables",
    "connect",
    "journal_mode",
    "make_tables",
    "stored_version",
]

SCHEMA_VERSION = 1
BUSY_SECONDS = 30.0
"""How long a connection waits for another's write before it gives up."""

# File systems on which processes of different machines may meet, or whose shared memory maps
# cannot be trusted: write-ahead logging needs a coherent `-shm` map.
_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs"}
    | {"fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "pvfs2", "smb3", "smbfs", "vboxsf"}
)

_TABLES = """
CREATE TABLE autoglm_meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE autoglm_studies (
    name           TEXT PRIMARY KEY,
    identity       TEXT NOT NULL,
    spec           TEXT NOT NULL,
    state          TEXT NOT NULL,
    reason         TEXT NOT NULL DEFAULT '',
    provenance     TEXT NOT NULL DEFAULT '{}',
    final          TEXT,
    active_seconds REAL NOT NULL DEFAULT 0,
    created_at     REAL NOT NULL,
    updated_at     REAL NOT NULL
);
CREATE TABLE autoglm_runs (
    study          TEXT NOT NULL REFERENCES autoglm_studies (name) ON DELETE CASCADE ON UPDATE CASCADE,
    run            TEXT NOT NULL,
    role           TEXT NOT NULL,
    trial          INTEGER,
    state          TEXT NOT NULL,
    config         TEXT NOT NULL,
    proposed_by    TEXT NOT NULL DEFAULT '',
    because        TEXT NOT NULL DEFAULT '',
    value          REAL,
    metrics        TEXT NOT NULL DEFAULT '{}',
    seed           INTEGER,
    attempts       INTEGER NOT NULL DEFAULT 1,
    deaths         INTEGER NOT NULL DEFAULT 0,
    stalled_deaths INTEGER NOT NULL DEFAULT 0,
    seconds        REAL NOT NULL DEFAULT 0,
    step           INTEGER NOT NULL DEFAULT 0,
    total_steps    INTEGER NOT NULL DEFAULT 0,
    micro_batch    INTEGER,
    started_at     REAL NOT NULL,
    ended_at       REAL,
    PRIMARY KEY (study, run)
);
CREATE INDEX autoglm_runs_by_trial ON autoglm_runs (study, role, trial, state, value);
CREATE TABLE autoglm_control (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    study      TEXT NOT NULL REFERENCES autoglm_studies (name) ON DELETE CASCADE ON UPDATE CASCADE,
    action     TEXT NOT NULL,
    payload    TEXT NOT NULL DEFAULT '{}',
    result     TEXT NOT NULL DEFAULT '',
    created_at REAL NOT NULL,
    handled_at REAL
);
CREATE INDEX autoglm_control_pending ON autoglm_control (study, id) WHERE handled_at IS NULL;
CREATE TABLE autoglm_leases (
    study        TEXT PRIMARY KEY REFERENCES autoglm_studies (name) ON DELETE CASCADE ON UPDATE CASCADE,
    device       TEXT NOT NULL,
    machine      TEXT NOT NULL,
    host         TEXT NOT NULL,
    pid          INTEGER NOT NULL,
    pid_started  REAL NOT NULL,
    token        TEXT NOT NULL UNIQUE,
    acquired_at  REAL NOT NULL,
    heartbeat_at REAL NOT NULL,
    UNIQUE (host, device)
);
CREATE TABLE autoglm_notes (
    id         TEXT PRIMARY KEY,
    study      TEXT NOT NULL REFERENCES autoglm_studies (name) ON DELETE CASCADE ON UPDATE CASCADE,
    trial      INTEGER,
    kind       TEXT NOT NULL,
    text       TEXT NOT NULL,
    author     TEXT NOT NULL DEFAULT '',
    created_at REAL NOT NULL
);
CREATE INDEX autoglm_notes_by_study ON autoglm_notes (study, created_at);
"""

# Tables that came later within the version: a program that does not know them loses nothing by it.
_LATER = {
    "autoglm_note_removals": """
CREATE TABLE IF NOT EXISTS autoglm_note_removals (
    study      TEXT NOT NULL REFERENCES autoglm_studies (name) ON DELETE CASCADE ON UPDATE CASCADE,
    note       TEXT NOT NULL,
    removed_at REAL NOT NULL,
    PRIMARY KEY (study, note)
)""",
}


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode (transactions are begun by hand), rows addressable by name.

    Args:
        path: the database file.
        read_only: neither make nor change anything, the journal mode included.
    """
    if read_only:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only = ON")
        return connection
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    _set_journal_mode(connection, journal_mode(path))
    return connection


def stored_version(connection: sqlite3.Connection) -> int | None:
    """The version of the tables in the file, None when ours are not there yet.

    Raises:
        StoreVersionError: a newer version of this package made them. Nothing is written.
    """
    made = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'autoglm_meta'").fetchone()
    if made is None:
        return None
    row = connection.execute("SELECT value FROM autoglm_meta WHERE key = 'schema_version'").fetchone()
    version = int(row[0]) if row else 0
    if version > SCHEMA_VERSION:
        raise StoreVersionError(
            f"This study store has version {version}, but this autoglm_nb reads versions up to {SCHEMA_VERSION}. "
            "Upgrade autoglm_nb, or set AUTOGLM_HOME to another folder; the store was left as it is."
        )
    return version


def make_tables(connection: sqlite3.Connection) -> None:
    """Creates our tables unless another process was faster; one transaction, so all or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if stored_version(connection) is None:
            for statement in _TABLES.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            for statement in _LATER.values():
                connection.execute(statement)
            connection.execute("INSERT INTO autoglm_meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def add_tables(connection: sqlite3.Connection) -> None:
    """Adds the tables that a store of an earlier program lacks; a store that cannot be written stays as it is."""
    there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for name, statement in _LATER.items():
        if name not in there:
            try:
                connection.execute(statement)
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_READONLY"):
                    raise


def journal_mode(path: Path, mounts: str | Path = "/proc/mounts") -> str:
    """`wal`, or `delete` where the file lies on a network file system.

    Where the system does not list its mounts (macOS, Windows) a local disk is assumed, except
    for a Windows share; SQLite itself refuses WAL where it cannot map shared memory.
    """
    if sys.platform == "win32" and str(path).startswith(("\\\\", "//")):
        return "delete"
    try:
        table = Path(mounts).read_text(errors="replace")
    except OSError:
        return "wal"
    where, best, kind = os.path.realpath(path), "", ""
    for line in table.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].encode().decode("unicode_escape")  # a space is written \040
        inside = where == point or where.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # the last mount on a point hides the earlier ones
            best, kind = point, fields[2]
    return "delete" if kind in _NETWORK else "wal"


def _set_journal_mode(connection: sqlite3.Connection, wanted: str) -> None:
    """Changes the mode kept in the file when it differs. Another open connection may forbid it: then it stays."""
    deadline = time.monotonic() + 2.0
    while str(connection.execute("PRAGMA journal_mode").fetchone()[0]) != wanted:
        try:
            connection.execute(f"PRAGMA journal_mode = {wanted}")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname.startswith("SQLITE_READONLY"):
                return
            if not error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)
