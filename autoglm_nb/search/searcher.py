"""`Searcher`: the one thing `tuning` talks to.

It joins a `Space`, a sampler and an Optuna study. The study is the truth; the
searcher keeps nothing that could not be read from it again. One searcher per
study and process; methods are not to be called from several threads at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import TrialState as OptunaState

from autoglm_nb.protocol import TrialState
from autoglm_nb.search.distributions import distribution, encode, suggest
from autoglm_nb.search.origin import proposed_by
from autoglm_nb.search.recording import RecordingSampler
from autoglm_nb.space import Dimension, Space

__all__ = ["Proposal", "Searcher"]

CONFIG, PROPOSED_BY, LISTED = "config", "proposed_by", "enqueued_as"
"""User attributes of an Optuna trial; `LISTED` says by which entry of a list or which request it was enqueued."""

WORST = 1e9
"""A violation that could not be measured, or is infinite, is stored as this."""

_FINAL = {
    TrialState.COMPLETED: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}


@dataclass(frozen=True)
class Proposal:
    """A configuration to try.

    Attributes:
        number: the trial's number.
        config: the complete configuration, constants included.
        proposed_by: how it came about, in words.
        trial: Optuna's trial.
    """

    number: int
    config: dict[str, Any]
    proposed_by: str
    trial: optuna.Trial = field(repr=False, compare=False)


class Searcher:
    """Asks and tells; see the module's docstring.

    Args:
        study: the Optuna study; its sampler is replaced.
        space: what is searched.
        sampler: from `make_sampler`; any Optuna sampler will do.
        enqueue: configurations to try first. Given again after a restart they are
            not enqueued twice.

    Raises:
        SpaceError: an enqueued configuration lies outside the space.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        sampler: optuna.samplers.BaseSampler,
        *,
        enqueue: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        if not isinstance(sampler, RecordingSampler):
            given = sampler
            sampler = RecordingSampler(lambda _: given, seed=None, strategy=type(given).__name__, reuse=True)
        self.study = study
        self.space = space
        self._sampler = sampler
        self._trials: dict[int, optuna.Trial] = {}
        study.sampler = sampler
        texts: list[str] = []
        for config in enqueue:
            texts.append(json.dumps(dict(config), sort_keys=True, default=str))
            self.enqueue(config, mark=f"{texts.count(texts[-1])} {texts[-1]}")

    def enqueue(self, config: Mapping[str, Any], *, mark: str | None = None) -> None:
        """Try this configuration before the sampler's own proposals; what it leaves out is drawn.

        Args:
            config: a configuration, or part of one.
            mark: enqueued once however often it is given with the same mark.

        Raises:
            SpaceError: the configuration lies outside the space.
        """
        self.space.validate(config, partial=True)
        if mark is not None and any(t.user_attrs.get(LISTED) == mark for t in self.study.get_trials(deepcopy=False)):
            return
        # a name with several definitions is given for each: only the active one is ever asked
        params = {
            d.key: encode(d, config[d.name]) for d in self.space.dimensions if d.name in config and _fits(d, config)
        }
        attributes = None if mark is None else {LISTED: mark}
        self.study.enqueue_trial(params, user_attrs=attributes)

    def ask(self, *, skip: Collection[int] = ()) -> Proposal | None:
        """The next proposal: a parked trial, an enqueued one, or the sampler's own; None when exhausted.

        Args:
            skip: numbers of parked trials that are to stay parked.
        """
        waiting = self.study.get_trials(deepcopy=False, states=(OptunaState.WAITING,))
        for trial in waiting:
            if trial.number not in skip:
                return self.take(trial.number)
        if self._sampler.exhausted(self.study):
            return None
        # `study.ask` would hand out a parked trial first, whichever it is
        self.study._thread_local.cached_all_trials = None
        trial_id = self.study._storage.create_new_trial(self.study._study_id)
        return self._propose(optuna.Trial(self.study, trial_id))

    def take(self, number: int) -> Proposal:
        """A parked or enqueued trial, by its number, set running again."""
        self.study._thread_local.cached_all_trials = None
        self.study._storage.set_trial_state_values(self._id(number), OptunaState.RUNNING)
        return self._propose(self._trial(number))

    def adopt(self, number: int) -> Proposal:
        """The proposal of a running trial that a dead worker left, finished as that worker would have.

        Raises:
            ValueError: the trial is not running.
        """
        trial = self._trial(number)
        state = self.study._storage.get_trial(trial._trial_id).state
        if state is not OptunaState.RUNNING:
            raise ValueError(f"Only a running trial can be adopted, but trial {number} is {state.name.lower()}.")
        return self._propose(trial)

    def park(self, number: int) -> None:
        """Hand a running trial back: a later `ask` gives it again with its number, values and reports."""
        self.study._storage.set_trial_state_values(self._id(number), OptunaState.WAITING)
        self._trials.pop(number, None)

    def report(self, number: int, rung: int, value: float) -> None:
        """Store the value of evaluation `rung` (1, 2, …).

        With several objectives nothing is stored: no pruner judges there, and
        Optuna's TPE fails on pruned trials that have reports.
        """
        if len(self.study.directions) == 1:
            self.study._storage.set_trial_intermediate_value(self._id(number), int(rung), float(value))

    def tell(
        self,
        number: int,
        state: TrialState,
        values: Sequence[float] | None = None,
        constraints: Sequence[float] | None = None,
    ) -> TrialState:
        """End a trial. Telling a finished trial again changes nothing.

        Args:
            number: the trial's number.
            state: COMPLETED, PRUNED or FAILED.
            values: one per objective, for a completed trial.
            constraints: violations, above 0 is violated; the same number for every trial.

        Returns:
            The state stored: a completed trial with a NaN among its values is stored as failed.

        Raises:
            ValueError: not a final state, or a wrong number of values.
        """
        if state not in _FINAL:
            raise ValueError(f"A trial ends completed, pruned or failed, but got {state}.")
        stored = self.study._storage.get_trial(self._id(number)).state
        if stored.is_finished():
            return next(ours for ours, theirs in _FINAL.items() if theirs is stored)
        if state is TrialState.COMPLETED and any(math.isnan(value) for value in values or ()):
            state = TrialState.FAILED
        trial = self._trial(number)
        for index, violation in enumerate(constraints or ()):
            kept = violation if math.isfinite(violation) else math.copysign(WORST, violation)
            if f"{index}" not in trial.constraints:
                trial.set_constraint(f"{index}", WORST if math.isnan(violation) else kept)
        ended = list(values or ()) if state is TrialState.COMPLETED else None
        self.study.tell(trial, ended, state=_FINAL[state], skip_if_finished=True)
        self._trials.pop(number, None)
        return state

    def _propose(self, trial: optuna.Trial) -> Proposal:
        self._trials[trial.number] = trial
        attributes = trial.user_attrs
        if CONFIG in attributes:  # parked or adopted: decided before
            return Proposal(trial.number, attributes[CONFIG], attributes.get(PROPOSED_BY, ""), trial)
        given = list(self.study._storage.get_trial_system_attrs(trial._trial_id).get("fixed_params", ()))
        active: dict[str, str] = {}

        def ask(dimension: Dimension) -> Any:
            if not distribution(dimension).single():
                active[dimension.key] = dimension.name
            return suggest(trial, dimension)

        config = self.space.walk(ask)
        origin = proposed_by(self._sampler.draw(trial.number), active, given, self._sampler.words)
        trial.set_user_attr(PROPOSED_BY, origin)
        trial.set_user_attr(CONFIG, config)
        return Proposal(trial.number, config, origin, trial)

    def _trial(self, number: int) -> optuna.Trial:
        known = self._trials.get(number)
        return known if known is not None else optuna.Trial(self.study, self._id(number))

    def _id(self, number: int) -> int:
        known = self._trials.get(number)
        if known is not None:
            return known._trial_id
        return self.study._storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)


def _fits(dimension: Dimension, config: Mapping[str, Any]) -> bool:
    try:
        dimension.normalise(config[dimension.name])
    except ValueError:
        return False
    return True
