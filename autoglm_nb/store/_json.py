"""JSON for the store's columns: strict, so that every reader (JavaScript too) can parse it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

__all__ = ["dumps", "finite", "plain"]


def dumps(value: Any) -> str:
    """JSON text with sorted keys; NaN and infinities become null, NumPy scalars and paths plain values."""
    return json.dumps(plain(value), sort_keys=True, allow_nan=False)


def plain(value: Any) -> Any:
    """The value made of dict, list, str, int, float, bool and None alone.

    Raises:
        TypeError: something in it has no such form.
    """
    if value is None or isinstance(value, str | bool):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return [plain(v) for v in sorted(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    for method in ("item", "tolist"):  # NumPy and torch scalars, then arrays
        if hasattr(value, method):
            try:
                return plain(getattr(value, method)())
            except (ValueError, RuntimeError):
                continue
    raise TypeError(f"A stored value must be plain JSON, but {type(value).__name__} was given.")


def finite(value: object) -> float | None:
    """The number as a float, or None where JSON has no word for it and for what is no number."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
