"""Is the winner really better? Winner and default configuration, fresh seeds, the test split.

Selection saw one seed and the validation split, so its figure is optimistic.
Here the best trial's configuration and the default one are trained again on
seeds that selection never used (seed+1 … seed+n), each pair on the same data
order, and scored once on the test split. The difference is paired by seed,
with Student's t interval and test (Dror et al. 2018, "The Hitchhiker's Guide to
Testing Statistical Significance in NLP", recommends the paired t-test when
scores are averaged over seeds; with three seeds the interval is honest, and wide).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from autoglm_nb import data
from autoglm_nb.protocol import RunRole, StudyState
from autoglm_nb.store import RunRow
from autoglm_nb.tuning import goal
from autoglm_nb.tuning.context import StudyContext
from autoglm_nb.tuning.control import Detached, StudyStopped
from autoglm_nb.tuning.pack import Pack
from autoglm_nb.tuning.trial_run import RunRequest
from autoglm_nb.tuning.workshop import Workshop

__all__ = ["Confirmation", "interval", "paired_difference"]

CONFIDENCE = 0.95


class Confirmation:
    """Re-runs winner and default configuration; `run` may be called again to continue."""

    def __init__(self, context: StudyContext, workshop: Workshop, metric: str, direction: str) -> None:
        self.context, self.workshop = context, workshop
        self.metric, self.direction = metric, direction

    def run(self) -> None:
        """Train what is missing and store the comparison; nothing when no trial completed."""
        context, spec = self.context, self.context.spec
        best = self._best()
        if best is None:
            context.message(
                "warning",
                "No trial completed within the constraints, so there is no winner to confirm."
                if spec.constraints
                else "No trial completed, so there is no winner to confirm.",
            )
            return
        # runs of an earlier winner (the study went on since) do not count for this one
        prefix = f"winner-{best.trial}"
        seeds = [spec.seed + 1 + i for i in range(spec.seeds)]
        wanted = [(f"{prefix}-seed-{seed}", best.config, seed) for seed in seeds]
        if spec.baseline:
            wanted += [(f"baseline-seed-{seed}", self._baseline_config(), seed) for seed in seeds]
        self._train([one for one in wanted if not self._done(one[0])])
        scores = [self._score(run) for run, _, _ in wanted]
        winner, baseline = scores[: len(seeds)], scores[len(seeds) :]
        context.store.set_final(context.study, self._summary(seeds, winner, baseline))

    def _best(self) -> RunRow | None:
        done = goal.eligible(self.context.store.runs(self.context.study, RunRole.TRIAL), self.context.spec)
        if not done:
            return None
        sign = 1.0 if self.direction == "maximize" else -1.0
        return max(done, key=lambda row: (sign * float(row.value or 0.0), -(row.trial or 0)))

    def _baseline_config(self) -> dict[str, Any]:
        model = next(iter(self.workshop.resolved))
        return goal.baseline_config(self.context.spec, model=model, decoder=self.workshop.is_decoder(model))

    def _train(self, wanted: list[tuple[str, dict[str, Any], int]]) -> None:
        """Train these configurations, each with its seed, side by side where they can share passes."""
        workshop, jobs = self.workshop, []
        for run, shown, seed in wanted:
            model = str(shown.get("model", next(iter(workshop.resolved))))
            config = goal.complete_config(shown, workshop.task, model=model, decoder=workshop.is_decoder(model))
            config["seed"] = seed  # in place of one that the search space holds or searches
            request = RunRequest(run, RunRole.CONFIRM, config, shown, seed=seed, metric=self.metric, split="test")
            jobs.append((workshop.engine(model), request))
        pack = Pack(self.context, StudyState.CONFIRMING)
        try:
            pack.drain(jobs)
        except (StudyStopped, Detached):
            pack.set_aside()
            raise
        finally:
            pack.leave()

    def _done(self, run: str) -> bool:
        row = self.context.store.run(self.context.study, run)
        return row is not None and row.state.final

    def _score(self, run: str) -> float | None:
        """The test score of a run that has ended; None when it failed."""
        row = self.context.store.run(self.context.study, run)
        return None if row is None else row.value

    def _summary(
        self, seeds: list[int], winner: Sequence[float | None], baseline: Sequence[float | None]
    ) -> dict[str, Any]:
        dataset = self.workshop.dataset
        share = self.metric in ("accuracy", "macro_f1")
        final: dict[str, Any] = {
            "metric": self.metric,
            "split": "test",
            "rows": len(dataset.test),
            "seeds": seeds,
            "winner": interval([v for v in winner if v is not None], share=share),
            "baseline": interval([v for v in baseline if v is not None], share=share) if baseline else None,
            "majority": data.majority_score(dataset, self.metric),
        }
        pairs = [(w, b) for w, b in zip(winner, baseline, strict=False) if w is not None and b is not None]
        if len(pairs) >= 2:
            sign = 1.0 if self.direction == "maximize" else -1.0
            final["difference"] = paired_difference([sign * (w - b) for w, b in pairs])
        return final


def interval(values: Sequence[float], *, share: bool = False) -> dict[str, Any]:
    """Mean and 95 % Student-t interval; the interval is the value itself for a single one.

    With `share` the interval is cut to [0, 1], where such a metric lies.
    """
    if not values:
        return {"values": [], "mean": math.nan, "low": math.nan, "high": math.nan}
    mean = sum(values) / len(values)
    half = _half_width(values)
    low, high = mean - half, mean + half
    if share:
        low, high = max(0.0, low), min(1.0, high)
    return {"values": list(values), "mean": mean, "low": low, "high": high}


def paired_difference(differences: Sequence[float]) -> dict[str, float]:
    """Mean, 95 % interval and two-sided p of paired differences (at least two)."""
    from scipy import stats

    mean = sum(differences) / len(differences)
    half = _half_width(differences)
    spread = max(differences) - min(differences)
    p = float(stats.ttest_1samp(differences, 0.0).pvalue) if spread > 0 else (1.0 if mean == 0 else 0.0)
    return {"mean": mean, "low": mean - half, "high": mean + half, "p": p}


def _half_width(values: Sequence[float]) -> float:
    from scipy import stats

    n = len(values)
    if n < 2:
        return 0.0
    mean = sum(values) / n
    variance = sum((v - mean) ** 2 for v in values) / (n - 1)
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * math.sqrt(variance / n)
