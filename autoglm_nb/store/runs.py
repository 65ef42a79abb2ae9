"""Runs: one row for every configuration that is trained, trial or not."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoglm_nb.errors import StoreError
from autoglm_nb.protocol import RunRole, TrialState
from autoglm_nb.store._json import dumps
from autoglm_nb.store.studies import Studies

__all__ = ["RunRow", "Runs"]

_JSON = ("config", "metrics")
_FIELDS = frozenset(
    {"state", "config", "proposed_by", "because", "value", "metrics", "seed", "attempts", "deaths", "stalled_deaths"}
    | {"seconds", "step", "total_steps", "micro_batch", "trial", "started_at", "ended_at"}
)


@dataclass(frozen=True)
class RunRow:
    """A run as stored. `seconds` are active seconds; `stalled_deaths` are deaths without a step in between."""

    study: str
    run: str
    role: RunRole
    trial: int | None
    state: TrialState
    config: dict[str, Any]
    proposed_by: str
    because: str
    value: float | None
    metrics: dict[str, Any]
    seed: int | None
    attempts: int
    deaths: int
    stalled_deaths: int
    seconds: float
    step: int
    total_steps: int
    micro_batch: int | None
    started_at: float
    ended_at: float | None


class Runs(Studies):
    """The part of the store that holds runs."""

    def start_run(
        self,
        study: str,
        run: str,
        role: RunRole,
        *,
        config: Mapping[str, Any],
        proposed_by: str = "",
        trial: int | None = None,
        seed: int | None = None,
        total_steps: int = 0,
    ) -> None:
        """Stores a run as running. One that is there goes on, with its steps, seconds and deaths kept.

        Raises:
            StudyNotFoundError: no study of that name.
            StoreError: the run is completed already.
        """
        with self._write() as connection:
            self._touch(connection, study)
            row = connection.execute(
                "SELECT state FROM autoglm_runs WHERE study = ? AND run = ?", (study, run)
            ).fetchone()
            if row is not None and row["state"] == TrialState.COMPLETED:
                raise StoreError(f"Run {run!r} of study {study!r} is completed and is not started again.")
            connection.execute(
                "INSERT INTO autoglm_runs (study, run, role, trial, state, config, proposed_by, seed, total_steps, "
                "started_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (study, run) DO UPDATE SET "
                "role = excluded.role, trial = excluded.trial, state = excluded.state, config = excluded.config, "
                "proposed_by = excluded.proposed_by, seed = excluded.seed, total_steps = excluded.total_steps, "
                "because = '', ended_at = NULL",
                (
                    study,
                    run,
                    RunRole(role),
                    trial,
                    TrialState.RUNNING,
                    dumps(config),
                    proposed_by,
                    seed,
                    total_steps,
                    time.time(),
                ),
            )

    def update_run(self, study: str, run: str, **fields: Any) -> None:
        """Sets columns of a run, e.g. `step=40, seconds=12.5`.

        Raises:
            StoreError: no such run.
            TypeError: not a column that may be set.
        """
        unknown = sorted(set(fields) - _FIELDS)
        if unknown:
            raise TypeError(f"A run has no settable field {', '.join(unknown)}.")
        if not fields:
            return
        assignments = ", ".join(f"{name} = :{name}" for name in fields)
        values = {name: dumps(value) if name in _JSON else value for name, value in fields.items()}
        with self._write() as connection:
            changed = connection.execute(
                f"UPDATE autoglm_runs SET {assignments} WHERE study = :study_ AND run = :run_",
                {**values, "study_": study, "run_": run},
            )
            if changed.rowcount == 0:
                self._existing(connection, study)
                raise StoreError(f"Study {study!r} has no run {run!r}. Start it first.")

    def end_run(
        self,
        study: str,
        run: str,
        state: TrialState,
        *,
        value: float | None = None,
        metrics: Mapping[str, Any] | None = None,
        because: str = "",
    ) -> None:
        """Stores the outcome of a run: state, value, metrics and reason in one transaction.

        Args:
            study: the study's name.
            run: the run's name.
            state: a final state, or WAITING for a run that is set aside.
            value: the first objective on the validation split.
            metrics: everything measured; None keeps what is there.
            because: why it ended early or failed.
        """
        fields: dict[str, Any] = {"state": TrialState(state), "value": value, "because": because}
        if metrics is not None:
            fields["metrics"] = metrics
        if TrialState(state).final:
            fields["ended_at"] = time.time()
        with self._write() as connection:
            self._touch(connection, study)
            self.update_run(study, run, **fields)

    def run(self, study: str, run: str) -> RunRow | None:
        """A run by its name, None when there is none."""
        with self._read() as connection:
            row = connection.execute("SELECT * FROM autoglm_runs WHERE study = ? AND run = ?", (study, run)).fetchone()
        return None if row is None else _run_row(row)

    def runs(self, study: str, role: RunRole | None = None) -> list[RunRow]:
        """The runs of a study, trials by number first, then the others as they were started."""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT * FROM autoglm_runs WHERE study = :study AND (:role IS NULL OR role = :role) "
                "ORDER BY trial IS NULL, trial, started_at, run",
                {"study": study, "role": role},
            ).fetchall()
        return [_run_row(row) for row in rows]


def _run_row(row: sqlite3.Row) -> RunRow:
    values: dict[str, Any] = {name: row[name] for name in row.keys()}  # noqa: SIM118 (a Row iterates over values)
    values |= {name: json.loads(values[name]) for name in _JSON}
    return RunRow(**values | {"role": RunRole(values["role"]), "state": TrialState(values["state"])})
