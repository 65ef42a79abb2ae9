"""Values a configuration may hold, and how they travel: JSON, cell source, notebook.

A value is a string, a number, a bool, None, or a list of strings (module
names). Inside this room a list is a tuple, so that values can be compared and
hashed; configurations and JSON carry lists.
"""

from __future__ import annotations

import json
import math
import numbers
from typing import Any

__all__ = ["Value", "from_json_value", "import_value", "number_text", "same", "source", "to_json_value"]

Value = Any
"""`str | int | float | bool | None | tuple[str, ...]`; `Any` because `in` nests one level deeper."""


def to_json_value(value: Value) -> Any:
    """A value as JSON carries it: tuples become lists."""
    return [to_json_value(item) for item in value] if isinstance(value, tuple) else value


def from_json_value(value: Any) -> Value:
    """Inverse of `to_json_value`."""
    return tuple(from_json_value(item) for item in value) if isinstance(value, (list, tuple)) else value


def source(value: Value) -> str:
    """A value as a literal of the cell language."""
    if isinstance(value, tuple):
        return "[" + ", ".join(source(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value) if value.isascii() and value.isprintable() else repr(value)
    return repr(value)


def same(left: Value, right: Value) -> bool:
    """Equality that tells `True` from `1` and takes `1` and `1.0` for the same number."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def number_text(value: float) -> str:
    """A number for display: `1e-05` as `1e-5`, `0.30000000000000004` as `0.3`."""
    if isinstance(value, int):
        return str(value)
    text = f"{value:.6g}"
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else text


def import_value(given: object) -> Value:
    """Copies a notebook object by value.

    NumPy scalars become Python's. Lists and tuples are copied, one level inside
    another at most (a list of lists of module names).

    Raises:
        TypeError: an object of another kind; the message names its type.
        ValueError: a number that is not finite.
    """
    if given is None or isinstance(given, bool):
        return given
    if isinstance(given, str):
        return str(given)
    if isinstance(given, numbers.Integral):
        return int(given)
    if isinstance(given, numbers.Real):
        number = float(given)
        if not math.isfinite(number):
            raise ValueError(f"{number} is not a finite number")
        return number
    if isinstance(given, (list, tuple)):
        return tuple(import_value(item) for item in given)
    if type(given).__module__ == "numpy" and getattr(given, "shape", None) == () and hasattr(given, "item"):
        return import_value(given.item())
    raise TypeError(type(given).__name__)
