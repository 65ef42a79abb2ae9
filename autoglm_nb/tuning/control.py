"""What people ask of a running study, as the worker sees it.

Magic, widget, server and other kernels write rows; the worker polls them at
most every half second and folds them into this small state. Nothing else
reaches a worker.
"""

from __future__ import annotations

import time
from typing import Any

from autoglm_nb import settings
from autoglm_nb.protocol import Action, ControlRequest
from autoglm_nb.store import Store

__all__ = ["Control", "Detached", "StudyStopped"]


class StudyStopped(Exception):
    """A person asked the study to stop; running trials are parked at their checkpoints."""


class Detached(Exception):
    """The worker was asked to leave (SIGTERM, kernel exit); the study may be taken up again."""


class Control:
    """Requests folded into state. Used by one worker; `detach` may be called from any thread.

    Attributes:
        paused: whether the study should stand still.
        stopped: whether it should end.
        stop_trials: numbers of trials to end early.
        enqueued: requests for configurations to try next, oldest first. They stay pending in the
            store until `accepted`, so that none is lost with its worker.
    """

    def __init__(self, store: Store, study: str) -> None:
        self.paused = False
        self.stopped = False
        self.stop_trials: set[int] = set()
        self.enqueued: list[ControlRequest] = []
        self._detached = False
        self._store = store
        self._study = study
        self._next_poll = 0.0

    def detach(self) -> None:
        """Ask the worker to leave at the next step, keeping everything resumable."""
        self._detached = True

    def poll(self, *, force: bool = False) -> None:
        """Read new requests if half a second has passed.

        Raises:
            Detached: the worker should leave.
        """
        if self._detached:
            raise Detached
        now = time.monotonic()
        if not force and now < self._next_poll:
            return
        self._next_poll = now + settings.CONTROL_POLL_SECONDS
        held = {request.id for request in self.enqueued}
        for request in self._store.pending(self._study):
            if request.action is Action.ENQUEUE:
                if request.id not in held:
                    self.enqueued.append(request)
                continue
            self._fold(request.action, request.payload)
            self._store.handled(request.id)

    def accepted(self, request: ControlRequest) -> None:
        """The configuration of this request is stored as a trial."""
        self._store.handled(request.id)
        self.enqueued.remove(request)

    def _fold(self, action: Action, payload: dict[str, Any]) -> None:
        if action is Action.PAUSE:
            self.paused = True
        elif action is Action.RESUME:
            self.paused = False
        elif action is Action.STOP:
            self.stopped = True
        elif action is Action.STOP_TRIAL:
            self.stop_trials.add(int(payload["trial"]))
