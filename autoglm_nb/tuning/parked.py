"""The trials that the pruner has set aside at their checkpoints.

Each waits with the evaluation it reached, is asked about again whenever others have
reported, and is pruned if nothing has promoted it by the end of the search. What an
earlier worker had set aside is told by the stored reason of its run.
"""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from autoglm_nb.search import Proposal, Pruner, Searcher
from autoglm_nb.store import RunRow, Store
from autoglm_nb.tuning.trial_run import PAUSED, run_name

__all__ = ["Parked"]


class Parked:
    """Who is set aside, by trial number; used by the worker's main thread.

    Args:
        store: where the runs of earlier workers stand.
        study: its name.
    """

    def __init__(self, store: Store, study: str, searcher: Searcher, pruner: Pruner) -> None:
        self._store, self._study, self._searcher, self._pruner = store, study, searcher, pruner
        self.rungs: dict[int, int] = {}
        """The evaluation each trial reached."""

    def add(self, number: int) -> None:
        """Set a trial aside that has just reported."""
        self._put(number, max(self._searcher.study.get_trials(deepcopy=False)[number].intermediate_values))

    def remove(self, number: int) -> None:
        """It is no longer set aside; the caller ends it."""
        del self.rungs[number]

    def keeps(self, proposal: Proposal) -> bool:
        """Whether this trial was set aside by an earlier worker and still is not promoted; it is then parked again.

        One that was going on when that worker left goes on, wherever it stands among the others by now.
        """
        rung = self.paused_at(self._searcher.study.get_trials(deepcopy=False)[proposal.number])
        if rung is None or not self._pruner.decide(self._searcher.study, proposal.number, rung).pause:
            return False
        self._put(proposal.number, rung)
        return True

    def promoted(self) -> Proposal | None:
        """The one that came furthest of those that the pruner would now let go on; it is no longer set aside."""
        for number in sorted(self.rungs, key=lambda n: (-self.rungs[n], n)):
            if not self._pruner.decide(self._searcher.study, number, self.rungs[number]).pause:
                del self.rungs[number]
                return self._searcher.take(number)
        return None

    def never_promoted(self) -> list[tuple[int, str]]:
        """Everyone still set aside, also by an earlier worker and not looked at since, each with the reason."""
        waiting = self._searcher.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        found = {trial.number: self.paused_at(trial) for trial in waiting} | self.rungs
        reasons = []
        for number, rung in sorted(found.items()):
            if rung is None:
                continue
            verdict = self._pruner.decide(self._searcher.study, number, rung)
            because = verdict.because if verdict.pause else f"the budget was used up; {verdict.because}"
            reasons.append((number, f"Paused and never promoted: {because}"))
        self.rungs = {}
        return reasons

    def paused_at(self, trial: FrozenTrial) -> int | None:
        """The evaluation at which the pruner had set a trial aside; None if it had not."""
        row: RunRow | None = self._store.run(self._study, run_name(trial.number))
        if row is None or not row.because.startswith(PAUSED) or not trial.intermediate_values:
            return None
        return max(trial.intermediate_values)

    def _put(self, number: int, rung: int) -> None:
        self.rungs[number] = rung
        self._searcher.park(number)
