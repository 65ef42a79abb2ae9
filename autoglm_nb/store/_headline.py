"""The answer so far: best value, gain over the default settings, time left, what to do next."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from autoglm_nb.protocol import HeadlineSnapshot, StudySpec, StudyState
from autoglm_nb.record import words
from autoglm_nb.store._json import finite
from autoglm_nb.store._trials import TrialFact

__all__ = ["Progress", "best_trial", "curve", "headline", "spread"]

T = TypeVar("T")

_CURVE_POINTS = 200
_FINAL = ("completed", "pruned", "failed")
_ENOUGH = 2  # trials that must have ended before an estimate of the time left means something


@dataclass(frozen=True)
class Progress:
    """What the estimate of the time left needs besides the trials themselves.

    Attributes:
        state: the study's state, derived.
        active_seconds: time workers have spent on it.
        running: sum over the running trials of the share each has done, 0 to 1.
    """

    state: StudyState
    active_seconds: float
    running: float


def headline(
    connection: sqlite3.Connection,
    spec: StudySpec,
    trials: Sequence[TrialFact],
    direction: str,
    progress: Progress,
    best_config: dict[str, Any],
    adapter: str | None,
) -> HeadlineSnapshot:
    """The headline of a study, within the caller's transaction.

    Args:
        connection: in a read transaction.
        spec: the study's request.
        trials: all of them, by number.
        direction: `minimize` or `maximize`, of the first objective.
        progress: where the study is.
        best_config: the configuration of the best trial.
        adapter: where its adapter lies, from the folder that holds the store's home; None without one.
    """
    best = best_trial(trials, direction)
    baseline = _baseline(connection, spec.name)
    gain = None
    if best is not None and best.value is not None and baseline is not None:
        gain = baseline - best.value if direction == "minimize" else best.value - baseline
    finished = sum(t.state in _FINAL for t in trials)
    return HeadlineSnapshot(
        best_value=best.value if best else None,
        best_trial=best.number if best else None,
        best_config=best_config,
        baseline_value=baseline,
        gain=gain,
        finished=finished,
        total=spec.trials,
        seconds_left=_seconds_left(connection, spec, finished, progress),
        next=_next(spec.name, progress.state, best is not None, adapter),
    )


def best_trial(trials: Sequence[TrialFact], direction: str) -> TrialFact | None:
    """The best completed and feasible trial, the earliest of equals."""
    best: TrialFact | None = None
    value = math.inf
    sign = 1.0 if direction == "minimize" else -1.0
    for trial in trials:  # by number
        if trial.value is not None and sign * trial.value < value and trial.state == "completed" and trial.feasible:
            best, value = trial, sign * trial.value
    return best


def curve(trials: Sequence[TrialFact], direction: str) -> list[list[float]]:
    """`[[trial number, best so far], ...]`, at most 200 points: improvements and the last point first."""
    points: list[list[float]] = []
    improvements: list[int] = []
    best: float | None = None
    for trial in trials:
        if trial.state != "completed" or not trial.feasible or trial.value is None:
            continue
        if best is None or (trial.value < best if direction == "minimize" else trial.value > best):
            best = trial.value
            improvements.append(len(points))
        points.append([trial.number, best])
    if len(points) <= _CURVE_POINTS:
        return points
    chosen = {*spread(improvements, _CURVE_POINTS // 2), len(points) - 1}
    chosen |= set(spread(range(len(points)), _CURVE_POINTS - len(chosen)))
    return [points[i] for i in sorted(chosen)]


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, evenly spread, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _baseline(connection: sqlite3.Connection, study: str) -> float | None:
    row = connection.execute(
        "SELECT value FROM autoglm_runs WHERE study = ? AND role = 'baseline' AND state = 'completed' "
        "ORDER BY ended_at DESC LIMIT 1",
        (study,),
    ).fetchone()
    return None if row is None else finite(row[0])


def _seconds_left(connection: sqlite3.Connection, spec: StudySpec, finished: int, progress: Progress) -> float | None:
    """An estimate from the trials that have ended; None where nothing is under way or too few have."""
    if progress.state.final or progress.state is StudyState.INTERRUPTED or finished < _ENOUGH:
        return None
    rows = connection.execute(
        "SELECT role, state, COUNT(*), SUM(seconds) FROM autoglm_runs WHERE study = ? "
        f"AND state IN {_FINAL} GROUP BY role, state",
        (spec.name,),
    ).fetchall()
    ended = {(row[0], row[1]): (int(row[2]), float(row[3])) for row in rows}
    trial = _mean([ended.get(("trial", state), (0, 0.0)) for state in _FINAL])
    full = _mean([ended.get(("trial", "completed"), (0, 0.0))]) or trial
    # Trials trained side by side take less of the clock than their own seconds add up to.
    clock = progress.active_seconds / finished
    if trial is None or full is None:
        trial = full = clock
    overlap = min(1.0, clock / trial) if clock and trial else 1.0
    if not trial:
        return None
    budget = None
    if spec.budget_seconds is not None:  # confirmation is part of the budget
        budget = max(0.0, spec.budget_seconds - progress.active_seconds)
    if spec.trials is None:
        return budget
    left = max(0.0, spec.trials - finished - progress.running) * trial * overlap
    left += _comparison_runs(spec, ended) * full * overlap
    return round(left if budget is None else min(left, budget), 1)


def _comparison_runs(spec: StudySpec, ended: Mapping[tuple[str, str], tuple[int, float]]) -> int:
    """How many runs besides the trials are still to come: the baseline, and the repeats on several seeds."""
    if spec.objective is not None:
        return 0
    repeats = 0 if len(spec.objectives) > 1 else spec.seeds * (2 if spec.baseline else 1)
    done = sum(count for (role, _), (count, _) in ended.items() if role == "confirm")
    baseline = spec.baseline and not any(role == "baseline" for role, _ in ended)
    return max(0, repeats - done) + int(baseline)


def _mean(parts: Sequence[tuple[int, float]]) -> float | None:
    count, seconds = sum(p[0] for p in parts), sum(p[1] for p in parts)
    return seconds / count if count and seconds else None


def _next(name: str, state: StudyState, has_best: bool, adapter: str | None) -> str:
    """One line on what to do now; empty while the study is at work."""
    name = words.quoted(name)
    if state is StudyState.INTERRUPTED or state is StudyState.FAILED:
        return f"Run the cell again with --name {name} to continue; finished trials are kept."
    if state is StudyState.PAUSED:
        return f"%autotune resume {name} goes on where it stopped."
    if not state.final:
        return ""
    if not has_best:
        return f"No trial was completed. %autotune logs {name} shows what happened."
    where = f"Adapter: {adapter}. " if adapter else ""
    return (
        f"{where}%autotune best {name} -o best, then best.best_model().predict([...]); %explain {name} says why it won."
    )
