"""Studies: identity, names, states and the list."""

from __future__ import annotations

import dataclasses

import pytest

from autoglm_nb.errors import StoreError, StudyMismatchError, StudyNotFoundError, UsageError
from autoglm_nb.protocol import DataSpec, RunRole, StudyState, TrialState
from autoglm_nb.space import parse_cell
from autoglm_nb.store import Store, snapshot
from tests.store.conftest import make_spec


def test_a_study_comes_back_as_it_was_given(store: Store) -> None:
    """The worker reads the request from the store alone."""
    spec = make_spec(trials=7, enqueue=({"rank": 4},), constraints=("memory_gb <= 10",), cell="%%autotune …")
    store.create_study(spec)
    assert store.spec("reviews") == spec
    assert store.state("reviews") == (StudyState.QUEUED, "")
    assert store.has_study("reviews") and not store.has_study("other")


def test_the_same_identity_continues_with_new_trials_and_budget(store: Store, study: str) -> None:
    """`--trials` is a total that may be raised; state and results stay."""
    store.set_state(study, StudyState.FINISHED)
    store.continue_study(make_spec(trials=40, budget_seconds=60.0, strategy="random", executor="thread"))
    assert store.spec(study).trials == 40
    assert store.spec(study).strategy == "random"
    assert store.state(study)[0] is StudyState.FINISHED
    store.create_study(make_spec(trials=50))
    assert store.spec(study).trials == 50
    assert len(store.studies()) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": DataSpec("other.csv", text=("text",), target="label")}, "data 'reviews.csv' where 'other.csv'"),
        ({"data": DataSpec("reviews.csv", text=("text",), target="label", checksum="1")}, "other content of 'reviews."),
        ({"model": "smollm2-135m"}, "model 'minilm' where 'smollm2-135m' is given"),
        ({"metric": "macro_f1"}, "metric 'accuracy' where 'macro_f1' is given"),
        ({"seed": 3}, "seed 0 where 3 is given"),
        ({"task": "causal-lm"}, "task 'classification' where 'causal-lm'"),
        ({"space": parse_cell("learning_rate = loguniform(1e-5, 0.1)", {}).to_json()}, "learning_rate changed from"),
        ({"space": parse_cell("rank = choice(4, 8)", {}).to_json()}, "learning_rate was removed"),
        ({"space": parse_cell("rank = choice(4, 8)", {}).to_json()}, "rank was added"),
        ({"space": {"version": 99}}, "another search space (it has another form)"),
    ],
)
def test_another_identity_is_refused_with_what_differs_and_a_fork(
    store: Store, study: str, change: dict[str, object], said: str
) -> None:
    """Results on other data must not be mixed into a study."""
    given = make_spec(identity="other", **change)
    for call in (store.create_study, store.continue_study):
        with pytest.raises(StudyMismatchError) as caught:
            call(given)
        assert said in str(caught.value)
        assert "--fork to start 'reviews-2'" in str(caught.value)
    assert store.spec(study) == make_spec()


def test_without_identities_the_requests_themselves_are_compared(store: Store) -> None:
    """A caller of the store may leave the hash out."""
    store.create_study(make_spec(identity=""))
    store.create_study(make_spec(identity="", trials=3))
    with pytest.raises(StudyMismatchError):
        store.create_study(make_spec(identity="", seed=1))


def test_forks_are_numbered_on(store: Store, study: str) -> None:
    """reviews, reviews-2, reviews-3, whichever of them is forked."""
    assert store.fork_name("reviews") == "reviews-2"
    store.create_study(make_spec("reviews-2"))
    assert store.fork_name("reviews") == "reviews-3"
    assert store.fork_name("reviews-2") == "reviews-3"
    assert store.fork_name("a-b") == "a-b-2"


def test_the_space_of_a_study_never_changes(store: Store, study: str) -> None:
    """Trials of two spaces are not comparable: an edited cell is another study, so a space has no history."""
    wider = parse_cell("learning_rate = loguniform(1e-6, 1e-1)", {}).to_json()
    before = store.spec(study).space
    for identity in ("other", ""):
        with pytest.raises(StudyMismatchError, match=r"another search space .*learning_rate.*--fork"):
            store.continue_study(make_spec(space=wider, identity=identity))
    with pytest.raises(StudyMismatchError):
        store.create_study(make_spec(space=wider, identity="other"))
    assert store.spec(study).space == before == snapshot(store, study)["space"]
    store.create_study(make_spec("reviews-2", space=wider, identity="other"))
    assert snapshot(store, study)["space"] == before


def test_an_unknown_name_suggests_the_near_ones(store: Store, study: str) -> None:
    """A typing error is the usual cause."""
    for call in (store.spec, store.state, store.provenance, store.final, store.active_seconds):
        with pytest.raises(StudyNotFoundError, match=r"no study named 'reveiws'.*Did you mean 'reviews'"):
            call("reveiws")
    with pytest.raises(StudyNotFoundError):
        store.set_state("reveiws", StudyState.RUNNING)
    with pytest.raises(StudyNotFoundError):
        store.continue_study(make_spec("reveiws"))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", ".hidden", "nul", "CON.txt", "a\nb", "a ", "x" * 101, "*"]
)
def test_names_that_cannot_be_folders_are_refused(store: Store, name: str) -> None:
    """The name is a folder under runs/, on every system."""
    with pytest.raises(UsageError, match="must begin with a letter or digit"):
        store.create_study(make_spec(name))
    with pytest.raises(UsageError):
        store.study_dir(name)


