"""The runs under way in a worker: started, stepped together, ended and stored.

One `advance` is an optimizer step of every run that is not ahead of its neighbours:
all come through the training rows at one pace, those with small batches in more
steps, and runs of one length reach their evaluations together. What an advance
reports is judged when all of it is known. LoRA and DoRA runs on one base share passes
(`training.packing` says which); any other method, and runs on another base, are
stepped beside them, and `describe` says which run stands where and why. Runs join and
leave between advances. Requests of people are served before each: a pause, a stop or
a full disk leaves a checkpoint of every run behind.

When memory runs out nothing has been updated: passes shrink first, then the
micro-batch of the largest run is halved, up to its third time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from autoglm_nb.errors import OutOfMemoryError, TrialError, UnexpectedError, UsageError
from autoglm_nb.explain.privacy import private
from autoglm_nb.protocol import StudyState, TrialState
from autoglm_nb.record import words
from autoglm_nb.tuning.context import StudyContext, log_traceback
from autoglm_nb.tuning.recovery import MEMORY_DEATHS, halve, memory_advice
from autoglm_nb.tuning.trial_run import Outcome, Run, RunRequest

if TYPE_CHECKING:
    from autoglm_nb.training import Engine

__all__ = ["Pack"]

DESCRIBE_SECONDS = 2.0
"""How often the view is told about passes and memory."""

MOST_UNEXPECTED = 3
"""Runs in a row that fail by what nobody foresaw before the study ends."""

ROUNDING = 1e-9
"""Of paces, which are sums of fractions of an epoch."""


class Pack:
    """Runs in their slots; used by the worker's main thread.

    Args:
        context: the worker's hands.
        active_state: what the study goes back to after a pause.
    """

    def __init__(self, context: StudyContext, active_state: StudyState = StudyState.RUNNING) -> None:
        self.context = context
        self.active_state = active_state
        self.runs: list[Run] = []
        self._split: WeakSet[Engine] = WeakSet()
        self._unexpected = 0
        self._described = 0.0

    def room(self, engine: Engine, config: dict[str, Any]) -> bool:
        """Whether a run of this configuration may join now."""
        return len(self.runs) < engine.capacity and self.may_join(config)

    def may_join(self, config: dict[str, Any]) -> bool:
        """The part of `room` that needs no base in memory: which methods may stand side by side.

        A method that cannot share passes has a model of its own: one such run at a time.
        """
        if not self.runs:
            return True
        shares = self.runs[0].engine.shares
        return shares(config) or all(shares(run.request.config) for run in self.runs)

    def add(self, engine: Engine, request: RunRequest) -> Outcome | None:
        """Start a run; an outcome when it failed at once."""
        run = Run(self.context, engine, request)
        try:
            run.start()
        except OutOfMemoryError as error:
            if self.runs:  # there may be room when a neighbour has left
                raise
            return self._end(run, Outcome(TrialState.FAILED, because=str(error)))
        except (TrialError, UsageError) as error:  # also a configuration that does not fit this base
            return self._failed(run, error)[1]
        run.pace = min((other.pace for other in self.runs if not other.finished), default=0.0)
        self.runs.append(run)
        self._described = 0.0
        return None

    def advance(self) -> list[tuple[RunRequest, Outcome]]:
        """A step of every run that is due; those that ended, with their outcomes.

        Raises:
            StudyStopped, Detached, DiskFullError: every run is left resumable at a checkpoint.
        """
        self._obey()
        ended = [(run, self._stopped(run)) for run in list(self.runs) if self._to_stop(run)]
        due = self._due()
        for engine in {id(run.engine): run.engine for run in self.runs}.values():
            slots = {run.slot for run in due if run.engine is engine}
            for group in engine.groups():
                ended += self._step(engine, [slot for slot in group if slot in slots])
        if any(run.fresh for run in self.runs):
            for run in list(self.runs):
                ended += self._judged(run, run.judge)
        for run in self.runs:
            run.keep()
        if time.monotonic() - self._described > DESCRIBE_SECONDS:
            self._tell()
        for run in list(self.runs):
            if run.finished:
                ended += self._judged(run, run.finish)
        if ended:
            self._tell()
        return [(run.request, outcome) for run, outcome in ended]

    def drain(self, jobs: Iterable[tuple[Engine, RunRequest]] = ()) -> dict[str, Outcome]:
        """Carry these jobs and what is under way to their ends; outcomes by the run's name."""
        waiting, outcomes = list(jobs), {}
        while waiting or self.runs:
            for engine, request in list(waiting):
                if not self.room(engine, request.config):
                    continue
                try:
                    failed = self.add(engine, request)
                except OutOfMemoryError:  # when a neighbour has left there may be room
                    break
                waiting.remove((engine, request))
                if failed is not None:
                    outcomes[request.run] = failed
            for request, outcome in self.advance() if self.runs else ():
                outcomes[request.run] = outcome
        return outcomes

    def set_aside(self) -> None:
        """Store that the worker left its runs in order: no death to charge them with."""
        for run in self.runs:
            self.context.store.end_run(self.context.study, run.request.run, TrialState.WAITING)

    def leave(self) -> None:
        """Free all slots; what is not checkpointed is lost."""
        for run in self.runs:
            run.close()
        self.runs = []

    def describe(self) -> dict[str, Any]:
        """Who shares passes and who does not, predicted beside measured; see `protocol.PacksSnapshot`."""
        now, alone = [], []
        measured: dict[str, Any] = {"predicted": None, "measured": None}
        for engine in {id(run.engine): run.engine for run in self.runs}.values():
            own = [run for run in self.runs if run.engine is engine]
            able = [run for run in own if engine.shares(run.request.config)]
            sharing = _sharing(able)
            facts = engine.packing()
            if sharing:
                now.append(
                    {
                        "trials": [_label(run) for run in sharing],
                        "model": str(sharing[0].request.config.get("model", "")),
                        "method": ", ".join(sorted({str(run.request.config["method"]) for run in sharing})),
                        "tokens_per_step": facts["tokens_per_step"],
                        "passes_per_step": facts["passes_per_step"],
                        "occupancy": facts["occupancy"],
                    }
                )
            if able and facts["measured"]:
                measured = {"predicted": facts["predicted"], "measured": facts["measured"]}
            for run in own:
                if run not in sharing:
                    alone.append({"trial": _label(run), "because": _why_alone(run, able)})
        return {"now": now, "alone": alone, **measured}

    # -- private -------------------------------------------------------------

    def _due(self) -> list[Run]:
        """The runs to step now: those that would otherwise be overtaken.

        Stride scheduling (Waldspurger and Weihl 1995, MIT/LCS/TM-528) over epochs: nobody is further ahead of
        the last run than a step of its own.
        """
        going = [run for run in self.runs if not run.finished]
        clock = min((run.pace + run.stride for run in going), default=0.0) - ROUNDING
        return [run for run in going if run.pace < clock]

    def _step(self, engine: Engine, group: list[int]) -> list[tuple[Run, Outcome]]:
        """Step the slots of one group, and what follows for each of their runs."""
        if not group:
            return []
        if len(group) > 1 and engine in self._split:
            return [end for slot in group for end in self._step(engine, [slot])]
        of_slot = {run.slot: run for run in self.runs if run.engine is engine}
        try:
            results = engine.step(group)
        except OutOfMemoryError as error:
            return self._starved(engine, [of_slot[slot] for slot in group if slot in of_slot], error)
        except (TrialError, UsageError) as error:  # nobody has stepped; whose fault it is shows alone
            if len(group) == 1:
                return [self._failed(of_slot[group[0]], error)]
            return self._apart(engine, group)
        ended: list[tuple[Run, Outcome]] = []
        for slot, result in results.items():
            run = of_slot[slot]
            run.pace += run.stride if result.updated else 0.0
            run.neighbours.append(frozenset(of_slot[other].request.run for other in result.neighbours))
            ended += self._judged(run, lambda run=run, result=result: run.after(result))
        return ended

    def _apart(self, engine: Engine, group: list[int]) -> list[tuple[Run, Outcome]]:
        """Step each of a group by itself, called while their shared step fails; from now on, if nobody fails alone."""
        ended = [end for slot in group for end in self._step(engine, [slot])]
        if not ended:
            self._split.add(engine)
            log_traceback(self.context.store, self.context.study)
            self.context.message(
                "warning",
                "A pass that trials shared failed, and each step alone did not: they share none from now on. "
                f"`%autotune logs {words.quoted(self.context.study)}` shows where.",
            )
        return ended

    def _judged(self, run: Run, act: Any) -> list[tuple[Run, Outcome]]:
        """Do something with a run; what it raises about itself ends it alone."""
        try:
            outcome = act()
        except OutOfMemoryError as error:
            return self._starved(run.engine, [run], error)
        except (TrialError, UsageError) as error:
            return [self._failed(run, error)]
        if outcome is None:
            return []
        self._end(run, outcome)
        return [(run, outcome)]

    def _failed(self, run: Run, error: TrialError | UsageError) -> tuple[Run, Outcome]:
        """End a run by an error of its own; one that nobody foresaw is in the log.

        Raises:
            UnexpectedError: so many in a row are not the runs' own; this one is left resumable.
        """
        because = str(error)
        if isinstance(error, UnexpectedError):
            log_traceback(self.context.store, self.context.study)
            because = f"{private(because)} `%autotune logs {words.quoted(self.context.study)}` shows where."
            self._unexpected += 1
            if self._unexpected >= MOST_UNEXPECTED:
                raise UnexpectedError(because) from error
        outcome = Outcome(TrialState.FAILED, because=because)
        self._end(run, outcome)
        return run, outcome

    def _starved(self, engine: Engine, runs: list[Run], error: OutOfMemoryError) -> list[tuple[Run, Outcome]]:
        """Memory ran out and nothing was updated: make the next attempt smaller."""
        if not runs:
            raise error
        if engine.packer.shrink():
            self.context.message("warning", "Memory ran out; trials share smaller passes from now on.")
            return []
        run = max(runs, key=lambda run: run.engine.micro_batch_of(run.slot))
        batch = run.engine.micro_batch_of(run.slot)
        run.deaths += 1
        if run.deaths >= MEMORY_DEATHS or batch == 1:
            outcome = Outcome(TrialState.FAILED, because=memory_advice(run.deaths, batch))
            self._end(run, outcome)
            return [(run, outcome)]
        run.use_micro_batch(halve(batch))
        self.context.store.update_run(
            self.context.study,
            run.request.run,
            micro_batch=run.micro_batch,
            deaths=run.deaths,
            attempts=run.deaths + 1,
        )
        self.context.message(
            "warning", f"{run.request.run} ran out of memory; trying again with a micro-batch of {run.micro_batch}."
        )
        return []

    def _end(self, run: Run, outcome: Outcome) -> Outcome:
        """Free the slot and store the outcome."""
        run.close()
        if run in self.runs:
            self.runs.remove(run)
        if outcome.state is not TrialState.FAILED:
            self._unexpected = 0
        context, request = self.context, run.request
        context.store.end_run(
            context.study,
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
        if outcome.state.final and context.store.tidy(context.study).over:
            context.message(
                "warning",
                "The studies take more room than AUTOGLM_DISK_QUOTA_GB. `%autotune clean` or `delete` frees some.",
            )
        return outcome

    def _to_stop(self, run: Run) -> bool:
        return run.request.trial is not None and run.request.trial in self.context.control.stop_trials

    def _stopped(self, run: Run) -> Outcome:
        return self._end(run, Outcome(TrialState.PRUNED, because="Stopped by a person.", metrics=run.facts()))

    def _obey(self) -> None:
        """Serve requests; whatever interrupts the runs leaves their checkpoints behind."""
        try:
            self.context.tick()
            if self.context.control.paused:
                self._save()
                self.context.stand_still(self.active_state)
        except Exception:
            self._save()
            raise

    def _save(self) -> None:
        for run in self.runs:
            run.save()

    def _tell(self) -> None:
        self._described = time.monotonic()
        self.context.events.emit("packs", **self.describe())


def _label(run: Run) -> int | str:
    """The trial's number, or the name of a run that is no trial."""
    return run.request.run if run.request.trial is None else run.request.trial


def _sharing(able: list[Run]) -> list[Run]:
    """Those that shared a pass with another of these at one of their newest steps, or have made none yet."""
    names = {run.request.run for run in able}
    found = [run for run in able if not run.neighbours or not all(names.isdisjoint(met) for met in run.neighbours)]
    return found if len(found) > 1 else []


def _why_alone(run: Run, able: list[Run]) -> str:
    if run not in able:
        return f"Method {run.request.config['method']} cannot share a pass."
    if run.engine.capacity == 1:
        return run.engine.why_alone
    if len(able) == 1:
        return "No other trial is under way that could share its passes."
    return "Joining its passes with others' would gain nothing at these lengths, or not fit into memory."
