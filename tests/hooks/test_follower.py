"""Each thing once, in order, through restarts, crashes and lost files; and a hook that fails harms nobody."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from autoglm_nb.errors import UsageError
from autoglm_nb.hooks import HOOKS, HookFollower, RunInfo, StudyInfo, check, follower, make, process, start
from autoglm_nb.protocol import StudyState, TrialState
from autoglm_nb.store import EventWriter, snapshot
from autoglm_nb.store.hook_state import hook_state
from tests.hooks.conftest import Played, Recorder, create

WHOLE = [
    ("study started", "reviews", False),
    ("started", "trial-0000"),
    ("report", "trial-0000", 1, 0.7),
    ("report", "trial-0000", 2, 0.8),
    ("ended", "trial-0000", "completed", 0.8),
    ("started", "trial-0001"),
    ("report", "trial-0001", 1, 0.75),
    ("ended", "trial-0001", "completed", 0.75),
    ("study ended", "finished", 0.8, 0),
]


def _follow(played: Played, hook: Recorder) -> HookFollower:
    return HookFollower(played.store, played.name, "mlflow", hook)


def _two_trials(played: Played) -> None:
    played.trial(0, [0.7, 0.8])
    played.trial(1, [0.75])


def test_a_study_is_told_from_start_to_end_in_order(played: Played) -> None:
    """Trials, reports and ends as they happened, then the end of the study; steps are not told."""
    _two_trials(played)
    hook = Recorder()
    follow = _follow(played, hook)
    assert not follow.step()
    played.finish()
    assert follow.step()
    assert hook.calls == WHOLE


@pytest.mark.parametrize("seed", range(6))
def test_whoever_goes_on_tells_nothing_twice(played: Played, seed: int) -> None:
    """The course of a study cut into pieces at random, each followed by a new process: together they tell it once."""
    rng = random.Random(seed)
    acts: list[Any] = [
        lambda: played.begin(0), lambda: played.report(0, 1, 0.7), lambda: played.begin(1),
        lambda: played.report(0, 2, 0.8), lambda: played.report(1, 1, 0.75), lambda: played.end(0, 0.8),
        lambda: played.end(1, 0.75), played.finish,
    ]  # fmt: skip
    told: list[tuple[Any, ...]] = []
    hook = Recorder()
    follow = _follow(played, hook)
    for act in acts:
        act()
        if rng.random() < 0.6:
            follow.step()
        if rng.random() < 0.5:  # a new process
            told += hook.calls
            hook = Recorder()
            follow = _follow(played, hook)
    if not hook_state(played.store, "reviews", "mlflow").over:
        assert follow.step()
    told += hook.calls
    starts = [c for c in told if c[0] == "study started"]
    assert [c[2] for c in starts] == [False] + [True] * (len(starts) - 1)
    rest = [c for c in told if c[0] != "study started"]
    assert len(rest) == len(set(rest)) and sorted(map(str, rest)) == sorted(map(str, WHOLE[1:]))
    for run in ("trial-0000", "trial-0001"):
        mine = [c[0] for c in rest if c[1] == run]
        assert mine == ["started", *["report"] * (len(mine) - 2), "ended"]
    assert hook.memory == {"trial-0000": "seen", "trial-0001": "seen"}


def test_a_trial_that_another_worker_takes_up_again_is_one_trial(played: Played) -> None:
    """After a crash the worker emits `started` and an earlier evaluation once more: told once."""
    played.begin(0)
    played.report(0, 1, 0.7)
    played.report(0, 2, 0.8)
    played.begin(0)
    played.report(0, 2, 0.8)
    played.report(0, 3, 0.9)
    hook = Recorder()
    _follow(played, hook).step()
    assert hook.calls[1:] == [
        ("started", "trial-0000"),
        ("report", "trial-0000", 1, 0.7),
        ("report", "trial-0000", 2, 0.8),
        ("report", "trial-0000", 3, 0.9),
    ]


def test_a_trial_set_aside_has_not_ended(played: Played) -> None:
    """`ended` with the state waiting comes from a pause: the trial goes on later."""
    played.begin(0)
    played.events.emit("ended", run="trial-0000", trial=0, state="waiting", value=None, because="Paused.")
    hook = Recorder()
    _follow(played, hook).step()
    assert [c[0] for c in hook.calls] == ["study started", "started"]


def test_what_no_event_tells_is_told_from_the_rows(played: Played) -> None:
    """The event file is gone: trials and their end are told from the store, in order, once."""
    _two_trials(played)
    played.events.close()
    (played.store.study_dir("reviews") / "events.jsonl").unlink()
    played.store.set_state("reviews", StudyState.FINISHED)
    hook = Recorder()
    assert _follow(played, hook).step()
    assert [c for c in hook.calls if c[0] != "report"] == [c for c in WHOLE if c[0] != "report"]


def test_a_new_event_file_is_read_from_its_start(played: Played) -> None:
    """Numbers begin at one again; runs and evaluations say what is known."""
    played.trial(0, [0.7, 0.8])
    hook = Recorder()
    _follow(played, hook).step()
    played.events.close()
    path = played.store.study_dir("reviews") / "events.jsonl"
    path.unlink()
    played.events = EventWriter(path)
    played.begin(1)
    played.report(1, 1, 0.75)
    second = Recorder()
    _follow(played, second).step()
    assert second.calls == [("study started", "reviews", True), ("started", "trial-0001"), WHOLE[6]]


def test_a_finished_study_that_is_continued_goes_on(played: Played) -> None:
    """More trials after the end: the study is resumed, only what is new is told, and its end once more."""
    _two_trials(played)
    played.finish()
    assert _follow(played, Recorder()).step()
    assert not follower.wanted(played.store, "reviews", "mlflow")
    played.store.set_state("reviews", StudyState.RUNNING)
    assert follower.wanted(played.store, "reviews", "mlflow")
    played.trial(2, [0.9])
    played.finish()
    hook = Recorder()
    assert _follow(played, hook).step()
    assert hook.calls == [
        ("study started", "reviews", True),
        ("started", "trial-0002"),
        ("report", "trial-0002", 1, 0.9),
        ("ended", "trial-0002", "completed", 0.9),
        ("study ended", "finished", 0.9, 2),
    ]


def test_values_that_are_not_numbers_are_not_told(played: Played) -> None:
    """NaN becomes null in an event; a damaged line is passed over."""
    played.begin(0)
    for value in (float("nan"), None, "0.9"):
        played.events.emit("report", run="trial-0000", trial=0, rung=1, rungs=4, value=value)
    with (played.store.study_dir("reviews") / "events.jsonl").open("a") as file:
        file.write("{half a li\n")
    played.end(0, None, TrialState.FAILED, "The loss became NaN.")
    hook = Recorder()
    _follow(played, hook).step()
    assert hook.calls[2:] == [("ended", "trial-0000", "failed", None)]


class _Breaks(Recorder):
    """Fails at its second report."""

    def on_report(self, study: StudyInfo, run: RunInfo, rung: int, value: float, at: float) -> None:
        if rung == 2:
            raise ConnectionError("no route to \x1b[31m<b>tracker</b>\nat all")
        super().on_report(study, run, rung, value, at)


def test_a_failing_hook_is_told_about_once_and_goes_on_from_there_later(played: Played) -> None:
    """One message in the snapshot, cleaned; the study is untouched; a later process tells the rest, nothing twice."""
    _two_trials(played)
    played.finish()
    hook = _Breaks()
    assert not _follow(played, hook).run()
    assert hook.closed == 1
    shot = snapshot(played.store, "reviews")
    told = [m for m in shot["messages"] if m["level"] == "warning"]
    assert [m["text"] for m in told] == [
        "Logging to mlflow stopped: ConnectionError: no route to [31m<b>tracker</b> at all. The study goes on; "
        "`%autotune attach reviews` tries again."
    ]
    assert shot["study"]["state"] == "finished"
    assert follower.wanted(played.store, "reviews", "mlflow")
    again = Recorder()
    assert _follow(played, again).run()
    assert hook.calls + again.calls[1:] == WHOLE
    assert snapshot(played.store, "reviews")["messages"] == []


def test_one_failing_hook_leaves_the_others_alone(home: Path) -> None:
    """Two hooks, one study: each has its own thread and its own state."""
    played = create(home, hooks=("mlflow", "wandb"))
    _two_trials(played)
    played.finish()
    broken, sound = _Breaks(), Recorder()
    threads = [
        threading.Thread(target=HookFollower(played.store, "reviews", name, hook).run)
        for name, hook in (("mlflow", broken), ("wandb", sound))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sound.calls == WHOLE and broken.calls == WHOLE[:3]


def test_a_study_without_a_worker_is_left_after_a_while(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted and nobody replaces the worker: the follower goes, without an end of the study."""
    monkeypatch.setattr(follower, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr(follower, "POLL_SECONDS", 0.05)
    played.begin(0)
    hook = Recorder()
    assert not _follow(played, hook).run()
    assert [c[0] for c in hook.calls] == ["study started", "started"] and hook.closed == 1
    assert follower.wanted(played.store, "reviews", "mlflow")


def test_an_unknown_hook_or_a_missing_library_is_a_fault_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both at once, each with its remedy."""
    monkeypatch.setitem(HOOKS, "wandb", ("WandbHook", "no_such_library_here", "wandb"))
    with pytest.raises(UsageError) as error:
        check(["mlfow", "wandb"])
    assert "Did you mean 'mlflow'?" in error.value.faults[0]
    assert "`%pip install wandb`" in error.value.faults[1]
    assert check(["tensorboard", "mlflow", "tensorboard"]) == ("tensorboard", "mlflow")


@pytest.mark.parametrize("name", HOOKS)
def test_every_named_hook_can_be_made(name: str) -> None:
    """The table, the module and the class agree."""
    assert make(name, {}).name == name


def test_nothing_is_started_where_nothing_is_to_be_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hooks, an unknown study, no store, a process that follows already: no process."""
    monkeypatch.setattr(process, "_spawn", lambda *_: pytest.fail("a process was started"))
    assert start(home, "reviews") is None
    played = create(home, hooks=())
    assert start(home, "reviews") is None and start(home, "nope") is None
    other = create(home, "films")
    lock = process.lock_of(other.store, "films")
    Path(lock.lock_file).parent.mkdir(parents=True)
    with lock:
        assert start(home, "films") is None
    assert played.name == "reviews"


@pytest.mark.slow
def test_the_process_outlives_its_kernel_and_ends_with_the_study(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started by a kernel that exits at once; it sees the study through, and a second one steps aside."""
    monkeypatch.setenv("AUTOGLM_TENSORBOARD_DIR", str(tmp_path / "boards"))
    played = create(home, hooks=("tensorboard",))
    code = (
        "import sys; from pathlib import Path; from autoglm_nb import hooks\n"
        "print(hooks.start(Path(sys.argv[1]), 'reviews').pid)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    played.trial(0, [0.7, 0.8])
    _until(lambda: hook_state(played.store, "reviews", "tensorboard").ended == ["trial-0000"])
    os.kill(pid, 0)  # alive, though its kernel is gone
    second = subprocess.run(
        [sys.executable, "-m", "autoglm_nb.hooks", "--home", str(home), "--study", "reviews"], timeout=60
    )
    assert second.returncode == 0
    played.finish()
    _until(lambda: hook_state(played.store, "reviews", "tensorboard").over == "finished")
    assert list((tmp_path / "boards" / "reviews" / "trial-0000").iterdir())
    assert (played.store.study_dir("reviews") / "hooks" / "hooks.log").read_text() == ""


def _until(holds: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
