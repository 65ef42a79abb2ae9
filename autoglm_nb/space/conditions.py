"""Conditions as data: when a parameter of a search space is active.

A condition compares the value of an earlier parameter with a constant, or
combines such comparisons with *and* and *or*; *not* is carried down to the
comparisons, where it turns `==` into `!=`. Being data rather than code, it can be
stored, compared, drawn and printed back as cell source. It is evaluated from left
to right and stops as soon as the answer is known, like Python, so that
`method == "lora" and rank > 8` may mention a `rank` that only LoRA has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autoglm_nb.errors import SpaceError
from autoglm_nb.space.values import Value, from_json_value, source, to_json_value

__all__ = [
    "And",
    "Compare",
    "Condition",
    "Inactive",
    "Or",
    "atoms",
    "condition_from_json",
    "conjunction",
    "disjunction",
    "negated",
    "normal",
    "path_of",
]

OPPOSITES = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "in": "not in", "not in": "in"}
"""Each comparison operator of the cell language with the one that says the opposite."""
OPERATORS = tuple(OPPOSITES)


class Inactive(LookupError):
    """A condition mentions a parameter that has no value in this configuration."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


class Condition:
    """Base of all conditions; immutable, hashable, compared by content."""

    def holds(self, assigned: Mapping[str, Value]) -> bool:
        """Whether the condition is true for the parameters assigned so far.

        Raises:
            Inactive: the answer depends on a parameter that has no value.
            TypeError: values that have no order are compared by size.
        """
        raise NotImplementedError

    def source(self) -> str:
        """The condition in the cell language."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        raise NotImplementedError


@dataclass(frozen=True)
class Compare(Condition):
    """`name op value`; for `in` and `not in` the value is a tuple of values."""

    name: str
    op: str
    value: Value | tuple[Value, ...]

    def holds(self, assigned: Mapping[str, Value]) -> bool:
        if self.name not in assigned:
            raise Inactive(self.name)
        left: Any = assigned[self.name]
        right: Any = self.value
        match self.op:
            case "==":
                return bool(left == right)
            case "!=":
                return bool(left != right)
            case "<":
                return bool(left < right)
            case "<=":
                return bool(left <= right)
            case ">":
                return bool(left > right)
            case ">=":
                return bool(left >= right)
            case "in":
                return left in right
            case _:
                return left not in right

    def source(self) -> str:
        if self.op in ("in", "not in"):
            items: Any = self.value
            inner = ", ".join(source(item) for item in items)
            return f"{self.name} {self.op} ({inner}{',' if len(items) == 1 else ''})"
        return f"{self.name} {self.op} {source(self.value)}"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "op": self.op, "value": to_json_value(self.value)}


@dataclass(frozen=True)
class And(Condition):
    """All parts hold, asked in order."""

    parts: tuple[Condition, ...]

    def holds(self, assigned: Mapping[str, Value]) -> bool:
        return all(part.holds(assigned) for part in self.parts)

    def source(self) -> str:
        return " and ".join(_bracketed(part, (Or,)) for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        return {"all": [part.to_json() for part in self.parts]}


@dataclass(frozen=True)
class Or(Condition):
    """At least one part holds, asked in order."""

    parts: tuple[Condition, ...]

    def holds(self, assigned: Mapping[str, Value]) -> bool:
        return any(part.holds(assigned) for part in self.parts)

    def source(self) -> str:
        return " or ".join(_bracketed(part, (And,)) for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        return {"any": [part.to_json() for part in self.parts]}


def conjunction(parts: Iterable[Condition]) -> Condition | None:
    """*And* of the parts with nested *ands* flattened; None for no parts."""
    flat: list[Condition] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, And) else (part,))
    if not flat:
        return None
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def disjunction(parts: Iterable[Condition]) -> Condition:
    """*Or* of the parts with nested *ors* flattened."""
    flat: list[Condition] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Or) else (part,))
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


def negated(condition: Condition) -> Condition:
    """The opposite: comparisons are turned round, *and* and *or* swapped (De Morgan).

    The order of evaluation stays, so what may be left out by stopping early stays too.
    """
    if isinstance(condition, Compare):
        return Compare(condition.name, OPPOSITES[condition.op], condition.value)
    if isinstance(condition, And):
        return disjunction([negated(part) for part in condition.parts])
    if isinstance(condition, Or):
        return conjunction([negated(part) for part in condition.parts]) or condition
    raise TypeError(f"not a condition: {condition!r}")


def path_of(condition: Condition | None) -> tuple[Condition, ...]:
    """The parts a condition is the *and* of: the nested `if`s it stands for."""
    if condition is None:
        return ()
    return condition.parts if isinstance(condition, And) else (condition,)


def atoms(condition: Condition | None) -> Iterator[Compare]:
    """Every comparison inside a condition, from left to right."""
    if isinstance(condition, Compare):
        yield condition
    elif isinstance(condition, (And, Or)):
        for part in condition.parts:
            yield from atoms(part)


def condition_from_json(raw: Any) -> Condition:
    """Inverse of `Condition.to_json`; normal form (nested *and*, *or* flattened).

    Raises:
        SpaceError: not a condition.
    """
    if isinstance(raw, Mapping):
        for word in ("all", "any"):
            if isinstance(raw.get(word), list) and raw[word]:
                parts = [condition_from_json(part) for part in raw[word]]
                return disjunction(parts) if word == "any" else conjunction(parts) or parts[0]
        op = raw.get("op")
        if op in OPERATORS and isinstance(raw.get("name"), str) and "value" in raw:
            value = from_json_value(raw["value"])
            if op not in ("in", "not in") or isinstance(value, tuple):
                return Compare(raw["name"], op, value)
    raise SpaceError(
        f"A stored condition must be a comparison, or all or any of several, but got {raw!r}. Write the space again."
    )


def _bracketed(part: Condition, kinds: tuple[type[Condition], ...]) -> str:
    return f"({part.source()})" if isinstance(part, kinds) else part.source()


def normal(condition: Condition | None) -> Condition | None:
    """The same condition with nested *ands* and *ors* flattened: the form the parser makes."""
    if isinstance(condition, And):
        return conjunction([part for given in condition.parts if (part := normal(given)) is not None])
    if isinstance(condition, Or):
        return disjunction([part for given in condition.parts if (part := normal(given)) is not None])
    return condition
