"""Every trial of a study in a few bytes, for plots of any size.

A snapshot describes trials in full and is therefore paged; a plot needs all of
them, but of each only a number, a value and a state. Ten thousand trials are
about 150 kB of JSON here. Configurations and further objectives come as
columns, and only when they are asked for.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

from autoglm_nb.store import _trials
from autoglm_nb.store._json import finite
from autoglm_nb.store._trials import TrialFact
from autoglm_nb.store.store import Store

__all__ = ["STATE_LETTERS", "Column", "Points", "points"]

STATE_LETTERS = {"waiting": "w", "running": "r", "completed": "c", "pruned": "p", "failed": "f"}
"""One letter for each state of a trial."""

_DIGITS = 6
_CHOICES = 200  # a column of more different words says nothing in a plot


class Column(TypedDict):
    """One hyper-parameter of every trial: numbers as they are, everything else as an index into `choices`.

    `values` are in the order of `Points.numbers`; None where the parameter was not active.
    """

    choices: list[str] | None
    values: list[float | None]


class Points(TypedDict):
    """Every trial by number. `states` has one letter each, as in `STATE_LETTERS`."""

    numbers: list[int]
    values: list[float | None]
    states: str
    parameters: NotRequired[dict[str, Column]]
    proposed_by: NotRequired[Column]  # with the parameters: how each was proposed, without exceptions
    objectives: NotRequired[list[list[float | None]]]  # one list an objective, the first included


def points(store: Store, name: str, *, parameters: bool = False, objectives: bool = False) -> Points:
    """All trials of a study, values to six significant digits.

    Args:
        store: where it is stored.
        name: the study's name.
        parameters: add a column for each hyper-parameter, and one of how each trial was proposed.
        objectives: add all objectives, for a Pareto plot.

    Raises:
        StudyNotFoundError: no study of that name.
    """
    with store._read() as connection:
        store._existing(connection, name)
        trials = _trials.facts(connection, name)
        found = Points(
            numbers=[t.number for t in trials],
            values=[_short(t.value) for t in trials],
            states="".join(STATE_LETTERS.get(t.state, "f") for t in trials),
        )
        if parameters:
            found["parameters"] = _columns(_configs(connection, name, trials))
            origins = _column(_origins(connection, name, trials))
            if origins is not None and origins["choices"]:
                found["proposed_by"] = origins
        if objectives:
            found["objectives"] = _objectives(connection, trials)
    return found


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def _configs(connection: sqlite3.Connection, name: str, trials: Sequence[TrialFact]) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT trial, config FROM autoglm_runs WHERE study = ? AND role = 'trial' AND trial IS NOT NULL", (name,)
    ).fetchall()
    ours = {row[0]: json.loads(row[1]) for row in rows}
    ids = [t.trial_id for t in trials if t.trial_id is not None and t.number not in ours]
    foreign = _trials.foreign_configs(connection, ids)
    return [ours[t.number] if t.number in ours else foreign.get(t.trial_id or -1, {}) for t in trials]


def _origins(connection: sqlite3.Connection, name: str, trials: Sequence[TrialFact]) -> list[str | None]:
    """How each trial was proposed, up to the first semicolon: exceptions for single dimensions follow it."""
    rows = connection.execute(
        "SELECT trial, proposed_by FROM autoglm_runs WHERE study = ? AND role = 'trial' AND trial IS NOT NULL", (name,)
    ).fetchall()
    said = {row[0]: str(row[1] or "").split(";")[0].strip() for row in rows}
    return [said.get(t.number) or None for t in trials]


def _columns(configs: Sequence[dict[str, Any]]) -> dict[str, Column]:
    names = sorted({key for config in configs for key in config})
    columns = {}
    for name in names:
        column = _column([config.get(name) for config in configs])
        if column is not None:
            columns[name] = column
    return columns


def _column(values: list[Any]) -> Column | None:
    if all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values):
        return Column(choices=None, values=[None if v is None else _short(finite(v)) for v in values])
    said = [None if v is None else v if isinstance(v, str) else json.dumps(v) for v in values]
    choices = sorted({v for v in said if v is not None})
    if len(choices) > _CHOICES:
        return None
    index = {choice: float(i) for i, choice in enumerate(choices)}
    return Column(choices=choices, values=[None if v is None else index[v] for v in said])


def _objectives(connection: sqlite3.Connection, trials: Sequence[TrialFact]) -> list[list[float | None]]:
    ids = [t.trial_id for t in trials if t.trial_id is not None]
    values = _trials.objective_values(connection, ids)
    count = max([len(v) for v in values.values()] + [1])
    found: list[list[float | None]] = [[] for _ in range(count)]
    for trial in trials:
        row = values.get(trial.trial_id or -1, [])
        for index, column in enumerate(found):
            column.append(trial.value if index == 0 and not row else row[index] if index < len(row) else None)
    return [[_short(v) for v in column] for column in found]
