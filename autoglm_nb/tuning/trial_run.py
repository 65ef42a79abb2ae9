"""One run from its configuration to its stored result: train, evaluate, checkpoint, prune.

A run is a trial, the baseline or a confirmation; all three go through
`train`. It resumes from the newest whole checkpoint in its folder, stands still
when the study is paused, and ends as completed, pruned or failed. Running out
of memory halves the micro-batch and starts again from the last checkpoint.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoglm_nb import settings
from autoglm_nb.errors import CheckpointError, DivergedError, OutOfMemoryError, TrialError
from autoglm_nb.protocol import RunRole, StudyState, TrialState
from autoglm_nb.tuning.context import StudyContext
from autoglm_nb.tuning.recovery import MEMORY_DEATHS, halve, memory_advice

if TYPE_CHECKING:
    from autoglm_nb.training import Engine, RunPlan

__all__ = ["Outcome", "RunRequest", "train"]

RUNGS = 4
"""Evaluations per run: at a quarter, half, three quarters and the end of training."""

PARTIAL_VALIDATION_ROWS = 200
"""Evaluations before the last one use this many validation rows, the same for every run."""

LATENCY_BATCHES = 20
"""Forward passes of one sample each behind the latency figures."""

KEEP_ADAPTER_BYTES = 64 * 2**20
"""Adapters up to this size are kept for every completed trial; larger ones only for the best."""


@dataclass(frozen=True)
class RunRequest:
    """What to train. `config` is complete (defaults filled in); `shown` is what was chosen."""

    run: str
    role: RunRole
    config: dict[str, Any]
    shown: dict[str, Any]
    seed: int
    proposed_by: str = ""
    trial: int | None = None
    split: str = "validation"
    """Where the final score is taken: selection sees validation, confirmation test."""


@dataclass(frozen=True)
class Outcome:
    state: TrialState
    value: float | None = None
    metrics: dict[str, Any] | None = None
    because: str = ""
    rungs: int = 0


Judge = Callable[[int, float], str]
"""Called as judge(rung, value) after each partial evaluation; a sentence ends the run as pruned."""


def train(
    context: StudyContext,
    engine: Engine,
    request: RunRequest,
    *,
    metric: str,
    active_state: StudyState = StudyState.RUNNING,
    judge: Judge | None = None,
    keep_adapter: Callable[[float], bool] | None = None,
) -> Outcome:
    """Carry one run to its end and store the outcome.

    Args:
        metric: the metric whose final value is the run's value.
        active_state: what the study goes back to after a pause.
        judge: the pruning decision; None never prunes.
        keep_adapter: whether the adapter of a run with this value is worth its disk space.

    Raises:
        StudyStopped, Detached: the run is left resumable at a checkpoint.
        DiskFullError: likewise.
    """
    store, study = context.store, context.study
    if store.run(study, request.run) is None:
        store.start_run(
            study,
            request.run,
            request.role,
            config=request.shown,
            proposed_by=request.proposed_by,
            trial=request.trial,
            seed=request.seed,
            total_steps=0,
        )
    row = store.run(study, request.run)
    micro_batch, deaths = (row.micro_batch, row.deaths) if row else (None, 0)
    while True:
        try:
            outcome = _Attempt(context, engine, request, metric, active_state, judge, keep_adapter, micro_batch).run()
        except OutOfMemoryError:
            deaths += 1
            batch = micro_batch or int(request.config["batch_size"])
            if deaths >= MEMORY_DEATHS or batch == 1:
                outcome = Outcome(TrialState.FAILED, because=memory_advice(deaths, batch))
            else:
                micro_batch = halve(batch)
                store.update_run(study, request.run, micro_batch=micro_batch, deaths=deaths, attempts=deaths + 1)
                context.message(
                    "warning", f"{request.run} ran out of memory; trying again with a micro-batch of {micro_batch}."
                )
                continue
        except CheckpointError as error:
            # of another configuration, say after an upgrade changed the default one
            context.message("warning", f"{request.run} starts from its first step. {error}")
            shutil.rmtree(context.run_dir(request.run) / "checkpoints", ignore_errors=True)
            continue
        except TrialError as error:
            outcome = Outcome(TrialState.FAILED, because=str(error))
        store.end_run(
            study,
            request.run,
            outcome.state,
            value=outcome.value,
            metrics=outcome.metrics or {},
            because=outcome.because,
        )
        context.events.emit(
            "ended",
            run=request.run,
            trial=request.trial,
            state=str(outcome.state),
            value=outcome.value,
            because=outcome.because,
        )
        return outcome


class _Attempt:
    """One try at a run in one slot of the engine."""

    def __init__(
        self,
        context: StudyContext,
        engine: Engine,
        request: RunRequest,
        metric: str,
        active_state: StudyState,
        judge: Judge | None,
        keep_adapter: Callable[[float], bool] | None,
        micro_batch: int | None,
    ) -> None:
        from autoglm_nb.training import plan_run

        self.context, self.engine, self.request, self.metric = context, engine, request, metric
        self.active_state, self.judge, self.keep_adapter = active_state, judge, keep_adapter
        self.folder = context.run_dir(request.run)
        self.plan: RunPlan = plan_run(
            request.run, request.config, request.seed, engine.data, rungs=RUNGS, micro_batch=micro_batch
        )
        row = context.store.run(context.study, request.run)
        self.seconds = row.seconds if row else 0.0
        self.since = time.monotonic()
        self.saved_at = time.monotonic()

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def run(self) -> Outcome:
        slot = self.engine.admit(self.plan, checkpoint=self.checkpoints, losses=self.folder / "losses.jsonl")
        try:
            return self._train(slot)
        finally:
            self.engine.evict(slot)

    def _train(self, slot: int) -> Outcome:
        context, request = self.context, self.request
        context.store.update_run(context.study, request.run, total_steps=self.plan.total_steps)
        context.events.emit(
            "started",
            run=request.run,
            trial=request.trial,
            role=str(request.role),
            config=request.shown,
            total_steps=self.plan.total_steps,
        )
        while not self.engine.finished(slot):
            self._obey(slot)
            if request.trial is not None and request.trial in context.control.stop_trials:
                return Outcome(TrialState.PRUNED, because="Stopped by a person.", metrics=self._facts(slot))
            result = self.engine.step()[slot]
            if result.failure is not None:
                raise DivergedError(
                    f"The training loss must stay finite, but it became {result.loss} at step {result.step} with "
                    f"learning_rate={request.config.get('learning_rate')}. "
                    "Choose a lower learning rate or more warm-up."
                )
            context.events.emit(
                "step",
                run=request.run,
                trial=request.trial,
                step=result.step,
                total_steps=self.plan.total_steps,
                loss=result.loss,
                learning_rate=result.learning_rate,
            )
            rung = self.engine.due(slot)
            if rung is not None and rung < self.plan.rungs:
                because = self._evaluate(slot, rung)
                if because:
                    return Outcome(TrialState.PRUNED, because=because, metrics=self._facts(slot))
            if rung is not None or time.monotonic() - self.saved_at >= settings.checkpoint_seconds():
                self._save(slot)
        return self._finish(slot)

    def _obey(self, slot: int) -> None:
        """Serve requests; anything that interrupts the run leaves a checkpoint behind."""
        try:
            self.context.tick()
            if self.context.control.paused:
                self._save(slot)
                try:
                    self.context.stand_still(self.active_state)
                finally:
                    self.since = time.monotonic()  # however it ended, standing still is not training
        except Exception:
            self._save(slot)
            raise

    def _evaluate(self, slot: int, rung: int) -> str:
        """A partial evaluation; the reason to prune, or ""."""
        metrics = self.engine.evaluate(slot, "validation", limit_rows=PARTIAL_VALIDATION_ROWS)
        value = float(metrics[self.metric])
        self._report(rung, value)
        return self.judge(rung, value) if self.judge else ""

    def _finish(self, slot: int) -> Outcome:
        request = self.request
        metrics = self.engine.evaluate(slot, request.split)
        value = float(metrics[self.metric])
        if not math.isfinite(value):
            raise DivergedError(
                f"`{self.metric}` must be finite, but it is {value} at the end of training with "
                f"learning_rate={request.config.get('learning_rate')}. Choose a lower learning rate."
            )
        if request.role is not RunRole.CONFIRM:
            metrics |= self.engine.latency(slot, batches=LATENCY_BATCHES)
        metrics |= self._facts(slot)
        metrics["split"] = request.split
        if request.role is RunRole.TRIAL:
            self._report(self.plan.rungs, value)
        if self.keep_adapter is not None and (
            self.engine.adapter_bytes(slot) <= KEEP_ADAPTER_BYTES or self.keep_adapter(value)
        ):
            self.engine.save_adapter(
                slot,
                self.folder / "adapter",
                extra={"study": self.context.study, "run": request.run, "config": request.config, "metrics": metrics},
            )
        return Outcome(TrialState.COMPLETED, value=value, metrics=metrics, rungs=self.plan.rungs)

    def _report(self, rung: int, value: float) -> None:
        self.context.events.emit(
            "report", run=self.request.run, trial=self.request.trial, rung=rung, rungs=self.plan.rungs, value=value
        )

    def _save(self, slot: int) -> None:
        self.engine.save_checkpoint(slot, self.checkpoints)
        self.saved_at = time.monotonic()
        step = self.engine.step_of(slot)
        self.context.store.update_run(
            self.context.study, self.request.run, step=step, seconds=self._clock(), stalled_deaths=0
        )

    def _clock(self) -> float:
        now = time.monotonic()
        self.seconds += now - self.since
        self.since = now
        return self.seconds

    def _facts(self, slot: int) -> dict[str, Any]:
        """What every run reports whatever its task."""
        seconds = self._clock()
        self.context.store.update_run(
            self.context.study, self.request.run, seconds=seconds, step=self.engine.step_of(slot)
        )
        return {
            "trainable_share": self.engine.trainable_share(slot),
            "memory_gb": round(self.engine.memory_gb(), 3),
            "train_seconds": round(seconds, 3),
        }
