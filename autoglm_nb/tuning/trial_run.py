"""One run from its configuration to its outcome, step by step: evaluate, checkpoint, prune.

A run is a trial, the baseline or a confirmation. It owns one slot of an engine
and what is stored about it; stepping the engine, and storing how the run ended,
is the `Pack`'s business. It resumes from the newest whole checkpoint in its folder.
"""

from __future__ import annotations

import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoglm_nb import settings
from autoglm_nb.errors import CheckpointError, DivergedError
from autoglm_nb.protocol import RunRole, TrialState
from autoglm_nb.search import Decision
from autoglm_nb.tuning.context import StudyContext

if TYPE_CHECKING:
    from autoglm_nb.training import Engine, RunPlan, StepResult

__all__ = ["PAUSED", "RUNGS", "Outcome", "Run", "RunRequest", "run_name"]

RUNGS = 4
"""Evaluations per run: at a quarter, half, three quarters and the end of training."""

PARTIAL_VALIDATION_ROWS = 200
"""Evaluations before the last one use this many validation rows, the same for every run."""

LATENCY_BATCHES = 20
"""Forward passes of one sample each behind the latency figures."""

KEEP_ADAPTER_BYTES = 64 * 2**20
"""Adapters up to this size are kept for every completed trial; larger ones only for the best."""

RECENT = 64
"""Steps of a run by which it is told who shares its passes: as many as the packer's figures are taken over."""

PAUSED = "Paused: "
"""What the stored reason of a run begins with for as long as the pruner has it set aside."""

Report = Callable[[int, float], None]
"""Called as report(rung, value) after each partial evaluation."""

Judge = Callable[[int], Decision]
"""Called as judge(rung) once all that is to be compared has been reported: go on, pause or prune."""


