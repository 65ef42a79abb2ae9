"""Trials by read-only SQL: Optuna's tables joined with our runs.

Optuna's own calls build objects for every trial and take seconds at 10,000 of
them. Its tables may not exist yet, and a trial may lack a run row (added by
another program) or the other way round; both still count. A run that has ended
decides a trial's state, since a worker may die between ending the run and
telling Optuna; until then Optuna's state holds.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from autoglm_nb.store._json import finite

__all__ = [
    "TrialFact",
    "TrialTotals",
    "best_value",
    "directions",
    "facts",
    "facts_query",
    "foreign_configs",
    "has_optuna_tables",
    "objective_values",
    "reports",
    "totals",
]

_FINITE = "value BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308"
_STATE = """CASE WHEN r.state IN ('completed', 'pruned', 'failed') THEN r.state ELSE CASE t.state
    WHEN 'COMPLETE' THEN 'completed' WHEN 'PRUNED' THEN 'pruned' WHEN 'FAIL' THEN 'failed'
    WHEN 'WAITING' THEN 'waiting' ELSE 'running' END END"""

# {one} narrows to a single study where it is bound; infinities are NULL in Optuna's value column.
_FACTS = f"""
SELECT o.study_name AS study, t.number AS number, t.trial_id AS trial_id, {_STATE} AS state,
       COALESCE(r.value, v.value) AS value
FROM studies o
JOIN trials t ON t.study_id = o.study_id
LEFT JOIN autoglm_runs r ON r.study = o.study_name AND r.role = 'trial' AND r.trial = t.number
LEFT JOIN trial_values v ON v.trial_id = t.trial_id AND v.objective = 0
WHERE {{optuna}}
UNION ALL
SELECT r.study, r.trial, NULL, r.state, r.value FROM autoglm_runs r
WHERE r.role = 'trial' AND r.trial IS NOT NULL AND {{runs}} AND (r.study, r.trial) NOT IN
    (SELECT o.study_name, t.number FROM studies o JOIN trials t ON t.study_id = o.study_id WHERE {{optuna}})
"""
_FACTS_WITHOUT_OPTUNA = """
SELECT r.study AS study, r.trial AS number, NULL AS trial_id, r.state AS state, r.value AS value
FROM autoglm_runs r WHERE r.role = 'trial' AND r.trial IS NOT NULL AND {runs}
"""


class TrialFact(NamedTuple):
    """What the headline and the curve need of one trial; `feasible` is false when a constraint is violated.

    A tuple, because ten thousand of them are made for each picture of a large study.
    """

    number: int
    trial_id: int | None
    state: str
    value: float | None
    feasible: bool = True


@dataclass(frozen=True, slots=True)
class TrialTotals:
    """Sums over the trials of one study."""

    finished: int
    lowest: float | None
    highest: float | None


def has_optuna_tables(connection: sqlite3.Connection) -> bool:
    """Whether Optuna has made its tables in this file."""
    found = connection.execute(
        "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name IN "
        "('studies', 'study_directions', 'trials', 'trial_params', 'trial_values', 'trial_intermediate_values', "
        "'trial_system_attributes')"
    ).fetchone()
    return bool(found[0] == 7)


def facts(connection: sqlite3.Connection, study: str) -> list[TrialFact]:
    """Every trial of a study, by number."""
    optuna, query = has_optuna_tables(connection), facts_query(connection)
    rows = connection.execute(f"SELECT *, 1 FROM ({query})", {"study": study}).fetchall()
    found = sorted(map(TrialFact._make, rows), key=itemgetter(0))
    violated = _violating(connection, study) if optuna else set()
    return [t._replace(feasible=t.trial_id not in violated) for t in found] if violated else found


def facts_query(connection: sqlite3.Connection) -> str:
    """SQL for number, trial_id, state and value of the trials of the study bound to `:study`; infinities are NULL."""
    query = _FACTS if has_optuna_tables(connection) else _FACTS_WITHOUT_OPTUNA
    inner = query.format(optuna="o.study_name = :study", runs="r.study = :study")
    return f"SELECT number, trial_id, state, CASE WHEN {_FINITE} THEN value END AS value FROM ({inner})"


def totals(connection: sqlite3.Connection) -> dict[str, TrialTotals]:
    """How many trials are final and the extremes of the completed ones, for every study at once."""
    query = (_FACTS if has_optuna_tables(connection) else _FACTS_WITHOUT_OPTUNA).format(optuna="1", runs="1")
    best = f"CASE WHEN state = 'completed' AND {_FINITE} THEN value END"
    rows = connection.execute(
        f"SELECT study, SUM(state IN ('completed', 'pruned', 'failed')), MIN({best}), MAX({best}) "
        f"FROM ({query}) GROUP BY study"
    ).fetchall()
    return {r[0]: TrialTotals(r[1], r[2], r[3]) for r in rows}


def best_value(trials: Iterable[TrialFact], direction: str) -> float | None:
    """The best value of the completed and feasible trials, None without one."""
    values = [t.value for t in trials if t.state == "completed" and t.feasible and t.value is not None]
    if not values:
        return None
    return min(values) if direction == "minimize" else max(values)


def directions(connection: sqlite3.Connection, study: str) -> list[str]:
    """`minimize` or `maximize` for each objective as Optuna has them; empty before Optuna knows the study."""
    if not has_optuna_tables(connection):
        return []
    rows = connection.execute(
        "SELECT d.direction FROM study_directions d JOIN studies o USING (study_id) WHERE o.study_name = ? "
        "ORDER BY d.objective",
        (study,),
    ).fetchall()
    return [str(r[0]).lower() for r in rows]


def objective_values(connection: sqlite3.Connection, trial_ids: Sequence[int]) -> dict[int, list[float | None]]:
    """All objectives of some trials, by Optuna's trial id; an infinity is None."""
    found: dict[int, list[float | None]] = {}
    for row in _among(connection, "SELECT trial_id, value FROM trial_values", trial_ids, "objective"):
        found.setdefault(row[0], []).append(finite(row[1]))
    return found


