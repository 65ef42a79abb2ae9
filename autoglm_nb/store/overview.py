"""Every study of a store in one line each, with the little that a list draws: for a view that asks once a second.

`Store.studies` reads all trials of all studies each time. Here the figures of a
study are kept until something of it has changed, so that a list with large
finished studies costs what the running ones cost.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from autoglm_nb.errors import StoreError
from autoglm_nb.protocol import StudySpec, StudyState, TrialState
from autoglm_nb.store import _trials
from autoglm_nb.store._headline import curve, spread
from autoglm_nb.store._json import finite
from autoglm_nb.store._spec import directions_of, metric_of
from autoglm_nb.store.lease import LeaseRow, lease_rows
from autoglm_nb.store.queue import behind, is_device, waited_for
from autoglm_nb.store.store import Store
from autoglm_nb.store.studies import derived_state
from autoglm_nb.store.watch import Watch

__all__ = ["SPARK_POINTS", "Overview", "StudyLine"]

SPARK_POINTS = 40
_FINAL = (TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED)
_ACTIVE = (StudyState.PREPARING, StudyState.RUNNING, StudyState.CONFIRMING)


@dataclass(frozen=True)
class StudyLine:
    """One study in a list.

    Attributes:
        spark: best so far after each completed trial, thinned to at most `SPARK_POINTS`.
        running: trials under way.
        queued_behind: the study that has the device this one waits for; None while it does not wait.
        device: where it works, or waits to.
    """

    name: str
    state: StudyState
    reason: str
    model: str
    data: str
    metric: str
    direction: str
    best_value: float | None
    baseline_value: float | None
    finished: int
    running: int
    total: int | None
    spark: tuple[float, ...]
    device: str
    queued_behind: str | None
    active_seconds: float
    created_at: float
    updated_at: float
    notebook: str | None


@dataclass(frozen=True)
class _Figures:
    """What costs time to find out about a study, and stays until something has changed."""

    key: Hashable
    spec: StudySpec
    direction: str
    best: float | None
    baseline: float | None
    finished: int
    running: int
    spark: tuple[float, ...]


class Overview:
    """Lines of one store, with a memory. Threads may share it.

    Args:
        store: whose studies; it is only read.
        watch: a watch of that store, where there is one already.
    """

    def __init__(self, store: Store, watch: Watch | None = None) -> None:
        self._store = store
        self._watch = watch or Watch(store)
        self._figures: dict[str, _Figures] = {}
        self._lock = threading.Lock()

    def lines(self) -> tuple[list[StudyLine], list[str]]:
        """Studies with a worker first, then the latest changed; and a sentence for each that cannot be read."""
        found, faults, figures = [], [], {}
        keys = self._watch.fingerprints()
        with self._lock, self._store._read() as connection:
            leases = lease_rows(connection)
            rows = connection.execute("SELECT * FROM autoglm_studies ORDER BY updated_at DESC, name").fetchall()
            for row in rows:
                name = row["name"]
                key = keys.get(name)  # None for a study made this very moment: not kept
                try:
                    known = self._figures.get(name)
                    figures[name] = (
                        known if known and known.key == key is not None else _study_figures(connection, row, key)
                    )
                    found.append(_line(connection, row, figures[name], leases))
                except (
                    ValueError,
                    KeyError,
                    TypeError,
                    AttributeError,
                ) as error:  # a row of another program, or damaged
                    faults.append(f"The stored request of study {name!r} cannot be read. {error}")
                except StoreError as error:
                    faults.append(str(error))
            self._figures = figures
        return sorted(found, key=lambda line: line.state not in _ACTIVE), faults


def _study_figures(connection: sqlite3.Connection, row: sqlite3.Row, key: Hashable) -> _Figures:
    spec = StudySpec.from_json(row["spec"])
    direction = (_trials.directions(connection, row["name"]) or directions_of(spec))[0]
    trials = _trials.facts(connection, row["name"])
    states = Counter(t.state for t in trials)
    best = curve(trials, direction)
    baseline = connection.execute(
        "SELECT value FROM autoglm_runs WHERE study = ? AND role = 'baseline' AND state = 'completed' "
        "ORDER BY ended_at DESC LIMIT 1",
        (row["name"],),
    ).fetchone()
    return _Figures(
        key=key,
        spec=spec,
        direction=direction,
        best=best[-1][1] if best else None,
        baseline=None if baseline is None else finite(baseline[0]),
        finished=sum(states[state] for state in _FINAL),
        running=states[TrialState.RUNNING],
        spark=tuple(float(f"{value:.6g}") for _, value in spread(best, SPARK_POINTS)),
    )


def _line(connection: sqlite3.Connection, row: sqlite3.Row, figures: _Figures, leases: Sequence[LeaseRow]) -> StudyLine:
    name, spec = row["name"], figures.spec
    state, reason = derived_state(connection, row)
    wanted = waited_for(row) if state is StudyState.QUEUED else None
    front = behind(name, wanted, leases) if wanted else None
    held = next((x.device for x in leases if x.study == name and x.alive and is_device(x.device)), None)
    return StudyLine(
        name=name,
        state=state,
        reason=reason,
        model=spec.model,
        data=spec.data.source,
        metric=metric_of(spec),
        direction=figures.direction,
        best_value=figures.best,
        baseline_value=figures.baseline,
        finished=figures.finished,
        running=figures.running if not state.final and state is not StudyState.INTERRUPTED else 0,
        total=spec.trials,
        spark=figures.spark,
        device=held or wanted or _recorded_device(row) or spec.device,
        queued_behind=front.study if front else None,
        active_seconds=row["active_seconds"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        notebook=spec.notebook,
    )


def _recorded_device(row: sqlite3.Row) -> str | None:
    """The device that the last worker wrote down."""
    machine = json.loads(row["provenance"]).get("machine") or {}
    return str(machine["device"]) if machine.get("device") else None
