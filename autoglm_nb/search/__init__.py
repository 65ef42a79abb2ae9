"""Search: which configuration to try next, and which trial to end early.

`tuning` talks to a `Searcher` alone: `ask` for a proposal, `report` each
evaluation, `tell` the end. Behind it stands an Optuna study (the truth) and a
sampler made by `make_sampler`; a `Pruner` only gives advice, as a `Decision` with
its reason. This room never trains, prints or imports a model.

Proposals depend on the seed, the trial's number and what is stored, and on
nothing else, so a new worker goes on exactly as the dead one would have. Each
proposal says truthfully how it came about. A strategy or pruner that does not
fit is a `StrategyError`. `names` can be imported without Optuna; the rest loads
it on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoglm_nb.lazy import front_door
from autoglm_nb.search.names import (
    PRUNERS,
    STRATEGIES,
    Constraint,
    check_pruner,
    check_strategy,
    pareto_front,
    parse_constraint,
)

if TYPE_CHECKING:
    from autoglm_nb.search.pruners import Decision, Pruner, make_pruner
    from autoglm_nb.search.recording import RecordingSampler
    from autoglm_nb.search.samplers import make_sampler, notes
    from autoglm_nb.search.searcher import Proposal, Searcher

__all__ = [
    "PRUNERS",
    "STRATEGIES",
    "Constraint",
    "Decision",
    "Proposal",
    "Pruner",
    "RecordingSampler",
    "Searcher",
    "check_pruner",
    "check_strategy",
    "make_pruner",
    "make_sampler",
    "notes",
    "pareto_front",
    "parse_constraint",
]

_WHERE = {
    "Decision": "pruners",
    "Proposal": "searcher",
    "Pruner": "pruners",
    "RecordingSampler": "recording",
    "Searcher": "searcher",
    "make_pruner": "pruners",
    "make_sampler": "samplers",
    "notes": "samplers",
}

__getattr__ = front_door(__name__, _WHERE)
