"""Is the faster side still doing the same work? The check that stands before every speed.

Both sides train the same configurations on the same rows, with randomness of their
own, so accuracies differ as they do between two seeds of the peer. Two things are
asked. The mean over all configurations and seeds may differ by half a point. And no
trial may differ from the peer's by more than the peer differs from itself: with d
the differences of the peer between two seeds, the limit is t * rms(d), where t is
Student's, with as many degrees of freedom as there are differences, for a chance of
5 % that any one of all trials exceeds it; never below half a point.

How much a trial scatters depends on the trial: one that ends soon after it began to
learn scatters most, and two seeds of the peer may happen to agree there. A trial beyond
the limit is therefore looked at a second time, with further seeds on both sides
(`doubtful` says which): those alone, not the run that raised the doubt, then decide, by
Welch's test of the two means, with a chance of 5 % for all such trials together.

With few configurations or rows (a reduced run) the mean is known less well than to
half a point. Then the margin is two standard errors instead, and the result says so;
two seeds that happen to agree on a few rows are not taken for certainty.
No difference above ten points passes, however much the peer's own results scatter.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["MARGIN", "SECOND_LOOK", "Look", "Verdict", "doubtful", "judge"]

MARGIN = 0.005
"""Half a point of accuracy."""

MOST = 0.1
"""What neither a mean nor a single trial may differ by, however uncertain."""

CHANCE = 0.05

SECOND_LOOK = 6
"""Further seeds of a doubtful trial, on both sides."""

Look = tuple[Sequence[float], Sequence[float]]
"""Accuracies of a doubtful trial with further seeds: ours, the peer's."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of the check.

    Attributes:
        passed: whether a speed may be printed.
        mean_difference: ours minus the peer's, over all trials.
        margin: what the mean was allowed to differ by.
        worst: the largest difference of a single trial, of those that were not looked at again.
        limit: what a single trial was allowed to differ by.
        looks: of each trial that was looked at again: its place, both means, and the chance of such a
            difference between equals.
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
    looks: tuple[dict[str, float], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        found = {key: round(value, 5) if isinstance(value, float) else value for key, value in asdict(self).items()}
        return {**found, "looks": [{key: round(value, 5) for key, value in look.items()} for look in self.looks]}


def doubtful(
    ours: Sequence[float],
    peer: Sequence[float],
    self_differences: Sequence[float],
    *,
    reduced: bool = False,
    rows: int | None = None,
) -> list[int]:
    """The places of trials that a second look may clear: they alone stand against passing.

    Arguments as of `judge`.
    """
    verdict = judge(ours, peer, self_differences, reduced=reduced, rows=rows)
    if verdict.passed or not abs(verdict.mean_difference) <= verdict.margin or abs(verdict.worst) > MOST:
        return []
    differences = [one - other for one, other in zip(ours, peer, strict=True)]
    return _beyond(differences, verdict.limit)


def judge(
    ours: Sequence[float],
    peer: Sequence[float],
    self_differences: Sequence[float],
    *,
    reduced: bool = False,
    rows: int | None = None,
    margin: float = MARGIN,
    looks: Mapping[int, Look] | None = None,
) -> Verdict:
    """Compare accuracies trial by trial.

    Args:
        ours, peer: accuracy (0 to 1) of each trial, in the same order.
        self_differences: of the peer against itself with another seed, one per configuration.
        reduced: allow the wider margin of a run with few trials.
        rows: that accuracies were counted on; in a reduced run the scatter is never taken for less than
            that of two counts on so many rows.
        margin: of the mean, in a complete run.
        looks: what doubtful trials gave with further seeds, by place; more are not asked about.

    Raises:
        ValueError: the lists do not belong together.
    """
    looks = looks or {}
    if len(ours) != len(peer) or not ours or not self_differences:
        raise ValueError(f"{len(ours)} and {len(peer)} trials with {len(self_differences)} differences to judge by.")
    differences = [one - other for one, other in zip(ours, peer, strict=True)]
    again = [value for look in looks.values() for side in look for value in side]
    if not all(math.isfinite(x) for x in (*differences, *self_differences, *again)):
        return Verdict(False, math.nan, margin, math.nan, math.nan, reduced, "An accuracy is not a number.")
    mean = sum(differences) / len(differences)
    margin, limit = _bounds(len(differences), self_differences, reduced, rows, margin)
    looked = [p for p in _beyond(differences, limit) if p in looks and abs(differences[p]) <= MOST]
    worst = max((d for place, d in enumerate(differences) if place not in looked), key=abs, default=0.0)
    seen = tuple(_looked_at(place, looks[place]) for place in looked)
    faults = []
    if abs(mean) > margin + 1e-12:
        faults.append(f"the mean accuracy differs by {100 * mean:+.2f} points, more than {100 * margin:.2f}")
    if abs(worst) > limit + 1e-12:
        faults.append(f"a trial differs by {100 * worst:+.2f} points, more than the peer's own {100 * limit:.2f}")
    for look in seen:
        if look["chance"] < CHANCE / len(seen):
            faults.append(
                f"a trial differs by {100 * differences[int(look['place'])]:+.2f} points, and with further seeds its "
                f"means are {look['ours']:.4f} and the peer's {look['peer']:.4f} (chance {look['chance']:.3f})"
            )
    because = "; ".join(faults) or (
        f"the mean differs by {100 * mean:+.2f} points (at most {100 * margin:.2f}), no trial by more than "
        f"{100 * abs(worst):.2f} (at most {100 * limit:.2f})"
        + "".join(
            f", but for one by {100 * differences[int(look['place'])]:+.2f} whose means with further seeds are "
            f"{look['ours']:.4f} and the peer's {look['peer']:.4f} (chance {look['chance']:.2f})"
            for look in seen
        )
    )
    return Verdict(not faults, mean, margin, worst, limit, reduced, because[0].upper() + because[1:] + ".", seen)


def _bounds(
    count: int, self_differences: Sequence[float], reduced: bool, rows: int | None, margin: float
) -> tuple[float, float]:
    """What the mean of `count` trials may differ by, and what a single one may."""
    rms = math.sqrt(sum(d * d for d in self_differences) / len(self_differences))
    if reduced:
        rms = max(rms, math.sqrt(0.5 / rows) if rows else 0.0)
        margin = min(MOST, max(margin, 2 * rms / math.sqrt(count)))
    return margin, min(MOST, max(margin, _student(count, len(self_differences)) * rms))


def _beyond(differences: Sequence[float], limit: float) -> list[int]:
    return [place for place, difference in enumerate(differences) if abs(difference) > limit + 1e-12]


def _looked_at(place: int, look: Look) -> dict[str, float]:
    """Welch's test of a second look."""
    from scipy import stats

    ours, peer = look
    means = {"ours": statistics.mean(ours), "peer": statistics.mean(peer)}
    if len({*ours}) == len({*peer}) == 1:  # no scatter, no statistic
        return {"place": place, **means, "chance": float(means["ours"] == means["peer"])}
    return {"place": place, **means, "chance": float(stats.ttest_ind(ours, peer, equal_var=False).pvalue)}


def _student(comparisons: int, freedom: int) -> float:
    """Two-sided quantile of Student's t so that one of `comparisons` exceeds it with `CHANCE`."""
    from scipy import stats

    return float(stats.t.ppf(1 - CHANCE / (2 * comparisons), freedom))
