"""Workers in a process and in a thread: what they leave behind when they break."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from autoglm_nb.tuning import executors, study_run
from autoglm_nb.tuning.control import Control, Detached
from tests.tuning.conftest import Study


def _ended(worker: executors.WorkerHandle) -> None:
    deadline = time.monotonic() + 60
    while worker.alive():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_in_a_thread_writes_its_traceback_to_the_log_and_nothing_below_the_cell(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A thread's standard error is the notebook's; `%autotune logs` has to have it instead."""

    def broken(self: study_run.StudyRun) -> None:
        raise ZeroDivisionError("a defect")

    study = make_study(space="x = uniform(0, 1)", trials=1, objective=lambda config, report: 1.0, executor="thread")
    monkeypatch.setattr(study_run.StudyRun, "run", broken)
    _ended(executors.start(study.home, "toy", "thread", study.plan.extras))
    state, reason = study.store.state("toy")
    assert str(state) == "failed" and "ZeroDivisionError: a defect" in reason
    assert "Traceback" in (study.store.study_dir("toy") / "worker.log").read_text()
    assert capfd.readouterr().err == ""


def test_a_worker_in_a_thread_that_dies_has_an_exit_code_and_a_log(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a process has; the follower tells both."""

    def dead(*_: object, **__: object) -> None:
        raise MemoryError("no more")

    study = make_study(space="x = uniform(0, 1)", trials=1, objective=lambda config, report: 1.0)
    monkeypatch.setattr(executors, "run_worker", dead)
    worker = executors.start(study.home, "toy", "thread")
    _ended(worker)
    assert worker.exit_code() == 1
    assert "MemoryError: no more" in (study.store.study_dir("toy") / "worker.log").read_text()
    assert capfd.readouterr().err == ""


@pytest.mark.alone
def test_workers_in_threads_leave_together_when_the_kernel_exits(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that listens is waited for; those that do not cost the seconds of one, however many they are."""
    released = threading.Event()

    def listening(*_: object, control: Control, **__: object) -> None:
        with pytest.raises(Detached):
            while True:
                control.poll()
                time.sleep(0.01)

    def deaf(*_: object, **__: object) -> None:
        released.wait(120)

    ways = iter((listening, *[deaf] * 10))
    monkeypatch.setattr(executors, "run_worker", lambda *given, **options: next(ways)(*given, **options))
    home = make_study(space="x = uniform(0, 1)", trials=1, objective=lambda config, report: 1.0).home
    workers = [executors.start(home, "toy", "thread") for _ in range(11)]
    began = time.monotonic()
    executors.end_threads(2.0)
    took = time.monotonic() - began
    ended = [not worker.alive() for worker in workers]
    released.set()
    assert sum(ended) == 1
    assert 1.9 < took < 10.0
    for worker in workers:
        _ended(worker)
