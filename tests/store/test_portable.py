"""A study as plain JSON and back: whole, without foreign attributes, and all or nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import optuna
import pytest

from autoglm_nb.errors import StoreError, StudyNotFoundError
from autoglm_nb.protocol import RunRole, StudyState, TrialState
from autoglm_nb.sharing.content import frozen_trials, read_content
from autoglm_nb.store import Store, snapshot
from autoglm_nb.store.portable import RUN_FIELDS, bring_in, incoming, portable
from autoglm_nb.store.runs import RunRow
from tests.store.conftest import make_spec

optuna.logging.set_verbosity(optuna.logging.WARNING)


def _moved(store: Store, name: str, home: Path) -> Store:
    """The same study in another store, by way of JSON text."""
    whole = json.loads(json.dumps(portable(store, name), allow_nan=False))
    told = {"notes": whole["notes"], "removed": whole["removed_notes"]}
    content = read_content(whole["study"], whole["trials"], whole["runs"], told)
    there = Store(home)
    with incoming(there) as folder:
        bring_in(
            there, name, spec=content.spec, study=content.study, trials=frozen_trials(content), runs=content.runs,
            notes=content.notes, files=folder,
        )  # fmt: skip
    return there


def test_every_column_of_a_run_travels() -> None:
    """A column that is added has to be named."""
    assert {*RUN_FIELDS, "study"} == set(RunRow.__dataclass_fields__)


def test_a_study_that_is_not_there_is_an_error(store: Store) -> None:
    with pytest.raises(StudyNotFoundError):
        portable(store, "other")


def test_several_objectives_and_constraints_travel(store: Store, tmp_path: Path) -> None:
    """The Pareto front is the same there, and what violates a constraint stays off it."""
    store.create_study(make_spec(objectives=("accuracy", "latency_ms_p50"), constraints=("memory_gb <= 1",)))
    store.set_state("reviews", StudyState.FINISHED)
    told = store.optuna_study("reviews", ["maximize", "minimize"])
    for number, (values, violation) in enumerate([((0.9, 5.0), 0.5), ((0.8, 3.0), -0.1), ((0.7, 1.0), 0.0)]):
        trial = told.ask()
        trial.suggest_int("rank", 2, 8, step=2)
        trial.set_constraint("0", violation)
        trial.set_user_attr("somebody's own", "value")
        store.start_run("reviews", f"trial-{number:04d}", RunRole.TRIAL, config={"rank": 4}, trial=number)
        store.end_run("reviews", f"trial-{number:04d}", TrialState.COMPLETED, value=values[0])
        told.tell(trial, values)
    with _moved(store, "reviews", tmp_path / "other") as there:
        mine, theirs = snapshot(store, "reviews"), snapshot(there, "reviews")
        assert theirs["front"] == mine["front"] == [1, 2]
        assert theirs["trials"] == mine["trials"] and theirs["headline"] == mine["headline"]
        trials = there.optuna_study("reviews", ["maximize", "minimize"]).trials
        assert [t.constraints for t in trials] == [{"0": 0.5}, {"0": -0.1}, {"0": 0.0}]
        assert all(t.user_attrs == {} for t in trials), "attributes of others stay behind"
        assert portable(there, "reviews")["trials"] == portable(store, "reviews")["trials"]


def test_infinities_and_nan_travel_as_words(store: Store, study: str, tmp_path: Path) -> None:
    """JSON has no word for them; Optuna keeps them beside an empty column."""
    told = store.optuna_study(study, ["maximize"])
    trial = told.ask()
    trial.report(math.nan, 1)
    trial.report(-math.inf, 2)
    told.tell(trial, math.inf)
    pruned = told.ask()
    pruned.report(0.25, 1)
    told.tell(pruned, state=optuna.trial.TrialState.PRUNED)
    rows = portable(store, study)["trials"]
    assert (rows[0]["values"], rows[0]["reports"]) == (["inf"], [[1, None], [2, "-inf"]])
    with _moved(store, study, tmp_path / "other") as there:
        assert portable(there, study)["trials"] == rows
        arrived = there.optuna_study(study, ["maximize"]).trials
        assert arrived[0].value == math.inf and math.isnan(arrived[0].intermediate_values[1])
        assert arrived[1].state is optuna.trial.TrialState.PRUNED and arrived[1].value == 0.25


def test_a_study_of_runs_alone_travels(store: Store, study: str, tmp_path: Path) -> None:
    """Optuna's tables may not be there yet."""
    store.start_run(study, "baseline", RunRole.BASELINE, config={"rank": 8})
    store.end_run(study, "baseline", TrialState.COMPLETED, value=0.5)
    assert portable(store, study)["trials"] == []
    with _moved(store, study, tmp_path / "other") as there:
        assert snapshot(there, study)["headline"]["baseline_value"] == 0.5


def test_a_name_that_is_taken_is_refused_without_a_trace(store: Store, study: str, tmp_path: Path) -> None:
    """Also when it is taken between the check and the deed."""
    with Store(tmp_path / "other") as there:
        there.create_study(make_spec())
    with pytest.raises(StoreError, match="exists already"):
        _moved(store, study, tmp_path / "other")
    with Store(tmp_path / "other") as there:
        assert [s.study_name for s in optuna.get_all_study_summaries(there.optuna_storage())] == []
    assert list((tmp_path / "other" / "runs").iterdir()) == []
