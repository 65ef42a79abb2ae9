"""Between a `Dimension` and Optuna's distributions.

Optuna stores categorical choices as JSON scalars and cannot tell `True` from `1`
or hold a list. A dimension with such choices has all its choices written as JSON
text and read back by position.
"""

from __future__ import annotations

import json
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autoglm_nb.space import Dimension

__all__ = ["decode", "distribution", "encode", "suggest"]


def distribution(dimension: Dimension) -> BaseDistribution:
    """The Optuna distribution of a dimension."""
    if dimension.kind == "categorical":
        return CategoricalDistribution([encode(dimension, choice) for choice in dimension.choices])
    low, high = dimension.low, dimension.high
    if low is None or high is None:
        raise ValueError(f"`{dimension.name}` has no range.")
    if dimension.kind == "int":
        return IntDistribution(int(low), int(high), log=dimension.log, step=int(dimension.step or 1))
    return FloatDistribution(low, high, log=dimension.log, step=dimension.step)


def encode(dimension: Dimension, value: Any) -> CategoricalChoiceType:
    """A value of a configuration as Optuna stores it.

    Raises:
        ValueError: the value does not belong to the dimension.
    """
    value = dimension.normalise(value)
    if dimension.kind == "categorical" and _as_text(dimension):
        return json.dumps(value)
    scalar: CategoricalChoiceType = value
    return scalar


def decode(dimension: Dimension, stored: Any) -> Any:
    """Inverse of `encode`."""
    if dimension.kind == "categorical" and _as_text(dimension):
        return json.loads(stored)
    return stored


def suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    """Asks the trial for a value of the dimension, under its key."""
    space = distribution(dimension)
    if isinstance(space, CategoricalDistribution):
        return decode(dimension, trial.suggest_categorical(dimension.key, space.choices))
    if isinstance(space, IntDistribution):
        return trial.suggest_int(dimension.key, space.low, space.high, step=space.step, log=space.log)
    if isinstance(space, FloatDistribution):
        return trial.suggest_float(dimension.key, space.low, space.high, step=space.step, log=space.log)
    raise TypeError(f"no such distribution: {space!r}")


def _as_text(dimension: Dimension) -> bool:
    choices = dimension.choices
    if any(isinstance(choice, tuple) for choice in choices):
        return True
    return any(one == two for i, one in enumerate(choices) for two in choices[:i])
