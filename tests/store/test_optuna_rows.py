"""Rows for Optuna's tables written at once: the same ones that Optuna writes one by one."""

from __future__ import annotations

import math
import time
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from autoglm_nb.store import Store
from autoglm_nb.store.optuna_rows import insert_study

optuna.logging.set_verbosity(optuna.logging.WARNING)

TABLES = {
    "study_directions": "direction, objective",
    "trials": "number, state, datetime_start, datetime_complete",
    "trial_values": "number, objective, value, value_type",
    "trial_params": "number, param_name, param_value, distribution_json",
    "trial_intermediate_values": "number, step, intermediate_value, intermediate_value_type",
    "trial_user_attributes": "number, key, value_json",
    "trial_system_attributes": "number, key, value_json",
}
SPACE = {
    "learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
    "rank": IntDistribution(2, 64, step=2),
    "method": CategoricalDistribution(("lora", "dora", None, True)),
}


def _trials(objectives: int) -> list[optuna.trial.FrozenTrial]:
    """One of each kind: complete, infinite, pruned, failed, without parameters, with constraints."""
    create, state = optuna.trial.create_trial, optuna.trial.TrialState
    params: dict[str, Any] = {"learning_rate": 1 / 3000, "rank": 6, "method": "dora"}
    values = [0.1 + k for k in range(objectives)]
    found = [
        create(values=values, params=params, distributions=SPACE, user_attrs={"config": {"ü": [1, None]}}),
        create(values=[math.inf, -math.inf][:objectives], params=params | {"method": True}, distributions=SPACE),
        create(values=values, constraints={"0": 0.5, "memory": -1.0}),
        create(state=state.FAIL, params={"rank": 4}, distributions={"rank": SPACE["rank"]}),
        create(state=state.PRUNED, intermediate_values={1: math.nan, 2: -math.inf, 7: 0.25}),
    ]
    return found


def _rows(store: Store, name: str) -> dict[str, list[tuple[Any, ...]]]:
    found = {}
    with store._read() as connection:
        study = connection.execute("SELECT study_id FROM studies WHERE study_name = ?", (name,)).fetchone()[0]
        for table, columns in TABLES.items():
            join = " JOIN trials USING (trial_id)" if table.startswith("trial_") else ""
            rows = connection.execute(f"SELECT {columns} FROM {table}{join} WHERE study_id = ?", (study,)).fetchall()
            found[table] = sorted((tuple(row) for row in rows), key=repr)
    return found


@pytest.mark.parametrize("directions", [["maximize"], ["minimize", "maximize"]])
def test_the_rows_are_optunas_own(store: Store, directions: list[str]) -> None:
    """Column by column, in every table that a trial has rows in."""
    trials = _trials(len(directions))
    store.optuna_study("theirs", directions).add_trials(trials)
    with store._write() as connection:
        insert_study(connection, "ours", directions, trials)
    assert _rows(store, "ours") == _rows(store, "theirs")
    ours, theirs = (store.optuna_study(name, directions).trials for name in ("ours", "theirs"))
    for mine, other in zip(ours, theirs, strict=True):
        for field in ("number", "state", "values", "params", "distributions", "user_attrs", "constraints"):
            assert getattr(mine, field) == getattr(other, field), field
        assert repr(mine.intermediate_values) == repr(other.intermediate_values)


def test_optuna_goes_on_where_the_rows_end(store: Store) -> None:
    """Numbers and ids follow on, in this study and in others."""
    before = store.optuna_study("before", ["maximize"])
    before.add_trials(_trials(1)[:1])
    with store._write() as connection:
        insert_study(connection, "ours", ["maximize"], _trials(1)[:3])
    assert before.ask().number == 1
    study = store.optuna_study("ours", ["maximize"])
    assert study.ask().number == 3
    assert study.best_trial.number == 1


def test_what_samplers_keep_for_themselves_does_not_come_in(store: Store) -> None:
    """CMA-ES unpickles such attributes."""
    trial = optuna.trial.create_trial(value=1.0, system_attrs={"cma:optimizer:0": "80049", "constraints:0": -1.0})
    store.optuna_storage()
    with store._write() as connection:
        insert_study(connection, "ours", ["maximize"], [trial])
    assert store.optuna_study("ours", ["maximize"]).trials[0].system_attrs == {"constraints:0": -1.0}


def test_trials_that_do_not_fit_are_refused(store: Store) -> None:
    """Before the first row."""
    store.optuna_storage()
    running = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
    for trials in ([running], _trials(2)[:1]):
        with pytest.raises(ValueError, match="Trial 0 must have ended"), store._write() as connection:
            insert_study(connection, "ours", ["maximize"], trials)
    with store._read() as connection:
        assert connection.execute("SELECT COUNT(*) FROM studies").fetchone()[0] == 0


def test_ten_thousand_trials_take_seconds(store: Store) -> None:
    """One by one they take minutes. Processor time, so that a busy machine does not count."""
    store.optuna_storage()
    trials = _trials(1) * 2000
    since = time.process_time()
    with store._write() as connection:
        insert_study(connection, "ours", ["maximize"], trials)
    assert time.process_time() - since < 15
    with store._read() as connection:
        assert connection.execute("SELECT COUNT(*), MAX(number) FROM trials").fetchone()[:] == (10_000, 9_999)
