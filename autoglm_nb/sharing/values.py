"""Values of somebody else's JSON, each checked for its type and size before it is used.

Every function takes a value and a word for what it is, and returns it in a plain type or
raises `SharedFileError`. Texts lose control and direction characters on the way in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from autoglm_nb.errors import SharedFileError
from autoglm_nb.record import words
from autoglm_nb.sharing.privacy import LONGEST_TEXT

__all__ = ["flag", "listed", "mapping", "maybe", "number", "one_of", "plain", "text", "whole", "wrong"]

Value = TypeVar("Value")

_LARGEST_WHOLE = 2**53
_DEEPEST = 12
_MOST = 200_000


def wrong(what: str, needed: str) -> SharedFileError:
    """The error for a value that is not what it should be."""
    return SharedFileError(
        f"In a shared study, {words.clean(what, 80)} must be {needed}, but is not: the file was changed or damaged. "
        "Ask for it again."
    )


def text(value: Any, what: str, *, limit: int = LONGEST_TEXT) -> str:
    """A text without control characters, not longer than `limit`."""
    if not isinstance(value, str):
        raise wrong(what, "a text")
    return words.clean(value, limit, lines=True)


def number(value: Any, what: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(what, "a number")
    try:
        found = float(value)
    except OverflowError:
        raise wrong(what, "a finite number") from None
    if not math.isfinite(found):
        raise wrong(what, "a finite number")
    return found


def whole(value: Any, what: str, *, low: int = 0, high: int = _LARGEST_WHOLE) -> int:
    """A whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(what, f"a whole number from {low} to {high}")
    return value


def flag(value: Any, what: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise wrong(what, "true or false")
    return value


def one_of(value: Any, what: str, known: Any) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in known:
        raise wrong(what, f"one of {', '.join(sorted(known))}")
    return value


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict) or len(value) > _MOST:
        raise wrong(what, "an object")
    return value


def listed(value: Any, what: str, each: Callable[[Any, str], Value], *, most: int = _MOST) -> list[Value]:
    """A list of values that are checked one by one."""
    if not isinstance(value, list) or len(value) > most:
        raise wrong(what, f"a list of at most {most} entries")
    return [each(item, what) for item in value]


def maybe(value: Any, what: str, each: Callable[[Any, str], Value]) -> Value | None:
    """None, or a checked value."""
    return None if value is None else each(value, what)


def plain(value: Any, what: str, *, deepest: int = _DEEPEST) -> Any:
    """Any JSON value of bounded depth: finite numbers, cleaned texts and keys."""
    if deepest == 0:
        raise wrong(what, f"nested at most {_DEEPEST} deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value, what)
    if isinstance(value, int):
        return whole(value, what, low=-_LARGEST_WHOLE)
    if isinstance(value, float):
        return number(value, what)
    if isinstance(value, list):
        return listed(value, what, lambda item, label: plain(item, label, deepest=deepest - 1))
    return {text(k, what, limit=200): plain(v, what, deepest=deepest - 1) for k, v in mapping(value, what).items()}
