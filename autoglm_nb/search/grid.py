"""Strategies with a list of their own: `grid` and `fixed`.

Their contract differs from other samplers: what they propose is a whole
configuration, decided before the trial starts, and at some point there is
nothing left. Configurations that were already tried (enqueued ones, say) are not
proposed again. What a given configuration leaves open is drawn at random.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from autoglm_nb.search.distributions import encode
from autoglm_nb.search.recording import RecordingSampler, Words
from autoglm_nb.space import Space

__all__ = ["FixedSampler", "GridSampler"]

POSITION = "autoglm:grid_position"


class FixedSampler(RecordingSampler):
    """Proposes nothing of its own: the search ends when the enqueued configurations have been tried."""

    def __init__(self, *, seed: int | None) -> None:
        super().__init__(RandomSampler, seed=seed, strategy="fixed", words=Words("given", alone="random draw"))

    def exhausted(self, study: Study) -> bool:
        return True


class GridSampler(RecordingSampler):
    """Every configuration of `Space.grid` once, in a seeded order.

    The order is a permutation of the positions, so that a budget that does not
    reach the end still sees every corner. The position of each trial is stored
    with it: a new worker goes on where the last one stopped.
    """

    def __init__(self, space: Space, *, seed: int | None) -> None:
        super().__init__(RandomSampler, seed=seed, strategy="grid", words=Words("grid", alone="random draw"))
        self._space = space
        self._grid = space.grid()
        self._size = self._grid.size
        self._planned: dict[int, dict[str, Any]] = {}

    def exhausted(self, study: Study) -> bool:
        return self._next(study) is None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        super().before_trial(study, trial)
        if "fixed_params" in trial.system_attrs or trial.number in self._planned:
            return
        position = trial.system_attrs.get(POSITION)
        if position is None:
            position = self._next(study)
            if position is None:
                return
            study._storage.set_trial_system_attr(trial._trial_id, POSITION, position)
        self._planned[trial.number] = self._at(position)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        config = self._planned.get(trial.number, {})
        for dimension in self._space.dimensions:
            if dimension.key == param_name and dimension.name in config:
                draw = self.draw(trial.number)
                if draw is not None:
                    draw.joint[param_name] = config[dimension.name]
                return encode(dimension, config[dimension.name])
        return super().sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        super().after_trial(study, trial, state, values)
        self._planned.pop(trial.number, None)

    def _next(self, study: Study) -> int | None:
        """The first position after all that were handed out whose configuration was not tried."""
        trials = study.get_trials(deepcopy=False)
        tried = {_text(t.user_attrs["config"]) for t in trials if "config" in t.user_attrs}
        position = max((t.system_attrs.get(POSITION, -1) for t in trials), default=-1) + 1
        while position < self._size and _text(self._at(position)) in tried:
            position += 1
        return position if position < self._size else None

    def _at(self, position: int) -> dict[str, Any]:
        return self._grid[_permuted(position, self._size, self.seed)]


def _permuted(position: int, size: int, seed: int) -> int:
    """The image of a position under a permutation of `range(size)` drawn by the seed.

    A balanced Feistel network over the next power of four, followed until it
    lands inside the range (cycle walking; Black and Rogaway 2002).
    """
    half = max(1, (size - 1).bit_length() + 1 >> 1)
    mask = (1 << half) - 1
    while True:
        left, right = position >> half, position & mask
        for turn in range(4):
            left, right = right, left ^ (_scrambled(right, turn, seed) & mask)
        position = left << half | right
        if position < size:
            return position


def _scrambled(value: int, turn: int, seed: int) -> int:
    text = f"{seed}:{turn}:{value}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _text(config: dict[str, Any]) -> str:
    return json.dumps(config, sort_keys=True)
