"""Which trials a surrogate learns from, and with which value.

Completed trials count with their value. A pruned trial is not thrown away, because
without it the surrogate would see good regions only; it stopped early, so its last
report is moved by the median gain that completed trials still made after the same
evaluation. Without such a comparison it is left out. Failed trials and values that are
not finite never count. A few ruinous values (a diverged loss of 1e6) would own all the
variance, so values on the bad side are drawn in to three interquartile ranges below the
lower quartile (above the upper one when minimising).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoglm_nb.errors import UsageError

__all__ = ["Observations", "best_index", "final_value", "observe"]

OUTLIER_RANGES = 3.0
"""Interquartile ranges beyond the quartile at which a bad value is drawn in."""

_FAR = 1e100
"""A value beyond it cannot be used: sums of squares within it stay finite."""


@dataclass(frozen=True)
class Observations:
    """Configurations and values a surrogate is fitted to.

    Attributes:
        numbers: trial numbers, ascending.
        configs: one configuration per observation, active hyper-parameters only.
        values: shape (n,), in the metric's own units.
        pruned: shape (n,), True where the value of a pruned trial was extrapolated.
        left_out: trials in a final state that could not be used.
        drawn_in: values moved because they were outliers on the bad side.
        maximize: whether greater values are better.
    """

    numbers: tuple[int, ...]
    configs: tuple[dict[str, Any], ...]
    values: np.ndarray
    pruned: np.ndarray
    left_out: int
    drawn_in: int
    maximize: bool

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def sentence(self) -> str:
        """What the figures rest on, in one sentence."""
        pruned = int(self.pruned.sum())
        text = f"Based on {_count(len(self) - pruned, 'completed trial')}"
        if pruned:
            text += (
                f" and {_count(pruned, 'pruned trial')}, which "
                f"{'enters with its' if pruned == 1 else 'enter with their'} last value plus the median gain "
                "completed trials still made after the same evaluation"
            )
        text += "."
        if self.left_out:
            text += f" {_count(self.left_out, 'trial')} without a usable value {_was(self.left_out)} left out."
        if self.drawn_in:
            text += f" {_count(self.drawn_in, 'extreme value')} {_was(self.drawn_in)} drawn in."
        return text


def final_value(trial: Mapping[str, Any], objective: int = 0) -> float | None:
    """The finite value of a completed trial for one objective, else None."""
    values = trial.get("values") or []
    if not values and objective == 0:
        values = [trial.get("value")]
    value = values[objective] if objective < len(values) else None
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _FAR
    return float(value) if usable and value is not None and trial.get("state") == "completed" else None


def best_index(values: Sequence[float] | np.ndarray, maximize: bool) -> int:
    """Position of the best value."""
    return int(np.argmax(values) if maximize else np.argmin(values))


def observe(
    trials: Sequence[Mapping[str, Any]], direction: str, *, objective: int = 0, use_pruned: bool = True
) -> Observations:
    """Select and value the trials a surrogate learns from.

    Args:
        trials: records with the fields of `protocol.TrialSnapshot`.
        direction: "maximize" or "minimize".
        objective: position in `values`; reports exist for the first objective alone,
            so pruned trials are used for that one only.
        use_pruned: whether pruned trials enter with an extrapolated value.

    Raises:
        UsageError: the direction is neither "maximize" nor "minimize".
    """
    if direction not in ("maximize", "minimize"):
        raise UsageError(f"A direction is 'maximize' or 'minimize', but got {direction!r}. Choose one of them.")
    gains = _later_gains(trials) if use_pruned and objective == 0 else {}
    rows: list[tuple[int, dict[str, Any], float, bool]] = []
    left_out = 0
    for trial in sorted(trials, key=lambda t: int(t["number"])):
        if trial.get("state") not in ("completed", "pruned", "failed"):
            continue
        value, pruned = final_value(trial, objective), False
        if value is None and trial.get("state") == "pruned":
            value, pruned = _extrapolate(trial, gains), True
        if value is None:
            left_out += 1
            continue
        rows.append((int(trial["number"]), dict(trial.get("config") or {}), value, pruned))
    maximize = direction == "maximize"
    values, drawn_in = _draw_in(np.array([r[2] for r in rows], dtype=float), maximize)
    return Observations(
        numbers=tuple(r[0] for r in rows),
        configs=tuple(r[1] for r in rows),
        values=values,
        pruned=np.array([r[3] for r in rows], dtype=bool),
        left_out=left_out,
        drawn_in=drawn_in,
        maximize=maximize,
    )


def _reports(trial: Mapping[str, Any]) -> list[tuple[int, float]]:
    pairs = [(p[0], p[1]) for p in trial.get("reports") or [] if len(p) == 2]
    return [(int(r), float(v)) for r, v in pairs if v is not None and abs(v) <= _FAR]


def _later_gains(trials: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Median of (final value - value at a rung) over completed trials, by rung."""
    differences: dict[int, list[float]] = {}
    for trial in trials:
        final = final_value(trial)
        if final is not None:
            for rung, value in _reports(trial):
                differences.setdefault(rung, []).append(final - value)
    return {rung: float(np.median(d)) for rung, d in differences.items()}


def _extrapolate(trial: Mapping[str, Any], gains: Mapping[int, float]) -> float | None:
    reports = _reports(trial)
    if not reports or reports[-1][0] not in gains:
        return None
    return reports[-1][1] + gains[reports[-1][0]]


def _draw_in(values: np.ndarray, maximize: bool) -> tuple[np.ndarray, int]:
    if len(values) < 4:
        return values, 0
    lower, upper = np.quantile(values, [0.25, 0.75])
    reach = OUTLIER_RANGES * (upper - lower)
    if reach == 0:
        return values, 0
    bound = lower - reach if maximize else upper + reach
    beyond = values < bound if maximize else values > bound
    return np.where(beyond, bound, values), int(beyond.sum())


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")


def _was(n: int) -> str:
    return "was" if n == 1 else "were"
