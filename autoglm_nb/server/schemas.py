"""JSON Schema from the records themselves, so that the document cannot fall behind them.

Only what our records use is translated: typed dictionaries, dataclasses, enums,
lists, mappings, unions and plain values.
"""

from __future__ import annotations

import dataclasses
import enum
import types
from typing import Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

__all__ = ["schema"]

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
    object: {},
}


def schema(kind: Any) -> dict[str, Any]:
    """The schema of a type; of a record all fields are required but those marked `NotRequired`.

    Raises:
        TypeError: a type that no record uses.
    """
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"type": "string", "enum": [str(member.value) for member in kind]}
    if is_typeddict(kind) or dataclasses.is_dataclass(kind):
        return _record(get_type_hints(kind, include_extras=True))
    origin, given = get_origin(kind), get_args(kind)
    if origin is NotRequired:
        return schema(given[0])
    if origin in (list, tuple):
        return {"type": "array", "items": schema(given[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema(given[1])}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema(part) for part in given]}
    raise TypeError(f"A record's field must be of a type that JSON has, but {kind!r} was given.")


def _record(hints: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: schema(kind) for name, kind in hints.items()},
        "required": [name for name, kind in hints.items() if get_origin(kind) is not NotRequired],
    }
