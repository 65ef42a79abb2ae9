"""Child processes answer, fail with a reason, and leave nothing behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import children
from benchmarks.children import Child, ChildFailed, one_busy_core, proportional_memory_gb, side_child


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    with Child("tests.benchmarks.answering", [], tmp_path / "log") as made:
        yield made


def test_a_request_is_answered_with_what_the_handler_returns(child: Child, tmp_path: Path) -> None:
    """Also after an answer in between; what the child prints goes to its log and not into the answer."""
    assert child.ask("echo", a=1) == {"a": 1}
    child.send("echo", b=[2.5])
    child.send("echo", c="x")
    assert [child.receive(), child.receive()] == [{"b": [2.5]}, {"c": "x"}]
    child.close()
    assert "this goes to the log" in (tmp_path / "log").read_text(encoding="utf-8")


def test_an_error_in_the_child_is_raised_here_and_the_child_lives_on(child: Child) -> None:
    """With the name of the exception, for its traceback is in another process."""
    with pytest.raises(ChildFailed, match="KeyError"):
        child.ask("fail")
    assert child.ask("echo") == {}


def test_a_child_that_dies_is_told_from_one_that_is_slow(child: Child) -> None:
    """With its exit status and the end of its log."""
    with pytest.raises(ChildFailed, match=r"(?s)exit status 3.*last words"):
        child.ask("die")
    with pytest.raises(ChildFailed, match="exit status 3"):
        child.ask("echo")


def test_leaving_the_block_ends_the_child(tmp_path: Path) -> None:
    """No process stays behind to disturb the next measurement."""
    with Child("tests.benchmarks.answering", [], tmp_path / "log") as child:
        child.ask("echo")
        pid = child.pid
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux lets a process reset its peak")
def test_peak_memory_sees_what_was_held_only_for_a_moment(child: Child) -> None:
    """A hundred megabytes that are freed again belong to the peak."""
    answer = child.ask("grow", megabytes=100)
    assert answer["peak"] - answer["before"] == pytest.approx(100 / 1024, rel=0.2)


@pytest.mark.alone
def test_proportional_memory_lies_between_private_and_resident() -> None:
    """Shared pages count in part."""
    full = psutil.Process(os.getpid()).memory_full_info()
    assert 0.9 * full.uss <= proportional_memory_gb(os.getpid()) * 2**30 <= 1.1 * full.rss


def test_a_process_that_is_gone_takes_no_memory(tmp_path: Path) -> None:
    """A reading may come late."""
    with Child("tests.benchmarks.answering", [], tmp_path / "log") as child:
        child.ask("echo")
    assert proportional_memory_gb(child.pid) == 0.0


def test_one_core_is_kept_busy_only_inside_the_block() -> None:
    """The spinning process uses processor time, and is gone afterwards."""
    before = {process.pid for process in psutil.Process().children()}
    with one_busy_core():
        (spinner,) = [process for process in psutil.Process().children() if process.pid not in before]
        used = spinner.cpu_times().user
        time.sleep(1.0)
        assert spinner.cpu_times().user > used
    assert not spinner.is_running()
    with one_busy_core(False):
        assert {process.pid for process in psutil.Process().children()} <= before


def test_the_engine_has_the_environment_of_a_worker_and_the_peer_that_of_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How waiting threads behave is read once, when the library is loaded."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(
        children, "Child", lambda module, sides, log, environment: given.update({sides[0]: environment})
    )
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    side_child("engine", tmp_path / "log")
    side_child("peer", tmp_path / "log")
    assert given == {"engine": {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}, "peer": None}
