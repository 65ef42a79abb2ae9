"""Opening the file: versions, damage, file systems, and several processes at once."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest

from autoglm_nb.errors import StoreError, StoreVersionError
from autoglm_nb.store import Store
from autoglm_nb.store._schema import SCHEMA_VERSION, journal_mode
from tests.store.conftest import Python, heard, make_spec, tell


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_new_store_has_our_tables_in_write_ahead_mode(store: Store) -> None:
    """Readers must not block the worker on a local disk."""
    with sqlite3.connect(store.path) as connection:
        tables = {r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert {"autoglm_meta", "autoglm_studies", "autoglm_runs", "autoglm_control"} <= tables
    assert not {t for t in tables if not t.startswith(("autoglm_", "sqlite_"))}, "Optuna's tables are Optuna's to make"


def test_a_store_of_a_newer_version_is_refused_and_left_as_it_is(home: Path) -> None:
    """Writing into tables one does not know would damage them."""
    with Store(home) as store:
        store.create_study(make_spec())
    with sqlite3.connect(home / "studies.db") as connection:
        connection.execute("UPDATE autoglm_meta SET value = ? WHERE key = 'schema_version'", (SCHEMA_VERSION + 1,))
    connection.close()
    before = _digest(home / "studies.db")
    with pytest.raises(StoreVersionError, match=f"version {SCHEMA_VERSION + 1}.*Upgrade autoglm_nb"):
        Store(home)
    assert _digest(home / "studies.db") == before


@pytest.mark.parametrize("content", [b"x", b"text,label\n" * 10, b"text,label\n" * 1000])
def test_a_file_that_is_no_database_is_refused_and_kept(home: Path, content: bytes) -> None:
    """Somebody's file of the same name must survive."""
    home.mkdir()
    (home / "studies.db").write_bytes(content)
    with pytest.raises(StoreError, match=r"is not a study store.*AUTOGLM_HOME"):
        Store(home)
    assert (home / "studies.db").read_bytes() == content


def test_a_truncated_store_is_reported_with_a_remedy(home: Path) -> None:
    """Half a file is what a broken copy leaves."""
    with Store(home) as store:
        store.create_study(make_spec())
    path = home / "studies.db"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StoreError, match=r"damaged or truncated.*Restore it from a copy"):
        Store(home)


def test_a_damaged_page_is_reported_when_it_is_met(home: Path) -> None:
    """The header may be whole while the rows are not."""
    with Store(home) as store:
        for i in range(60):
            store.create_study(make_spec(f"study-{i}"))
    path = home / "studies.db"
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"), Store(home) as store:
        store.studies()


def test_without_create_a_missing_store_is_an_error_and_nothing_is_made(home: Path) -> None:
    """`%autotune list` in a fresh folder must not leave files behind."""
    with pytest.raises(StoreError, match="There is no study store in"):
        Store(home, create=False)
    assert not home.exists()


def test_a_file_in_place_of_the_folder_is_reported(home: Path) -> None:
    """AUTOGLM_HOME may point at a file by mistake."""
    home.write_text("")
    with pytest.raises(StoreError, match="must be a folder"):
        Store(home)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("ext4", "wal"), ("overlay", "wal"), ("tmpfs", "wal"), ("nfs4", "delete"), ("cifs", "delete"), ("9p", "delete")],
)
def test_the_journal_follows_the_file_system(tmp_path: Path, kind: str, mode: str) -> None:
    """Write-ahead logging needs shared memory, which network file systems do not share."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x /home/some\\040one {kind} rw 0 0\n")
    assert journal_mode(Path("/home/some one/work/studies.db"), mounts) == mode
    assert journal_mode(Path("/home/some onelse/studies.db"), mounts) == "wal"


def test_the_innermost_and_latest_mount_decides(tmp_path: Path) -> None:
    """A local disk may be mounted below a network share, and over another mount."""
    mounts = tmp_path / "mounts"
    lines = ["s:/ /data nfs", "/dev/b /data/local ext4", "/dev/c /m ext4", "s:/m /m nfs"]
    mounts.write_text("".join(f"{line} rw 0 0\n" for line in lines))
    assert journal_mode(Path("/data/studies.db"), mounts) == "delete"
    assert journal_mode(Path("/data/local/studies.db"), mounts) == "wal"
    assert journal_mode(Path("/m/studies.db"), mounts) == "delete"


def test_where_mounts_are_not_listed_a_local_disk_is_assumed(tmp_path: Path) -> None:
    """macOS has no /proc."""
    assert journal_mode(Path("/Users/a/studies.db"), tmp_path / "missing") == "wal"


def test_a_network_store_keeps_working_without_write_ahead_mode(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode is changed in the file itself, so that Optuna's connections follow."""
    with Store(home) as store:
        store.create_study(make_spec())
    monkeypatch.setattr("autoglm_nb.store._schema.journal_mode", lambda path: "delete")
    with Store(home) as store:
        store.create_study(make_spec("other"))
        assert {s.name for s in store.studies()} == {"reviews", "other"}
    with sqlite3.connect(home / "studies.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


@pytest.mark.slow
def test_processes_that_open_a_new_store_at_once_all_succeed(home: Path, python: Python) -> None:
    """A notebook and a server may meet an empty folder at the same moment, Optuna's tables included."""
    code = """
        say("ready"); listen()
        store = Store(home)
        store.create_study(StudySpec(sys.argv[2], "m", DataSpec("d"), {}))
        import optuna; optuna.logging.disable_default_handler()
        store.optuna_study(sys.argv[2], ["maximize"])
        say("done")
    """
    processes = [python(code, f"study-{i}") for i in range(3)]
    assert [heard(p) for p in processes] == ["ready"] * 3
    for process in processes:
        tell(process)
    assert [heard(p) for p in processes] == ["done"] * 3
    with Store(home) as store:
        assert sorted(s.name for s in store.studies()) == ["study-0", "study-1", "study-2"]


def test_a_place_that_takes_no_folder_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """AUTOGLM_HOME on a read-only or special file system."""
    for error in (FileNotFoundError(2, "No such file or directory"), OSError(30, "Read-only file system")):

        def refuse(self: Path, *_: object, error: OSError = error, **__: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Path, "mkdir", refuse)
            with pytest.raises(StoreError, match=r"cannot be opened for writing.*AUTOGLM_HOME"):
                Store("/special/home")
