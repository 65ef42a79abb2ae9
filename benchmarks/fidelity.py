"""Is the faster side still doing the same work? The check that stands before every speed.

Both sides train the same configurations on the same rows, with randomness of their
own, so accuracies differ as they do between two seeds of the peer. Two things are
asked. The mean over all configurations and seeds may differ by half a point. And no
trial may differ from the peer's by more than the peer differs from itself: with d
the differences of the peer between two seeds, the limit is t * rms(d), where t is
Student's, with as many degrees of freedom as there are differences, for a chance of
5 % that any one of all trials exceeds it; never below half a point.

With few configurations or rows (a reduced run) the mean is known less well than to
half a point. Then the margin is two standard errors instead, and the result says so;
two seeds that happen to agree on a few rows are not taken for certainty.
No difference above ten points passes, however much the peer's own results scatter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["MARGIN", "Verdict", "judge"]

MARGIN = 0.005
"""Half a point of accuracy."""

MOST = 0.1
"""What neither a mean nor a single trial may differ by, however uncertain."""

CHANCE = 0.05


@dataclass(frozen=True)
class Verdict:
    """The outcome of the check.

    Attributes:
        passed: whether a speed may be printed.
        mean_difference: ours minus the peer's, over all trials.
        margin: what the mean was allowed to differ by.
        worst: the largest difference of a single trial.
        limit: what a single trial was allowed to differ by.
        reduced: the margin is wider than half a point, for want of trials.
        because: one sentence.
    """

    passed: bool
    mean_difference: float
    margin: float
    worst: float
    limit: float
    reduced: bool
    because: str

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {key: round(value, 5) if isinstance(value, float) else value for key, value in asdict(self).items()}


def judge(
    ours: Sequence[float],
    peer: Sequence[float],
    self_differences: Sequence[float],
    *,
    reduced: bool = False,
    rows: int | None = None,
    margin: float = MARGIN,
) -> Verdict:
    """Compare accuracies trial by trial.

    Args:
        ours, peer: accuracy (0 to 1) of each trial, in the same order.
        self_differences: of the peer against itself with another seed, one per configuration.
        reduced: allow the wider margin of a run with few trials.
        rows: that accuracies were counted on; in a reduced run the scatter is never taken for less than
            that of two counts on so many rows.
        margin: of the mean, in a complete run.

    Raises:
        ValueError: the lists do not belong together.
    """
    if len(ours) != len(peer) or not ours or not self_differences:
        raise ValueError(f"{len(ours)} and {len(peer)} trials with {len(self_differences)} differences to judge by.")
    differences = [one - other for one, other in zip(ours, peer, strict=True)]
    if not all(math.isfinite(x) for x in (*differences, *self_differences)):
        return Verdict(False, math.nan, margin, math.nan, math.nan, reduced, "An accuracy is not a number.")
    mean = sum(differences) / len(differences)
    rms = math.sqrt(sum(d * d for d in self_differences) / len(self_differences))
    if reduced:
        rms = max(rms, math.sqrt(0.5 / rows) if rows else 0.0)
        margin = min(MOST, max(margin, 2 * rms / math.sqrt(len(differences))))
    limit = min(MOST, max(margin, _student(len(differences), len(self_differences)) * rms))
    worst = max(differences, key=abs)
    faults = []
    if abs(mean) > margin + 1e-12:
        faults.append(f"the mean accuracy differs by {100 * mean:+.2f} points, more than {100 * margin:.2f}")
    if abs(worst) > limit + 1e-12:
        faults.append(f"a trial differs by {100 * worst:+.2f} points, more than the peer's own {100 * limit:.2f}")
    because = "; ".join(faults) or (
        f"the mean differs by {100 * mean:+.2f} points (at most {100 * margin:.2f}), no trial by more than "
        f"{100 * abs(worst):.2f} (at most {100 * limit:.2f})"
    )
    return Verdict(not faults, mean, margin, worst, limit, reduced, because[0].upper() + because[1:] + ".")


def _student(comparisons: int, freedom: int) -> float:
    """Two-sided quantile of Student's t so that one of `comparisons` exceeds it with `CHANCE`."""
    from scipy import stats

    return float(stats.t.ppf(1 - CHANCE / (2 * comparisons), freedom))
