"""What one worker holds while it carries a study: store, events, control, lease, clock.

Made by `worker`, handed to `study_run`, `trial_run` and `confirm`. It is used
by the worker's main thread; the pulse thread (`pulse`) only reads it.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoglm_nb import settings
from autoglm_nb.explain.kept import keep_importance
from autoglm_nb.protocol import StudySpec, StudyState
from autoglm_nb.store import EventWriter, Lease, Store
from autoglm_nb.training.threads import ThreadGovernor
from autoglm_nb.tuning.control import Control, StudyStopped

__all__ = ["Extras", "Objective", "StudyContext", "log_traceback"]

Objective = Callable[..., Any]
"""A custom objective: `objective(config, report) -> value` (or a sequence of values)."""


@dataclass(frozen=True)
class Extras:
    """What a worker gets by hand because it cannot be stored: code of the caller's own.

    `sampler` is an `optuna.samplers.BaseSampler` used as the strategy.
    """

    objective: Objective | None = None
    sampler: Any = None

    def __bool__(self) -> bool:
        return self.objective is not None or self.sampler is not None


CLOCK_SECONDS = 5.0
"""Active time is written to the store this often."""


@dataclass
class StudyContext:
    """The worker's hands. `tick` must be called at least once per training step."""

    store: Store
    spec: StudySpec
    device: str
    events: EventWriter
    control: Control
    lease: Lease
    extras: Extras = field(default_factory=Extras)
    predecessor_ran_out_of_memory: bool = False
    governor: ThreadGovernor | None = None
    careful: bool = False
    """Set when workers died without progress: one run at a time, so that a death tells on one."""
    _since: float = field(default_factory=time.monotonic)

    @property
    def study(self) -> str:
        return self.spec.name

    def run_dir(self, run: str) -> Path:
        return self.store.run_dir(self.study, run)

    def state(self, state: StudyState, reason: str = "") -> None:
        """Store the study's state and tell whoever watches."""
        if state in (StudyState.FINISHED, StudyState.STOPPED):
            keep_importance(self.store.home, self.study)  # before: whoever watches draws a last picture now
        self.store.set_state(self.study, state, reason)
        self.events.emit("state", state=str(state), reason=reason)

    def message(self, level: str, text: str) -> None:
        """A sentence for the card: `level` is info, warning or error."""
        self.events.emit("message", level=level, text=text)

    def tick(self) -> None:
        """Poll requests and keep the clock.

        Raises:
            StudyStopped: a person stopped the study.
            Detached: the worker should leave.
        """
        self.control.poll()
        if self.governor is not None:
            self.governor.tick()
        if time.monotonic() - self._since >= CLOCK_SECONDS:
            self.flush_clock()
        if self.control.stopped:
            raise StudyStopped

    def flush_clock(self) -> None:
        """Add the active seconds since the last call to the store."""
        now = time.monotonic()
        self.store.add_active_seconds(self.study, now - self._since)
        self._since = now

    def active_seconds(self) -> float:
        """Active worker seconds of this study so far, over all its workers."""
        return self.store.active_seconds(self.study) + (time.monotonic() - self._since)

    def stand_still(self, back_to: StudyState) -> None:
        """Wait while paused; the device is free for other studies meanwhile.

        Raises:
            StudyStopped, Detached: as for `tick`.
        """
        if not self.control.paused:
            return
        self.flush_clock()
        try:
            self.state(StudyState.PAUSED)
            self.lease.move(f"paused/{self.study}")
            while self.control.paused and not self.control.stopped:
                time.sleep(settings.CONTROL_POLL_SECONDS / 5)
                self.control.poll()
            self._take_device()
        finally:
            self._since = time.monotonic()  # standing still costs no budget, however it ended
        if self.control.stopped:
            raise StudyStopped
        self.state(back_to)

    def _take_device(self) -> None:
        """Move back to the device, waiting in the queue for as long as another study has it."""
        queued = False
        while not self.control.stopped and not self.lease.move(self.device):
            if not queued:
                holder = self.store.device_holder(self.device)
                by = f" It is used by study {holder.study!r}." if holder else ""
                self.state(StudyState.QUEUED, f"Waiting for {self.device}.{by}")
                queued = True
            time.sleep(settings.CONTROL_POLL_SECONDS)
            self.control.poll()


def log_traceback(store: Store, study: str) -> None:
    """The present exception into the worker's log; a worker in a thread must not write below somebody's cell."""
    folder = store.study_dir(study)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "worker.log").open("a", encoding="utf-8") as log:
            traceback.print_exc(file=log)