def reports(connection: sqlite3.Connection, trial_ids: Sequence[int]) -> dict[int, list[list[float]]]:
    """`[[rung, value], ...]` of some trials, by Optuna's trial id; NaN and infinities are left out."""
    found: dict[int, list[list[float]]] = {}
    for row in _among(
        connection, "SELECT trial_id, step, intermediate_value FROM trial_intermediate_values", trial_ids, "step"
    ):
        value = finite(row[2])
        if value is not None:
            found.setdefault(row[0], []).append([row[1], value])
    return found


def foreign_configs(connection: sqlite3.Connection, trial_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Parameters of trials without a run row: suggested ones decoded, else those they were enqueued with."""
    found: dict[int, dict[str, Any]] = {}
    fixed = "SELECT trial_id, value_json FROM (SELECT * FROM trial_system_attributes WHERE key = 'fixed_params')"
    for row in _among(connection, fixed, trial_ids, "trial_id"):
        found[row[0]] = dict(json.loads(row[1]))
    suggested = "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params"
    for row in _among(connection, suggested, trial_ids, "param_id"):
        found.setdefault(row[0], {})[row[1]] = _decoded(row[2], row[3])
    return found


def _violating(connection: sqlite3.Connection, study: str) -> set[int]:
    """Ids of the trials with a positive constraint, in Optuna's old form (one list) or new (one key each)."""
    rows = connection.execute(
        "SELECT a.trial_id, a.value_json FROM trial_system_attributes a JOIN trials t USING (trial_id) "
        "JOIN studies o USING (study_id) WHERE o.study_name = ? AND (a.key = 'constraints' "
        "OR a.key LIKE 'constraints:%')",
        (study,),
    ).fetchall()
    found = set()
    for trial_id, text in rows:
        values = json.loads(text)
        if any(v > 0 for v in (values if isinstance(values, list) else [values]) if v is not None):
            found.add(trial_id)
    return found


def _among(connection: sqlite3.Connection, select: str, ids: Sequence[int], order: str) -> list[sqlite3.Row]:
    if not ids:
        return []
    return connection.execute(
        f"{select} WHERE trial_id IN (SELECT value FROM json_each(?)) ORDER BY trial_id, {order}",
        (json.dumps(list(ids)),),
    ).fetchall()


def _decoded(value: float, distribution: str) -> Any:
    """A parameter from Optuna's internal number and its distribution."""
    record = json.loads(distribution)
    name, attributes = record.get("name", ""), record.get("attributes", record)
    if name.startswith("Categorical"):
        return attributes["choices"][int(value)]
    return int(value) if name.startswith("Int") else value
