"""The picture of a study: complete, plain JSON, deterministic and quick."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoglm_nb.errors import StudyNotFoundError
from autoglm_nb.protocol import Event, RunRole, Snapshot, StudyState, TrialState
from autoglm_nb.store import EventWriter, LiveState, Store, snapshot
from autoglm_nb.store._headline import best_trial, curve
from autoglm_nb.store._trials import TrialFact
from benchmarks.store import fill
from tests.store.conftest import make_spec

OPTIONAL = {"decision", "importance", "importance_after"}


def _trial(store: Store, number: int, value: float | None, state: str = "completed", seconds: float = 10.0) -> None:
    run = f"trial-{number:04d}"
    store.start_run(
        "reviews", run, RunRole.TRIAL, config={"rank": number}, trial=number, total_steps=100, proposed_by="random"
    )
    store.update_run("reviews", run, seconds=seconds, step=100 if state == "completed" else 50)
    if state != "running":
        because = "" if state == "completed" else "below the median"
        store.end_run(
            "reviews",
            run,
            TrialState(state),
            value=value,
            metrics={"accuracy": value, "train_loss": 0.5},
            because=because,
        )


def _draw(store: Store, **arguments: object) -> Snapshot:
    """The picture, checked to be strict JSON and the same twice."""
    first, second = (snapshot(store, "reviews", **arguments) for _ in range(2))  # type: ignore[arg-type]
    assert json.dumps(first, allow_nan=False) == json.dumps(second, allow_nan=False)
    assert set(first) == set(Snapshot.__annotations__) - OPTIONAL
    return first


def test_a_new_study_has_a_picture_before_anything_ran(store: Store, study: str) -> None:
    """The cell shows its card at once; Optuna's tables do not exist yet."""
    picture = _draw(store)
    assert picture["study"]["name"] == study
    assert (picture["study"]["state"], picture["study"]["metric"]) == ("queued", "accuracy")
    assert picture["headline"] == {
        "best_value": None,
        "best_trial": None,
        "best_config": {},
        "baseline_value": None,
        "gain": None,
        "finished": 0,
        "total": 20,
        "seconds_left": None,
        "next": "",
    }
    assert picture["trials"] == [] and picture["curve"] == [] and picture["front"] == []
    assert picture["final"] is None and picture["readings"] == [] and picture["messages"] == []
    with pytest.raises(StudyNotFoundError):
        snapshot(store, "other")


@pytest.mark.parametrize(("metric", "best", "gain"), [("accuracy", 0.8, 0.05), ("loss", 0.6, 0.15)])
def test_the_headline_compares_with_the_default_settings(store: Store, metric: str, best: float, gain: float) -> None:
    """A gain is positive when it is better, whichever way is up."""
    store.create_study(make_spec(metric=metric))
    for number, value in enumerate([0.7, 0.8, 0.6, 0.8]):
        _trial(store, number, value)
    _trial(store, 4, 0.1, "pruned")
    _trial(store, 5, 0.99, "pruned")
    store.start_run("reviews", "baseline", RunRole.BASELINE, config={"rank": 1})
    assert _draw(store)["headline"]["gain"] is None
    store.end_run("reviews", "baseline", TrialState.COMPLETED, value=0.75)
    headline = _draw(store)["headline"]
    assert headline["best_value"] == best
    assert headline["best_trial"] == (1 if metric == "accuracy" else 2), "the earliest of equals"
    assert headline["best_config"] == {"rank": headline["best_trial"]}
    assert headline["gain"] == pytest.approx(gain)
    assert (headline["baseline_value"], headline["finished"]) == (0.75, 6)


def test_a_trial_tells_its_whole_story(store: Store, study: str) -> None:
    """State, reason, metrics, star."""
    _trial(store, 0, 0.8)
    _trial(store, 1, 0.4, "pruned", seconds=4.0)
    store.update_run(study, "trial-0001", attempts=2)
    store.add_note(study, "", kind="star", trial=0)
    done, pruned = _draw(store)["trials"]
    assert done["starred"] and not pruned["starred"]
    assert (done["progress"], done["values"], done["metrics"]["accuracy"], done["loss"]) == (1.0, [0.8], 0.8, 0.5)
    assert (pruned["because"], pruned["progress"], pruned["seconds"], pruned["attempts"]) == (
        "below the median",
        0.5,
        4.0,
        2,
    )
    assert pruned["proposed_by"] == "random"
    assert [n["kind"] for n in _draw(store)["notes"]] == ["star"]


