"""A stamp changes when something has changed, and only then."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest

from autoglm_nb.protocol import Action, RunRole, StudyState, TrialState
from autoglm_nb.store import EventWriter, Store, Watch
from tests.store.conftest import Python, heard, make_spec

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def watch(store: Store, study: str) -> Watch:
    store.create_study(make_spec("other"))
    return Watch(Store(store.home, read_only=True))


def test_nothing_changed_nothing_shows(store: Store, study: str, watch: Watch) -> None:
    """Reading does not count as a change."""
    stamp, one = watch.stamp(), watch.study_stamp(study)
    store.studies()
    assert (watch.stamp(), watch.study_stamp(study)) == (stamp, one)


@pytest.mark.parametrize(
    "change",
    [
        lambda s, n: s.set_state(n, StudyState.PAUSED),
        lambda s, n: s.add_note(n, "look"),
        lambda s, n: s.request(n, Action.PAUSE),
        lambda s, n: s.start_run(n, "trial-0000", RunRole.TRIAL, config={}, trial=0),
        lambda s, n: s.optuna_study(n, ["maximize"]).ask(),
        lambda s, n: s.acquire(n, "cpu"),
    ],
)
def test_a_commit_shows_in_its_study_and_not_in_another(
    store: Store, study: str, watch: Watch, change: Callable[[Store, str], object]
) -> None:
    """By our own methods, and by a program that knows Optuna alone."""
    stamp, one, other = watch.stamp(), watch.study_stamp(study), watch.study_stamp("other")
    kept = change(store, study)
    assert kept is not study
    assert watch.stamp() != stamp
    assert watch.study_stamp(study) != one
    assert watch.study_stamp("other") == other


def test_the_end_of_a_trial_of_another_program_shows(store: Store, study: str, watch: Watch) -> None:
    """Optuna tells the value of a trial that was there already."""
    foreign = store.optuna_study(study, ["maximize"])
    trial = foreign.ask()
    before = watch.study_stamp(study)
    foreign.tell(trial, 0.5)
    assert watch.study_stamp(study) != before


def test_events_show_in_their_study_alone(store: Store, study: str, watch: Watch) -> None:
    """They are no commit."""
    stamp, one, other = watch.stamp(), watch.study_stamp(study), watch.study_stamp("other")
    with EventWriter(store.study_dir(study) / "events.jsonl") as events:
        events.emit("message", level="info", text="hello")
    assert watch.study_stamp(study) != one
    assert (watch.stamp(), watch.study_stamp("other")) == (stamp, other)


@pytest.mark.parametrize("file", ["decisions.json", "hooks/mlflow.json"])
def test_a_file_that_the_picture_is_drawn_from_shows(store: Store, study: str, watch: Watch, file: str) -> None:
    """A decision that came back and a hook that gave up; replaced whole, as they are written."""
    path = store.study_dir(study) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    before, other = watch.study_stamp(study), watch.study_stamp("other")
    draft = path.with_suffix(".tmp")
    draft.write_text('{"version": 1}')
    draft.replace(path)
    assert watch.study_stamp(study) != before
    assert watch.study_stamp("other") == other


def test_the_death_of_a_worker_shows_though_nobody_writes(
    store: Store, study: str, watch: Watch, python: Python
) -> None:
    """Its study is interrupted from then on."""
    worker = python("lease = Store(home).acquire('reviews', 'cpu'); say('got'); listen()")
    assert heard(worker) == "got"
    stamp, one = watch.stamp(), watch.study_stamp(study)
    worker.kill()
    worker.wait()
    assert watch.stamp() != stamp
    assert watch.study_stamp(study) != one


def test_a_heartbeat_has_its_study_looked_at_again(store: Store, study: str, watch: Watch) -> None:
    """A worker writes some columns without touching the study's row."""
    store.start_run(study, "trial-0000", RunRole.TRIAL, config={}, trial=0)
    lease = store.acquire(study, "cpu")
    assert lease is not None
    before = watch.study_stamp(study)
    store.update_run(study, "trial-0000", value=0.5, state=TrialState.RUNNING)
    lease.heartbeat()
    assert watch.study_stamp(study) != before


def test_a_watch_that_was_closed_opens_again(store: Store, study: str, watch: Watch) -> None:
    """A second close does nothing."""
    watch.stamp()
    watch.close()
    watch.close()
    assert watch.fingerprints().keys() == {study, "other"}
