"""Configurations drawn from a space, and the same ones with one or two values pinned.

fANOVA asks for averages over the whole space, not over the trials, which crowd around
good regions. The draw walks the space, so every configuration is valid: pinning a parent
(the method) re-decides which of its children (the rank) are active. Where the space does
not describe the trials (a list of given configurations), the trials themselves are the
population.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoglm_nb.surrogates.encoding import Axis, label

__all__ = ["Population"]


class Population:
    """A fixed draw of configurations. Not thread-safe, never mutated after creation.

    Args:
        space: a `space.Space`, or None.
        axes: the axes of interest (`axes_of`).
        configs: configurations that were tried.
        size: configurations to draw.
        seed: of the scrambled Sobol sequence.
    """

    def __init__(
        self, space: Any, axes: Sequence[Axis], configs: Sequence[Mapping[str, Any]], *, size: int, seed: int
    ) -> None:
        self._space = space if _describes(space, axes, configs) else None
        if self._space is None:
            rng = np.random.default_rng(seed)
            self.base = [dict(configs[i]) for i in rng.integers(0, len(configs), size)]
            return
        keys = list(dict.fromkeys(d.key for d in self._space.dimensions))
        units = _sobol(size, len(keys), seed)
        self._units = [dict(zip(keys, row, strict=True)) for row in units]
        self.base = [self._walk(u, {}) for u in self._units]

    def pinned(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The same draw with some hyper-parameters held at a value wherever they are active."""
        if self._space is None:
            return [{**c, **{n: v for n, v in values.items() if n in c}} for c in self.base]
        return [self._walk(u, values) for u in self._units]

    def _walk(self, units: Mapping[str, float], pinned: Mapping[str, Any]) -> dict[str, Any]:
        def suggest(dimension: Any) -> Any:
            if dimension.name in pinned and _fits(dimension, pinned[dimension.name]):
                return _own(dimension, pinned[dimension.name])
            return _at(dimension, units[dimension.key])

        space: Any = self._space
        return dict(space.walk(suggest))


def _describes(space: Any, axes: Sequence[Axis], configs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every axis is a dimension of the space and no trial lies outside it."""
    if space is None or not space.dimensions:
        return False
    by_name: dict[str, list[Any]] = {}
    for dimension in space.dimensions:
        by_name.setdefault(dimension.name, []).append(dimension)
    names = [a.name for a in axes]
    if any(n not in by_name for n in names):
        return False
    return all(any(_fits(d, c[n]) for d in by_name[n]) for c in configs for n in names if n in c)


def _fits(dimension: Any, value: Any) -> bool:
    if dimension.kind == "categorical":
        return value in dimension.choices or label(value) in {label(c) for c in dimension.choices}
    tolerance = 1e-9 * max(abs(dimension.low), abs(dimension.high))
    return isinstance(value, (int, float)) and dimension.low - tolerance <= value <= dimension.high + tolerance


def _own(dimension: Any, value: Any) -> Any:
    """The value as the dimension itself writes it, so that conditions compare like with like."""
    if dimension.kind != "categorical":
        if not dimension.step:
            return round(value) if dimension.kind == "int" else value
        last = math.floor((dimension.high - dimension.low) / dimension.step + 1e-9)
        snapped = dimension.low + dimension.step * min(max(round((value - dimension.low) / dimension.step), 0), last)
        return int(snapped) if dimension.kind == "int" else snapped
    return value if value in dimension.choices else next(c for c in dimension.choices if label(c) == label(value))


def _at(dimension: Any, unit: float) -> Any:
    """The dimension's value at a position in [0, 1)."""
    if dimension.kind == "categorical":
        return dimension.choices[min(int(unit * len(dimension.choices)), len(dimension.choices) - 1)]
    low, high, step = float(dimension.low), float(dimension.high), dimension.step
    if dimension.log:
        value = math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
    elif step:
        steps = math.floor((high - low) / step + 1e-9) + 1
        value = low + step * min(int(unit * steps), steps - 1)
    else:
        value = low + unit * (high - low)
    if dimension.kind == "int":
        return int(min(max(round(value), low), high))
    return min(max(value, low), high)


def _sobol(size: int, dimensions: int, seed: int) -> np.ndarray:
    from scipy.stats import qmc

    sampler = qmc.Sobol(dimensions, scramble=True, rng=seed)
    return np.asarray(sampler.random_base2(max(math.ceil(math.log2(size)), 1)))[:size]
