"""Our SQL over Optuna's tables agrees with Optuna's own reading of them."""

from __future__ import annotations

import json
import math
import sqlite3
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoglm_nb.errors import StoreError, StoreVersionError
from autoglm_nb.protocol import RunRole, TrialState
from autoglm_nb.store import LiveState, Store, snapshot
from autoglm_nb.store._front import pareto_front
from tests.store.conftest import make_spec

optuna.logging.set_verbosity(optuna.logging.WARNING)
WORDS = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


def _foreign_study(store: Store, study: str, directions: list[str]) -> optuna.Study:
    """Trials of every kind, put there by plain Optuna."""
    foreign = store.optuna_study(study, directions)
    foreign.sampler = optuna.samplers.RandomSampler(seed=7)  # it draws every method

    def values(x: float) -> list[float]:
        return [x, -x][: len(directions)]

    for i in range(8):
        trial = foreign.ask()
        x = trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True)
        trial.suggest_int("rank", 4, 32, step=4)
        trial.suggest_categorical("method", ["lora", "dora", None, 3])
        if len(directions) == 1:
            for step, value in enumerate([x, math.nan, math.inf, -x]):
                trial.report(value, step)
        if i % 4 == 1:
            foreign.tell(trial, state=optuna.trial.TrialState.FAIL)
        elif i % 4 == 2 and len(directions) == 1:
            foreign.tell(trial, state=optuna.trial.TrialState.PRUNED)
        elif i % 4 == 3:
            foreign.tell(trial, values([math.inf, -math.inf][i // 4]))
        elif i < 6:
            foreign.tell(trial, values(x))
    foreign.enqueue_trial({"rank": 8})
    return foreign


@pytest.mark.parametrize("directions", [["maximize"], ["minimize"]])
def test_foreign_trials_read_as_optuna_reads_them(store: Store, study: str, directions: list[str]) -> None:
    """Trials added by another program have no run row and still show, decoded."""
    foreign = _foreign_study(store, study, directions)
    picture = snapshot(store, study)
    expected = foreign.get_trials()
    assert [t["number"] for t in picture["trials"]] == [t.number for t in expected]
    assert picture["trials_total"] == len(expected)
    assert picture["study"]["direction"] == directions[0]
    for ours, theirs in zip(picture["trials"], expected, strict=True):
        assert ours["state"] == WORDS[theirs.state.name]
        assert ours["config"] == (theirs.params or {"rank": 8})
        finite = [[k, v] for k, v in theirs.intermediate_values.items() if math.isfinite(v)]
        assert ours["reports"] == finite
        value = theirs.values[0] if theirs.values else None
        assert ours["value"] == (value if value is not None and math.isfinite(value) else None)
    complete = [t for t in expected if t.state.name == "COMPLETE" and math.isfinite(t.value or math.inf)]
    best = (max if directions[0] == "maximize" else min)(complete, key=lambda t: t.value or 0.0)
    assert picture["headline"]["best_trial"] == best.number
    assert picture["headline"]["best_config"] == best.params
    summary = store.studies()[0]
    assert summary.finished == sum(t.state.is_finished() for t in expected)


def test_the_list_and_the_picture_agree_on_optunas_values(store: Store) -> None:
    """Two queries, one truth."""
    store.create_study(make_spec(direction="minimize"))
    _foreign_study(store, "reviews", ["minimize"])
    picture, line = snapshot(store, "reviews"), store.studies()[0]
    assert (line.best_value, line.finished) == (picture["headline"]["best_value"], picture["headline"]["finished"])


def test_several_objectives_show_the_front_that_optuna_finds(store: Store) -> None:
    """`best_trials` is the reference."""
    store.create_study(make_spec(objectives=("accuracy", "latency_ms_p50")))
    foreign = store.optuna_study("reviews", ["maximize", "minimize"])
    for i in range(16):
        trial = foreign.ask()
        foreign.tell(trial, [round(math.sin(i * 12.9898), 1), round(math.cos(i * 78.233), 1)])
    picture = snapshot(store, "reviews")
    assert picture["front"] == sorted(t.number for t in foreign.best_trials)
    assert [t["values"] for t in picture["trials"]] == [t.values for t in foreign.get_trials()]


@pytest.mark.parametrize("form", ["list", "keys"])
def test_trials_that_violate_a_constraint_are_neither_best_nor_on_the_front(store: Store, form: str) -> None:
    """Optuna stores constraints as one list or one key each."""
    store.create_study(make_spec(constraints=("memory_gb <= 10",)))
    foreign = store.optuna_study("reviews", ["maximize"])
    for value, violation in [(0.5, -1.0), (0.9, 2.0), (0.6, 0.0)]:
        trial = foreign.ask()
        key, stored = ("constraints", [violation]) if form == "list" else ("constraints:memory_gb", violation)
        store.optuna_storage().set_trial_system_attr(trial._trial_id, key, stored)
        foreign.tell(trial, value)
    picture = snapshot(store, "reviews")
    assert (picture["headline"]["best_value"], picture["headline"]["best_trial"]) == (0.6, 2)
    assert picture["curve"] == [[0, 0.5], [2, 0.6]]
    assert store.studies()[0].best_value == 0.6


def test_an_ended_run_counts_before_optuna_was_told(store: Store, study: str) -> None:
    """The worker may die between the two; the next one tells."""
    trial = store.optuna_study(study, ["maximize"]).ask()
    store.start_run(study, "trial-0000", RunRole.TRIAL, config={"rank": 8}, trial=trial.number)
    assert snapshot(store, study)["trials"][0]["state"] == "running"
    store.end_run(study, "trial-0000", TrialState.COMPLETED, value=0.8)
    picture = snapshot(store, study)
    assert (picture["trials"][0]["state"], picture["headline"]["best_value"]) == ("completed", 0.8)
    assert store.studies()[0].best_value == 0.8


def test_a_paused_trial_is_waiting_whatever_its_run_says(store: Store, study: str) -> None:
    """Optuna's WAITING is the pause."""
    trial = store.optuna_study(study, ["maximize"]).ask()
    store.start_run(study, "trial-0000", RunRole.TRIAL, config={"rank": 8}, trial=trial.number)
    store.optuna_storage().set_trial_state_values(trial._trial_id, optuna.trial.TrialState.WAITING)
    assert snapshot(store, study)["trials"][0]["state"] == "waiting"


def test_plain_optuna_opens_the_file(store: Store, study: str) -> None:
    """So does optuna-dashboard, which does the same; our tables and write-ahead mode do not disturb it."""
    foreign = _foreign_study(store, study, ["maximize"])
    plain = optuna.load_study(study_name=study, storage=f"sqlite:///{store.path}")
    assert [t.params for t in plain.get_trials()] == [t.params for t in foreign.get_trials()]
    assert [s.study_name for s in optuna.get_all_study_summaries(f"sqlite:///{store.path}")] == [study]


def test_a_study_keeps_its_directions(store: Store, study: str) -> None:
    """Optuna itself would load it with the old ones and say nothing."""
    assert store.optuna_study(study, ["maximize"]).direction.name == "MAXIMIZE"
    assert store.optuna_study(study, ["maximize"]).study_name == study
    with pytest.raises(StoreError, match="stored with the directions maximize"):
        store.optuna_study(study, ["minimize"])


def test_tables_of_another_optuna_are_refused_with_a_remedy(store: Store, study: str) -> None:
    """Optuna keeps a schema version of its own in the same file."""
    store.optuna_study(study, ["maximize"])
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    connection.close()
    with pytest.raises(StoreVersionError, match="made by another version of Optuna"):
        store.optuna_storage()
    assert snapshot(store, study)["study"]["name"] == study, "our own pictures need no Optuna"


def test_optuna_works_in_a_folder_of_any_name(store: Store) -> None:
    """Optuna fills in braces in its URLs, and a question mark begins the options there."""
    with Store(store.home.parent / "we {ird}?%20 #x" / ".autoglm") as odd:
        odd.create_study(make_spec())
        trial = odd.optuna_study("reviews", ["maximize"]).ask()
        assert trial.number == 0
        assert snapshot(odd, "reviews", live=LiveState())["trials_total"] == 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.one_of(st.none(), st.integers(-3, 3).map(float)), min_size=0, max_size=3), max_size=15),
    st.lists(st.sampled_from(["minimize", "maximize"]), min_size=1, max_size=3),
)
def test_the_front_is_what_no_other_point_dominates(points: list[list[float | None]], directions: list[str]) -> None:
    """Against the definition, pair by pair."""
    whole = {i: p for i, p in enumerate(points) if len(p) == len(directions) and None not in p}
    signs = [1 if d == "minimize" else -1 for d in directions]
    keys = {i: [s * (v or 0.0) for s, v in zip(signs, p, strict=True)] for i, p in whole.items()}
    expected = {
        i
        for i, a in keys.items()
        if not any(all(x <= y for x, y in zip(b, a, strict=True)) and b != a for b in keys.values())
    }
    assert pareto_front(dict(enumerate(points)), directions) == expected


@pytest.mark.slow
def test_optuna_dashboard_shows_the_study(store: Store, study: str) -> None:
    """Its own web application, asked as its page asks, beside our tables and in write-ahead mode."""
    dashboard = pytest.importorskip("optuna_dashboard")
    foreign = _foreign_study(store, study, ["maximize"])
    application = dashboard.wsgi(f"sqlite:///{store.path}")

    def ask(path: str) -> dict[str, Any]:
        environ: dict[str, Any] = {"PATH_INFO": path}
        setup_testing_defaults(environ)
        said: list[str] = []
        body = b"".join(application(environ, lambda status, headers, *_: said.append(status)))
        assert said == ["200 OK"]
        answer: dict[str, Any] = json.loads(body)
        return answer

    (summary,) = ask("/api/studies")["study_summaries"]
    assert summary["study_name"] == study
    detail = ask(f"/api/studies/{summary['study_id']}")
    assert [t["number"] for t in detail["trials"]] == [t.number for t in foreign.trials]
