"""A sampler that remembers how each value came about, and forgets everything else.

`RecordingSampler` wraps an Optuna sampler. Two things are its own:

- **Origin.** Which dimensions the wrapped sampler drew jointly, which it drew
  independently, and what it knew at the time. `Searcher` turns that into the
  sentence a person reads, so that "expected improvement" is only said where a
  Gaussian process was asked.
- **Statelessness.** For each trial the wrapped sampler is made anew, seeded from
  (seed, trial number), and for an independent draw from the name as well. A
  proposal then depends on the seed, the number and what is stored, not on which
  worker asks or how often it was restarted. A sampler that is handed over as an
  object is used as it is.

Not thread-safe beyond what Optuna asks of a sampler: one trial is sampled by one
thread.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

__all__ = ["Draw", "RecordingSampler", "Words", "trial_seed"]

REMEMBERED = 512
"""Draws kept; older ones belong to trials that were proposed long ago."""


@dataclass(frozen=True)
class Words:
    """What the proposals of a strategy are called.

    Attributes:
        joint: values drawn together by the model.
        alone: a value drawn alone, of a dimension that the model does not know.
        changed: a value drawn alone although the model knows the dimension; empty: like `alone`.
        startup: trials the model waits for; before, values are a `start`.
        counts_pruned: pruned trials count towards them.
        generations: the model speaks of a first generation instead: as long as
            nothing is drawn together, values are a `start`.
        start: values drawn before the model is asked.
    """

    joint: str
    alone: str = "independent draw (conditional)"
    changed: str = ""
    startup: int = 0
    counts_pruned: bool = False
    generations: bool = False
    start: str = "random start"


@dataclass
class Draw:
    """How the values of one trial came about.

    Attributes:
        sampler: the wrapped sampler that was asked.
        completed: completed trials at the time.
        pruned: pruned trials at the time.
        space: dimensions the sampler models jointly; None before it was asked.
        joint: the values it drew jointly.
        independent: dimensions it drew one at a time.
    """

    sampler: BaseSampler
    completed: int = 0
    pruned: int = 0
    space: dict[str, BaseDistribution] | None = None
    joint: dict[str, Any] = field(default_factory=dict)
    independent: list[str] = field(default_factory=list)


class RecordingSampler(BaseSampler):
    """See the module's docstring.

    Args:
        make: makes the wrapped sampler from a seed.
        seed: the study's seed; None for a different search every time.
        strategy: the name under which the search is known.
        words: what its proposals are called.
        reuse: keep one wrapped sampler for all trials instead of making it anew.
    """

    def __init__(
        self,
        make: Callable[[int], BaseSampler],
        *,
        seed: int | None,
        strategy: str,
        words: Words | None = None,
        reuse: bool = False,
    ) -> None:
        self.strategy = strategy
        self.words = words or Words(strategy, alone=f"{strategy} (one dimension)")
        self._make = make
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._only = make(trial_seed(self.seed, 0)) if reuse else None
        self._draws: OrderedDict[int, Draw] = OrderedDict()
        self._lock = threading.Lock()

    def draw(self, number: int) -> Draw | None:
        """How trial `number` was drawn; None when this sampler did not draw it."""
        return self._draws.get(number)

    def exhausted(self, study: Study) -> bool:
        """Whether there is nothing left to propose."""
        return False

    def reseed_rng(self) -> None:
        """Nothing to do: seeds follow from trial numbers, which differ between threads anyway."""
        if self._only is not None:
            self._only.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._draw(study, trial).sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        draw = self._draw(study, trial)
        draw.space = draw.sampler.infer_relative_search_space(study, trial)
        return dict(draw.space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        draw = self._draw(study, trial)
        if draw.space is None:  # some samplers prepare themselves while inferring
            draw.space = draw.sampler.infer_relative_search_space(study, trial)
        draw.joint = draw.sampler.sample_relative(study, trial, search_space)
        return dict(draw.joint)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        draw = self._draw(study, trial)
        draw.independent.append(param_name)
        # a seed per name: a trial whose worker died half-way is completed as it would have been
        sampler = self._only or self._make(trial_seed(self.seed, trial.number, param_name))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._draw(study, trial).sampler.after_trial(study, trial, state, values)
        with self._lock:
            self._draws.pop(trial.number, None)

    def _draw(self, study: Study, trial: FrozenTrial) -> Draw:
        with self._lock:
            found = self._draws.get(trial.number)
        if found is None:
            sampler = self._only if self._only is not None else self._make(trial_seed(self.seed, trial.number))
            states = [t.state for t in study.get_trials(deepcopy=False) if t.number != trial.number]
            found = Draw(sampler, states.count(TrialState.COMPLETE), states.count(TrialState.PRUNED))
            with self._lock:
                self._draws[trial.number] = found
                while len(self._draws) > REMEMBERED:
                    self._draws.popitem(last=False)
        return found


def trial_seed(seed: int, number: int, name: str = "") -> int:
    """A seed for one trial, or one dimension of it, independent of all others (NumPy's `SeedSequence`)."""
    entropy = [seed % 2**64, number, *([zlib.crc32(name.encode())] if name else [])]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
