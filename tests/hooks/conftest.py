"""A study whose worker is played by the test: rows and events in the order in which a worker writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest

from autoglm_nb.hooks import Hook, RunInfo, RunOutcome, StudyInfo, StudyOutcome
from autoglm_nb.protocol import DataSpec, RunRole, StudySpec, StudyState, TrialState
from autoglm_nb.store import EventWriter, Store

SPACE = {"version": 1, "dimensions": [], "constants": []}


@dataclass
class Played:
    """The worker's side: `begin`, `report`, `end` write row and event, as `tuning` does."""

    store: Store
    name: str
    events: EventWriter = field(init=False)

    def __post_init__(self) -> None:
        self.events = EventWriter(self.store.study_dir(self.name) / "events.jsonl")

    def begin(self, number: int, **config: Any) -> None:
        run, config = f"trial-{number:04d}", config or {"learning_rate": 1e-3 * (number + 1), "method": "lora"}
        row = self.store.run(self.name, run)
        if row is None or not row.state.final:
            self.store.start_run(
                self.name, run, RunRole.TRIAL, config=config, trial=number, proposed_by="random start", total_steps=40
            )
        self.events.emit("started", run=run, trial=number, role="trial", config=config, total_steps=40)
        self.events.emit("step", run=run, trial=number, step=1, total_steps=40, loss=0.7, learning_rate=1e-3)

    def report(self, number: int, rung: int, value: float) -> None:
        self.events.emit("report", run=f"trial-{number:04d}", trial=number, rung=rung, rungs=4, value=value)

    def end(
        self, number: int, value: float | None, state: TrialState = TrialState.COMPLETED, because: str = ""
    ) -> None:
        run = f"trial-{number:04d}"
        study = self.store.optuna_study(self.name, ["maximize"])
        kind = {"completed": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}[str(state)]
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState[kind], values=None if value is None or kind != "COMPLETE" else [value]
            )
        )
        metrics = {"accuracy": value, "memory_gb": 1.5, "per_class": {"a": 1}, "nothing": float("nan")}
        self.store.end_run(self.name, run, state, value=value, metrics=metrics, because=because)
        self.events.emit("ended", run=run, trial=number, state=str(state), value=value, because=because)

    def trial(self, number: int, values: list[float]) -> None:
        self.begin(number)
        for rung, value in enumerate(values, start=1):
            self.report(number, rung, value)
        self.end(number, values[-1])

    def finish(self, state: StudyState = StudyState.FINISHED) -> None:
        self.store.set_state(self.name, state)
        self.events.emit("state", state=str(state), reason="")


class Recorder(Hook):
    """Writes down what it is told."""

    name = "mlflow"

    def __init__(self, memory: dict[str, str] | None = None) -> None:
        super().__init__(memory if memory is not None else {})
        self.calls: list[tuple[Any, ...]] = []
        self.closed = 0

    def on_study_started(self, study: StudyInfo) -> None:
        self.calls.append(("study started", study.name, study.resumed))

    def on_trial_started(self, study: StudyInfo, run: RunInfo) -> None:
        self.memory[run.name] = "seen"
        self.calls.append(("started", run.name))

    def on_report(self, study: StudyInfo, run: RunInfo, rung: int, value: float, at: float) -> None:
        self.calls.append(("report", run.name, rung, value))

    def on_trial_ended(self, study: StudyInfo, run: RunInfo, outcome: RunOutcome) -> None:
        self.calls.append(("ended", run.name, outcome.state, outcome.value))

    def on_study_ended(self, study: StudyInfo, outcome: StudyOutcome) -> None:
        self.calls.append(("study ended", outcome.state, outcome.best_value, outcome.best_trial))

    def close(self) -> None:
        self.closed += 1


def create(home: Path, name: str = "reviews", hooks: tuple[str, ...] = ("mlflow",)) -> Played:
    """A study that is running."""
    store = Store(home)
    store.create_study(
        StudySpec(
            name=name, model="minilm", data=DataSpec("movies"), space=SPACE, task="classification", metric="accuracy",
            direction="maximize", trials=4, seeds=0, hooks=hooks, identity="c0ffee",
        )
    )  # fmt: skip
    store.set_state(name, StudyState.RUNNING)
    return Played(store, name)


@pytest.fixture
def played(home: Path) -> Played:
    return create(home)
