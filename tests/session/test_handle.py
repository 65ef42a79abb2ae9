"""Studies started, watched, controlled and found again, with real workers on a tiny model."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoglm_nb import AutoTuner
from autoglm_nb.errors import AutoGLMError, StudyMismatchError, StudyNotFoundError, UsageError
from autoglm_nb.protocol import Snapshot
from autoglm_nb.session import StudyHandle, attach, studies

SPACE = "learning_rate = loguniform(1e-3, 1e-2)\nrank = choice(2, 4)\nepochs = 2\nbatch_size = 16"
LONG = "learning_rate = loguniform(1e-3, 1e-2)\nbatch_size = 4\nepochs = 240"
"""To be stopped."""

TO_THE_END = LONG.replace("240", "30")
"""Long enough to be interrupted at the first step that is seen."""

both = pytest.mark.parametrize("executor", ["process", "thread"])


@pytest.fixture
def start(tiny_encoder_path: Path, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AUTOGLM_THREADS", "1")
    monkeypatch.setenv("AUTOGLM_CHECKPOINT_SECONDS", "0.3")
    handles: list[StudyHandle] = []

    def go(space: str = SPACE, **options: Any) -> StudyHandle:
        defaults = {
            "target": "label",
            "strategy": "random",
            "seeds": 0,
            "baseline": False,
            "pruner": "none",
            "name": "s",
        }
        tuner = AutoTuner(str(tiny_encoder_path), space)
        handle = tuner.start(str(reviews_csv), **{**defaults, **options})
        handles.append(handle)
        return handle

    yield go
    for handle in handles:
        try:
            handle.stop()
            handle.wait(timeout=60)
        except (AutoGLMError, TimeoutError):
            continue


def until(condition: Callable[[], Any], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def training(handle: StudyHandle) -> bool:
    return any(t["state"] == "running" and t["step"] > 0 for t in handle.snapshot()["trials"])


@both
@pytest.mark.slow
def test_a_study_runs_in_the_background_to_its_end(start: Any, executor: str) -> None:
    """`start` returns at once; subscribers see it through to the end; the results are there."""
    seen: list[Snapshot] = []
    began = time.monotonic()
    handle = start(executor=executor, max_trials=2)
    assert time.monotonic() - began < 5 and handle.status != "finished"
    handle.follow(seen.append)
    results = handle.wait(timeout=180).results()
    until(lambda: seen and seen[-1]["study"]["state"] == "finished")
    assert len(results.trials) == 2 and set(results.trials["state"]) == {"completed"}
    assert results.best_value == results.trials["value"].max()
    assert results.best_config["rank"] in (2, 4)
    assert results.best_model().predict(["a good film"])[0] in ("negative", "positive", "neg", "pos", 0, 1, "0", "1")


@both
@pytest.mark.slow
def test_pause_resume_and_stop_reach_the_worker(start: Any, executor: str) -> None:
    handle = start(LONG, executor=executor, max_trials=1)
    until(lambda: training(handle))
    handle.pause()
    until(lambda: handle.status == "paused")
    step = handle.snapshot()["trials"][0]["step"]
    time.sleep(1.2)
    assert handle.snapshot()["trials"][0]["step"] == step
    handle.resume()
    until(lambda: handle.snapshot()["trials"][0]["step"] > step)
    handle.stop()
    handle.wait(timeout=60)
    assert handle.status == "stopped"


@both
@pytest.mark.slow
def test_one_trial_can_be_stopped_and_configurations_enqueued(start: Any, executor: str) -> None:
    """Trials 0 and 1 are under way together; the configuration given meanwhile becomes a third."""
    handle = start(LONG, executor=executor, max_trials=2, pack=2)
    until(lambda: training(handle))
    handle.enqueue([{"learning_rate": 0.005, "batch_size": 4, "epochs": 240}])
    handle.stop_trial(0)
    until(lambda: handle.snapshot()["trials"][0]["state"] == "pruned")
    until(lambda: len(handle.snapshot()["trials"]) == 3 and handle.snapshot()["trials"][2]["config"])
    assert handle.snapshot()["trials"][2]["config"]["learning_rate"] == 0.005
    until(lambda: handle.snapshot()["headline"]["total"] == 3)
    assert handle.snapshot()["trials"][0]["because"] == "Stopped by a person."


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_same_trial_goes_on(start: Any) -> None:
    """kill -9 in mid-trial: a new worker, the same number, and nothing to do for the person."""
    handle = start(TO_THE_END, max_trials=1)
    until(lambda: training(handle))
    holder = handle._store.holder("s")
    os.kill(holder.pid, signal.SIGKILL)
    handle.wait(timeout=240)
    shot = handle.snapshot()
    assert handle.status == "finished" and [t["state"] for t in shot["trials"]] == ["completed"]
    assert shot["trials"][0]["attempts"] == 2


@pytest.mark.slow
def test_a_study_outlives_its_kernel_and_is_found_again(
    start: Any, tiny_encoder_path: Path, reviews_csv: Path, home: Path
) -> None:
    """The starting process is killed with -9; the worker finishes, and another process attaches."""
    code = (
        "from autoglm_nb import AutoTuner; import time\n"
        f"AutoTuner({str(tiny_encoder_path)!r}, {TO_THE_END!r}).start({str(reviews_csv)!r}, target='label', name='s', "
        "strategy='random', seeds=0, baseline=False, max_trials=1)\n"
        "print('started', flush=True); time.sleep(600)"
    )
    kernel = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert kernel.stdout is not None and kernel.stdout.readline().strip() == "started"
    handle = attach("s")
    until(lambda: training(handle))
    kernel.kill()
    kernel.wait()
    assert handle.wait(timeout=240).status == "finished"


@pytest.mark.slow
def test_the_same_request_twice_is_one_study(start: Any) -> None:
    """A second notebook attaches to the running study; other data under the name is refused with --fork."""
    first = start(LONG, max_trials=1, executor="thread")
    second = start(LONG, max_trials=1, executor="thread")
    assert first.name == second.name
    until(lambda: training(first))
    assert len(first.snapshot()["trials"]) == 1
    with pytest.raises(StudyMismatchError, match="--fork"):
        start(SPACE, max_trials=1, executor="thread")
    assert training(first)
    forked = start(SPACE, max_trials=1, fork=True, executor="thread")
    assert forked.name == "s-2"
    forked.stop()


@both
@pytest.mark.slow
def test_a_custom_objective_runs_in_the_worker(start: Any, executor: str) -> None:
    calls: list[int] = []

    def objective(config: dict[str, float], report: Callable[..., None]) -> float:
        calls.append(1)
        report(config["x"])
        return (config["x"] - 2) ** 2

    tuner = AutoTuner(search_space="x = randint(0, 4)", strategy="grid", objective=objective)
    results = tuner.optimize(max_trials=9, direction="minimize", executor=executor, name="parabola", pruner="none")
    assert results.best_config == {"x": 2} and len(results.trials) == 5
    assert len(calls) == (5 if executor == "thread" else 0)


@pytest.mark.slow
def test_a_failed_study_raises_its_reason_from_wait(start: Any, tmp_path: Path, tiny_encoder_path: Path) -> None:
    """The data disappears between the request and the worker."""
    path = tmp_path / "gone.csv"
    path.write_text("text,label\n" + "\n".join(f"text {i},{'ab'[i % 2]}" for i in range(40)))
    from autoglm_nb.session import launch, plan

    made = plan(str(tiny_encoder_path), str(path), target="label", space=SPACE, name="gone")
    path.unlink()
    with pytest.raises(AutoGLMError, match=r"gone\.csv"):
        launch(made).wait(timeout=120)
    assert attach("gone").status == "failed"


def test_attach_to_an_unknown_study_names_the_known_ones(home: Path) -> None:
    with pytest.raises(AutoGLMError):
        attach("nothing")
    assert studies() == []


@pytest.mark.slow
def test_an_objective_study_cannot_be_resumed_without_its_function(start: Any) -> None:
    def objective(config: dict[str, float], report: Callable[..., None]) -> float:
        time.sleep(0.05)
        return config["x"]

    tuner = AutoTuner(search_space="x = uniform(0, 1)", strategy="random", objective=objective)
    handle = tuner.start(max_trials=2, name="o", executor="thread")
    handle.wait(timeout=120)
    with pytest.raises(UsageError, match="Run its cell again"):
        handle.resume()


def test_a_study_is_not_resumed_with_a_variable_that_its_worker_could_not_read(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told at once, and the study stays as it is."""
    from autoglm_nb.protocol import StudyState
    from autoglm_nb.store import Store
    from tests.store.conftest import make_spec

    store = Store(home)
    store.create_study(make_spec())
    store.set_state("reviews", StudyState.STOPPED)
    monkeypatch.setenv("AUTOGLM_THREADS", "many")
    with pytest.raises(UsageError, match="AUTOGLM_THREADS"):
        attach("reviews").resume()
    assert attach("reviews").status == "stopped"