def test_events_move_the_running_trial_and_nothing_else(store: Store, study: str) -> None:
    """The table is written once an evaluation, the events four times a second."""
    _trial(store, 0, 0.8)
    _trial(store, 1, None, "running")
    live = LiveState()
    for n, (run, step) in enumerate([("trial-0000", 3), ("trial-0001", 75)]):
        live.apply(Event(n, 1.0, "step", {"run": run, "trial": n, "step": step, "total_steps": 100, "loss": 0.25}))
    live.apply(Event(3, 2.0, "reading", {"cpu_percent": 90.0}))
    live.apply(Event(4, 3.0, "message", {"level": "warning", "text": "slow"}))
    picture = _draw(store, live=live)
    done, running = picture["trials"]
    assert (done["step"], done["progress"]) == (100, 1.0)
    assert (running["step"], running["progress"], running["loss"]) == (75, 0.75, 0.25)
    assert picture["readings"] == [{"t": 2.0, "cpu_percent": 90.0}]
    assert picture["messages"] == [{"t": 3.0, "level": "warning", "text": "slow"}]


def test_without_a_follower_the_end_of_the_event_file_is_read(store: Store, study: str) -> None:
    """A record made after the fact still has readings and messages."""
    _trial(store, 0, None, "running")
    with EventWriter(store.study_dir(study) / "events.jsonl") as events:
        events.emit("step", run="trial-0000", trial=0, step=60, total_steps=100, loss=0.5)
        events.emit("message", level="info", text="hello")
    picture = _draw(store)
    assert picture["trials"][0]["step"] == 60
    assert picture["messages"][0]["text"] == "hello"


def test_time_left_is_silent_until_two_trials_have_ended_then_follows_them(store: Store) -> None:
    """An estimate needs evidence; confirmation on three seeds of two configurations is part of it."""
    store.create_study(make_spec(trials=10, seeds=3))
    lease = store.acquire("reviews", "cpu")
    assert lease is not None
    store.set_state("reviews", StudyState.RUNNING)
    store.start_run("reviews", "baseline", RunRole.BASELINE, config={})
    store.end_run("reviews", "baseline", TrialState.COMPLETED, value=0.5)
    _trial(store, 0, 0.8)
    store.add_active_seconds("reviews", 10.0)
    assert _draw(store)["headline"]["seconds_left"] is None
    _trial(store, 1, 0.8)
    store.add_active_seconds("reviews", 10.0)
    assert _draw(store)["headline"]["seconds_left"] == pytest.approx(8 * 10 + 6 * 10)
    _trial(store, 2, None, "running")  # half done
    assert _draw(store)["headline"]["seconds_left"] == pytest.approx(7.5 * 10 + 6 * 10)
    store.continue_study(make_spec(trials=10, seeds=3, budget_seconds=60.0))
    assert _draw(store)["headline"]["seconds_left"] == pytest.approx(60 - 20)
    store.continue_study(make_spec(trials=None, budget_seconds=70.0))
    assert _draw(store)["headline"]["seconds_left"] == pytest.approx(70 - 20)
    store.set_state("reviews", StudyState.FINISHED)
    assert _draw(store)["headline"]["seconds_left"] is None


def test_trials_side_by_side_shorten_the_estimate(store: Store) -> None:
    """Four packed trials of 10 s each take 10 s of the clock together, not 40."""
    store.create_study(make_spec(trials=8, seeds=0, baseline=False))
    lease = store.acquire("reviews", "cpu")
    assert lease is not None
    store.set_state("reviews", StudyState.RUNNING)
    for number in range(4):
        _trial(store, number, 0.5)
    store.add_active_seconds("reviews", 10.0)
    assert _draw(store)["headline"]["seconds_left"] == pytest.approx(10.0)


def test_what_to_do_next_is_said_when_the_study_stands_still(store: Store, study: str) -> None:
    """One line; no path of this machine in it, because records are shared."""
    lease = store.acquire(study, "cpu")
    assert lease is not None
    store.set_state(study, StudyState.RUNNING)
    _trial(store, 0, 0.8)
    assert _draw(store)["headline"]["next"] == ""
    store.set_state(study, StudyState.PAUSED)
    assert "%autotune resume reviews" in _draw(store)["headline"]["next"]
    store.set_state(study, StudyState.FINISHED)
    assert "Adapter" not in _draw(store)["headline"]["next"]
    (store.run_dir(study, "trial-0000") / "adapter").mkdir(parents=True)
    line = _draw(store)["headline"]["next"]
    assert line.startswith("Adapter: .autoglm/runs/reviews/trial-0000/adapter. ")
    assert "best_model()" in line and "%explain reviews" in line and "\n" not in line
    assert str(store.home.parent) not in json.dumps(_draw(store))
    lease.release()
    store.set_state(study, StudyState.RUNNING)
    assert "--name reviews" in _draw(store)["headline"]["next"]


def test_a_study_stopped_without_a_completed_trial_points_at_its_log(store: Store, study: str) -> None:
    """There is no best trial to offer."""
    _trial(store, 0, None, "failed")
    store.set_state(study, StudyState.STOPPED)
    assert "%autotune logs reviews" in _draw(store)["headline"]["next"]


