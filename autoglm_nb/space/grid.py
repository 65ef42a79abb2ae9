"""The grid of a space with random access: how many configurations, and which is the i-th.

Counting follows the order of decision and remembers the number of completions
per set of values that later conditions ask for, so that a grid of millions is
counted at once and never listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from autoglm_nb.space.conditions import Inactive, atoms
from autoglm_nb.space.dimensions import Constant, Parameter
from autoglm_nb.space.values import Value, to_json_value

__all__ = ["GRID_LEVELS", "Grid"]

GRID_LEVELS = 5
"""Values a grid takes from a continuum or a long range, ends included."""


class Grid:
    """A sequence of configurations; the last dimension varies fastest.

    `Dimension.points` says which values a dimension contributes. An inactive
    dimension contributes nothing, so that no configuration comes twice.

    Args:
        parameters: of a `Space`, in order of decision.
        levels: values taken from a continuum or a long range.
    """

    def __init__(self, parameters: tuple[Parameter, ...], levels: int = GRID_LEVELS) -> None:
        self._parameters = parameters
        self._points = [[p.value] if isinstance(p, Constant) else p.points(levels) for p in parameters]
        self._asked: list[frozenset[str]] = [frozenset()]  # names that conditions from this place on mention
        for p in reversed(parameters):
            self._asked.insert(0, self._asked[0] | {atom.name for atom in atoms(p.condition)})
        self._counts: dict[tuple[Any, ...], int] = {}

    @property
    def size(self) -> int:
        """How many configurations; unlike `len`, without an upper limit."""
        return self._count(0, {})

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.size:
            raise IndexError(index)
        assigned: dict[str, Value] = {}
        for place, p in enumerate(self._parameters):
            if not self._active(place, assigned):
                continue
            for value in self._points[place]:
                share = self._count(place + 1, {**assigned, p.name: value})
                if index < share:
                    assigned[p.name] = value
                    break
                index -= share
        return {name: to_json_value(value) for name, value in assigned.items()}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._walk(0, {})

    def _walk(self, place: int, assigned: dict[str, Value]) -> Iterator[dict[str, Any]]:
        while place < len(self._parameters) and not self._active(place, assigned):
            place += 1
        if place == len(self._parameters):
            yield {name: to_json_value(value) for name, value in assigned.items()}
            return
        for value in self._points[place]:
            yield from self._walk(place + 1, {**assigned, self._parameters[place].name: value})

    def _count(self, place: int, assigned: Mapping[str, Value]) -> int:
        """Configurations that complete the values assigned before `place`."""
        if place == len(self._parameters):
            return 1
        key = (place, *((name, assigned.get(name)) for name in sorted(self._asked[place]) if name in assigned))
        known = self._counts.get(key)
        if known is None:
            name, points = self._parameters[place].name, self._points[place]
            if not self._active(place, assigned):
                known = self._count(place + 1, assigned)
            elif name in self._asked[place + 1]:
                known = sum(self._count(place + 1, {**assigned, name: value}) for value in points)
            else:
                known = len(points) * self._count(place + 1, assigned)
            self._counts[key] = known
        return known

    def _active(self, place: int, assigned: Mapping[str, Value]) -> bool:
        condition = self._parameters[place].condition
        try:
            return condition is None or condition.holds(assigned)
        except Inactive:
            return False
