"""What this kernel can tell about where it runs: notebook, cell, and whether widgets can be shown."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

__all__ = ["cell_id", "has_widgets", "notebook_name"]


def notebook_name(shell: Any) -> str | None:
    """The notebook's file name without its folder, where the front end says it."""
    given = shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    if not given:
        return None
    name = os.path.basename(str(given))
    return name if name.endswith(".ipynb") else None


def cell_id(shell: Any) -> str | None:
    """The id of the cell that is running, where the front end sends it."""
    get_parent = getattr(shell, "get_parent", None)
    parent = get_parent() if get_parent is not None else {}
    found = (parent or {}).get("metadata", {}).get("cellId")
    return str(found) if found else None


def has_widgets(shell: Any) -> bool:
    """Whether a live view makes sense: a kernel (not a terminal) with ipywidgets at hand."""
    return getattr(shell, "kernel", None) is not None and importlib.util.find_spec("ipywidgets") is not None
