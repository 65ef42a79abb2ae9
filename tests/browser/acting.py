"""A worker that acts: a stored study whose figures are made up and whose requests are obeyed.

Run in a kernel or in the test itself. It holds the study's lease, so that
everyone takes it for a living worker, and reads requests as a worker does:
within half a second.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

from autoglm_nb.protocol import Action, RunRole, StudyState, TrialState
from autoglm_nb.store import Store
from tests.store.conftest import make_spec

VALUES = (0.62, 0.71, None, 0.69, 0.78, 0.803)
"""What its trials have reached; None: that one was pruned."""

_ANSWERS = {Action.PAUSE: StudyState.PAUSED, Action.RESUME: StudyState.RUNNING, Action.STOP: StudyState.STOPPED}


class Actor:
    """Plays one study until it is stopped or let go."""

    def __init__(self, home: str | Path, name: str, *, device: str = "cpu", **fields: Any) -> None:
        self.name = name
        self.store = Store(home)
        self.store.create_study(make_spec(name, trials=12, **fields))
        for number, value in enumerate(VALUES):
            self._run(number, value)
        self.store.start_run(name, "baseline", RunRole.BASELINE, config={"learning_rate": 1e-3})
        self.store.end_run(name, "baseline", TrialState.COMPLETED, value=0.74)
        self._lease = self.store.acquire(name, device)
        if self._lease is None:
            raise RuntimeError(f"the device {device} is taken")
        self.store.set_state(name, StudyState.RUNNING)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._obey, name=f"actor {name}", daemon=True)
        self._thread.start()

    def finish(self, state: StudyState = StudyState.FINISHED) -> None:
        """End the study as a worker does that has nothing left to try."""
        self.store.set_state(self.name, state)
        self.leave()

    def leave(self) -> None:
        """Give up the lease; the study keeps its state."""
        self._over.set()
        if self._thread is not threading.current_thread():
            self._thread.join(5)
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def _run(self, number: int, value: float | None) -> None:
        run = f"trial-{number:04d}"
        config = {"learning_rate": 10.0 ** -(2 + number % 3), "rank": 4 * (1 + number % 3), "method": "lora"}
        self.store.start_run(
            self.name,
            run,
            RunRole.TRIAL,
            trial=number,
            config=config,
            proposed_by="expected improvement",
            total_steps=60,
        )
        state = TrialState.PRUNED if value is None else TrialState.COMPLETED
        because = "below the median at rung 1" if value is None else ""
        self.store.end_run(self.name, run, state, value=value, because=because, metrics={})

    def _obey(self) -> None:
        while not self._over.wait(0.2):
            for request in self.store.pending(self.name):
                self.store.handled(request.id)
                if request.action in _ANSWERS:
                    self.store.set_state(self.name, _ANSWERS[request.action])
                if request.action is Action.STOP:
                    self._over.set()
        state, _ = self.store.state(self.name)
        if state is StudyState.STOPPED:
            self.leave()


OBJECTIVES = ("accuracy", "latency_ms_p50")


def act_objectives(store: Store, name: str, trials: int = 16) -> list[tuple[int, list[float]]]:
    """A finished study of two objectives; its front as Optuna finds it, by the first objective."""
    store.create_study(make_spec(name, objectives=OBJECTIVES, trials=trials))
    study = store.optuna_study(name, ["maximize", "minimize"])
    for i in range(trials):
        accuracy = 0.6 + 0.2 * math.sqrt(i / trials)
        study.tell(study.ask(), [round(accuracy, 4), round(4 + 9 * i / trials + 5 * math.sin(i * 78.233) ** 2, 2)])
    store.set_state(name, StudyState.FINISHED)
    return sorted(((t.number, list(t.values)) for t in study.best_trials), key=lambda found: found[1][0])
