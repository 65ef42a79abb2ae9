"""Connections and transactions: what every part of the store is built on.

A connection belongs to one thread of one process; SQLite's own locks order the
writers. Each public method of the store is one transaction, or joins the one
its thread has begun. A SQLite error leaves as one of ours, with a remedy.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from autoglm_nb.errors import AutoGLMError, DiskFullError, StoreError
from autoglm_nb.resources import disk_free
from autoglm_nb.settings import shown_path
from autoglm_nb.store import _schema

__all__ = ["Database", "disk_full_error", "is_disk_full"]

_FILE_NAME = "studies.db"
_SMALLEST_DATABASE = 512  # bytes: one page of the smallest size
_NO_ROOM = 1 << 20  # an I/O error with less than this free is taken for a full disk
_FULL_ERRNOS = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


class _ThreadState(threading.local):
    connection: sqlite3.Connection | None = None
    pid: int = 0
    depth: int = 0
    writing: bool = False


class Database:
    """The file `studies.db` under `home`, opened lazily once per thread.

    Args:
        home: the folder `.autoglm`.
        create: make folder, file and tables when they are missing.
        read_only: open what is there for reading alone; nothing is made, and every write is refused.

    Raises:
        StoreError: no store there (`create=False` or `read_only`), not a database, damaged or not readable.
        StoreVersionError: a newer version of this package made it; the file is left as it is.
    """

    def __init__(self, home: str | os.PathLike[str], *, create: bool = True, read_only: bool = False) -> None:
        self.home = Path(home).absolute()
        self.path = self.home / _FILE_NAME
        self.read_only = read_only
        self._thread = _ThreadState()
        self._opened: list[tuple[weakref.ref[threading.Thread], int, sqlite3.Connection]] = []
        self._lock = threading.RLock()
        if (read_only or not create) and not self.path.exists():
            raise self._no_store()
        with self._errors():
            if not read_only:
                self._make_home()
            self._check_header()
            connection = self._connection()
            if _schema.stored_version(connection) is None:
                if read_only:
                    raise self._no_store()
                _schema.make_tables(connection)
            elif not read_only:
                _schema.add_tables(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections of all threads of this process; the next call opens a new one."""
        with self._lock:
            for _, pid, connection in self._opened:
                if pid == os.getpid():
                    connection.close()
            self._opened.clear()
        self._thread = _ThreadState()

    def _make_home(self) -> None:
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # a place that takes no folders, such as /proc
            raise self._not_writable(error) from error

    def _check_header(self) -> None:
        """Refuses a foreign file of less than 512 bytes, which SQLite would take for an empty database and overwrite.

        Judged by its size and never opened here: closing a file drops all POSIX locks that this process
        has on it, SQLite's too, and the next process to leave would then remove the log under our feet.
        """
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return
        if 0 < size < _SMALLEST_DATABASE:
            raise self._not_a_store()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One write transaction; it holds the write lock from its first statement on."""
        if self._thread.depth and not self._thread.writing:
            raise RuntimeError("a write transaction cannot begin inside a read transaction")
        with self._transaction("BEGIN IMMEDIATE", writing=True) as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        """One read transaction: all its queries see the same moment."""
        with self._transaction("BEGIN", writing=False) as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str, *, writing: bool) -> Iterator[sqlite3.Connection]:
        with self._errors():
            connection = self._connection()
            thread = self._thread
            if thread.depth:
                yield connection
                return
            if connection.in_transaction:  # left behind by an interrupt
                connection.execute("ROLLBACK")
            try:
                thread.depth, thread.writing = 1, writing
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                thread.depth, thread.writing = 0, False

    def _connection(self) -> sqlite3.Connection:
        thread = self._thread
        if thread.connection is None or thread.pid != os.getpid():
            connection = _schema.connect(self.path, read_only=self.read_only)
            with self._lock:
                self._drop_ended_threads()
                self._opened.append((weakref.ref(threading.current_thread()), os.getpid(), connection))
            thread.connection, thread.pid, thread.depth = connection, os.getpid(), 0
        return thread.connection

    def _separate_connection(self) -> sqlite3.Connection:
        """A connection that belongs to the caller, who closes it."""
        return _schema.connect(self.path, read_only=self.read_only)

    def _drop_ended_threads(self) -> None:
        kept = []
        for thread, pid, connection in self._opened:
            alive = thread()
            if pid == os.getpid() and (alive is None or not alive.is_alive()):
                connection.close()
            else:  # a connection inherited through a fork must not be touched, only kept
                kept.append((thread, pid, connection))
        self._opened = kept

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Lets SQLite's and the system's errors out as ours where we know a remedy."""
        try:
            yield
        except AutoGLMError:
            raise
        except (sqlite3.Error, OSError) as error:
            known = self._known(error)
            if known is None:
                raise
            raise known from error

    def _known(self, error: sqlite3.Error | OSError) -> AutoGLMError | None:
        if is_disk_full(error):
            return disk_full_error(self.path)
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith("SQLITE_IOERR") and disk_free(self.home) < _NO_ROOM:
            return disk_full_error(self.path)
        if name.startswith("SQLITE_NOTADB"):
            return self._not_a_store()
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_IOERR")):
            return StoreError(
                f"The study store {shown_path(self.path)} is damaged or truncated ({error}). Restore it from a "
                "copy, or recover its rows with `sqlite3 studies.db .recover`; adapters under runs/ are not affected."
            )
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return StoreError(
                f"The study store {shown_path(self.path)} was locked by another program for "
                f"{_schema.BUSY_SECONDS:.0f} seconds. Close what has it open for writing and try again."
            )
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")) or isinstance(error, PermissionError):
            return self._not_writable(error)
        if isinstance(error, OSError) and error.errno == errno.EROFS:
            return self._not_writable(error)
        if isinstance(error, FileExistsError | NotADirectoryError):
            return StoreError(
                f"{shown_path(self.home)} must be a folder, but a file is in the way. Set AUTOGLM_HOME elsewhere."
            )
        return None

    def _no_store(self) -> StoreError:
        return StoreError(
            f"There is no study store in {shown_path(self.home)}. Start a study there, or set AUTOGLM_HOME."
        )

    def _not_writable(self, error: Exception) -> StoreError:
        return StoreError(
            f"The study store {shown_path(self.path)} cannot be opened for writing "
            f"({getattr(error, 'strerror', None) or error}). "
            "Give this user write permission on its folder, or set AUTOGLM_HOME to a folder that has it."
        )

    def _not_a_store(self) -> StoreError:
        return StoreError(
            f"{shown_path(self.path)} is not a study store. Move it away, or set AUTOGLM_HOME to another folder."
        )


def is_disk_full(error: BaseException) -> bool:
    """Whether the error, or one that caused it (SQLAlchemy and Optuna wrap them), says that the disk is full."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, DiskFullError) or getattr(cause, "sqlite_errorname", None) == "SQLITE_FULL":
            return True
        if isinstance(cause, OSError) and cause.errno in _FULL_ERRNOS:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def disk_full_error(path: Path) -> DiskFullError:
    """The sentence for a disk without room, naming the file that could not be written."""
    return DiskFullError(
        f"There is no room left on the disk to write {shown_path(path)}. Free some space (`%autotune clean NAME` "
        "removes adapters and checkpoints of losing trials), then resume the study; nothing finished is lost."
    )
