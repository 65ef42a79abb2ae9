"""Transactions, threads, and what a full disk does."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from autoglm_nb.errors import DiskFullError, StoreError
from autoglm_nb.protocol import RunRole, StudyState, TrialState
from autoglm_nb.store import Store, is_disk_full
from autoglm_nb.store._database import disk_full_error
from tests.store.conftest import Python, make_spec


def _leave_no_room(store: Store) -> None:
    """SQLite refuses to grow the file, with the error of a full disk."""
    connection = store._connection()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_its_own_error_and_the_row_before_it_stays(store: Store, study: str) -> None:
    """The study pauses and resumes later; half a fact would be worse than none."""
    store.start_run(study, "trial-0000", RunRole.TRIAL, config={"rank": 8}, trial=0)
    store.end_run(study, "trial-0000", TrialState.COMPLETED, value=0.8)
    _leave_no_room(store)
    with pytest.raises(DiskFullError, match=r"There is no room left.*nothing finished is lost") as caught:
        store.start_run(study, "trial-0001", RunRole.TRIAL, config={"long": "x" * 100_000}, trial=1)
    assert isinstance(caught.value, OSError)
    assert [r.run for r in store.runs(study)] == ["trial-0000"]
    store._connection().execute("PRAGMA max_page_count = 1000000")
    store.start_run(study, "trial-0001", RunRole.TRIAL, config={"long": "x" * 100_000}, trial=1)
    assert len(store.runs(study)) == 2


def test_a_full_disk_is_seen_through_the_errors_of_other_libraries(store: Store) -> None:
    """Optuna and SQLAlchemy wrap SQLite's error."""
    _leave_no_room(store)
    with pytest.raises(sqlite3.OperationalError) as caught:
        store._connection().execute("CREATE TABLE big AS SELECT zeroblob(1000000)")
    try:
        try:
            raise RuntimeError("inner") from caught.value
        except RuntimeError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        assert is_disk_full(error)
    assert is_disk_full(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert not is_disk_full(OSError(errno.EACCES, "no"))
    assert not is_disk_full(sqlite3.OperationalError("database is locked"))


def test_a_store_opened_twice_in_a_process_keeps_its_locks(store: Store, study: str, python: Python) -> None:
    """A kernel opens the store at every magic. Another process that then comes and goes must not take away its log."""
    Store(store.home).close()
    Store(store.home)
    other = python("print(len(Store(home).studies()))")
    assert other.communicate(timeout=60)[0].split() == ["1"]
    store.create_study(make_spec("second"))
    assert {s.name for s in store.studies()} == {study, "second"}
    last = python("print(len(Store(home).studies()))")
    assert last.communicate(timeout=60)[0].split() == ["2"]


def test_an_error_inside_a_transaction_undoes_all_of_it(store: Store, study: str) -> None:
    """One fact, one transaction: an interrupt too."""
    with pytest.raises(KeyboardInterrupt), store._write():
        store.set_state(study, StudyState.FINISHED, "done")
        store.add_note(study, "never seen")
        raise KeyboardInterrupt
    assert store.state(study) == (StudyState.QUEUED, "")
    assert store.notes(study) == []
    store.add_note(study, "the store goes on working")
    assert len(store.notes(study)) == 1


def test_a_transaction_left_open_by_an_interrupt_does_not_swallow_the_next_one(store: Store, study: str) -> None:
    """An interrupt may strike between BEGIN and the code that watches over it."""
    store._connection().execute("BEGIN IMMEDIATE")
    store.add_note(study, "kept")
    with Store(store.home) as other:
        assert [n["text"] for n in other.notes(study)] == ["kept"]


def test_threads_share_a_store(store: Store, study: str) -> None:
    """The kernel's follower, the worker thread and the main thread use the same object."""
    errors: list[Exception] = []

    def work(author: str) -> None:
        try:
            for i in range(20):
                store.add_note(study, str(i), author=author)
                assert store.state(study)[0] is StudyState.QUEUED
        except Exception as error:  # noqa: BLE001 (shown below)
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"author-{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(store.notes(study)) == 80


def test_connections_of_ended_threads_are_closed(store: Store, study: str) -> None:
    """A kernel that lives for days starts many threads."""
    for _ in range(10):
        thread = threading.Thread(target=store.state, args=(study,))
        thread.start()
        thread.join()
    assert len(store._opened) <= 3


def test_readers_see_one_moment_while_a_writer_goes_on(store: Store, study: str) -> None:
    """A picture made of two moments could show a best value without its trial."""
    with store._read() as connection:
        assert connection.execute("SELECT COUNT(*) FROM autoglm_notes").fetchone()[0] == 0
        with Store(store.home) as writer:
            writer.add_note(study, "later")
        assert store.notes(study) == []
    assert len(store.notes(study)) == 1


def test_a_write_inside_a_read_is_refused(store: Store, study: str) -> None:
    """SQLite could only fail it with a lock error, sometimes."""
    with pytest.raises(RuntimeError, match="inside a read"), store._read():
        store.add_note(study, "no")


def test_a_store_that_stays_locked_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program may hold the file for long."""
    monkeypatch.setattr("autoglm_nb.store._schema.BUSY_SECONDS", 0.1)
    with Store(home) as store, Store(home) as other:
        store.create_study(make_spec())
        with other._write(), pytest.raises(StoreError, match="was locked by another program"):
            store.add_note("reviews", "waiting")
        store.add_note("reviews", "written")


def test_a_closed_store_opens_again(store: Store, study: str) -> None:
    """A handle kept in a variable must go on working."""
    store.close()
    assert store.has_study(study)


def test_no_error_of_a_store_names_a_folder_of_the_machine(
    store: Store, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They land below a cell, and notebooks are shared; from the working folder the store is found all the same."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "studies.db").write_bytes(b"x" * 100)
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    told = []
    for attempt in (
        lambda: store.spec("other"),
        lambda: Store(tmp_path / "nowhere", create=False),
        lambda: Store(tmp_path / "empty"),
        lambda: Store(tmp_path / "file"),
    ):
        with pytest.raises(StoreError) as caught:
            attempt()
        told.append(str(caught.value))
    told.append(str(disk_full_error(store.path)))
    for code in ("SQLITE_CORRUPT", "SQLITE_BUSY", "SQLITE_READONLY", "SQLITE_NOTADB"):
        error = sqlite3.OperationalError("it")
        error.sqlite_errorname = code
        told.append(str(store._known(error)))
    assert not [sentence for sentence in told if str(tmp_path) in sentence]
    assert "in nowhere." in told[1] and "empty/studies.db is not" in told[2] and "file must be a folder" in told[3]
