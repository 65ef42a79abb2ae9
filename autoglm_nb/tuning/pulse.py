"""The worker's pulse: readings, lease heartbeat, and evidence for the next worker.

A thread of the worker. Every two seconds it emits one `reading` event,
refreshes the lease and writes `pulse.json`: the machine's out-of-memory kill
counter and free memory. When a worker is found dead, `recovery` compares them
with the present to tell an out-of-memory kill from any other death. A worker that
leaves in order takes its pulse with it.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from autoglm_nb import settings
from autoglm_nb.resources import Monitor, oom_kill_count
from autoglm_nb.tuning.context import StudyContext

__all__ = ["Pulse", "read_pulse"]


class Pulse:
    """`with Pulse(context): ...` beats in the background until the block ends."""

    def __init__(self, context: StudyContext) -> None:
        self._context = context
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"autoglm-pulse-{context.study}", daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        pulse_path(self._context.store.study_dir(self._context.study)).unlink(missing_ok=True)

    def _beat(self) -> None:
        context = self._context
        path = pulse_path(context.store.study_dir(context.study))
        monitor = Monitor(device=context.device)
        while True:
            try:
                reading = monitor.read()
                context.events.emit("reading", **reading)
                if not context.lease.heartbeat():
                    context.control.detach()  # another worker has taken over
                _write(path, {"oom_kills": oom_kill_count(), "memory_percent": reading["machine_memory_percent"]})
            except Exception:  # noqa: BLE001 - a full disk or a lost lease is the main thread's to report
                pass
            if self._stop.wait(settings.READING_SECONDS):
                return


def pulse_path(study_dir: Path) -> Path:
    return study_dir / "pulse.json"


def read_pulse(study_dir: Path) -> dict[str, Any]:
    """The last pulse of a study's latest worker; empty when there is none."""
    try:
        return dict(json.loads(pulse_path(study_dir).read_text()))
    except (OSError, ValueError):
        return {}


def _write(path: Path, content: dict[str, Any]) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(content))
    os.replace(draft, path)
