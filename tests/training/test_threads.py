"""Threads next to a kernel: how many, and how they wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from autoglm_nb.errors import WorkerError
from autoglm_nb.training import threads
from autoglm_nb.training.threads import (
    CpuUse,
    ThreadGovernor,
    available_cores,
    most_threads,
    threads_for,
    worker_environment,
)


class Machine:
    """A made-up machine: `others` cores busy besides ours, which keeps all its threads busy."""

    def __init__(self, cores: int) -> None:
        self.now, self.ours, self.everybody, self.others = 0.0, 0.0, 0.0, 0.0
        self.applied: list[int] = []
        self.governor = ThreadGovernor(
            cores, read=lambda: CpuUse(self.everybody, self.ours), apply=self.applied.append, clock=lambda: self.now
        )
        self.governor.start()

    def run(self, seconds: float) -> int:
        for _ in range(round(seconds / 0.1)):
            ours = min(self.governor.threads, self.governor.cores - 0.5 * self.others)
            self.now += 0.1
            self.ours += 0.1 * ours
            self.everybody += 0.1 * (ours + self.others)
            self.governor.tick()
        return self.governor.threads


def test_threads_follow_what_others_leave() -> None:
    """Two cores: one thread while another process keeps a core busy, two again when it ends."""
    machine = Machine(2)
    assert machine.run(10) == 2
    machine.others = 1.0
    assert machine.run(10) == 1
    machine.others = 0.0
    assert machine.run(10) == 2
    assert machine.applied == [2, 1, 2]


def test_a_burst_changes_nothing() -> None:
    """A cell that runs for two seconds is over before threads would move."""
    machine = Machine(4)
    for _ in range(5):
        machine.others = 3.0
        machine.run(1.9)
        machine.others = 0.0
        machine.run(4.2)
    assert machine.applied == [4]


@pytest.mark.parametrize(
    ("cores", "busy", "expected"),
    [(2, 0.0, 2), (2, 0.4, 2), (2, 0.6, 1), (2, 1.0, 1), (2, 5.0, 1), (8, 2.4, 6), (8, 2.6, 5), (1, 0.9, 1)],
)
def test_a_thread_wants_half_a_core_at_least(cores: int, busy: float, expected: int) -> None:
    assert threads_for(cores, busy) == expected


def test_ticks_between_looks_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's tick costs a clock reading."""
    reads: list[int] = []
    now = [0.0]
    governor = ThreadGovernor(
        2, read=lambda: (reads.append(1), CpuUse(0.0, 0.0))[1], apply=lambda _: None, clock=lambda: now[0]
    )
    governor.tick()
    assert reads == []  # not started
    governor.start()
    for i in range(1, 100):
        now[0] = i * 0.01
        governor.tick()
    assert len(reads) == 1


def test_the_real_governor_reads_this_machine_and_sets_torch() -> None:
    """In a process of its own, pinned to what this one may use: `start` sets torch's threads, busy time only grows."""
    script = (
        "import torch; from autoglm_nb.training.threads import ThreadGovernor, _cpu_use, available_cores\n"
        "before = _cpu_use(); g = ThreadGovernor(); g.start(); sum(i * i for i in range(2_000_000))\n"
        "after = _cpu_use()\n"
        "assert g.tick() == torch.get_num_threads() == available_cores()\n"
        "assert after.ours > before.ours and after.everybody > before.everybody\n"
        "assert after.everybody - before.everybody >= 0.5 * (after.ours - before.ours)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("content", "expected"), [("150000 100000", 2), ("max 100000", 64), ("50000 100000", 1)])
def test_a_quota_limits_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, expected: int) -> None:
    """Version 2 of control groups, rounded up; `max` is no limit."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    (tmp_path / "cpu.max").write_text(content)
    assert available_cores(tmp_path) == expected


def test_an_older_control_group_and_none_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1 keeps quota and period in two files, -1 for no limit; without files affinity alone counts."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert available_cores(tmp_path) == 8
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("300000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert available_cores(tmp_path) == 3
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    assert available_cores(tmp_path) == 8


@pytest.mark.parametrize(
    ("given", "expected"), [("1", 1), ("3", 3), ("64", 4), ("2,1", 2), ("", 4), ("0", 4), ("many", 4)]
)
def test_the_users_number_of_openmp_threads_is_the_most(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: int
) -> None:
    """As for any program with OpenMP; what is no number is ignored, and so are more than there are cores."""
    monkeypatch.setattr(threads, "available_cores", lambda: 4)
    assert most_threads({"OMP_NUM_THREADS": given}) == expected
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert ThreadGovernor(apply=lambda _: None).cores == expected


def test_the_users_own_openmp_settings_win() -> None:
    """Any of the variables that decide about waiting leaves all of them alone."""
    assert worker_environment({}) == threads.WAITING
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        assert worker_environment({name: "x"}) == {}


def test_workers_are_started_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMP reads its environment once: it must be there before the process imports torch."""
    from autoglm_nb.tuning import executors

    started: dict[str, str] = {}

    def start(*_: object, env: dict[str, str], **__: object) -> NoReturn:
        started.update(env)
        raise OSError("not in this test")

    monkeypatch.setattr(executors.subprocess, "Popen", start)
    for name in ("OMP_WAIT_POLICY", *threads.WAITING):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(WorkerError):
        executors.start(tmp_path, "study", "process")
    assert threads.WAITING.items() <= started.items()


def test_more_threads_give_the_same_numbers_to_rounding() -> None:
    """A study that moves between one and two threads stays within fp32 rounding."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(300, 384, generator=generator), torch.randn(384, 384, generator=generator)
    kept = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(x @ w)
    finally:
        torch.set_num_threads(kept)
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-4)
