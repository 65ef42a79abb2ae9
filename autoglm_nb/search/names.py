"""What can be said about a search without running one: names, constraints, the Pareto front.

Standard library only, so that the notebook can check a request without loading
Optuna.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from autoglm_nb.errors import StrategyError, UsageError, did_you_mean
from autoglm_nb.space import Dimension, Space

__all__ = [
    "PRUNERS",
    "SAMPLER_GROUP",
    "STRATEGIES",
    "Constraint",
    "check_pruner",
    "check_strategy",
    "is_sampler",
    "pareto_front",
    "parse_constraint",
    "sampler_entry_points",
]

STRATEGIES = {
    "bayesian": "a Gaussian process and expected improvement",
    "tpe": "a tree-structured Parzen estimator, joint within each branch of the space",
    "genetic": "NSGA-II; with one objective an elitist genetic algorithm",
    "cmaes": "CMA-ES for numeric dimensions; the others are drawn at random",
    "random": "independent draws",
    "grid": "every combination, ranges taken at a few points",
    "fixed": "only the configurations that were given",
}
"""Strategies by name, each in a few words."""

PRUNERS = {
    "median": "ends a trial below the median of the completed ones at the same evaluation",
    "asha": "at evaluations 1, 2, 4, … lets the best half go on (asynchronous successive halving)",
    "none": "ends no trial early",
}
"""Pruners by name, each in a few words."""

SAMPLER_GROUP = "autoglm_nb.samplers"
"""Entry-point group in which other packages may offer strategies."""

_CONSTRAINT = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*(<=|>=|<|>|==|=)\s*(\S.*?)\s*")


def check_strategy(strategy: Any, space: Space, objectives: Sequence[str] = (), *, constraints: bool = False) -> None:
    """Checks that a strategy exists and can search this space.

    Args:
        strategy: a name, a name from the entry-point group, or an Optuna sampler.
        space: what to search.
        objectives: names of the objectives; more than one asks for a Pareto search.
        constraints: whether there are constraints to keep.

    Raises:
        StrategyError: unknown, or it does not fit.
    """
    if not isinstance(strategy, str):
        if is_sampler(strategy):
            return
        raise StrategyError(
            f"A strategy must be a name or an Optuna sampler, but got {type(strategy).__name__}. "
            f"Choose one of {', '.join(STRATEGIES)}."
        )
    if strategy not in STRATEGIES:
        offered = {point.name for point in sampler_entry_points()}
        if strategy in offered:
            return
        raise StrategyError(
            f"The strategy must be known, but got {strategy!r}. {did_you_mean(strategy, [*STRATEGIES, *offered])}"
        )
    if strategy in ("grid", "fixed"):
        return
    if not space.dimensions:
        raise StrategyError(
            "The search space has no dimension: every hyper-parameter is held fixed. Give at least one a range, or "
            "use strategy 'grid' to run the one configuration."
        )
    if strategy == "cmaes":
        if len(objectives) > 1:
            raise StrategyError(
                f"CMA-ES follows one objective, but got {len(objectives)}. Choose 'genetic', 'tpe' or 'bayesian'."
            )
        if constraints:
            raise StrategyError(
                "CMA-ES knows no constraints, but some were given. Choose 'tpe', 'bayesian' or 'genetic'."
            )
        if len([d for d in space.dimensions if _numeric(d)]) < 2:
            raise StrategyError(
                "CMA-ES needs at least two numeric dimensions that are always active; it draws all others at random. "
                "Choose 'tpe' or 'bayesian'."
            )


def check_pruner(pruner: str, objectives: Sequence[str] = ()) -> None:
    """Checks that a pruner exists and can judge this search.

    Raises:
        StrategyError: unknown, or several objectives are to be judged.
    """
    if pruner not in PRUNERS:
        raise StrategyError(f"The pruner must be known, but got {pruner!r}. {did_you_mean(pruner, list(PRUNERS))}")
    if pruner != "none" and len(objectives) > 1:
        raise StrategyError(
            f"A pruner judges one objective, but got {len(objectives)}. Use pruner 'none' with several objectives."
        )


def is_sampler(given: object) -> bool:
    """Whether an object has what Optuna asks of a sampler (without importing Optuna)."""
    needed = ("infer_relative_search_space", "sample_relative", "sample_independent", "after_trial")
    return not isinstance(given, type) and all(callable(getattr(given, name, None)) for name in needed)


def sampler_entry_points() -> tuple[EntryPoint, ...]:
    """Strategies other packages offer."""
    return tuple(entry_points(group=SAMPLER_GROUP))


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric, such as `memory_gb <= 10`."""

    metric: str
    op: str
    bound: float

    def violation(self, metrics: Mapping[str, Any]) -> float:
        """How far the metric is beyond the bound: positive is violated, 0 or less is kept.

        A metric that is missing or NaN counts as infinitely violated.
        """
        value = metrics.get(self.metric)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            return math.inf
        return float(value - self.bound if self.op == "<=" else self.bound - value)

    def __str__(self) -> str:
        return f"{self.metric} {self.op} {self.bound:g}"


def parse_constraint(text: str) -> Constraint:
    """Reads `metric <= number` or `metric >= number`.

    Raises:
        UsageError: another form.
    """
    found = _CONSTRAINT.fullmatch(text)
    bound = math.nan
    if found is not None:
        try:
            bound = float(found.group(3))
        except ValueError:
            found = None
    if found is None or not math.isfinite(bound) or found.group(2) not in ("<=", ">="):
        raise UsageError(
            f'A constraint has the form "metric <= number" or "metric >= number", but got {text!r}. '
            'Write, for example, "memory_gb <= 10".'
        )
    return Constraint(found.group(1), found.group(2), bound)


def pareto_front(values: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """Positions of the points that no other point beats in every objective, in order of position.

    Of equal points all are kept. A point with a NaN is never on the front.

    Args:
        values: one row of objective values a point.
        directions: `"minimize"` or `"maximize"` per objective.
    """
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    rows = [
        (tuple(sign * value for sign, value in zip(signs, row, strict=True)), index)
        for index, row in enumerate(values)
        if not any(math.isnan(value) for value in row)
    ]
    front: list[tuple[tuple[float, ...], int]] = []
    for row, index in sorted(rows):  # a point can only be dominated by one that sorts before it
        if not any(_dominates(other, row) for other, _ in front):
            front.append((row, index))
    return sorted(index for _, index in front)


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _numeric(dimension: Dimension) -> bool:
    return dimension.kind != "categorical" and dimension.condition is None and dimension.count() != 1