@pytest.mark.slow
def test_waiting_can_be_interrupted_without_stopping_the_study(start: Any) -> None:
    """Ctrl-C during `wait` reaches the waiting process alone."""
    handle = start(LONG, max_trials=1)
    until(lambda: training(handle))
    with pytest.raises(KeyboardInterrupt):
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        handle.wait()
    assert training(handle)


def test_names_of_studies_are_listed_for_attach(home: Path) -> None:
    from autoglm_nb.store import Store

    home.mkdir(parents=True)
    Store(home)
    with pytest.raises(StudyNotFoundError, match="nothing"):
        attach("nothing")


@pytest.fixture
def waiting(home: Path) -> Any:
    """Starts an objective study whose device is taken, so that its worker waits in the queue."""
    from autoglm_nb.store import Store

    store = Store(home)
    tuner = AutoTuner(search_space="x = uniform(0, 1)", strategy="random", objective=lambda config, report: 1.0)
    plan = tuner.plan(name="in-front", max_trials=1)
    store.create_study(plan.spec)
    lease = store.acquire("in-front", "cpu")
    assert lease is not None
    handles: list[StudyHandle] = []

    def go(**options: Any) -> StudyHandle:
        handle = AutoTuner(search_space="x = uniform(0, 1)", strategy="random", device="cpu", **options).start(
            name="behind", max_trials=1, executor="thread"
        )
        handles.append(handle)
        until(lambda: "in-front" in handle.reason or handle.status != "queued")
        return handle

    yield go
    lease.release()
    for handle in handles:
        handle.wait(timeout=120)


