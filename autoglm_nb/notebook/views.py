"""Which live view stands below a cell: the lab extension's, or the one of stock ipywidgets.

Nothing in a kernel tells whether the page it talks to has the extension, so the
page is asked: a model of the extension says hello as soon as it is made. Until
then the place below the cell is empty; without a hello within `HELLO_SECONDS`
the stock view takes it. A kernel whose page has said hello once shows the lab
view at once. The cell is never kept waiting.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from IPython.core.getipython import get_ipython
from IPython.display import display

from autoglm_nb import settings

__all__ = ["HELLO_SECONDS", "View", "open_view"]

HELLO_SECONDS = 2.0

_known = threading.Event()


class View(Protocol):
    """What a card needs of a live view."""

    def show(self, place: Any = None) -> None: ...

    def update(self, snapshot: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


def open_view(handle: Any, snapshot: Mapping[str, Any], *, panel: str = "card") -> View:
    """The live view of a study, not shown yet; the stock view knows no single panels and shows everything."""
    wanted = settings.view()
    if wanted == "auto" and not _may_answer():
        wanted = "stock"
    if wanted == "stock":
        return _stock(handle, snapshot)
    if wanted == "lab" or _known.is_set():
        return _lab(handle, snapshot, panel=panel)
    return _Asking(handle, snapshot, panel)


class _Asking:
    """Stands in for a view until the page has said what it can draw."""

    def __init__(self, handle: Any, snapshot: Mapping[str, Any], panel: str) -> None:
        self._handle = handle
        self._latest = snapshot
        self._lock = threading.RLock()
        self._place: Any = None
        self._view: View | None = None
        self._closed = False
        self._lab = _lab(handle, snapshot, panel=panel, answered=self._hello)
        self._timer = threading.Timer(HELLO_SECONDS, self._silence)
        self._timer.daemon = True

    def show(self, place: Any = None) -> None:
        with self._lock:
            self._place = place or display({"text/plain": ""}, raw=True, display_id=True)
            if self._view is not None:  # the hello came before the display
                self._view.show(self._place)
            else:
                self._timer.start()

    def update(self, snapshot: Mapping[str, Any]) -> None:
        with self._lock:
            self._latest = snapshot
            (self._view or self._lab).update(snapshot)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._timer.cancel()
            (self._view or self._lab).close()

    def _hello(self) -> None:
        _known.set()
        with self._lock:
            if self._closed or self._view is not None:
                return
            self._timer.cancel()
            self._view = self._lab
            if self._place is not None:
                self._view.show(self._place)

    def _silence(self) -> None:
        with self._lock:
            if self._closed or self._view is not None:
                return
            self._view = _stock(self._handle, self._latest)
            self._view.show(self._place)
            self._lab.close()


def _lab(handle: Any, snapshot: Mapping[str, Any], **options: Any) -> View:
    from autoglm_nb.notebook.lab_view import LabView

    return LabView(handle, snapshot, **options)


def _stock(handle: Any, snapshot: Mapping[str, Any]) -> View:
    from autoglm_nb.notebook.live import LiveView

    return LiveView(handle, snapshot)


def _may_answer() -> bool:
    """Whether a page with the extension is possible: a kernel, and neither VS Code nor Colab in front of it."""
    shell = get_ipython()
    if shell is None or getattr(shell, "kernel", None) is None:
        return False
    if "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ:
        return False
    return "__vsc_ipynb_file__" not in shell.user_ns and "VSCODE_PID" not in os.environ
