"""The live view where the lab extension is installed: a model whose drawing is done in the browser.

The same contract as `live.LiveView`: `show` once, `update` from anywhere,
`close` at the end. Only parts of the picture that changed are sent, at most
twice a second and at most `BYTES_PER_SECOND` on average, whatever the size of
the study; what comes too early is sent later, the newest alone. Everything the
page asks (pages of trials, pauses, notes) is answered from threads of the
view's own, so that a cell that runs does not delay it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ipywidgets
import traitlets
from IPython.display import display

from autoglm_nb import settings
from autoglm_nb.notebook.lab_answers import Answers
from autoglm_nb.notebook.lab_parts import PARTS, Change, changed_trials, marks, parts, slim
from autoglm_nb.notebook.live import answer_beside_cells
from autoglm_nb.record import words

__all__ = ["BYTES_PER_SECOND", "MODULE", "PANELS", "LabView", "StudyModel"]

MODULE = "autoglm-nb"
BYTES_PER_SECOND = 45_000
"""What updates may cost on average; the envelope of a message comes on top."""

PANELS = ("card", "progress", "resources")
"""What a view may show: the whole card, the trials that run, or the figures of the machine."""

_MODULE_VERSION = "^0.1"
_TOLD = 15  # changed trials told one by one; more, and the page asks again


class StudyModel(ipywidgets.DOMWidget):
    """The model in the kernel; each trait but `panel` is one part of the picture."""

    _model_name = traitlets.Unicode("StudyModel").tag(sync=True)
    _model_module = traitlets.Unicode(MODULE).tag(sync=True)
    _model_module_version = traitlets.Unicode(_MODULE_VERSION).tag(sync=True)
    _view_name = traitlets.Unicode("StudyView").tag(sync=True)
    _view_module = traitlets.Unicode(MODULE).tag(sync=True)
    _view_module_version = traitlets.Unicode(_MODULE_VERSION).tag(sync=True)
    panel = traitlets.Enum(PANELS, "card").tag(sync=True)
    head = traitlets.Dict().tag(sync=True)
    facts = traitlets.Dict().tag(sync=True)
    curve = traitlets.Dict().tag(sync=True)
    notes = traitlets.Dict().tag(sync=True)
    readings = traitlets.Dict().tag(sync=True)

    def __repr__(self) -> str:
        return "Live view of a study"


class LabView:
    """A study in the lab extension's widget.

    Args:
        handle: the study.
        snapshot: its present picture.
        panel: one of `PANELS`.
        answered: called once from a background thread when a front end has said that it can draw this.
    """

    def __init__(
        self,
        handle: Any,
        snapshot: Mapping[str, Any],
        *,
        panel: str = "card",
        answered: Callable[[], None] | None = None,
    ) -> None:
        self._handle = handle
        self._lock = threading.RLock()
        self._closed = False
        self._display: Any = None
        self._waiting: Mapping[str, Any] | None = None
        self._timer: threading.Timer | None = None
        self._answered = answered
        self._answers = Answers(handle)
        self._workers = ThreadPoolExecutor(2, thread_name_prefix="autoglm-view")
        self._known: dict[int, Change] = marks(snapshot.get("trials") or [])
        self._next = time.monotonic() + settings.VIEW_SECONDS
        self.model = StudyModel(panel=panel, **parts(snapshot))
        self.model.on_msg(self._on_message)
        answer_beside_cells(self.model)

    def show(self, place: Any = None) -> None:
        """Display below the running cell, or in a display that is there already."""
        bundle = dict(self.model._repr_mimebundle_())
        bundle["text/plain"] = f"Live view of {words.clean(self._handle.name, 80)}: it needs JupyterLab."
        if place is None:
            self._display = display(bundle, raw=True, display_id=True)
        else:
            self._display = place
            place.update(bundle, raw=True)

    def update(self, snapshot: Mapping[str, Any]) -> None:
        """Send what changed, now or as soon as the pace allows."""
        with self._lock:
            if self._closed:
                return
            early = self._next - time.monotonic()
            if early <= 0:
                self._send(snapshot)
                return
            self._waiting = snapshot
            if self._timer is None:
                self._timer = threading.Timer(early, self._catch_up)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Empty the view, in the page and in the saved notebook; a view in a reloaded page hides itself."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            if self._display is not None:
                self._display.update({"text/plain": ""}, raw=True)
            layout = self.model.layout
            self.model.close()
            layout.close()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _catch_up(self) -> None:
        with self._lock:
            self._timer = None
            snapshot, self._waiting = self._waiting, None
            if not self._closed and snapshot is not None:
                self._send(snapshot)

    def _send(self, snapshot: Mapping[str, Any]) -> None:
        """One message with the parts that differ, one with the trials that changed."""
        fresh = parts(snapshot)
        changed = {name: fresh[name] for name in PARTS if fresh[name] != getattr(self.model, name)}
        told = changed_trials(self._known, snapshot)
        self._known.update(marks(told))
        message: dict[str, Any] | None = None
        if told:
            many = len(told) > _TOLD
            message = {"kind": "trials", "many": many, "trials": [] if many else [slim(t) for t in told]}
        size = sum(len(json.dumps(part)) for part in changed.values()) + (len(json.dumps(message)) if message else 0)
        self._next = time.monotonic() + max(settings.VIEW_SECONDS, size / BYTES_PER_SECOND)
        if changed:
            with self.model.hold_sync():
                for name, part in changed.items():
                    setattr(self.model, name, part)
        if message is not None:
            self.model.send(message)

    def _on_message(self, _model: Any, content: Mapping[str, Any], _buffers: Any) -> None:
        """From the page, on whichever thread the kernel reads its messages: nothing slow is done here."""
        if self._closed or not isinstance(content, Mapping):
            return
        if content.get("kind") == "hello":
            answered, self._answered = self._answered, None
            if answered is not None:
                self._workers.submit(answered)
            return
        try:
            self._workers.submit(self._reply, dict(content))
        except RuntimeError:  # closed in this moment
            return

    def _reply(self, content: dict[str, Any]) -> None:
        reply, buffers = self._answers.reply(content)
        with self._lock:
            if not self._closed:
                self.model.send(reply, buffers)
