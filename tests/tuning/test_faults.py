"""What goes wrong in a study, one fault at a time; nothing finished is lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from autoglm_nb.errors import DiskFullError, ModelError
from autoglm_nb.protocol import Action, RunRole, StudyState, TrialState
from autoglm_nb.store import EventTail, RunRow
from autoglm_nb.training import Engine
from autoglm_nb.training import engine as engine_module
from autoglm_nb.training.memory import reraise
from autoglm_nb.training.packing import Packer
from autoglm_nb.tuning import pulse, recovery
from autoglm_nb.tuning.study_run import StudyRun
from autoglm_nb.tuning.worker import main
from tests.forked import Forked
from tests.tuning.conftest import Study
from tests.tuning.test_pack import events


def out_of_memory(times: int, seen: list[int]) -> Callable[..., Any]:
    """An `Engine.step` that runs out of memory a number of times, noting the micro-batches it saw.

    The allocation that fails is a real one, of a petabyte.
    """
    real = Engine.step

    def step(self: Engine, only: Any = None) -> Any:
        micro = next(iter(self._slots.values())).micro_batch
        if len(seen) < times:
            seen.append(micro)
            try:
                torch.empty(2**50, dtype=torch.uint8)
            except RuntimeError as refused:
                reraise(refused, self.device)
        seen.append(micro)
        return real(self, only)

    return step


def test_what_nobody_foresaw_ends_the_trial_that_met_it_alone(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pass shared by three: its neighbours are trained on, the reason is told, the log has the traceback."""
    real = engine_module.make_rounds

    def make_rounds(slots: Any, *rest: Any) -> Any:
        if any(slot.plan.run == "trial-0001" and slot.step == 2 for slot in slots):
            raise KeyError("/home/someone/weights")
        return real(slots, *rest)

    options = {"space": "learning_rate = loguniform(1e-3, 1e-2)\nepochs = 1", "pack": 3}
    calm = make_study(name="calm", **options).run()
    monkeypatch.setattr(engine_module, "make_rounds", make_rounds)
    study = make_study(name="met", **options)
    shot = study.run()
    assert shot["study"]["state"] == StudyState.FINISHED, shot["study"]["reason"]
    assert [t["state"] for t in shot["trials"]] == ["completed", "failed", "completed"]
    because = shot["trials"][1]["because"]
    assert "unexpected KeyError" in because and "%autotune logs met" in because and "someone" not in because
    assert "make_rounds" in (study.store.study_dir("met") / "worker.log").read_text()
    for number in (0, 2):
        assert shot["trials"][number]["value"] == pytest.approx(calm["trials"][number]["value"], abs=0.05)


