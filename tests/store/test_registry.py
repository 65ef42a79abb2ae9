"""Finding the stores of a user."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from autoglm_nb.store import Store, registry


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "jupyter" / "runtime"
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
    return folder


def _store(folder: Path) -> Path:
    Store(folder).close()
    return folder


def test_remembered_stores_are_found_the_latest_first(tmp_path: Path, runtime: Path) -> None:
    """Once each, however often they are remembered."""
    one, two = _store(tmp_path / "one"), _store(tmp_path / "two ä")
    assert registry.homes() == []
    for home in (one, two, one):
        assert registry.remember(home)
    assert registry.homes() == [one, two]
    assert len(list(runtime.iterdir())) == 2
    assert all(stat.S_IMODE(f.stat().st_mode) == 0o600 for f in runtime.iterdir())


def test_what_is_gone_or_broken_is_passed_over(tmp_path: Path, runtime: Path) -> None:
    """A folder may be deleted, a file half written by a full disk."""
    home = _store(tmp_path / "one")
    registry.remember(home)
    registry.remember(tmp_path / "without a store")
    for name, content in [
        ("a", ""),
        ("b", "[]"),
        ("c", '{"version": 99, "home": "/", "seen": 0}'),
        ("d", '{"home": 3}'),
    ]:
        (runtime / f"autoglm-store-{name}.json").write_text(content)
    (runtime / "autoglm-store-e.json").mkdir()
    assert registry.homes() == [home]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tuning must not fail because the sidebar will not find it."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "file"))
    assert not registry.remember(tmp_path)
    assert registry.homes() == []


def test_writers_at_once_leave_whole_files(tmp_path: Path, runtime: Path) -> None:
    """Several kernels start together."""
    home = _store(tmp_path / "one")
    threads = [threading.Thread(target=registry.remember, args=(home,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.homes() == [home]
    assert len(list(runtime.iterdir())) == 1


@pytest.mark.parametrize("variable", ["JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "XDG_DATA_HOME", None])
def test_the_folder_is_jupyters_own(variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """jupyter_core, asked in a process of its own, is the reference."""
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    code = "from jupyter_core.paths import jupyter_runtime_dir; print(jupyter_runtime_dir())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert str(registry.runtime_dir()) == said
