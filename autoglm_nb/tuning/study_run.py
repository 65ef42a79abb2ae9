"""A study from its first configuration to its confirmed winner, in one worker.

Order: prepare model and data; judge what a dead worker left; search, with the
default configuration beside the trials, until the trials or the budget are used
up; confirm winner and default configuration on the test split. Every step first
looks at what is already stored, so running it again continues it.

The search keeps as many trials under way as share passes with profit. A trial
that the pruner pauses is parked at its checkpoint, judged again whenever others
have reported, and pruned if nothing has promoted it by the end.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from typing import Any

import optuna
from optuna.trial import TrialState as OptunaState

from autoglm_nb.errors import OutOfMemoryError
from autoglm_nb.protocol import RunRole, StudyState, TrialState
from autoglm_nb.search import Decision, Proposal, Searcher, make_pruner, make_sampler, notes, parse_constraint
from autoglm_nb.space import Space, default_config
from autoglm_nb.store import RunRow
from autoglm_nb.tuning import goal
from autoglm_nb.tuning.budget import spent
from autoglm_nb.tuning.confirm import Confirmation
from autoglm_nb.tuning.context import StudyContext
from autoglm_nb.tuning.control import Detached, StudyStopped
from autoglm_nb.tuning.objective import evaluate_objective
from autoglm_nb.tuning.pack import Pack
from autoglm_nb.tuning.parked import Parked
from autoglm_nb.tuning.recovery import CAREFUL_DEATHS, charged, judge_death
from autoglm_nb.tuning.trial_run import RUNGS, Outcome, RunRequest, run_name
from autoglm_nb.tuning.workshop import Workshop

__all__ = ["StudyRun"]

LOOK_SECONDS = 2.0
"""How often a pack with room looks for more trials while none of its own has ended or reported."""


class StudyRun:
    """Carries the study of one context to its end.

    Raises (from `run`):
        StudyStopped, Detached: as asked; everything is resumable.
        AutoGLMError: the study cannot go on; the message says why.
    """

    def __init__(self, context: StudyContext) -> None:
        self.context = context
        self.spec = spec = context.spec
        self.space = Space.from_json(spec.space)
        self.metrics = goal.metrics_of(spec)
        self.directions = goal.directions(spec)
        self.constraints = [parse_constraint(text) for text in spec.constraints]
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # the store tells; the log is for faults
        self.optuna = context.store.optuna_study(spec.name, self.directions)
        sampler = make_sampler(
            context.extras.sampler or spec.strategy,
            self.space,
            seed=spec.seed,
            directions=self.directions,
            constraints=bool(self.constraints),
            trials=spec.trials,
        )
        self.searcher = Searcher(self.optuna, self.space, sampler, enqueue=spec.enqueue)
        self.pruner = make_pruner(
            spec.pruner if len(self.directions) == 1 else "none",
            rungs=None if spec.objective else RUNGS,
            direction=self.directions[0],
        )
        self.workshop: Workshop | None = None
        self.pack = Pack(context)
        self.waiting: deque[Proposal | RunRequest] = deque()
        """To be started as soon as there is room."""
        self.parked = Parked(context.store, context.study, self.searcher, self.pruner)
        self._look_again = 0.0

    def run(self) -> None:
        """The whole study; returns when it is finished."""
        context, spec = self.context, self.spec
        adopted = self._adopt()
        if spec.objective is None:
            context.state(StudyState.PREPARING)
            self.workshop = Workshop(context)
        self._note_strategy()
        context.state(StudyState.RUNNING)
        context.control.poll(force=True)
        if self.workshop is not None and spec.baseline:
            self._queue_baseline()
        self.waiting += [p for p in map(self.searcher.adopt, adopted) if not self.parked.keeps(p)]
        self.waiting += map(self.searcher.take, self._handed_back())
        try:
            self._search()
        except (StudyStopped, Detached):
            self._park()
            self._note_engines()
            raise
        finally:
            self.pack.leave()
        self._note_engines()
        if self.workshop is not None and spec.seeds > 0 and len(self.directions) == 1:
            context.state(StudyState.CONFIRMING)
            Confirmation(context, self.workshop, self.metrics[0], self.directions[0]).run()
        context.flush_clock()
        context.state(StudyState.FINISHED)

    def _note_engines(self) -> None:
        """How the trials were computed stands in the record, also of a search that was stopped."""
        if self.workshop is not None:
            self.workshop.note_engines()

    def _note_strategy(self) -> None:
        """What the strategy cannot do with this space stands in the record."""
        context = self.context
        found = notes(context.extras.sampler or self.spec.strategy, self.space, self.directions)
        provenance = context.store.provenance(context.study)
        if provenance.get("strategy_notes") != found:
            context.store.set_provenance(context.study, {**provenance, "strategy_notes": found})
            for sentence in found:
                context.message("info", sentence)

    def _adopt(self) -> list[int]:
        """Judge the runs a dead worker left; the numbers of trials to go on with."""
        context, store = self.context, self.context.store
        for_memory = context.predecessor_ran_out_of_memory
        numbers = []
        rows = [row for row in store.runs(context.study) if row.state is TrialState.RUNNING]
        batch_size = int(default_config(self.spec.task)["batch_size"]) if self.spec.task else 1
        guilty = charged(rows, for_memory=for_memory, batch_size=batch_size)
        for row in rows:
            if row.run not in guilty:
                store.end_run(context.study, row.run, TrialState.WAITING, metrics=row.metrics)
                continue
            verdict = judge_death(row, for_memory=for_memory, batch_size=batch_size)
            store.update_run(
                context.study,
                row.run,
                micro_batch=verdict.micro_batch,
                deaths=verdict.deaths,
                stalled_deaths=verdict.stalled_deaths,
                attempts=row.attempts + 1,
            )
            context.careful = context.careful or (len(rows) > 1 and verdict.stalled_deaths >= CAREFUL_DEATHS)
            # until it is started again another death is not its own
            state = TrialState.FAILED if verdict.failure else TrialState.WAITING
            store.end_run(context.study, row.run, state, metrics=row.metrics, because=verdict.failure)
            context.message(
                "warning",
                verdict.failure
                or f"{row.run} was interrupted at step {row.step} and goes on from its last checkpoint."
                + (f" Memory ran out; the micro-batch is now {verdict.micro_batch}." if for_memory else ""),
            )
        # Optuna's own list decides: a trial may have been asked for and died before its run row was written
        for trial in self.optuna.get_trials(deepcopy=False):
            if trial.state.name != "RUNNING":
                continue
            row_or_none = store.run(context.study, run_name(trial.number))
            if row_or_none is not None and row_or_none.state.final:
                self._tell(trial.number, _outcome_of(row_or_none))
            else:
                numbers.append(trial.number)
        return numbers

    def _handed_back(self) -> list[int]:
        """The trials that an orderly end of a worker interrupted: what has begun is finished, whatever the budget."""
        store, study = self.context.store, self.context.study
        begun = {row.trial for row in store.runs(study, RunRole.TRIAL) if not row.state.final}
        waiting = self.optuna.get_trials(deepcopy=False, states=(OptunaState.WAITING,))
        return [t.number for t in waiting if t.number in begun and self.parked.paused_at(t) is None]

    def _queue_baseline(self) -> None:
        row = self.context.store.run(self.context.study, "baseline")
        if row is not None and row.state.final:
            return
        workshop, spec = self._workshop(), self.spec
        model = next(iter(workshop.resolved))
        config = goal.baseline_config(spec, model=model, decoder=workshop.is_decoder(model))
        self.waiting.append(
            RunRequest(
                "baseline",
                RunRole.BASELINE,
                config,
                config,
                seed=spec.seed,
                metric=self.metrics[0],
                proposed_by="default configuration",
            )
        )

    def _search(self) -> None:
        """Keep the pack full and step it until there is nothing left to try."""
        while True:
            if not self.pack.runs:  # while there are runs the pack does, which saves them first
                self.context.tick()
                self.context.stand_still(StudyState.RUNNING)
            for number in sorted(self.context.control.stop_trials & self.parked.rungs.keys()):
                self.parked.remove(number)
                self._finish(number, Outcome(TrialState.PRUNED, because="Stopped by a person."))
            if self.context.control.enqueued or time.monotonic() >= self._look_again:
                failed = self._fill()
                self._look_again = 0.0 if failed else time.monotonic() + LOOK_SECONDS
                if failed and not self.pack.runs:
                    continue
            if not self.pack.runs:
                break
            for request, outcome in self.pack.advance():
                self._ended(request, outcome)
                self._look_again = 0.0
        for number, because in self.parked.never_promoted():
            self._finish(number, Outcome(TrialState.PRUNED, because=because))

    def _fill(self) -> bool:
        """Start what there is room for: what waits, then who was promoted, then new proposals.

        What finds no room keeps its place; one that does may go past it. True when one failed at once:
        there may be room for others, when requests have been heard.
        """
        while True:
            index = self._startable()
            if index is None:
                if len(self.waiting) > 1 or not self._next():
                    return False
                continue
            entry = self.waiting[index]
            if isinstance(entry, Proposal) and self.workshop is None:
                self._objective(entry)
                del self.waiting[index]
                continue
            request = self._request(entry) if isinstance(entry, Proposal) else entry
            engine = self._workshop().engine(str(request.config["model"]))
            try:
                failed = self.pack.add(engine, request)
            except OutOfMemoryError:  # when a neighbour has left there may be room
                return False
            del self.waiting[index]
            if failed is not None:
                self._ended(request, failed)
                return True

    def _startable(self) -> int | None:
        """The first of `waiting` that there is room for."""
        for index, entry in enumerate(self.waiting):
            if self.workshop is None:
                return index
            config = self._request(entry).config if isinstance(entry, Proposal) else entry.config
            model = str(config["model"])
            fits = self.pack.may_join(config) and self.workshop.can_hold(model, len(self.pack.runs))
            if fits and self.pack.room(self.workshop.engine(model), config):
                return index
        return None

    def _next(self) -> bool:
        """Put the next trial into `waiting`; False when there is none now."""
        context, spec = self.context, self.spec
        if self.workshop is not None and len(self.pack.runs) >= self._workshop().capacity():
            return False
        promoted = None if self._spent() else self.parked.promoted()
        if promoted is not None:
            self.waiting.append(promoted)
            return True
        self._accept_requests()
        while not self._enough():
            proposal = self.searcher.ask(skip=self.parked.rungs)
            if proposal is None:
                if not self.pack.runs:
                    context.message("info", f"Strategy {spec.strategy!r} has no configuration left to try.")
                return False
            if context.store.final(context.study) is not None:
                context.store.set_final(context.study, None)  # of the winner before this trial
            if not self.parked.keeps(proposal):
                self.waiting.append(proposal)
                return True
        return False

    def _accept_requests(self) -> None:
        """Queue the configurations that people asked for; the study grows where its trials are all taken."""
        context = self.context
        for request in list(context.control.enqueued):
            self.searcher.enqueue(request.payload["config"], mark=f"request {request.id}")
            context.control.accepted(request)
            spec = context.store.spec(context.study)
            trials = len(self.optuna.get_trials(deepcopy=False))
            if spec.trials is not None and spec.trials < trials:
                context.store.continue_study(dataclasses.replace(spec, trials=trials))
                context.message("info", f"A configuration was added: the study now has {trials} trials.")

    def _enough(self) -> bool:
        spec = self.context.store.spec(self.context.study)  # trials may be raised while it runs
        begun = [t for t in self.optuna.get_trials(deepcopy=False) if t.state.name != "WAITING"]
        if spec.trials is not None and len(begun) + len(self.parked.rungs) >= spec.trials:
            return True
        return self._spent()

    def _spent(self) -> bool:
        return spent(self.context, confirms=self.workshop is not None and len(self.directions) == 1)

    def _request(self, proposal: Proposal) -> RunRequest:
        workshop, spec = self._workshop(), self.spec
        model = str(proposal.config.get("model", next(iter(workshop.resolved))))
        config = goal.complete_config(proposal.config, workshop.task, model=model, decoder=workshop.is_decoder(model))

        def report(rung: int, value: float) -> None:
            self.searcher.report(proposal.number, rung, value)
            self._look_again = 0.0  # a report may promote a paused trial, at this step whatever the clock says

        def judge(rung: int) -> Decision:
            return self.pruner.decide(self.optuna, proposal.number, rung)

        return RunRequest(
            run_name(proposal.number),
            RunRole.TRIAL,
            config,
            proposal.config,
            seed=int(proposal.config.get("seed", spec.seed)),
            metric=self.metrics[0],
            proposed_by=proposal.proposed_by,
            trial=proposal.number,
            report=report,
            judge=judge if len(self.directions) == 1 else None,
            keep_adapter=self._is_best,
        )

    def _ended(self, request: RunRequest, outcome: Outcome) -> None:
        """Tell the searcher how a run of the pack ended."""
        if request.role is RunRole.BASELINE:
            if outcome.state is TrialState.FAILED:
                self.context.message("warning", f"The default configuration could not be measured. {outcome.because}")
            return
        number = int(request.trial if request.trial is not None else -1)
        if outcome.state is TrialState.WAITING:
            self.parked.add(number)
            return
        if outcome.state is TrialState.COMPLETED and outcome.value is not None and len(self.directions) == 1:
            self.searcher.report(number, outcome.rungs, outcome.value)
        self._tell(number, outcome)

    def _finish(self, number: int, outcome: Outcome) -> None:
        """End a trial that is not in the pack."""
        context, run = self.context, run_name(number)
        context.store.end_run(context.study, run, outcome.state, because=outcome.because)
        context.events.emit("ended", run=run, trial=number, state=str(outcome.state), because=outcome.because)
        self.searcher.take(number)
        self._tell(number, outcome)

    def _park(self) -> None:
        """Hand back every trial that has begun; another worker is given them again."""
        waiting = [entry.number for entry in self.waiting if isinstance(entry, Proposal)]
        under_way = [run.request.trial for run in self.pack.runs if run.request.trial is not None]
        for number in {*waiting, *under_way}:
            self.searcher.park(number)
        self.pack.set_aside()

    def _objective(self, proposal: Proposal) -> None:
        if self.context.extras.objective is None:
            raise RuntimeError("a study with a custom objective was started without it")
        outcome = evaluate_objective(self.context, self.searcher, self.pruner, proposal, self.metrics)
        self._tell(proposal.number, outcome)

    def _is_best(self, value: float) -> bool:
        rows = goal.eligible(self.context.store.runs(self.context.study, RunRole.TRIAL), self.spec)
        best = [float(row.value or 0.0) for row in rows]
        if len(self.directions) > 1 or not best:
            return True
        return value >= max(best) if self.directions[0] == "maximize" else value <= min(best)

    def _tell(self, number: int, outcome: Outcome) -> None:
        if outcome.state is not TrialState.COMPLETED:
            self.searcher.tell(number, outcome.state, None)
            return
        metrics = {**(outcome.metrics or {}), self.metrics[0]: outcome.value}
        values = [float(metrics[name]) for name in self.metrics]
        violations = [c.violation(metrics) for c in self.constraints] or None
        self.searcher.tell(number, TrialState.COMPLETED, values, violations)

    def _workshop(self) -> Workshop:
        if self.workshop is None:
            raise RuntimeError("this study has no model of its own")
        return self.workshop


def _outcome_of(row: RunRow) -> Outcome:
    metrics: dict[str, Any] = dict(row.metrics)
    return Outcome(row.state, value=row.value, metrics=metrics, because=row.because)
