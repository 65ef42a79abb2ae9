"""A conditional search space: an ordered list of dimensions and constants.

The order is the order of decision: a condition only mentions parameters above
it. Everything else (walking, counting, validating, printing) follows from the
list. A space is immutable and compared by content.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from autoglm_nb.errors import SpaceError, did_you_mean
from autoglm_nb.space._source import space_source
from autoglm_nb.space._survey import Step, survey
from autoglm_nb.space.conditions import Condition, Inactive, atoms, normal
from autoglm_nb.space.dimensions import Constant, Dimension, Parameter, dimension_faults, parameter_from_json
from autoglm_nb.space.grid import GRID_LEVELS, Grid
from autoglm_nb.space.values import Value, from_json_value, same, to_json_value

__all__ = ["SPACE_VERSION", "Row", "Space"]

SPACE_VERSION = 1
"""Version of the JSON form."""


class Row(TypedDict):
    """One line of a table that shows a space, as text."""

    name: str
    range: str
    condition: str


class Space:
    """An immutable conditional search space.

    Args:
        parameters: dimensions and constants in order of decision. Keys are
            assigned here. A parameter that can never be active is left out, and
            a condition that always holds is dropped.

    Raises:
        SpaceError: with every fault found.
    """

    __slots__ = ("parameters",)
    parameters: tuple[Parameter, ...]

    def __init__(self, parameters: Iterable[Parameter] = ()) -> None:
        given = [replace(p, condition=normal(p.condition)) for p in parameters]
        faults = [fault for p in given for fault in _name_faults(p.name)]
        faults += [fault for p in given if isinstance(p, Dimension) for fault in dimension_faults(p)]
        if faults:
            raise SpaceError(faults[0], faults)
        steps: list[Step] = []
        for p in given:
            if p.condition is not None:
                steps.append(Step(test=p.condition))
            steps.append(Step(path=p.condition, parameter=p))
        found = survey(steps)
        if found.faults:
            raise SpaceError(found.faults[0][1], [message for _, message in found.faults])
        kept: list[Parameter] = []
        times: dict[str, int] = {}
        for index, step in enumerate(steps):
            if step.parameter is None or index in found.never:
                continue
            p = step.parameter
            times[p.name] = times.get(p.name, 0) + 1
            key = p.name if times[p.name] == 1 else f"{p.name}#{times[p.name]}"
            kept.append(replace(p, key=key, condition=found.reduced[index]))
        object.__setattr__(self, "parameters", tuple(kept))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("A Space cannot be changed. Make a new one.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_source())

    def __len__(self) -> int:
        return len(self.parameters)

    def __bool__(self) -> bool:
        return bool(self.parameters)

    def __repr__(self) -> str:
        return f"Space({', '.join(p.key for p in self.parameters)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Space, (self.parameters,))

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """What is searched, in order of decision."""
        return tuple(p for p in self.parameters if isinstance(p, Dimension))

    @property
    def constants(self) -> tuple[Constant, ...]:
        """What is held fixed, in order of decision."""
        return tuple(p for p in self.parameters if isinstance(p, Constant))

    def names(self) -> tuple[str, ...]:
        """Every hyper-parameter, each once, in order of decision."""
        return tuple(dict.fromkeys(p.name for p in self.parameters))

    def walk(self, suggest: Callable[[Dimension], Any]) -> dict[str, Any]:
        """A complete configuration; `suggest` is asked for each active dimension, in order.

        Raises:
            SpaceError: `suggest` answered with a value outside the dimension.
        """
        assigned: dict[str, Value] = {}
        for p in self.parameters:
            if not _holds(p.condition, assigned):
                continue
            if isinstance(p, Constant):
                assigned[p.name] = p.value
                continue
            value = suggest(p)
            try:
                assigned[p.name] = p.normalise(value)
            except ValueError as error:
                raise SpaceError(f"`{p.name}` must be within {error}, but got {value!r}.") from None
        return {name: to_json_value(value) for name, value in assigned.items()}

    def active(self, assigned: Mapping[str, Any]) -> tuple[Dimension, ...]:
        """The dimensions that are active given values of (some of) the parameters.

        Constants need not be given; a condition that mentions a missing name does not hold.
        """
        known = {name: from_json_value(value) for name, value in assigned.items()}
        found = []
        for p in self.parameters:
            if _holds(p.condition, known):
                if isinstance(p, Constant):
                    known.setdefault(p.name, p.value)
                else:
                    found.append(p)
        return tuple(found)

    def validate(self, config: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
        """The configuration, completed with the constants, its values as the dimensions write them.

        Args:
            config: hyper-parameter values.
            partial: dimensions may be missing (a sampler will fill them in).

        Raises:
            SpaceError: with every fault: an unknown name, a value outside its range, a value for a
                dimension that is not active, another value than a constant's, a missing dimension.
        """
        faults: list[str] = []
        known = self.names()
        for name in config:
            if name not in known:
                faults.append(f"`{name}` is not part of this search space. {did_you_mean(str(name), known)}")
        assigned: dict[str, Value] = {}
        for p in self.parameters:
            if not _holds(p.condition, assigned):
                continue
            if isinstance(p, Constant):
                assigned[p.name] = p.value
                if p.name in config and not same(from_json_value(config[p.name]), p.value):
                    faults.append(
                        f"`{p.name}` is held at {to_json_value(p.value)!r} in this search space, but got "
                        f"{config[p.name]!r}. Leave it out, or make it a dimension."
                    )
            elif p.name in config:
                try:
                    assigned[p.name] = p.normalise(config[p.name])
                except ValueError as error:
                    faults.append(f"`{p.name}` must be within {error}, but got {config[p.name]!r}.")
            elif not partial:
                faults.append(f"`{p.name}` is missing from the configuration. Give a value within {p.range_text()}.")
        faults += self._inactive_faults(config, assigned, partial, bool(faults))
        if faults:
            raise SpaceError(faults[0], faults)
        return {name: to_json_value(value) for name, value in assigned.items()}

    def cardinality(self) -> int | None:
        """How many configurations there are; None when a dimension is a continuum."""
        found = survey(
            [
                Step(test=p.condition) if half else Step(path=p.condition, parameter=p)
                for p in self.parameters
                for half in ((True, False) if p.condition else (False,))
            ]
        )
        named = {name for world, _ in found.worlds for name in world}
        total = 0
        for world, weight in found.worlds:
            for p in self.parameters:
                if weight is not None and p.name not in named and isinstance(p, Dimension):
                    count = p.count() if _holds(p.condition, world) else 1
                    weight = None if count is None else weight * count
            if weight is None:
                return None
            total += weight
        return total

    def grid(self, levels: int = GRID_LEVELS) -> Grid:
        """Every configuration of the grid, made one at a time when asked for; see `Grid`."""
        return Grid(self.parameters, levels)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: dimensions and constants apart, each with its place in the order of decision."""
        placed = [(p, {**p.to_json(), "place": place}) for place, p in enumerate(self.parameters)]
        return {
            "version": SPACE_VERSION,
            "dimensions": [raw for p, raw in placed if isinstance(p, Dimension)],
            "constants": [raw for p, raw in placed if isinstance(p, Constant)],
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Space:
        """Inverse of `to_json`.

        Raises:
            SpaceError: written by a newer version, or not a space.
        """
        if not isinstance(raw, Mapping) or not isinstance(raw.get("dimensions"), list):
            raise SpaceError("A stored search space needs a list of dimensions, but none was found. Write it again.")
        if raw.get("version", 0) > SPACE_VERSION:
            raise SpaceError(
                f"A search space of version {raw['version']} was given, but this package reads up to "
                f"{SPACE_VERSION}. Upgrade autoglm_nb."
            )
        entries = [*raw["dimensions"], *raw.get("constants", ())]
        return cls(parameter_from_json(entry) for entry in sorted(entries, key=lambda entry: entry.get("place", 0)))

    def to_source(self) -> str:
        """The space in the cell language; `parse_cell` reads it back to an equal space."""
        return space_source(self.parameters)

    def describe(self) -> list[Row]:
        """Rows for display, in order of decision."""
        return [
            Row(name=p.name, range=p.range_text(), condition="" if p.condition is None else p.condition.source())
            for p in self.parameters
        ]

    def diff(self, other: Space) -> list[str]:
        """What `other` has different, one sentence a parameter; empty when both are equal."""
        mine = {p.key: p for p in self.parameters}
        theirs = {p.key: p for p in other.parameters}
        lines = [f"{key} was removed ({mine[key].range_text()})." for key in mine if key not in theirs]
        lines += [f"{key} was added ({theirs[key].range_text()})." for key in theirs if key not in mine]
        for key in mine:
            if key not in theirs:
                continue
            one, two = mine[key], theirs[key]
            if replace(one, condition=None) != replace(two, condition=None):
                lines.append(f"{key} changed from {one.range_text()} to {two.range_text()}.")
            if one.condition != two.condition:
                lines.append(f"{key} is active {_when(two.condition)}, before {_when(one.condition)}.")
        if not lines and self != other:
            lines.append("The order of decision changed.")
        return lines

    def _inactive_faults(
        self, config: Mapping[str, Any], assigned: Mapping[str, Value], partial: bool, doubtful: bool
    ) -> list[str]:
        """Given names that are known but have no place in this configuration."""
        if doubtful:  # a wrong or missing value above decides what is active: say that first
            return []
        faults = []
        for name in config:
            definitions = [p for p in self.parameters if p.name == name]
            if name in assigned or not definitions:
                continue
            undecided = partial and any(
                mentioned not in assigned for p in definitions for mentioned in _mentions(p.condition)
            )
            if not undecided:
                when = " or ".join(p.condition.source() for p in definitions if p.condition is not None)
                faults.append(f"`{name}` has no effect here: it is active only when {when}. Leave it out.")
        return faults


def _holds(condition: Condition | None, assigned: Mapping[str, Value]) -> bool:
    try:
        return condition is None or condition.holds(assigned)
    except Inactive:
        return False


def _mentions(condition: Condition | None) -> Sequence[str]:
    return [atom.name for atom in atoms(condition)]


def _when(condition: Condition | None) -> str:
    return "always" if condition is None else f"when {condition.source()}"


def _name_faults(name: str) -> list[str]:
    if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name):
        return [f"A hyper-parameter's name must be a plain Python name, but got {name!r}. Use letters, digits and _."]
    return []
