"""Magics, the live view and the record in the notebook: the only room (with the server) that knows Jupyter.

Contract: `load(shell)` registers `%%autotune`, `%autotune` and `%explain` and
their completion, `unload(shell)` takes them away; both are cheap and keep no
"loaded" flag. A cell goes to `session.plan` and `session.launch` as text;
nothing here trains, searches or decides.

Data flow: line → `options` → `session` → a `StudyHandle`, whose `follow` calls
back from a background thread → `cards` updates the record (a display with an
id) and the live view (the JupyterLab extension's, else stock ipywidgets) with the
same snapshot. Background threads only send display updates and comm messages:
they never print.

Failure modes: what a person did wrong ends the cell with one or two sentences
in place of a traceback (`failures`); without a widget front end there is the
record alone; on a page that was reloaded the extension's view comes back by
itself, a stock one with `%autotune attach NAME`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load", "unload"]


def load(shell: InteractiveShell) -> None:
    """Register the magics, their completion and the empty-cell rule with an IPython shell."""
    from autoglm_nb.notebook import completion, empty_cell, lab_comm
    from autoglm_nb.notebook.magics import AutoglmMagics

    unload(shell)
    # Without a handler of its own, a warning of a background thread would be printed into whichever cell runs.
    logger = logging.getLogger("autoglm_nb")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    shell.register_magics(AutoglmMagics(shell))
    completion.install(shell)
    empty_cell.install(shell)
    lab_comm.install(shell)


def unload(shell: InteractiveShell) -> None:
    """Take away what `load` registered, and close this kernel's live views. Studies go on."""
    import sys

    from autoglm_nb.notebook import completion, empty_cell, lab_comm

    for kind, name in (("line", "autotune"), ("cell", "autotune"), ("line", "explain")):
        shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop("AutoglmMagics", None)
    completion.remove(shell)
    empty_cell.remove(shell)
    lab_comm.remove(shell)
    cards = sys.modules.get("autoglm_nb.notebook.cards")
    if cards is not None:
        cards.close_all()
