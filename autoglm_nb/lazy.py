"""Front doors of rooms that import a module when one of its names is first asked for.

What a kernel never uses costs it no import, and two rooms may name each other's types.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["front_door"]


def front_door(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package.

    Args:
        package: its `__name__`.
        homes: the module inside it that each public name comes from.

    Returns:
        A function that finds a name once and leaves it in the package; it raises `AttributeError` for others.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return find
