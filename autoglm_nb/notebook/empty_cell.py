"""Lets `%%autotune` stand alone in a cell: no body means the default search space.

IPython refuses a cell magic without a body if the magic also works on a line.
An input transformer gives such a cell an empty line as its body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["add_body", "install", "remove"]


def add_body(lines: list[str]) -> list[str]:
    """An empty line after a lone `%%autotune …` (but not after a question for help)."""
    if lines and lines[0].startswith("%%autotune") and not lines[0].rstrip().endswith("?") and not "".join(lines[1:]):
        return [lines[0] if lines[0].endswith("\n") else lines[0] + "\n", "\n"]
    return lines


def install(shell: InteractiveShell) -> None:
    """Put the transformer before IPython's own cell-magic transformer."""
    transforms = shell.input_transformer_manager.cleanup_transforms
    at = next((i for i, t in enumerate(transforms) if getattr(t, "__name__", "") == "cell_magic"), len(transforms))
    transforms.insert(at, add_body)


def remove(shell: InteractiveShell) -> None:
    """Take it away, also one of an earlier import of this module."""
    transforms = shell.input_transformer_manager.cleanup_transforms
    transforms[:] = [t for t in transforms if getattr(t, "__module__", "") != __name__]