def test_pages_are_by_number_and_end_with_the_newest_by_default(store: Store, study: str) -> None:
    """What runs now is on the page one sees first."""
    for number in range(7):
        _trial(store, number, number / 10)

    def numbers(**arguments: object) -> list[int]:
        return [t["number"] for t in _draw(store, **arguments)["trials"]]

    assert numbers() == list(range(7))
    assert numbers(limit=3) == [4, 5, 6]
    assert numbers(limit=3, offset=0) == [0, 1, 2]
    assert numbers(limit=3, offset=6) == [6]
    assert numbers(limit=3, offset=9) == []
    assert numbers(limit=None, offset=5) == [5, 6]
    picture = _draw(store, limit=2, offset=0)
    assert (picture["trials_total"], picture["headline"]["best_trial"]) == (7, 6)
    assert picture["headline"]["best_config"] == {"rank": 6}


def test_final_and_provenance_are_passed_on(store: Store, study: str) -> None:
    """As the worker stored them; the device and task it resolved are shown."""
    final = {"metric": "accuracy", "split": "test", "rows": 10, "seeds": [0], "winner": {"values": [0.8]}}
    store.set_final(study, final)
    store.set_provenance(study, {"device": "cuda:0", "versions": {"torch": "2"}})
    picture = _draw(store)
    assert picture["final"] == final
    assert picture["study"]["device"] == "cuda:0"
    assert picture["provenance"]["versions"] == {"torch": "2"}


values = st.lists(
    st.tuples(
        st.sampled_from(["completed", "pruned", "failed", "running"]),
        st.one_of(st.none(), st.floats(-1e6, 1e6)),
        st.booleans(),
    ),
    max_size=600,
)


@given(values, st.sampled_from(["minimize", "maximize"]))
def test_the_curve_is_the_best_so_far(drawn: list[tuple[str, float | None, bool]], direction: str) -> None:
    """At most 200 points, each of them true, with the first, the last and the best among them."""
    trials = [TrialFact(i, i, state, value, ok) for i, (state, value, ok) in enumerate(drawn)]
    pick = min if direction == "minimize" else max
    counted = [t for t in trials if t.state == "completed" and t.feasible and t.value is not None]
    points = curve(trials, direction)
    assert len(points) == len(counted) if len(counted) <= 200 else 150 < len(points) <= 200
    for number, best in points:
        assert best == pick(t.value for t in counted if t.number <= number)  # type: ignore[type-var]
    assert [p[0] for p in points] == sorted({p[0] for p in points})
    best = best_trial(trials, direction)
    assert (best is None) == (not counted)
    if best is not None:
        assert points[0][0] == counted[0].number
        assert points[-1] == [counted[-1].number, best.value]


@pytest.mark.slow
def test_a_study_of_ten_thousand_trials_is_drawn_quickly(home: Path) -> None:
    """Optuna's own reading takes seconds; views ask twice a second."""
    with Store(home) as store:
        fill(store, "large", 10_000)
        times, list_times = [], []
        for _ in range(5):  # processor time, so that a busy machine does not count
            started = time.process_time()
            picture = snapshot(store, "large")
            times.append(time.process_time() - started)
            started = time.process_time()
            assert store.studies()[0].finished == 10_000
            list_times.append(time.process_time() - started)
        assert picture["trials_total"] == 10_000 and len(picture["trials"]) == 500
        assert 150 < len(picture["curve"]) <= 200
        assert min(times) < 0.3
        assert min(list_times) < 0.3


def test_the_number_of_queries_does_not_grow_with_the_trials(store: Store) -> None:
    """One query per trial would show only on large studies."""
    counts = []
    for name, trials in (("small", 3), ("larger", 90)):
        fill(store, name, trials)
        for number in range(trials, trials + trials // 3):
            store.start_run(name, f"trial-{number}", RunRole.TRIAL, config={}, trial=number)
        statements: list[str] = []
        store._connection().set_trace_callback(statements.append)
        snapshot(store, name)
        store._connection().set_trace_callback(None)
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_a_name_with_a_space_is_quoted_in_what_to_do_next(store: Store) -> None:
    """The line can be copied as it stands."""
    store.create_study(make_spec("old study"))
    store.start_run("old study", "trial-0000", RunRole.TRIAL, trial=0, config={})
    store.end_run("old study", "trial-0000", TrialState.COMPLETED, value=0.8)
    store.set_state("old study", StudyState.FINISHED)
    line = snapshot(store, "old study")["headline"]["next"]
    assert "%autotune best 'old study' -o best" in line and "%explain 'old study' says" in line


def test_the_reason_names_no_folder_of_this_machine(store: Store, study: str) -> None:
    """It is saved with the notebook, which goes to other people."""
    store.set_state(study, StudyState.FAILED, f"There is no room left on the disk to write {store.home}/studies.db.")
    assert _draw(store)["study"]["reason"] == (
        f"There is no room left on the disk to write {store.home.name}/studies.db."
    )


def test_a_store_that_is_the_working_folder_leaves_the_reason_whole(
    store: Store, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen from there its path is a full stop, which is part of every sentence."""
    monkeypatch.chdir(store.home)
    store.set_state(study, StudyState.FAILED, "It failed. Try again.")
    assert _draw(store)["study"]["reason"] == "It failed. Try again."