@dataclass(frozen=True)
class RunRequest:
    """What to train.

    Attributes:
        config: complete, defaults filled in.
        shown: what was chosen.
        metric: the metric whose final value is the run's value.
        split: where the final score is taken: selection sees validation, confirmation test.
        report: who is told the values of partial evaluations.
        judge: the pruning decision; None never prunes.
        keep_adapter: whether the adapter of a run with this value is worth its disk space.
    """

    run: str
    role: RunRole
    config: dict[str, Any]
    shown: dict[str, Any]
    seed: int
    metric: str
    proposed_by: str = ""
    trial: int | None = None
    split: str = "validation"
    report: Report | None = None
    judge: Judge | None = None
    keep_adapter: Callable[[float], bool] | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended; WAITING means that it was set aside at its checkpoint."""

    state: TrialState
    value: float | None = None
    metrics: dict[str, Any] | None = None
    because: str = ""
    rungs: int = 0


class Run:
    """A run in a slot of its engine; `slot` is valid from `start` to `close`.

    Attributes:
        rung: the evaluation that `judge` is to be asked about; None while there is none.
        fresh: whether it has been evaluated since it was last judged.
        pace: epochs, counted from where its neighbours were when it joined them; kept by the pack.
        neighbours: the names of those that shared a pass with it, at each of its newest steps; kept by the pack.

    Raises (from `after`, `judge` and `finish`):
        TrialError: the run failed; the sentence says why.
        OutOfMemoryError: nothing was changed; it may be tried again.
        DiskFullError: no room for a checkpoint; the run is resumable.
    """

    def __init__(self, context: StudyContext, engine: Engine, request: RunRequest) -> None:
        from autoglm_nb.training import plan_run

        self.context, self.engine, self.request = context, engine, request
        self.folder = context.run_dir(request.run)
        store, study = context.store, context.study
        row = store.run(study, request.run)
        if row is None or row.state is TrialState.WAITING:
            store.start_run(
                study,
                request.run,
                request.role,
                config=request.shown,
                proposed_by=request.proposed_by,
                trial=request.trial,
                seed=request.seed,
                total_steps=row.total_steps if row else 0,
            )
        self.micro_batch, self.deaths = (row.micro_batch, row.deaths) if row else (None, 0)
        self._stored = row.metrics if row else {}
        self.plan: RunPlan = plan_run(
            request.run, request.config, request.seed, engine.data, rungs=RUNGS, micro_batch=self.micro_batch
        )
        self.seconds = row.seconds if row else 0.0
        self.saved_at = time.monotonic()
        self.saved_step = -1
        self.slot = -1
        self.rung: int | None = None
        self.fresh = False
        self.pace = 0.0
        self.neighbours: deque[frozenset[str]] = deque(maxlen=RECENT)

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def finished(self) -> bool:
        """Whether all steps are made; then `finish` is due."""
        return self.engine.finished(self.slot)

    @property
    def stride(self) -> float:
        """Epochs that one step is."""
        return 1.0 / self.plan.steps_per_epoch

    def start(self) -> None:
        """Take a slot of the engine."""
        try:
            self.slot = self._admit()
        except CheckpointError as error:
            # of another configuration, say after an upgrade changed the default one
            self.context.message("warning", f"{self.request.run} starts from its first step. {error}")
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            self.slot = self._admit()
        self.saved_step = self.engine.step_of(self.slot)
        # its passes as they are now, for `recovery`: no limit, the next start may find room for larger ones
        metrics = {**self._stored, "micro_batch": self.engine.micro_batch_of(self.slot)}
        self.context.store.update_run(
            self.context.study, self.request.run, total_steps=self.plan.total_steps, metrics=metrics
        )
        self._emit("started", role=str(self.request.role), config=self.request.shown, total_steps=self.plan.total_steps)

    def close(self) -> None:
        """Free the slot."""
        if self.slot >= 0:
            self.engine.evict(self.slot)
            self.slot = -1

    def after(self, result: StepResult) -> None:
        """What follows a step: a report, and an evaluation where one is due."""
        self.seconds += result.seconds
        if result.failure is not None:
            raise DivergedError(
                f"The training loss must stay finite, but it became {result.loss} at step {result.step} with "
                f"learning_rate={self.request.config.get('learning_rate')}. "
                "Choose a lower learning rate or more warm-up."
            )
        self._emit(
            "step",
            step=result.step,
            total_steps=self.plan.total_steps,
            loss=result.loss,
            learning_rate=result.learning_rate,
        )
        rung = self.engine.due(self.slot)
        if rung is not None and rung < self.plan.rungs:
            self._evaluate(rung)
        elif rung is not None:
            self.save()

    def judge(self) -> Outcome | None:
        """What becomes of the run by its last evaluation; an outcome when it is to end here.

        While too few have reported to compare with, `rung` stays, so that it is asked again when
        others have; not from halfway to the next evaluation on, which is then the better judge, and
        not by a worker that takes the run over.
        """
        rung, fresh, step = self.rung, self.fresh, self.engine.step_of(self.slot)
        self.fresh = False
        if rung is None:
            return None
        reached, following = self.plan.rung_steps[rung - 1 : rung + 1]
        if not fresh and 2 * (step - reached) > following - reached:
            self.rung = None
            return None
        judge = self.request.judge
        decision = judge(rung) if judge else Decision(False, "not judged")
        if decision.prune:
            return Outcome(TrialState.PRUNED, because=decision.because, metrics=self.facts())
        if not decision.provisional:
            self.rung = None
        if decision.pause or fresh:
            self.save()
        if decision.pause:
            return Outcome(TrialState.WAITING, because=f"{PAUSED}{decision.because}.", metrics=self.facts())
        return None

    def finish(self) -> Outcome:
        """The last evaluation and the adapter."""
        request = self.request
        metrics = self._measure(request.split, latency=request.role is not RunRole.CONFIRM)
        value = float(metrics[request.metric])
        if not math.isfinite(value):
            raise DivergedError(
                f"`{request.metric}` must be finite, but it is {value} at the end of training with "
                f"learning_rate={request.config.get('learning_rate')}. Choose a lower learning rate."
            )
        metrics["split"] = request.split
        if request.role is RunRole.TRIAL:
            self._report(self.plan.rungs, value)
        if request.keep_adapter is not None and (
            self.engine.adapter_bytes(self.slot) <= KEEP_ADAPTER_BYTES or request.keep_adapter(value)
        ):
            self.engine.save_adapter(
                self.slot,
                self.folder / "adapter",
                extra={"study": self.context.study, "run": request.run, "config": request.config, "metrics": metrics},
            )
        return Outcome(TrialState.COMPLETED, value=value, metrics=metrics, rungs=self.plan.rungs)

    def keep(self) -> None:
        """A checkpoint if the time for one has come and a step was made since the last."""
        late = time.monotonic() - self.saved_at >= settings.checkpoint_seconds()
        if late and self.engine.step_of(self.slot) != self.saved_step:
            self.save()

    def save(self) -> None:
        """Write a checkpoint, and where it stands into the store.

        Raises:
            DiskFullError: no room; the older checkpoint is untouched.
        """
        with self._timed():
            self.engine.save_checkpoint(self.slot, self.checkpoints)
        self.saved_at, self.saved_step = time.monotonic(), self.engine.step_of(self.slot)
        self.context.store.update_run(
            self.context.study,
            self.request.run,
            step=self.engine.step_of(self.slot),
            seconds=self.seconds,
            stalled_deaths=0,
        )

    def use_micro_batch(self, rows: int) -> None:
        """Split the batch into smaller passes from now on; gradients stay the same."""
        self.micro_batch = rows
        self.engine.set_micro_batch(self.slot, rows)

    def facts(self) -> dict[str, Any]:
        """What every run reports whatever its task."""
        self.context.store.update_run(
            self.context.study, self.request.run, seconds=self.seconds, step=self.engine.step_of(self.slot)
        )
        return {
            "trainable_share": self.engine.trainable_share(self.slot),
            "memory_gb": round(self.engine.memory_gb(), 3),
            "train_seconds": round(self.seconds, 3),
        }

    def _admit(self) -> int:
        return self.engine.admit(self.plan, checkpoint=self.checkpoints, losses=self.folder / "losses.jsonl")

    def _measure(self, split: str, limit_rows: int | None = None, *, latency: bool = False) -> dict[str, Any]:
        """All that is known of the run now. A latency that the run is judged by is one sample's at every evaluation."""
        found: dict[str, Any] = {}
        with self._timed():
            if latency or self.request.metric.startswith("latency_"):
                found = self.engine.latency(self.slot, split, batches=LATENCY_BATCHES)
            found = {**self.engine.evaluate(self.slot, split, limit_rows), **found}
        return found | self.facts()

    def _evaluate(self, rung: int) -> None:
        metrics = self._measure("validation", PARTIAL_VALIDATION_ROWS)
        value = float(metrics[self.request.metric])
        self._report(rung, value)
        if self.request.report is not None:
            self.request.report(rung, value)
        self.rung, self.fresh = rung, True

    def _report(self, rung: int, value: float) -> None:
        self._emit("report", rung=rung, rungs=self.plan.rungs, value=value)

    def _emit(self, kind: str, **data: Any) -> None:
        self.context.events.emit(kind, run=self.request.run, trial=self.request.trial, **data)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - began


def run_name(number: int) -> str:
    """The name of the run of a trial."""
    return f"trial-{number:04d}"
