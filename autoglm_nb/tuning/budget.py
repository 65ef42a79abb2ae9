"""The time a study may take, of which confirmation gets its part."""

from __future__ import annotations

from autoglm_nb.protocol import TrialState
from autoglm_nb.tuning.context import StudyContext

__all__ = ["CONFIRMATION_SHARE", "spent"]

CONFIRMATION_SHARE = 0.4
"""Of the budget, what is kept back for confirmation at most."""


def spent(context: StudyContext, *, confirms: bool) -> bool:
    """Whether the search has used up its part of the budget, which may be raised while it runs.

    Args:
        confirms: the study ends with a confirmation, if it has seeds for one.
    """
    budget = context.store.spec(context.study).budget_seconds
    if budget is None:
        return False
    kept_back = _confirmation_seconds(context, budget) if confirms else 0.0
    return context.active_seconds() + kept_back >= budget


def _confirmation_seconds(context: StudyContext, budget: float) -> float:
    """Two runs for each seed, as long as completed runs took on average."""
    spec = context.spec
    if spec.seeds == 0:
        return 0.0
    done = [run.seconds for run in context.store.runs(context.study) if run.state is TrialState.COMPLETED]
    if not done:
        return 0.0
    runs = spec.seeds * (2 if spec.baseline else 1)
    return min(CONFIRMATION_SHARE * budget, runs * sum(done) / len(done))
