"""The points of a study's curve and a scale to draw them on, for the picture and for the terminal alike.

A diverged trial can have a loss of a million; the range therefore follows the
best values and the bulk of the others, and what lies outside is drawn at the
edge. At most `MAX_POINTS` trials are drawn: the best-so-far steps always, the
others evenly thinned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoglm_nb.protocol import TrialState
from autoglm_nb.record import words
from autoglm_nb.record.story import Story, trial_value

__all__ = ["MAX_POINTS", "Point", "Series", "series", "ticks"]

MAX_POINTS = 240

_FAR = 1e300
"""Where the picture ends at the latest: the distance of two values beyond may be infinite."""

_DRAWN = (TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED)


@dataclass(frozen=True)
class Point:
    """One trial: `value` is None where it failed before it had one."""

    trial: int
    value: float | None
    kind: str


@dataclass(frozen=True)
class Series:
    """What to draw. `low` < `high` always; `best` are (trial, best so far) steps."""

    points: tuple[Point, ...]
    best: tuple[tuple[int, float], ...]
    baseline: float | None
    low: float
    high: float
    last: int

    @property
    def empty(self) -> bool:
        return not any(p.value is not None for p in self.points)

    def across(self, trial: float) -> float:
        """Position of a trial number from left (0) to right (1)."""
        return trial / self.last if self.last else 0.5

    def up(self, value: float) -> float:
        """Position of a value from bottom (0) to top (1), kept inside the picture."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def series(story: Story) -> Series:
    """The points of a story's trials, its best-so-far line and the default settings' level."""
    points = [
        Point(int(t.get("number", 0)), trial_value(t), str(t["state"]))
        for t in story.trials
        if t.get("state") in _DRAWN
    ]
    best = [(int(c[0]), v) for c in story.curve if len(c) > 1 and (v := words.finite(c[1])) is not None]
    if not best:
        best = _best_so_far(points, story.maximize)
    best = _steps(best)
    baseline = words.finite(story.headline.get("baseline_value"))
    low, high = _span(points, best, baseline, story.maximize)
    last = max([p.trial for p in points] + [n for n, _ in best] + [1])
    return Series(tuple(_thin(points, {n for n, _ in best})), tuple(best), baseline, low, high, last)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers inside [low, high], roughly `about` of them."""
    raw = (high - low) / max(1, about)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _best_so_far(points: list[Point], maximize: bool) -> list[tuple[int, float]]:
    out: list[tuple[int, float]] = []
    for point in sorted(points, key=lambda p: p.trial):
        if point.value is None or point.kind != TrialState.COMPLETED:
            continue
        if not out or (point.value > out[-1][1] if maximize else point.value < out[-1][1]):
            out.append((point.trial, point.value))
    return out


def _steps(best: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Only the trials at which the best changed: the line between them is level."""
    return [pair for i, pair in enumerate(best) if i == 0 or pair[1] != best[i - 1][1]]


def _span(
    points: list[Point], best: list[tuple[int, float]], baseline: float | None, maximize: bool
) -> tuple[float, float]:
    values = sorted(p.value for p in points if p.value is not None)
    if not values:
        return (0.0, 1.0)
    # The bulk: the better nine tenths (all of them where there are few).
    cut = max(1, math.floor(0.9 * len(values))) if len(values) > 5 else len(values)
    bulk = _without_giants(values[-cut:] if maximize else values[:cut])
    reach = 1.5 * (bulk[-1] - bulk[0])  # a value close to the bulk belongs to the picture as well
    bulk = [v for v in values if bulk[0] - reach <= v <= bulk[-1] + reach]
    kept = bulk + [v for _, v in best[-1:]] + ([baseline] if baseline is not None else [])
    low, high = (min(_FAR, max(-_FAR, value)) for value in (min(kept), max(kept)))
    pad = 0.08 * (high - low) or max(abs(high), 1e-6) * 0.05
    if low >= 0 and high <= 1:  # an accuracy or a share has no room outside
        return (max(low - pad, -0.004), min(high + pad, 1.004))
    return (low - pad, high + pad)


def _without_giants(values: list[float]) -> list[float]:
    """Drop values a hundred times further out than the median is large: these trials diverged."""
    middle = sorted(values)[len(values) // 2]
    return [v for v in values if abs(v - middle) <= 100 * max(abs(middle), 1e-9)] or values


def _thin(points: list[Point], always: set[int]) -> list[Point]:
    if len(points) <= MAX_POINTS:
        return points
    stride = math.ceil(len(points) / MAX_POINTS)
    return [p for i, p in enumerate(points) if i % stride == 0 or p.trial in always]
