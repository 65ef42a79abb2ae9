"""A custom objective in place of training: `objective(config, report) -> value`.

The function came over a pipe by cloudpickle and is never stored. It is called
in the worker; `report(value, step=None)` stores an intermediate value, polls
requests, and raises `TrialPruned` when the pruner says so. The function may
raise `TrialPruned` itself. Any other exception fails its trial, not the study.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from autoglm_nb.errors import DiskFullError, TrialPruned
from autoglm_nb.explain.privacy import private
from autoglm_nb.protocol import RunRole, StudyState, TrialState
from autoglm_nb.search import Proposal, Pruner, Searcher
from autoglm_nb.tuning.context import StudyContext
from autoglm_nb.tuning.control import Detached, StudyStopped
from autoglm_nb.tuning.trial_run import Outcome

__all__ = ["evaluate_objective"]


def evaluate_objective(
    context: StudyContext, searcher: Searcher, pruner: Pruner, proposal: Proposal, metrics: Sequence[str]
) -> Outcome:
    """Call the objective once and store its run.

    The return value is a number, a sequence with one number per objective, or
    a mapping with at least the study's metrics.

    Raises:
        StudyStopped, Detached, DiskFullError: passed on.
    """
    objective = context.extras.objective
    if objective is None:
        raise RuntimeError("evaluate_objective needs a context with an objective")
    context.tick()  # a function need not report: between two trials at the latest, requests are heard
    context.stand_still(StudyState.RUNNING)
    store, study, run = context.store, context.study, f"trial-{proposal.number:04d}"
    row = store.run(study, run)
    if row is None or row.state is TrialState.WAITING:
        store.start_run(
            study,
            run,
            RunRole.TRIAL,
            config=proposal.config,
            proposed_by=proposal.proposed_by,
            trial=proposal.number,
            seed=context.spec.seed,
            total_steps=0,
        )
    context.events.emit("started", run=run, trial=proposal.number, role="trial", config=proposal.config, total_steps=0)
    began = time.monotonic()
    report = _Report(context, searcher, pruner, proposal.number, run)
    try:
        outcome = _completed(objective(dict(proposal.config), report), metrics)
    except (StudyStopped, Detached, DiskFullError):
        raise
    except TrialPruned as pruned:
        outcome = Outcome(TrialState.PRUNED, because=str(pruned) or "The objective ended it.")
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - user code; its fault ends the trial alone
        because = f"The objective raised {type(error).__name__}: {private(str(error))}"  # the record is saved
        outcome = Outcome(TrialState.FAILED, because=because)
    seconds = time.monotonic() - began
    store.update_run(study, run, seconds=seconds)
    store.end_run(
        study, run, outcome.state, value=outcome.value, metrics=outcome.metrics or {}, because=outcome.because
    )
    context.events.emit(
        "ended",
        run=run,
        trial=proposal.number,
        state=str(outcome.state),
        value=outcome.value,
        because=outcome.because,
    )
    return outcome


class _Report:
    """The second argument of a custom objective."""

    def __init__(self, context: StudyContext, searcher: Searcher, pruner: Pruner, number: int, run: str) -> None:
        self._context, self._searcher, self._pruner = context, searcher, pruner
        self._number, self._run, self._step = number, run, 0

    def __call__(self, value: float, step: int | None = None) -> None:
        """Report an intermediate value; steps count 1, 2, 3 … unless given.

        Raises:
            TrialPruned: the pruner or a person ended the trial.
        """
        self._step = self._step + 1 if step is None else int(step)
        context = self._context
        context.tick()
        context.stand_still(StudyState.RUNNING)
        if self._number in context.control.stop_trials:
            raise TrialPruned("Stopped by a person.")
        self._searcher.report(self._number, self._step, float(value))
        context.events.emit("report", run=self._run, trial=self._number, rung=self._step, rungs=0, value=float(value))
        decision = self._pruner.decide(self._searcher.study, self._number, self._step)
        if decision.prune or decision.pause:  # a custom objective has no checkpoint to come back to
            raise TrialPruned(decision.because)


def _completed(returned: Any, metrics: Sequence[str]) -> Outcome:
    if isinstance(returned, Mapping):
        given = dict(returned)
        missing = [name for name in metrics if name not in given]
        if missing:
            return Outcome(
                TrialState.FAILED,
                because=f"The objective must return the metrics {', '.join(metrics)}, "
                f"but {', '.join(missing)} is missing.",
            )
    else:
        values = list(returned) if isinstance(returned, Sequence) and not isinstance(returned, str) else [returned]
        if len(values) != len(metrics):
            return Outcome(
                TrialState.FAILED,
                because=f"The objective must return {len(metrics)} value(s), but it returned {len(values)}.",
            )
        given = dict(zip(metrics, values, strict=True))
    found: dict[str, float] = {}
    for name, value in given.items():
        number = _number(value)
        if number is None:
            return Outcome(
                TrialState.FAILED,
                because=f"The objective must return numbers, but {name} is {_short(value)} ({type(value).__name__}).",
            )
        found[name] = number
    bad = [name for name in metrics if not math.isfinite(found[name])]
    if bad:
        return Outcome(
            TrialState.FAILED, because=f"The objective must return finite values, but {bad[0]} is {found[bad[0]]}."
        )
    return Outcome(TrialState.COMPLETED, value=found[metrics[0]], metrics=found)


def _number(value: Any) -> float | None:
    """A value as a float; None for what is no number, a string of digits included."""
    if isinstance(value, str | bytes):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
