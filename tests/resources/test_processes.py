"""Who a process is, and whether it still lives."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from autoglm_nb.resources import machine_id, process_alive, process_started, processes


@pytest.fixture(params=["own", "psutil"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read from /proc, and as on other systems."""
    if request.param == "psutil" or not processes._LINUX:
        monkeypatch.setattr(processes, "_LINUX", False)
    return str(request.param)


def _sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_living_process_is_known_by_its_start(way: str) -> None:
    """The number alone may be another program's tomorrow."""
    started = process_started(os.getpid())
    assert started is not None
    assert process_alive(os.getpid(), started)
    assert not process_alive(os.getpid(), started - 5)
    assert process_started(os.getpid()) == started


def test_start_times_are_in_order_and_in_seconds(way: str) -> None:
    """Against the difference of psutil's own figures."""
    child = _sleeper()
    try:
        ours = (process_started(child.pid) or 0) - (process_started(os.getpid()) or 0)
        theirs = psutil.Process(child.pid).create_time() - psutil.Process().create_time()
        assert ours == pytest.approx(theirs, abs=0.1) and ours > 0
    finally:
        child.kill()
        child.wait()


def test_a_zombie_has_ended(way: str) -> None:
    """A killed worker stays a zombie until its parent asks for it."""
    child = _sleeper()
    started = process_started(child.pid)
    assert started is not None and process_alive(child.pid, started)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_started(child.pid) is None
    assert not process_alive(child.pid, started)
    child.wait()
    assert process_started(child.pid) is None


def test_a_process_with_an_odd_name_is_read() -> None:
    """The second field of /proc/PID/stat may hold spaces and brackets."""
    code = (
        "import ctypes, time; ctypes.CDLL(None).prctl(15, b'a) R (b c', 0, 0, 0); print(1, flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline()
        started = process_started(child.pid)
        assert started is not None and abs(started - (process_started(os.getpid()) or 0)) < time.monotonic()
        assert process_alive(child.pid, started)
    finally:
        child.kill()
        child.wait()


def test_the_machine_is_the_same_for_its_processes() -> None:
    """Two notebooks on one machine must agree on who lives."""
    code = "from autoglm_nb.resources import machine_id; print(machine_id())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == machine_id()


def test_importing_the_room_imports_no_library() -> None:
    """The kernel imports it at `%load_ext`."""
    code = (
        "import sys, autoglm_nb.resources, autoglm_nb.store; "
        "print([m for m in ('psutil', 'pynvml', 'optuna', 'sqlalchemy', 'numpy') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