def workers(name: str) -> int:
    return sum(thread.name == f"autoglm-worker-{name}" for thread in threading.enumerate())


def test_running_a_waiting_cell_again_starts_no_second_worker(waiting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Impatient clicks while the device is busy; where a function may have changed, a new worker relieves the old."""
    from autoglm_nb.session import handle as module

    waiting(objective=lambda config, report: 1.0)
    waiting(objective=lambda config, report: 2.0)
    until(lambda: workers("behind") == 1)
    tuner = AutoTuner(search_space="x = uniform(0, 1)", strategy="random", device="cpu", objective=lambda *_: 2.0)
    plan = tuner.plan(name="behind", max_trials=1, executor="thread")
    started: list[str] = []
    monkeypatch.setattr(module, "_start_worker", lambda home, spec, extras: started.append(spec.name))
    module.launch(dataclasses.replace(plan, extras=module.Extras()))  # as of a study that trains a model
    assert started == []


def test_a_waiting_study_is_stopped_at_once(waiting: Any) -> None:
    """Even where its worker is gone: otherwise it could be neither run nor deleted."""
    handle = waiting(objective=lambda config, report: 1.0)
    handle.stop()
    assert handle.status == "stopped"
    until(lambda: workers("behind") == 0)
    assert handle.status == "stopped"


def test_only_a_running_trial_can_be_stopped(home: Path) -> None:
    """A request for a later trial would end it before it began."""
    from autoglm_nb.protocol import RunRole, TrialState
    from autoglm_nb.store import Store

    spec = AutoTuner(search_space="x = uniform(0, 1)", objective=lambda config, report: 1.0).plan(name="o").spec
    store = Store(home)
    store.create_study(spec)
    for number in (0, 1):
        store.start_run("o", f"trial-{number:04d}", RunRole.TRIAL, config={}, trial=number)
    store.end_run("o", "trial-0000", TrialState.COMPLETED, value=1.0)
    handle = attach("o")
    for number, found in ((0, "completed"), (99, "there is none")):
        with pytest.raises(UsageError, match=found):
            handle.stop_trial(number)
    assert store.pending("o") == []
    handle.stop_trial(1)
    assert [request.payload for request in store.pending("o")] == [{"trial": 1}]


@pytest.mark.parametrize("home_is", ["a file", "below a file"])
def test_a_home_that_cannot_be_written_gets_a_sentence(tmp_path: Path, home_is: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    tuner = AutoTuner(
        search_space="x = uniform(0, 1)",
        objective=lambda config, report: 1.0,
        home=file if home_is == "a file" else file / "home",
    )
    with pytest.raises(AutoGLMError, match="AUTOGLM_HOME"):
        tuner.start(max_trials=1)


@pytest.mark.slow
@pytest.mark.parametrize("pack", [1, 2])
def test_both_executors_find_the_same(start: Any, home: Path, monkeypatch: pytest.MonkeyPatch, pack: int) -> None:
    """A thread trains what a process trains: the same configurations, values and figures, computed in one way.

    To the last bit in a pack too: with one seed and one batch size both trials stand in the same passes from their
    first step to their last, so no clock decides who joins whom.
    """
    import torch

    from autoglm_nb.store import EventTail, Store

    monkeypatch.setenv("AUTOGLM_THREADS", str(torch.get_num_threads()))
    monkeypatch.setenv("AUTOGLM_CPU_PRODUCTS", "onednn")  # either would measure by itself what is fastest
    options = {"max_trials": 2, "pack": pack, "device": "cpu", "precision": "fp32"}
    found = [start(name=e, executor=e, **options).wait(timeout=120).results() for e in ("process", "thread")]
    for name in ("process", "thread"):
        told = EventTail(Store(home).study_dir(name) / "events.jsonl").poll()
        assert any(event.type == "packs" and event.data["now"] for event in told) == (pack > 1)
    process, thread = ([(t["config"], t["value"], t["metrics"]["loss"]) for t in r._all_trials()] for r in found)
    assert len(process) == 2
    assert process == thread