@pytest.mark.parametrize("name", ["reviews", "a", "2026 run (b)", "レビュー", "müller.v1", "a_b-c"])
def test_names_of_other_alphabets_are_welcome(store: Store, name: str) -> None:
    """Folders may be named in any language."""
    store.create_study(make_spec(name))
    assert [s.name for s in store.studies()] == [name]


def test_provenance_final_and_active_seconds_are_kept(store: Store, study: str) -> None:
    """What was resolved is pinned; time adds up over workers."""
    assert store.provenance(study) == {} and store.final(study) is None
    store.set_provenance(study, {"model": {"version": "1.0"}, "score": float("nan"), "path": store.home})
    store.set_final(study, {"metric": "accuracy", "seeds": (0, 1, 2)})
    store.add_active_seconds(study, 1.5)
    store.add_active_seconds(study, 2.0)
    assert store.provenance(study) == {"model": {"version": "1.0"}, "score": None, "path": str(store.home)}
    assert store.final(study) == {"metric": "accuracy", "seeds": [0, 1, 2]}
    assert store.active_seconds(study) == 3.5
    store.set_final(study, None)
    assert store.final(study) is None


def test_active_states_without_a_living_worker_are_interrupted(store: Store, study: str) -> None:
    """Nobody writes INTERRUPTED: a killed worker could not."""
    for state in (StudyState.PREPARING, StudyState.RUNNING, StudyState.CONFIRMING):
        store.set_state(study, state)
        shown, reason = store.state(study)
        assert shown is StudyState.INTERRUPTED and "same name" in reason
        with_lease = store.acquire(study, "cpu")
        assert with_lease is not None
        assert store.state(study) == (state, "")
        assert store.studies()[0].state is state
        with_lease.release()
    for state in (StudyState.QUEUED, StudyState.PAUSED, StudyState.FINISHED, StudyState.STOPPED, StudyState.FAILED):
        store.set_state(study, state, "because")
        assert store.state(study) == (state, "because")
    with pytest.raises(ValueError, match="it follows from a lease"):
        store.set_state(study, StudyState.INTERRUPTED)


def test_the_list_tells_best_value_and_progress_without_optuna(store: Store) -> None:
    """Optuna may not have made its tables yet; failed and infinite values are never best."""
    store.create_study(make_spec("up", trials=9))
    store.create_study(make_spec("down", metric="loss", notebook="a.ipynb"))
    store.create_study(make_spec("new"))
    for name in ("up", "down"):
        for i, (value, state) in enumerate(
            [(0.5, "completed"), (0.9, "pruned"), (0.7, "completed"), (float("inf"), "completed"), (None, "failed")]
        ):
            store.start_run(name, f"trial-{i:04d}", RunRole.TRIAL, config={}, trial=i)
            store.end_run(name, f"trial-{i:04d}", TrialState(state), value=value)
        store.start_run(name, "trial-0005", RunRole.TRIAL, config={}, trial=5)
        store.start_run(name, "baseline", RunRole.BASELINE, config={})
        store.end_run(name, "baseline", TrialState.COMPLETED, value=0.99 if name == "up" else 0.01)
    lines = {s.name: s for s in store.studies()}
    assert (lines["up"].best_value, lines["up"].finished, lines["up"].total) == (0.7, 5, 9)
    assert (lines["down"].best_value, lines["down"].direction, lines["down"].notebook) == (0.5, "minimize", "a.ipynb")
    assert (lines["new"].best_value, lines["new"].finished) == (None, 0)


def test_a_custom_objective_has_a_value_and_no_loss(store: Store) -> None:
    """Nothing is known of what a function returns but the direction that was asked for."""
    store.create_study(make_spec("own", objective="f", task=None, data=DataSpec(""), direction=None))
    store.create_study(make_spec("named", objective="f", task=None, data=DataSpec(""), metric="val_loss"))
    shown = {s.name: (s.metric, s.direction) for s in store.studies()}
    assert shown == {"own": ("value", "maximize"), "named": ("val_loss", "minimize")}


def test_the_list_begins_with_what_has_a_worker_then_the_latest(store: Store) -> None:
    """One looks for what runs first."""
    for name in ("a", "b", "c"):
        store.create_study(make_spec(name))
    lease = store.acquire("a", "cpu")
    store.set_state("a", StudyState.RUNNING)
    store.add_note("b", "changed last")
    assert [s.name for s in store.studies()] == ["a", "b", "c"]
    assert lease is not None


def test_a_request_of_a_newer_version_is_an_error_not_a_crash(store: Store, study: str) -> None:
    """The spec has its own version."""
    newer = dataclasses.replace(make_spec(), version=99)
    with store._write() as connection:
        connection.execute("UPDATE autoglm_studies SET spec = ?", (newer.to_json(),))
    with pytest.raises(StoreError, match=r"cannot be read.*Upgrade"):
        store.spec(study)
