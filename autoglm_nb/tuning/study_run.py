"""A study from its first configuration to its confirmed winner, in one worker.

Order: prepare model and data; judge what a dead worker left; measure the
default configuration; search until the trials or the budget are used up;
confirm winner and default configuration on the test split. Every step first
looks at what is already stored, so running it again continues it.
"""

from __future__ import annotations

from typing import Any

import optuna

from autoglm_nb.protocol import RunRole, StudyState, TrialState
from autoglm_nb.search import Proposal, Searcher, make_pruner, make_sampler, notes, parse_constraint
from autoglm_nb.space import Space
from autoglm_nb.store import RunRow
from autoglm_nb.tuning import goal
from autoglm_nb.tuning.confirm import Confirmation
from autoglm_nb.tuning.context import StudyContext
from autoglm_nb.tuning.control import Detached, StudyStopped
from autoglm_nb.tuning.objective import evaluate_objective
from autoglm_nb.tuning.recovery import judge_death
from autoglm_nb.tuning.trial_run import RUNGS, Outcome, RunRequest, train
from autoglm_nb.tuning.workshop import Workshop

__all__ = ["StudyRun"]


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

    def run(self) -> None:
        """The whole study; returns when it is finished."""
        context, spec = self.context, self.spec
        if spec.objective is None:
            context.state(StudyState.PREPARING)
            self.workshop = Workshop(context)
        self._note_strategy()
        context.state(StudyState.RUNNING)
        adopted = self._adopt()
        context.control.poll(force=True)
        if self.workshop is not None and spec.baseline:
            self._baseline()
        for number in adopted:
            self._trial(self.searcher.adopt(number))
        self._search()
        if self.workshop is not None and spec.seeds > 0 and len(self.directions) == 1:
            context.state(StudyState.CONFIRMING)
            Confirmation(context, self.workshop, self.metrics[0], self.directions[0]).run()
        context.flush_clock()
        context.state(StudyState.FINISHED)

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
        context = self.context
        for_memory = context.predecessor_ran_out_of_memory
        numbers = []
        for row in context.store.runs(context.study):
            if row.state is not TrialState.RUNNING:
                continue
            verdict = judge_death(row, for_memory=for_memory, batch_size=int(row.config.get("batch_size", 32)))
            context.store.update_run(
                context.study,
                row.run,
                micro_batch=verdict.micro_batch,
                deaths=verdict.deaths,
                stalled_deaths=verdict.stalled_deaths,
                attempts=row.attempts + 1,
            )
            if verdict.failure:
                context.store.end_run(
                    context.study, row.run, TrialState.FAILED, value=None, metrics=row.metrics, because=verdict.failure
                )
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
            row_or_none = context.store.run(context.study, _run_name(trial.number))
            if row_or_none is not None and row_or_none.state.final:
                self._tell(trial.number, _outcome_of(row_or_none))
            else:
                numbers.append(trial.number)
        return numbers

    def _baseline(self) -> None:
        row = self.context.store.run(self.context.study, "baseline")
        if row is not None and row.state.final:
            return
        workshop, spec = self._workshop(), self.spec
        model = next(iter(workshop.resolved))
        config = goal.baseline_config(spec, model=model, decoder=workshop.is_decoder(model))
        request = RunRequest(
            "baseline", RunRole.BASELINE, config, config, seed=spec.seed, proposed_by="default configuration"
        )
        outcome = train(self.context, workshop.engine(model), request, metric=self.metrics[0])
        if outcome.state is TrialState.FAILED:
            self.context.message("warning", f"The default configuration could not be measured. {outcome.because}")

    def _search(self) -> None:
        context, spec = self.context, self.spec
        while not self._enough():
            context.tick()
            context.stand_still(StudyState.RUNNING)
            for request in list(context.control.enqueued):
                self.searcher.enqueue(request.payload["config"], mark=f"request {request.id}")
                context.control.accepted(request)
            proposal = self.searcher.ask()
            if proposal is None:
                context.message("info", f"Strategy {spec.strategy!r} has no configuration left to try.")
                return
            if context.store.final(context.study) is not None:
                context.store.set_final(context.study, None)  # of the winner before this trial
            self._trial(proposal)

    def _enough(self) -> bool:
        spec = self.context.store.spec(self.context.study)  # trials and budget may be raised while it runs
        finished = sum(1 for t in self.optuna.get_trials(deepcopy=False) if t.state.is_finished())
        if spec.trials is not None and finished >= spec.trials:
            return True
        budget = spec.budget_seconds
        return budget is not None and self.context.active_seconds() + self._confirm_seconds(budget) >= budget

    def _confirm_seconds(self, budget: float) -> float:
        """Time to keep back for confirmation: two runs per seed, at most 40 % of the budget."""
        if self.workshop is None or self.spec.seeds == 0 or len(self.directions) > 1:
            return 0.0
        done = [r.seconds for r in self.context.store.runs(self.context.study) if r.state is TrialState.COMPLETED]
        if not done:
            return 0.0
        runs = self.spec.seeds * (2 if self.spec.baseline else 1)
        return min(0.4 * budget, runs * sum(done) / len(done))

    def _trial(self, proposal: Proposal) -> None:
        """Train one proposal and tell the searcher."""
        try:
            outcome = self._objective(proposal) if self.workshop is None else self._train(proposal)
        except (StudyStopped, Detached):
            self.searcher.park(proposal.number)
            raise
        self._tell(proposal.number, outcome)

    def _train(self, proposal: Proposal) -> Outcome:
        workshop, spec = self._workshop(), self.spec
        model = str(proposal.config.get("model", next(iter(workshop.resolved))))
        config = goal.complete_config(proposal.config, workshop.task, model=model, decoder=workshop.is_decoder(model))
        request = RunRequest(
            _run_name(proposal.number),
            RunRole.TRIAL,
            config,
            proposal.config,
            seed=int(proposal.config.get("seed", spec.seed)),
            proposed_by=proposal.proposed_by,
            trial=proposal.number,
        )

        def judge(rung: int, value: float) -> str:
            self.searcher.report(proposal.number, rung, value)
            decision = self.pruner.decide(self.optuna, proposal.number, rung)
            return decision.because if decision.prune else ""

        outcome = train(
            self.context,
            workshop.engine(model),
            request,
            metric=self.metrics[0],
            judge=judge if len(self.directions) == 1 else None,
            keep_adapter=self._is_best,
        )
        if outcome.state is TrialState.COMPLETED and outcome.value is not None and len(self.directions) == 1:
            self.searcher.report(proposal.number, outcome.rungs, outcome.value)
        return outcome

    def _objective(self, proposal: Proposal) -> Outcome:
        if self.context.extras.objective is None:
            raise RuntimeError("a study with a custom objective was started without it")
        return evaluate_objective(self.context, self.searcher, self.pruner, proposal, self.metrics)

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


def _run_name(number: int) -> str:
    return f"trial-{number:04d}"


def _outcome_of(row: RunRow) -> Outcome:
    metrics: dict[str, Any] = dict(row.metrics)
    return Outcome(row.state, value=row.value, metrics=metrics, because=row.because)
