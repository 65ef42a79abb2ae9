"""A store opened for reading makes nothing, changes nothing and shows what others write."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from autoglm_nb.errors import StoreError, StoreVersionError
from autoglm_nb.protocol import StudyState
from autoglm_nb.store import Store, snapshot
from tests.store.conftest import make_spec


def test_it_reads_what_others_write(store: Store, study: str) -> None:
    """Beside an open writer, and after the last one has closed."""
    reader = Store(store.home, read_only=True)
    assert reader.has_study(study)
    store.set_state(study, StudyState.PAUSED)
    assert reader.state(study)[0] == StudyState.INTERRUPTED or reader.state(study)[0] == StudyState.PAUSED
    store.close()
    assert snapshot(Store(reader.home, read_only=True), study)["study"]["name"] == study


def test_every_write_is_refused(store: Store, study: str) -> None:
    """With a sentence, and the rows as they were."""
    reader = Store(store.home, read_only=True)
    for write in (
        lambda: reader.add_note(study, "no"),
        lambda: reader.set_state(study, StudyState.FAILED),
        lambda: reader.create_study(make_spec("more")),
        lambda: reader.acquire(study, "cpu"),
        lambda: reader.delete_study(study),
    ):
        with pytest.raises(StoreError, match="cannot be opened for writing"):
            write()
    assert [s.name for s in store.studies()] == [study] and store.notes(study) == []


def test_it_makes_no_store(tmp_path: Path) -> None:
    """Neither folder nor file nor tables, also beside another program's tables."""
    with pytest.raises(StoreError, match="There is no study store"):
        Store(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    with sqlite3.connect(foreign / "studies.db") as connection:
        connection.execute("CREATE TABLE studies (study_id INTEGER)")
    connection.close()
    content = (foreign / "studies.db").read_bytes()
    with pytest.raises(StoreError, match="There is no study store"):
        Store(foreign, read_only=True)
    assert (foreign / "studies.db").read_bytes() == content


def test_the_journal_mode_is_left_alone(store: Store, study: str) -> None:
    """Even where this package would choose another."""
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA journal_mode = delete")
    connection.close()
    with Store(store.home, read_only=True) as reader:
        assert reader.has_study(study)
        mode = reader._connection().execute("PRAGMA journal_mode").fetchone()[0]
    assert mode == "delete"


def test_a_newer_store_is_refused_as_ever(store: Store) -> None:
    """And a path with signs that mean something in an address is only a path."""
    with store._write() as connection:
        connection.execute("UPDATE autoglm_meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(StoreVersionError, match="version 99"):
        Store(store.home, read_only=True)


@pytest.mark.parametrize("folder", ["a?mode=rwc", "50 % off", "a#b", "ünï", "a&b=c"])
def test_a_folder_of_any_name_is_read(tmp_path: Path, folder: str) -> None:
    """The connection is opened by an address, in which some signs mean something."""
    home = tmp_path / folder / ".autoglm"
    with Store(home) as writer:
        writer.create_study(make_spec("here"))
    with Store(home, read_only=True) as reader:
        assert reader.has_study("here")
