"""All trials as arrays: the same facts as the snapshot, in a few bytes."""

from __future__ import annotations

import json

import optuna
import pytest

from autoglm_nb.errors import StudyNotFoundError
from autoglm_nb.protocol import RunRole, TrialState
from autoglm_nb.store import Store, points, snapshot
from autoglm_nb.store.points import STATE_LETTERS
from tests.store.test_trials import _foreign_study

optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_points_say_what_the_snapshot_says(store: Store, study: str) -> None:
    """Numbers, values and states of trials of every kind, those of another program among them."""
    _foreign_study(store, study, ["maximize"])
    found, trials = points(store, study), snapshot(store, study, limit=None)["trials"]
    assert found["numbers"] == [t["number"] for t in trials]
    assert found["states"] == "".join(STATE_LETTERS[t["state"]] for t in trials)
    assert set(found["states"]) >= set("wrcpf") - {"r"}
    assert found["values"] == [None if t["value"] is None else pytest.approx(t["value"], rel=1e-5) for t in trials]
    assert set(found) == {"numbers", "values", "states"}


def test_every_state_has_a_letter_of_its_own() -> None:
    """The front end draws by letter."""
    assert set(STATE_LETTERS) == {str(s) for s in TrialState}
    assert len(set(STATE_LETTERS.values())) == len(TrialState)


def test_a_column_of_numbers_stays_and_one_of_words_is_numbered(store: Store, study: str) -> None:
    """Mixed and boolean values are words; a parameter that is not active has no value."""
    configs = [
        {"rank": 8, "method": "lora", "packed": True, "odd": 1},
        {"rank": 16, "method": "dora", "packed": False, "odd": "x"},
        {"method": "full"},
    ]
    for number, config in enumerate(configs):
        store.start_run(study, f"trial-{number:04d}", RunRole.TRIAL, trial=number, config=config)
    columns = points(store, study, parameters=True)["parameters"]
    assert columns["rank"] == {"choices": None, "values": [8.0, 16.0, None]}
    assert columns["method"] == {"choices": ["dora", "full", "lora"], "values": [2.0, 0.0, 1.0]}
    assert columns["packed"] == {"choices": ["false", "true"], "values": [1.0, 0.0, None]}
    assert columns["odd"] == {"choices": ["1", "x"], "values": [0.0, 1.0, None]}


def test_how_each_was_proposed_comes_with_the_parameters(store: Store, study: str) -> None:
    """Without the exceptions for single dimensions, and with nothing where nothing is known."""
    said = ["random start", "expected improvement; independent draw (conditional): rank", "", "expected improvement"]
    for number, words in enumerate(said):
        store.start_run(study, f"trial-{number:04d}", RunRole.TRIAL, trial=number, config={"x": 8}, proposed_by=words)
    assert points(store, study, parameters=True)["proposed_by"] == {
        "choices": ["expected improvement", "random start"],
        "values": [1.0, 0.0, None, 0.0],
    }
    assert "proposed_by" not in points(store, study)


def test_a_column_with_too_many_words_is_left_out(store: Store, study: str) -> None:
    """Two hundred and one different prompts are no axis."""
    for number in range(201):
        config = {"prompt": f"prompt {number}", "rank": number}
        store.start_run(study, f"trial-{number:04d}", RunRole.TRIAL, trial=number, config=config)
    assert set(points(store, study, parameters=True)["parameters"]) == {"rank"}


def test_parameters_of_trials_of_another_program_are_decoded(store: Store, study: str) -> None:
    """Against Optuna's own reading."""
    foreign = _foreign_study(store, study, ["maximize"])
    columns = points(store, study, parameters=True)["parameters"]
    expected = [t.params.get("learning_rate") for t in foreign.get_trials()]
    assert columns["learning_rate"]["values"] == [None if v is None else pytest.approx(v, rel=1e-5) for v in expected]
    methods = columns["method"]
    assert methods["choices"] == sorted(["lora", "dora", "3"])


def test_all_objectives_come_when_asked_for(store: Store, study: str) -> None:
    """Aligned with the numbers, against Optuna's own reading; an infinity has no place in JSON."""
    foreign = _foreign_study(store, study, ["maximize", "minimize"])
    found = points(store, study, objectives=True)
    assert len(found["objectives"]) == 2
    for index, column in enumerate(found["objectives"]):
        for value, trial in zip(column, foreign.get_trials(), strict=True):
            theirs = trial.values[index] if trial.values else None
            if theirs is None or abs(theirs) == float("inf"):
                assert value is None
            else:
                assert value == pytest.approx(theirs, rel=1e-5)
    json.dumps(found, allow_nan=False)


def test_points_of_a_study_that_is_not_there(store: Store) -> None:
    """An error of ours, as everywhere."""
    with pytest.raises(StudyNotFoundError):
        points(store, "nothing")
