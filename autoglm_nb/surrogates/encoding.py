"""Configurations of a mixed, conditional space as rows of the unit cube.

One `Axis` per hyper-parameter name. Numbers are scaled to [0, 1] (logarithmically where
the dimension is), choices that are numbers keep their order, other choices become one
column each. A hyper-parameter that is not active in some configuration gets a neutral
value there and one more column saying whether it is active, so that a model can tell
"not there" from "in the middle".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

__all__ = ["Axis", "Encoder", "axes_of", "label"]

LOG_RATIO = 100.0
"""A number seen only in configurations counts as logarithmic when it spans this ratio."""


@dataclass(frozen=True)
class Axis:
    """One hyper-parameter as a surrogate sees it.

    Attributes:
        name: the hyper-parameter; definitions in exclusive branches share one axis.
        kind: "number", "ordered" (choices that are numbers) or "choice".
        low, high, log: the range of a number.
        choices: the values of an ordered or unordered choice.
        conditional: not active in every configuration.
        integer: whether a number takes whole values only.
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple[Any, ...] = ()
    conditional: bool = False
    integer: bool = False

    def unit(self, value: Any) -> float:
        """Position of a value in [0, 1]; for an unordered choice, its index."""
        if self.kind == "number":
            x = min(max(float(value), self.low), self.high)
            if self.log:
                return math.log(x / self.low) / math.log(self.high / self.low)
            return (x - self.low) / (self.high - self.low)
        index = self._index(value)
        return index / max(len(self.choices) - 1, 1) if self.kind == "ordered" else float(index)

    def value(self, unit: float) -> Any:
        """The value at a position in [0, 1]; for choices, the nearest one."""
        if self.kind != "number":
            return self.choices[min(round(unit * (len(self.choices) - 1)), len(self.choices) - 1)]
        x = self.low * (self.high / self.low) ** unit if self.log else self.low + unit * (self.high - self.low)
        return round(x) if self.integer else x

    def grid(self, points: int) -> list[Any]:
        """Values that stand for the whole axis with equal weight."""
        if self.kind != "number":
            return list(self.choices)
        values = [self.value((i + 0.5) / points) for i in range(points)]
        return list(dict.fromkeys(values)) if self.integer else values

    @cached_property
    def _places(self) -> dict[str, int]:
        return {label(c): i for i, c in enumerate(self.choices)}

    def _index(self, value: Any) -> int:
        place = self._places.get(label(value))
        if place is not None:
            return place
        if self.kind == "ordered":
            return int(np.argmin([abs(float(c) - float(value)) for c in self.choices]))
        return -1


@dataclass(frozen=True)
class Encoder:
    """Turns configurations into a matrix.

    Attributes:
        axes: one per hyper-parameter that varies.
    """

    axes: tuple[Axis, ...]

    @property
    def columns(self) -> list[tuple[str, str]]:
        """(axis name, what the column holds) for each column of `matrix`."""
        named: list[tuple[str, str]] = []
        for axis in self.axes:
            if axis.kind == "choice" and len(axis.choices) > 2:
                named += [(axis.name, f"is {label(c)}") for c in axis.choices]
            else:
                named.append((axis.name, "value"))
            if axis.conditional:
                named.append((axis.name, "active"))
        return named

    def matrix(self, configs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Shape (configurations, columns), float64, all entries in [0, 1]."""
        parts: list[np.ndarray] = []
        for axis in self.axes:
            active = np.array([axis.name in c for c in configs], dtype=bool)
            units = np.array([axis.unit(c[axis.name]) if axis.name in c else math.nan for c in configs], dtype=float)
            if axis.kind == "choice" and len(axis.choices) > 2:
                parts.append((units[:, None] == np.arange(len(axis.choices))[None, :]).astype(float))
            elif axis.kind == "choice":
                parts.append(np.where(active, np.clip(units, 0.0, 1.0), 0.5)[:, None])
            else:
                parts.append(np.where(active, units, 0.5)[:, None])
            if axis.conditional:
                parts.append(active.astype(float)[:, None])
        return np.hstack(parts) if parts else np.zeros((len(configs), 0))

    def active(self, configs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Shape (configurations, axes), True where the hyper-parameter is active."""
        return np.array([[a.name in c for a in self.axes] for c in configs], dtype=bool).reshape(
            len(configs), len(self.axes)
        )


def label(value: Any) -> str:
    """A choice as text, the same for 8 and 8.0, for a tuple and a list."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(label(v) for v in value)
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        return str(value)


def axes_of(space: Any, configs: Sequence[Mapping[str, Any]] = ()) -> tuple[Axis, ...]:
    """The axes of a space, plus those that vary in `configs` without being in it.

    Args:
        space: a `space.Space`, or None when only configurations are known.
        configs: configurations that were tried; values outside a range widen the axis.

    Returns:
        One axis per hyper-parameter with at least two possible values, in the space's
        order. `seed` is never an axis: it is noise, not a setting.
    """
    definitions: dict[str, list[Any]] = {}
    for dimension in space.dimensions if space is not None else ():
        definitions.setdefault(dimension.name, []).append(dimension)
    for name in dict.fromkeys(n for c in configs for n in c):
        definitions.setdefault(name, [])
    axes = []
    for name, dimensions in definitions.items():
        seen = [c[name] for c in configs if name in c]
        axis = _axis(name, dimensions, seen)
        if axis is None or (name == "seed" and not dimensions):
            continue
        conditional = any(d.condition is not None for d in dimensions) and not _always(dimensions, name, configs)
        conditional = conditional or len(seen) < len(configs)
        axes.append(replace(axis, conditional=conditional))
    return tuple(axes)


def _always(dimensions: Sequence[Any], name: str, configs: Sequence[Mapping[str, Any]]) -> bool:
    """Defined in each of several branches and never missing: active in every configuration."""
    return len(dimensions) > 1 and bool(configs) and all(name in c for c in configs)


def _axis(name: str, dimensions: Sequence[Any], seen: Sequence[Any]) -> Axis | None:
    numeric = [d for d in dimensions if d.kind in ("float", "int")]
    options = {label(v): v for d in dimensions if d.kind == "categorical" for v in d.choices}
    if not dimensions and len({label(v) for v in seen}) < 2:
        return None
    if all(_is_number(v) for v in (*options.values(), *seen)) and (numeric or not dimensions):
        numbers = [float(v) for v in (*options.values(), *seen)]
        low = min([float(d.low) for d in numeric] + numbers)
        high = max([float(d.high) for d in numeric] + numbers)
        spread = not dimensions and low > 0 and high / low >= LOG_RATIO
        log = low > 0 and ((bool(numeric) and all(d.log for d in numeric)) or spread)
        integer = all(d.kind == "int" for d in numeric) and all(n.is_integer() for n in numbers)
        return None if low == high else Axis(name, "number", low, high, log, integer=integer)
    for value in seen:
        options.setdefault(label(value), value)
    if len(options) < 2:
        return None
    values = list(options.values())
    if all(_is_number(v) for v in values):
        return Axis(name, "ordered", choices=tuple(sorted(values)))
    return Axis(name, "choice", choices=tuple(values))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
