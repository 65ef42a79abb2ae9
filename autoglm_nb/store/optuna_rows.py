"""Many finished trials put into Optuna's tables at once, within a transaction of the caller's.

Optuna's own `add_trial` looks its study up, commits and counts for each trial: ten thousand
take minutes. The rows written here are the ones that it would write (a test compares them),
with one restriction: of a trial's system attributes only constraints are taken, since
samplers keep pickled objects in the others.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

__all__ = ["insert_study"]

_CONSTRAINT = "constraints:"


def insert_study(
    connection: sqlite3.Connection, name: str, directions: Sequence[str], trials: Sequence[FrozenTrial]
) -> None:
    """Adds a study with its trials, numbered from 0 in the order given.

    Args:
        connection: in a write transaction, on a file that has Optuna's tables.
        name: free in Optuna's tables.
        directions: `minimize` or `maximize` for each objective.
        trials: finished ones, as `optuna.trial.create_trial` makes them.

    Raises:
        ValueError: a trial that has not ended, or whose values are not one for each objective.
    """
    for number, trial in enumerate(trials):
        if not trial.state.is_finished() or (trial.values is not None and len(trial.values) != len(directions)):
            raise ValueError(f"Trial {number} must have ended with {len(directions)} values, or without any.")
    study = connection.execute("INSERT INTO studies (study_name) VALUES (?)", (name,)).lastrowid
    connection.executemany(
        "INSERT INTO study_directions (direction, study_id, objective) VALUES (?, ?, ?)",
        [(direction.upper(), study, objective) for objective, direction in enumerate(directions)],
    )
    first = int(connection.execute("SELECT COALESCE(MAX(trial_id), 0) + 1 FROM trials").fetchone()[0])
    numbered = list(enumerate(trials, start=first))
    connection.executemany(
        "INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        ((i, i - first, study, t.state.name, _utc(t.datetime_start), _utc(t.datetime_complete)) for i, t in numbered),
    )
    connection.executemany(
        "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, ?, ?, ?)",
        ((i, k, *_stored(value)) for i, t in numbered for k, value in enumerate(t.values or ())),
    )
    connection.executemany(
        "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)",
        _params(numbered),
    )
    connection.executemany(
        "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
        "VALUES (?, ?, ?, ?)",
        ((i, step, *_stored(value)) for i, t in numbered for step, value in t.intermediate_values.items()),
    )
    connection.executemany(
        "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)",
        ((i, key, json.dumps(value)) for i, t in numbered for key, value in t.user_attrs.items()),
    )
    connection.executemany(
        "INSERT INTO trial_system_attributes (trial_id, key, value_json) VALUES (?, ?, ?)",
        (
            (i, key, json.dumps(value))
            for i, t in numbered
            for key, value in t.system_attrs.items()
            if key.startswith(_CONSTRAINT)
        ),
    )


def _params(numbered: Sequence[tuple[int, FrozenTrial]]) -> Iterator[tuple[int, str, float, str]]:
    """Rows of `trial_params`; trials share few distributions, each of which is written as JSON once."""
    from optuna.distributions import distribution_to_json

    told: dict[int, tuple[BaseDistribution, str]] = {}
    for trial_id, trial in numbered:
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            known = told.get(id(distribution))
            if known is None:  # kept beside its text, so that no other object can take its place in memory
                known = told[id(distribution)] = (distribution, distribution_to_json(distribution))
            yield trial_id, name, float(distribution.to_internal_repr(value)), known[1]


def _stored(value: float) -> tuple[float | None, str]:
    """A value as Optuna stores it: infinities and NaN as words beside an empty column."""
    if math.isnan(value):
        return None, "NAN"
    if math.isinf(value):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return float(value), "FINITE"


def _utc(moment: datetime | None) -> str | None:
    """A moment of this machine's clock as the naive UTC text of SQLAlchemy's SQLite columns."""
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