@pytest.mark.timeout(60)
def test_an_error_that_is_its_own_cause_ends_the_worker(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a chain has no end to walk to."""

    def run(self: StudyRun) -> None:
        error = ZeroDivisionError("round and round")
        raise error from error

    monkeypatch.setattr(StudyRun, "run", run)
    shot = make_study().run()
    assert shot["study"]["state"] == StudyState.FAILED and "ZeroDivisionError" in shot["study"]["reason"]


@pytest.mark.slow
def test_out_of_memory_halves_the_micro_batch_and_keeps_the_batch(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two deaths: 16, then 8, then 4 rows a pass; the trial completes with the losses of a calm one."""
    calm = make_study(name="calm", trials=1).run()
    seen: list[int] = []
    monkeypatch.setattr(Engine, "step", out_of_memory(2, seen))
    shot = make_study(name="tight", trials=1).run()
    assert seen[:3] == [16, 8, 4]
    assert shot["trials"][0]["state"] == "completed"
    assert shot["trials"][0]["value"] == pytest.approx(calm["trials"][0]["value"])
    assert shot["trials"][0]["attempts"] == 3


@pytest.mark.slow
def test_out_of_memory_never_makes_the_micro_batch_larger(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine began with 4 of 16 rows because more would not fit: the next attempts have 2 and 1."""
    monkeypatch.setattr(Packer, "rows_that_fit", lambda *_: 4)
    seen: list[int] = []
    monkeypatch.setattr(Engine, "step", out_of_memory(2, seen))
    shot = make_study(trials=1).run()
    assert seen[:3] == [4, 2, 1]
    assert shot["trials"][0]["state"] == "completed"


@pytest.mark.slow
def test_the_third_death_from_memory_fails_the_trial_with_advice(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study goes on with the next trial."""
    seen: list[int] = []
    monkeypatch.setattr(Engine, "step", out_of_memory(3, seen))
    shot = make_study(trials=2, pack=1).run()
    assert [t["state"] for t in shot["trials"]] == ["failed", "completed"]
    because = shot["trials"][0]["because"]
    assert "3 times" in because and "--max-length" in because


def run_row(**fields: Any) -> RunRow:
    defaults: dict[str, Any] = {
        "study": "s",
        "run": "trial-0000",
        "role": RunRole.TRIAL,
        "trial": 0,
        "state": TrialState.RUNNING,
        "config": {},
        "proposed_by": "",
        "because": "",
        "value": None,
        "metrics": {},
        "seed": 0,
        "attempts": 1,
        "deaths": 0,
        "stalled_deaths": 0,
        "seconds": 0.0,
        "step": 7,
        "total_steps": 10,
        "micro_batch": None,
        "started_at": 0.0,
        "ended_at": None,
    }
    return RunRow(**{**defaults, **fields})


def test_a_kill_for_memory_is_told_from_other_kills_by_the_machines_own_counter(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's out-of-memory counter rose since the last pulse, or memory was full at it."""
    study = make_study()
    path = pulse.pulse_path(study.store.study_dir("toy"))
    path.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(recovery, "oom_kill_count", lambda: 5)
    path.write_text(json.dumps({"oom_kills": 5, "memory_percent": 40.0}))
    assert not recovery.was_killed_for_memory(study.store, "toy")
    path.write_text(json.dumps({"oom_kills": 4, "memory_percent": 40.0}))
    assert recovery.was_killed_for_memory(study.store, "toy")
    path.write_text(json.dumps({"oom_kills": 5, "memory_percent": 99.5}))
    assert recovery.was_killed_for_memory(study.store, "toy")


def test_verdicts_on_interrupted_runs() -> None:
    """Memory deaths halve and count to three; other deaths only count while there is no progress."""
    first = recovery.judge_death(run_row(), for_memory=True, batch_size=16)
    assert (first.micro_batch, first.deaths, first.failure) == (8, 1, "")
    third = recovery.judge_death(run_row(deaths=2, micro_batch=4), for_memory=True, batch_size=16)
    assert third.deaths == 3 and "3 times" in third.failure
    other = recovery.judge_death(run_row(deaths=2, stalled_deaths=1), for_memory=False, batch_size=16)
    assert (other.micro_batch, other.deaths, other.stalled_deaths, other.failure) == (None, 2, 2, "")
    stuck = recovery.judge_death(run_row(stalled_deaths=4), for_memory=False, batch_size=16)
    assert "5 times at training step 7" in stuck.failure


def test_what_is_halved_are_the_passes_that_the_run_really_made() -> None:
    """As its worker noted them at the start, or as limited since; a batch only where nothing was noted."""

    def halved(**fields: Any) -> int | None:
        return recovery.judge_death(run_row(**fields), for_memory=True, batch_size=16).micro_batch

    assert halved(config={"batch_size": 32}, metrics={"micro_batch": 4}) == 2
    assert halved(config={"batch_size": 32}, metrics={"micro_batch": 4}, micro_batch=2) == 1
    assert halved(config={"batch_size": 32}) == 16 and halved() == 8
    large = run_row(run="large", config={"batch_size": 8}, metrics={"micro_batch": 8})
    cut = run_row(run="cut", config={"batch_size": 32}, metrics={"micro_batch": 4})
    assert recovery.charged([cut, large], for_memory=True, batch_size=16) == {"large"}


@pytest.mark.parametrize(("for_memory", "then"), [(True, 2), (False, 16)])
def test_a_run_that_had_little_room_gets_less_only_if_it_died_of_that(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch, for_memory: bool, then: int
) -> None:
    """The first worker had room for 4 of 16 rows. After a kill for memory 2 are next; after another as many as fit."""
    study = make_study(trials=1)
    real, fits, seen = Engine.step, [4], []

    def step(self: Engine, only: Any = None) -> Any:
        seen.append(next(iter(self._slots.values())).micro_batch)
        if len(seen) == 1:
            raise KeyboardInterrupt  # nothing of the worker's own sees to its runs, as after a SIGKILL
        return real(self, only)

    monkeypatch.setattr(Engine, "step", step)
    monkeypatch.setattr(Packer, "rows_that_fit", lambda *_: fits[-1])
    monkeypatch.setattr("autoglm_nb.tuning.worker.was_killed_for_memory", lambda *_: for_memory)
    with pytest.raises(KeyboardInterrupt):
        study.run()
    fits.append(64)
    (trial,) = study.run()["trials"]
    assert trial["state"] == "completed", trial["because"]
    assert seen[:2] == [4, then]


def start_worker(study: Study) -> Forked:
    environment = {**os.environ, "AUTOGLM_THREADS": "1", "AUTOGLM_CHECKPOINT_SECONDS": "0.2"}
    return Forked(main, ["--home", str(study.home), "--study", study.name], environment=environment)


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


LONG = "learning_rate = choice(1e-3, 2e-3, 3e-3)\nbatch_size = 4\nepochs = 600"


@pytest.fixture
def processes() -> Iterator[list[Forked]]:
    started: list[Forked] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_worker_killed_for_memory_three_times_fails_its_trial(
    make_study: Callable[..., Study], processes: list[Forked], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL with the machine's counter raised: half the micro-batch twice, then the sentence."""
    study = make_study(space=LONG, trials=1)
    path = pulse.pulse_path(study.store.study_dir("toy"))
    micro = []
    tail = EventTail(study.store.study_dir("toy") / "events.jsonl")
    for _ in range(3):
        worker = start_worker(study)
        processes.append(worker)
        until(lambda: any(event.type == "step" for event in tail.poll()))
        until(lambda: pulse.read_pulse(path.parent).get("oom_kills", -1) != -1)
        row = study.store.run("toy", "trial-0000")
        micro.append(row.micro_batch if row else None)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        tail.poll()  # a step of this worker must not be taken for one of the next
        path.write_text(json.dumps({"oom_kills": -1, "memory_percent": 50.0}))  # the counter has risen since
        study.store.update_run("toy", "trial-0000", step=0)
    assert micro == [None, 2, 1]
    shot = study.run()
    assert [t["state"] for t in shot["trials"]] == ["failed"]
    assert "3 times" in shot["trials"][0]["because"]


@pytest.mark.slow
def test_pause_frees_the_device_and_resume_goes_on(make_study: Callable[..., Study], processes: list[Forked]) -> None:
    """While one study stands still, another one runs on the same device; then the first goes on where it was."""
    first = make_study(space=LONG, trials=1)
    worker = start_worker(first)
    processes.append(worker)
    until(lambda: any(t["step"] > 0 for t in first.snapshot()["trials"]))
    first.store.request("toy", Action.PAUSE)
    until(lambda: first.store.state("toy")[0] is StudyState.PAUSED)
    assert make_study(name="second", trials=1).run()["study"]["state"] == "finished"
    step = first.snapshot()["trials"][0]["step"]
    first.store.request("toy", Action.RESUME)
    until(lambda: first.snapshot()["trials"][0]["step"] > step)
    first.store.request("toy", Action.STOP)
    worker.wait(timeout=120)
    assert first.store.state("toy")[0] is StudyState.STOPPED


@pytest.mark.slow
def test_a_second_study_waits_for_a_busy_device(make_study: Callable[..., Study], processes: list[Forked]) -> None:
    """It shows as queued, names the study in front, and starts when that one ends."""
    first = make_study(space=LONG, trials=1)
    processes.append(start_worker(first))
    until(lambda: first.store.state("toy")[0] is StudyState.RUNNING)
    second = make_study(name="second", trials=1)
    processes.append(start_worker(second))
    until(lambda: "toy" in second.store.state("second")[1])
    assert second.store.state("second")[0] is StudyState.QUEUED
    first.store.request("toy", Action.STOP)
    until(lambda: second.store.state("second")[0] is StudyState.FINISHED)


@pytest.mark.slow
def test_two_workers_of_one_study_do_not_both_run(make_study: Callable[..., Study], processes: list[Forked]) -> None:
    """Two notebooks start the same study: the second worker leaves at once."""
    study = make_study(space=LONG, trials=1)
    processes.append(start_worker(study))
    until(lambda: study.store.state("toy")[0] is StudyState.RUNNING)
    second = start_worker(study)
    processes.append(second)
    assert second.wait(timeout=120) == 0
    holder = study.store.holder("toy")
    assert holder is not None and holder.pid == processes[0].pid


@pytest.mark.slow
def test_sigterm_leaves_the_study_resumable(make_study: Callable[..., Study], processes: list[Forked]) -> None:
    """A polite end writes a checkpoint; the study shows as interrupted and finishes later."""
    study = make_study(space=LONG.replace("600", "32"), trials=1)
    worker = start_worker(study)
    processes.append(worker)
    until(lambda: any(t["step"] > 3 for t in study.snapshot()["trials"]))
    worker.terminate()
    assert worker.wait(timeout=120) == 0
    assert study.store.state("toy")[0] is StudyState.INTERRUPTED
    row = study.store.run("toy", "trial-0000")
    assert row is not None and row.step > 0
    assert study.run()["trials"][0]["state"] == "completed"


def test_a_half_written_checkpoint_is_passed_over(make_study: Callable[..., Study]) -> None:
    """Garbage where the newest checkpoint should be: the trial still completes, with its own number."""
    study = make_study(trials=1)
    folder = study.store.run_dir("toy", "trial-0000") / "checkpoints" / "step-000005"
    folder.mkdir(parents=True)
    (folder / "tensors.safetensors").write_bytes(b"\x00\x01")
    (folder / "state.json").write_text("{")
    shot = study.run()
    assert [t["state"] for t in shot["trials"]] == ["completed"]


def test_a_full_disk_pauses_the_study_and_keeps_what_is_finished(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second trial's checkpoint does not fit: paused with a sentence, and later all is there."""
    study = make_study(trials=2, pack=1)
    real = Engine.save_checkpoint

    def save(self: Engine, slot: int, folder: Path) -> Path:
        if "trial-0001" in str(folder):
            raise DiskFullError("There is no room left on the disk. Free some space.")
        return real(self, slot, folder)

    monkeypatch.setattr(Engine, "save_checkpoint", save)
    shot = study.run()
    assert shot["study"]["state"] == "paused" and "no room left" in shot["study"]["reason"]
    assert shot["trials"][0]["state"] == "completed"
    monkeypatch.undo()
    again = study.run()
    assert again["study"]["state"] == "finished"
    assert again["trials"][0]["value"] == shot["trials"][0]["value"]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
@pytest.mark.slow
def test_a_really_full_disk(make_study: Callable[..., Study], tmp_path: Path) -> None:
    """A file system of 3 MB that fills up in mid-study: paused, and finished once there is room."""
    home = tmp_path / "home"
    home.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(home)], check=False).returncode:
        pytest.skip("this machine does not let root mount a file system")
    try:
        study = make_study(trials=2)
        ballast = home / "ballast"
        descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
        try:
            with contextlib.suppress(OSError):
                while os.write(descriptor, b"\0" * 4096):
                    pass
            os.ftruncate(descriptor, ballast.stat().st_size - 300_000)
        finally:
            os.close(descriptor)
        worker = start_worker(study)
        worker.wait(timeout=120)
        state, reason = study.store.state("toy")
        assert state in (StudyState.PAUSED, StudyState.INTERRUPTED, StudyState.QUEUED), (state, reason)
        ballast.unlink()
        again = study.run()
        assert again["study"]["state"] == "finished", again["study"]["reason"]
        assert [t["state"] for t in again["trials"]] == ["completed", "completed"]
    finally:
        subprocess.run(["umount", "-l", str(home)], check=False)


def test_a_pass_that_fails_only_when_shared_is_shared_no_more(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's own fault: all go on apart, a message says so once, the log has the traceback."""
    real = engine_module.make_rounds

    def make_rounds(slots: Any, *rest: Any) -> Any:
        if len(slots) > 1:
            raise IndexError("only together")
        return real(slots, *rest)

    monkeypatch.setattr(engine_module, "make_rounds", make_rounds)
    study = make_study(pack=3)
    shot = study.run()
    assert [t["state"] for t in shot["trials"]] == ["completed"] * 3
    told = [event["text"] for event in events(study, "message")]
    assert len([text for text in told if "share none from now on" in text]) == 1
    assert "only together" in (study.store.study_dir("toy") / "worker.log").read_text()


def test_what_fails_every_run_ends_the_study_and_leaves_the_rest_untried(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After three in a row; a study with a budget alone would go on failing until it is used up."""

    def make_rounds(*_: Any) -> Any:
        raise ZeroDivisionError("every time")

    with monkeypatch.context() as patched:
        patched.setattr(engine_module, "make_rounds", make_rounds)
        study = make_study(trials=None, budget="1h", pack=1)
        shot = study.run()
    assert shot["study"]["state"] == StudyState.FAILED and "ZeroDivisionError" in shot["study"]["reason"]
    assert [t["state"] for t in shot["trials"]][:2] == ["failed", "failed"] and len(shot["trials"]) == 3


def test_stop_is_heard_between_trials_that_fail_at_once(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configurations that do not fit the base are refused before a step is made; requests are served between them."""
    real, refused = Engine.admit, []

    def admit(self: Engine, plan: Any, **options: Any) -> int:
        refused.append(plan.run)
        if len(refused) == 3:
            study.store.request("toy", Action.STOP)
        if len(refused) > 50:
            return real(self, plan, **options)
        time.sleep(0.1)
        raise ModelError("It does not fit.")

    monkeypatch.setattr(Engine, "admit", admit)
    study = make_study(trials=None, budget="1h", pack=1)
    assert study.run()["study"]["state"] == StudyState.STOPPED
    assert 3 <= len(refused) < 50
