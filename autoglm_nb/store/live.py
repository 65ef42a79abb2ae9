"""What moves while a worker runs, folded from its events."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from autoglm_nb.protocol import Event, PacksSnapshot, ReadingSnapshot

__all__ = ["LiveRun", "LiveState"]

_READINGS = 240
_MESSAGES = 20
_ENDED = 50


@dataclass
class LiveRun:
    """A run as its events tell it."""

    run: str
    trial: int | None = None
    role: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    learning_rate: float | None = None
    rungs: int = 0
    reports: list[list[float]] = field(default_factory=list)
    state: str = "running"


@dataclass
class LiveState:
    """The fold of an event stream; `apply` may see any part of one, in order.

    Its size is bounded: running runs, a few that have ended, the newest readings and messages.
    One thread applies and reads.

    Attributes:
        runs: by name, in the order of their first event.
        readings: oldest first.
        messages: `{"t", "level", "text"}`, newest last.
        state: the last `state` event's, "" before one.
        reason: its reason.
        packs: who shares passes, None while nothing is trained.
        n: number of the last event, 0 before one.
    """

    runs: dict[str, LiveRun] = field(default_factory=dict)
    readings: deque[ReadingSnapshot] = field(default_factory=lambda: deque(maxlen=_READINGS))
    messages: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_MESSAGES))
    state: str = ""
    reason: str = ""
    packs: PacksSnapshot | None = None
    n: int = 0

    def apply(self, event: Event) -> None:
        """Takes one event in; a type it does not know changes nothing but the count."""
        self.n = event.n
        handler = getattr(self, f"_on_{event.type}", None)
        if handler is not None:
            handler(event)

    def apply_all(self, events: Iterable[Event]) -> None:
        """Takes several events in, in order."""
        for event in events:
            self.apply(event)

    def _on_state(self, event: Event) -> None:
        self.state, self.reason = str(event.data.get("state", "")), str(event.data.get("reason", ""))
        if self.state not in ("running", "confirming", "paused"):
            self.packs = None
        if self.state == "preparing":  # a new worker: what an earlier one left running is running no more
            self.runs = {name: run for name, run in self.runs.items() if run.state != "running"}

    def _on_started(self, event: Event) -> None:
        run = self._run(event)
        run.state, run.role = "running", str(event.data.get("role", ""))
        run.config = dict(event.data.get("config") or {})
        run.total_steps = int(event.data.get("total_steps") or 0)

    def _on_step(self, event: Event) -> None:
        run = self._run(event)
        run.step, run.total_steps = (
            int(event.data.get("step") or run.step),
            int(event.data.get("total_steps") or run.total_steps),
        )
        run.loss, run.learning_rate = event.data.get("loss"), event.data.get("learning_rate")

    def _on_report(self, event: Event) -> None:
        run, rung, value = self._run(event), event.data.get("rung"), event.data.get("value")
        run.rungs = int(event.data.get("rungs") or run.rungs)
        if rung is not None and value is not None:
            run.reports = [r for r in run.reports if r[0] != rung] + [[rung, value]]

    def _on_ended(self, event: Event) -> None:
        self._run(event).state = str(event.data.get("state", "completed"))
        ended = [name for name, run in self.runs.items() if run.state != "running"]
        for name in ended[:-_ENDED]:
            del self.runs[name]

    def _on_packs(self, event: Event) -> None:
        found = {key: event.data.get(key) for key in ("now", "alone", "predicted", "measured")}
        self.packs = cast(PacksSnapshot, found) if found["now"] or found["alone"] else None

    def _on_reading(self, event: Event) -> None:
        self.readings.append(cast(ReadingSnapshot, {"t": event.t, **event.data}))

    def _on_message(self, event: Event) -> None:
        self.messages.append(
            {"t": event.t, "level": event.data.get("level", "info"), "text": event.data.get("text", "")}
        )

    def _run(self, event: Event) -> LiveRun:
        name = str(event.data.get("run"))
        run = self.runs.setdefault(name, LiveRun(name))
        if event.data.get("trial") is not None:
            run.trial = event.data["trial"]
        return run
