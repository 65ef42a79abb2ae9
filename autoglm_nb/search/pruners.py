"""Early stopping: advice, with its reason, on whether a trial should go on.

A pruner looks at what the trials of a study have reported at the same evaluation
and decides; it changes nothing. Evaluations count from 1. No trial is judged
before a stated number of others can be compared with, and none at its last
evaluation, where there is nothing left to save. Optuna's own `should_prune` is
not used because it gives no reason and refuses studies with several objectives.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import optuna
from optuna.trial import FrozenTrial, TrialState

from autoglm_nb.search.names import check_pruner

__all__ = ["AshaPruner", "Decision", "MedianPruner", "NoPruner", "Pruner", "make_pruner"]

MEDIAN_PEERS = 5
"""Completed trials the median pruner needs; Optuna's `n_startup_trials`."""

ASHA_FACTOR = 2
"""One in so many goes on at a rung. Trials have few evaluations here, so a gentle factor."""

ASHA_PEERS = ASHA_FACTOR**2 - 1
"""Other trials at the rung that ASHA needs before it judges: with it a field that can be halved twice."""


@dataclass(frozen=True)
class Decision:
    """Whether to end the trial now or set it aside for later, and why (or why not).

    Attributes:
        prune: it never goes on.
        because: the figures behind the decision.
        pause: it is set aside at its checkpoint; asked again when more is known, it may go on.
        provisional: it goes on only because too few have reported to judge it; worth asking again when others have.
    """

    prune: bool
    because: str
    pause: bool = False
    provisional: bool = False


class Pruner(ABC):
    """Judges trials by what they reported.

    Args:
        rungs: evaluations in a full trial; None when that is not known.
        direction: `"maximize"` or `"minimize"`.
    """

    def __init__(self, *, rungs: int | None, direction: str) -> None:
        self.rungs = rungs
        self.maximize = direction == "maximize"

    def decide(self, study: optuna.Study, number: int, rung: int) -> Decision:
        """Advice on trial `number` after it reported at evaluation `rung`."""
        trials = study.get_trials(deepcopy=False)
        trial = next(t for t in trials if t.number == number)
        value = trial.intermediate_values.get(rung)
        if value is None:
            return Decision(False, f"nothing was reported at {self._place(rung)}")
        if math.isnan(value):
            return Decision(True, f"not a number at {self._place(rung)}")
        if rung == self.rungs:
            return Decision(False, "its last evaluation")
        return self._judge(trial, [t for t in trials if t.number != number], rung, value)

    @abstractmethod
    def _judge(self, trial: FrozenTrial, others: Sequence[FrozenTrial], rung: int, value: float) -> Decision:
        """The decision for a finite value at an evaluation that is not the last."""

    def _place(self, rung: int) -> str:
        return f"evaluation {rung} of {self.rungs}" if self.rungs and rung <= self.rungs else f"evaluation {rung}"

    def _better(self, one: float, other: float) -> bool:
        return one > other if self.maximize else one < other

    @property
    def _worse(self) -> str:
        return "below" if self.maximize else "above"


class NoPruner(Pruner):
    """Ends no trial early; even a NaN is left to the training loop."""

    def decide(self, study: optuna.Study, number: int, rung: int) -> Decision:
        return Decision(False, "no pruner")

    def _judge(self, trial: FrozenTrial, others: Sequence[FrozenTrial], rung: int, value: float) -> Decision:
        return Decision(False, "no pruner")


class MedianPruner(Pruner):
    """Ends a trial whose best value so far is worse than the median at this evaluation.

    The median is taken over the values that completed trials had at the same
    evaluation, as in Optuna's `MedianPruner` (the rule of Golovin et al. 2017,
    Google Vizier, section 3.2.2, with point values instead of running averages).
    """

    def __init__(self, *, rungs: int | None, direction: str, peers: int = MEDIAN_PEERS) -> None:
        super().__init__(rungs=rungs, direction=direction)
        self.peers = max(1, peers)

    def _judge(self, trial: FrozenTrial, others: Sequence[FrozenTrial], rung: int, value: float) -> Decision:
        known = [
            t.intermediate_values[rung]
            for t in others
            if t.state is TrialState.COMPLETE and not math.isnan(t.intermediate_values.get(rung, math.nan))
        ]
        if len(known) < self.peers:
            return Decision(False, f"{len(known)} of {self.peers} completed trials to compare with")
        so_far = [v for step, v in trial.intermediate_values.items() if step <= rung and not math.isnan(v)]
        best = max(so_far) if self.maximize else min(so_far)
        middle = median(known)
        when = "at" if best == value else "at best by"
        figures = f"{_figure(best)} {when} {self._place(rung)}"
        if self._better(middle, best):
            return Decision(True, f"{figures}, {self._worse} the median {_figure(middle)} of {len(known)} trials")
        return Decision(False, f"{figures}, the median of {len(known)} trials is {_figure(middle)}")


class AshaPruner(Pruner):
    """Asynchronous successive halving (Li et al. 2020, MLSys, algorithm 2).

    Rungs are evaluations 1, η, η², …. A trial goes on from a rung when it is among
    the best 1/η of all trials that have reported there, whatever became of them.
    One that is not is paused at its checkpoint; judged again after others have
    reported, it may be promoted. Who is paused at the end of the search is pruned.
    Unlike there a trial goes on while fewer than `peers` others have reported, but
    provisionally: the search asks again.
    """

    def __init__(
        self, *, rungs: int | None, direction: str, factor: int = ASHA_FACTOR, peers: int = ASHA_PEERS
    ) -> None:
        super().__init__(rungs=rungs, direction=direction)
        self.factor = max(2, factor)
        self.peers = max(1, peers)

    def _judge(self, trial: FrozenTrial, others: Sequence[FrozenTrial], rung: int, value: float) -> Decision:
        if not self._is_rung(rung):
            return Decision(False, f"{self._place(rung)} is not a rung")
        known = [
            t.intermediate_values[rung] for t in others if not math.isnan(t.intermediate_values.get(rung, math.nan))
        ]
        if len(known) < self.peers:
            return Decision(False, f"{len(known)} of {self.peers} other trials at this evaluation", provisional=True)
        field = len(known) + 1
        places = max(1, field // self.factor)
        place = 1 + sum(self._better(other, value) for other in known)
        figures = f"{_figure(value)} at {self._place(rung)}, place {place} of {field}"
        if place > places:
            cut = sorted([*known, value], reverse=self.maximize)[places - 1]
            return Decision(False, f"{figures}; the best {places} go on, from {_figure(cut)}", pause=True)
        return Decision(False, f"{figures}; the best {places} go on")

    def _is_rung(self, evaluation: int) -> bool:
        while evaluation > 1 and evaluation % self.factor == 0:
            evaluation //= self.factor
        return evaluation == 1


def make_pruner(name: str, *, rungs: int | None, direction: str = "maximize") -> Pruner:
    """The pruner of that name.

    Args:
        name: `"median"`, `"asha"` or `"none"`.
        rungs: evaluations in a full trial; None when that is not known.
        direction: `"maximize"` or `"minimize"`.

    Raises:
        StrategyError: no pruner of that name.
    """
    check_pruner(name)
    kinds: dict[str, type[Pruner]] = {"median": MedianPruner, "asha": AshaPruner, "none": NoPruner}
    return kinds[name](rungs=rungs, direction=direction)


def _figure(value: float) -> str:
    return f"{value:.3f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3g}"
