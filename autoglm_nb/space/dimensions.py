"""The two kinds of parameter in a space: a dimension to search, and a constant.

Both are frozen records. A dimension knows its own arithmetic: whether a value
belongs to it, how many values it has, which value is the i-th. Everything about
*when* it is active lies in its condition.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from autoglm_nb.errors import SpaceError
from autoglm_nb.space.conditions import Condition, condition_from_json
from autoglm_nb.space.values import Value, from_json_value, number_text, same, source, to_json_value

__all__ = ["Constant", "Dimension", "Parameter", "dimension_faults", "parameter_from_json"]

KINDS = ("float", "int", "categorical")
LARGEST_INTEGER = 2**53
"""Beyond this, integers and the floating-point numbers samplers work with no longer agree."""


@dataclass(frozen=True)
class Dimension:
    """One searched hyper-parameter.

    Attributes:
        name: the hyper-parameter.
        kind: `"float"`, `"int"` or `"categorical"`.
        low: smallest value, inclusive; None for a categorical one.
        high: largest value, inclusive; with a step, the last value on the raster.
        step: distance of neighbouring values; 1 for plain integers, None for
            real numbers, integers on a log scale and categoricals.
        log: drawn uniformly in the logarithm.
        choices: the values of a categorical dimension; lists are tuples.
        condition: when it is active; None for always.
        key: unique in the space: the name, or `name#2` for a second definition.
    """

    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()
    condition: Condition | None = None
    key: str = ""

    @staticmethod
    def real(
        name: str,
        low: float,
        high: float,
        *,
        step: float | None = None,
        log: bool = False,
        condition: Condition | None = None,
    ) -> Dimension:
        """A real-valued dimension; with a step, `high` becomes the last value on the raster."""
        if step is not None and step > 0 and low <= high:
            high = _last_on_raster(low, high, step)
        step = None if step is None else float(step)
        return Dimension(name, "float", float(low), float(high), step, log, condition=condition)

    @staticmethod
    def integer(
        name: str, low: int, high: int, *, step: int = 1, log: bool = False, condition: Condition | None = None
    ) -> Dimension:
        """An integer dimension, both ends included."""
        if step > 0 and low <= high:
            high = low + (high - low) // step * step
        return Dimension(name, "int", low, high, None if log else step, log, condition=condition)

    @staticmethod
    def choice(name: str, choices: tuple[Value, ...], *, condition: Condition | None = None) -> Dimension:
        """A categorical dimension."""
        return Dimension(name, "categorical", choices=tuple(choices), condition=condition)

    def count(self) -> int | None:
        """How many values it has; None for a continuum."""
        if self.kind == "categorical":
            return len(self.choices)
        low, high = self._ends()
        if low == high:
            return 1
        if self.kind == "int":
            return int(high - low) // int(self.step or 1) + 1
        if self.step is None:
            return None
        return round((high - low) / self.step) + 1

    def at(self, index: int) -> Value:
        """The value number `index` of a dimension that has a count."""
        if self.kind == "categorical":
            return self.choices[index]
        low, _ = self._ends()
        if self.kind == "int":
            return int(low) + index * int(self.step or 1)
        if self.step is None:
            return low
        return float(Decimal(str(low)) + index * Decimal(str(self.step)))

    def normalise(self, value: Any) -> Value:
        """The value as this dimension writes it (an int as float, a raster value without noise).

        Raises:
            ValueError: the value does not belong to the dimension; the message is its range.
        """
        if isinstance(value, list):
            value = from_json_value(value)
        if self.kind == "categorical":
            for choice in self.choices:
                if same(choice, value):
                    return choice
            raise ValueError(self.range_text())
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(self.range_text())
        if isinstance(value, float) and not math.isfinite(value):  # a whole number may be too large to ask
            raise ValueError(self.range_text())
        low, high = self._ends()
        slack = 1e-9 * max(abs(low), abs(high))
        if not low - slack <= value <= high + slack:
            raise ValueError(self.range_text())
        if self.step is None and self.kind == "float":
            return float(min(max(value, low), high))
        index = (value - low) / (self.step or 1)
        if abs(index - round(index)) > 1e-6:
            raise ValueError(self.range_text())
        return self.at(round(index))

    def points(self, levels: int) -> list[Value]:
        """The values a grid visits: all of them where they are few, else `levels` spread evenly.

        Categorical dimensions give every choice. A numeric dimension with at most
        `levels` values gives all of them; otherwise `levels` values from low to high,
        both ends included, evenly spaced (in the logarithm for a log dimension) and
        rounded to the raster, duplicates dropped.
        """
        count = self.count()
        if count is not None and (self.kind == "categorical" or count <= levels):
            return [self.at(i) for i in range(count)]
        low, high = self._ends()
        chosen: list[Value] = []
        for i in range(levels):
            share = i / (levels - 1) if levels > 1 else 0.5
            if self.log:
                value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
            else:
                value = low + share * (high - low)
            if levels > 1 and i in (0, levels - 1):
                value = low if i == 0 else high
            if count is not None:
                value = self.at(min(count - 1, max(0, round((value - low) / (self.step or 1)))))
            if value not in chosen:
                chosen.append(value)
        return chosen

    def classes(self, thresholds: list[float]) -> Iterator[tuple[Value, int | None]]:
        """A value and its weight for each class that comparisons with `thresholds` can tell apart.

        The weight is the number of values in the class, None for a continuum.
        """
        count = self.count()
        if count is None:
            low, high = self._ends()
            marks = sorted({low, high, *(t for t in thresholds if low < t < high)})
            for left, right in pairwise(marks):
                yield left, None
                yield left + (right - left) / 2, None
            yield high, None
        elif self.kind == "categorical" or count <= 16:
            for i in range(count):
                yield self.at(i), 1
        else:
            singles = {0, count - 1}
            for threshold in thresholds:
                place = bisect.bisect_left(range(count), threshold, key=self.at)
                singles.update(i for i in (place - 1, place, place + 1) if 0 <= i < count)
            ordered = sorted(singles)
            for left, right in pairwise(ordered):
                yield self.at(left), 1
                if right - left > 1:
                    yield self.at(left + 1), right - left - 1
            yield self.at(ordered[-1]), 1

    def source(self) -> str:
        """The right-hand side of its definition in the cell language."""
        if self.kind == "categorical":
            if len(self.choices) == 1 and isinstance(self.choices[0], tuple):
                return f"choice([{source(self.choices[0])}])"
            return "choice(" + ", ".join(source(choice) for choice in self.choices) + ")"
        ends = f"{self.low!r}, {self.high!r}"
        if self.kind == "int":
            if self.log:
                return f"logint({ends})"
            return f"randint({ends})" if self.step == 1 else f"randint({ends}, {self.step!r})"
        if self.log:
            return f"loguniform({ends})"
        return f"uniform({ends})" if self.step is None else f"quniform({ends}, {self.step!r})"

    def range_text(self) -> str:
        """The range for display: `1e-5 … 0.01 (log)`, `4, 8, 16`."""
        if self.kind == "categorical":
            return ", ".join(_choice_text(choice) for choice in self.choices)
        low, high = self._ends()
        text = f"{number_text(low)} … {number_text(high)}"
        if self.log:
            return f"{text} (log)"
        return text if self.step is None or self.step == 1 else f"{text} in steps of {number_text(self.step)}"

    def to_json(self) -> dict[str, Any]:
        raw: dict[str, Any] = {"name": self.name, "key": self.key, "kind": self.kind}
        if self.kind == "categorical":
            raw["choices"] = to_json_value(self.choices)
        else:
            raw |= {"low": self.low, "high": self.high, "step": self.step, "log": self.log}
        if self.condition is not None:
            raw["condition"] = self.condition.to_json()
        return raw

    def _ends(self) -> tuple[float, float]:
        if self.low is None or self.high is None:
            raise SpaceError(f"`{self.name}` needs a low and a high end, but got {self.low} and {self.high}.")
        return self.low, self.high


@dataclass(frozen=True)
class Constant:
    """One hyper-parameter held fixed, perhaps in one branch only."""

    name: str
    value: Value
    condition: Condition | None = None
    key: str = ""

    def source(self) -> str:
        """The right-hand side of its definition in the cell language."""
        return source(self.value)

    def range_text(self) -> str:
        """The value for display."""
        return f"{_choice_text(self.value)} (fixed)"

    def to_json(self) -> dict[str, Any]:
        raw: dict[str, Any] = {"name": self.name, "key": self.key, "value": to_json_value(self.value)}
        if self.condition is not None:
            raw["condition"] = self.condition.to_json()
        return raw


Parameter = Dimension | Constant


def dimension_faults(dimension: Dimension) -> list[str]:
    """What is wrong with a dimension by itself: empty, low above high, a log range with a zero."""
    name = dimension.name
    if dimension.kind == "categorical":
        if not dimension.choices:
            return [f"`{name}` has no values to choose from: choice() is empty. Give at least one value."]
        for i, choice in enumerate(dimension.choices):
            if any(same(choice, earlier) for earlier in dimension.choices[:i]):
                return [f"`{name}` lists the value {_choice_text(choice)} twice. Write each value once."]
        return []
    low, high, step = dimension.low, dimension.high, dimension.step
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return [f"`{name}` needs a finite low and high end, but got {low} and {high}."]
    if dimension.kind == "int" and max(abs(low), abs(high)) > LARGEST_INTEGER:
        return [f"Integers up to {LARGEST_INTEGER} can be searched, but got {name} from {low} to {high}."]
    found = []
    if low > high:
        found.append(
            f"The low end of `{name}` must not be above its high end, but got low={number_text(low)}, "
            f"high={number_text(high)}. Swap them."
        )
    if dimension.log and min(low, high) <= 0:
        remedy = "Start at 1" if dimension.kind == "int" else "Start at a small positive number such as 1e-6"
        plain = "randint" if dimension.kind == "int" else "uniform"
        found.append(
            f"A log range needs positive ends, but got {name} from {number_text(low)} to {number_text(high)}. "
            f"{remedy}, or use {plain}."
        )
    if step is not None and (not math.isfinite(step) or step <= 0):
        found.append(f"The step of `{name}` must be positive, but got {number_text(step)}.")
    return found


def parameter_from_json(raw: Any) -> Parameter:
    """Inverse of `Dimension.to_json` and `Constant.to_json`.

    Raises:
        SpaceError: the record is not a parameter.
    """
    try:
        if not isinstance(raw, Mapping):
            raise KeyError("name")
        condition = condition_from_json(raw["condition"]) if raw.get("condition") is not None else None
        if "value" in raw:
            return Constant(raw["name"], from_json_value(raw["value"]), condition, raw.get("key", ""))
        if raw["kind"] not in KINDS:
            raise KeyError(raw["kind"])
        if raw["kind"] == "categorical":
            choices = from_json_value(raw["choices"])
            return Dimension(raw["name"], "categorical", choices=choices, condition=condition, key=raw.get("key", ""))
        return Dimension(
            raw["name"],
            raw["kind"],
            raw["low"],
            raw["high"],
            raw.get("step"),
            bool(raw.get("log")),
            condition=condition,
            key=raw.get("key", ""),
        )
    except KeyError as error:
        raise SpaceError(f"A stored parameter needs {error}, but got {raw!r}. Write the space again.") from None


def _last_on_raster(low: float, high: float, step: float) -> float:
    """The largest `low + k * step` not above `high`, free of binary noise."""
    if not all(math.isfinite(x) for x in (low, high, step)):
        return high
    first, width = Decimal(str(float(low))), Decimal(str(float(step)))
    return float(first + (Decimal(str(float(high))) - first) // width * width)


def _choice_text(value: Value) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(str(item) for item in value) + "]"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number_text(value)
    return str(value)
