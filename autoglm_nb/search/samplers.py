"""Samplers by strategy name, and what a person should know about each.

Where Optuna's sampler needs other settings than its own defaults, the reason
stands beside the setting. Everything is seeded per trial (see `recording`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler

from autoglm_nb.errors import StrategyError
from autoglm_nb.search.grid import FixedSampler, GridSampler
from autoglm_nb.search.names import check_strategy, sampler_entry_points
from autoglm_nb.search.recording import RecordingSampler, Words
from autoglm_nb.space import Space

__all__ = ["make_sampler", "notes", "population_size", "startup_trials", "words_for"]


def startup_trials(trials: int | None) -> int:
    """Random trials before a model is asked: a quarter of the budget, between 4 and Optuna's 10."""
    return 10 if trials is None else max(4, min(10, trials // 4))


def population_size(trials: int | None) -> int:
    """Size of a generation: a fifth of the budget, between 4 and Optuna's 50, so that there are several."""
    return 16 if trials is None else max(4, min(50, trials // 5))


def make_sampler(
    strategy: str | BaseSampler,
    space: Space,
    *,
    seed: int | None,
    directions: Sequence[str] = ("maximize",),
    constraints: bool | Sequence[Any] = False,
    trials: int | None = None,
    startup: int | None = None,
    population: int | None = None,
) -> RecordingSampler:
    """A sampler for the strategy.

    Args:
        strategy: a name of `STRATEGIES`, a name offered under the entry-point
            group `autoglm_nb.samplers` (a callable that takes `seed=` and returns
            an Optuna sampler), or an Optuna sampler. An object is used as it is:
            its own random state decides, and a restart begins that anew.
        space: what to search.
        seed: the study's seed; None for a different search every time.
        directions: `"minimize"` or `"maximize"` per objective.
        constraints: whether trials are told with constraints. Optuna's samplers
            find them with the trials; CMA-ES knows none and is refused.
        trials: the budget, which sets the number of random starts and the
            population; None for Optuna's usual sizes.
        startup: random trials before a model is asked, instead of `startup_trials`.
        population: size of a generation, instead of `population_size`.

    Raises:
        StrategyError: unknown, or it does not fit the space or the objectives.
    """
    check_strategy(strategy, space, directions, constraints=bool(constraints))
    if not isinstance(strategy, str):
        given = strategy
        return (
            strategy
            if isinstance(strategy, RecordingSampler)
            else RecordingSampler(lambda _: given, seed=seed, strategy=type(given).__name__, reuse=True)
        )
    if strategy == "grid":
        return GridSampler(space, seed=seed)
    if strategy == "fixed":
        return FixedSampler(seed=seed)
    first = startup_trials(trials) if startup is None else startup
    makers: dict[str, Callable[[int], BaseSampler]] = {
        "random": lambda s: optuna.samplers.RandomSampler(seed=s),
        "tpe": lambda s: _tpe(s, first),
        "bayesian": lambda s: optuna.samplers.GPSampler(
            seed=s,
            n_startup_trials=first,
            warn_independent_sampling=False,  # said in the record instead
        ),
        "genetic": lambda s: optuna.samplers.NSGAIISampler(
            seed=s,
            population_size=population_size(trials) if population is None else population,
            crossover_prob=1.0,  # otherwise one child in ten is a parent again, trained for nothing
        ),
        "cmaes": lambda s: optuna.samplers.CmaEsSampler(
            seed=s, n_startup_trials=1 if startup is None else startup, warn_independent_sampling=False
        ),
    }
    make = makers.get(strategy) or _offered(strategy)
    words = words_for(strategy, first, directions, bool(constraints))
    return RecordingSampler(make, seed=seed, strategy=strategy, words=words)


def words_for(strategy: str, startup: int, directions: Sequence[str], constraints: bool) -> Words:
    """What to call the proposals of a strategy."""
    improvement = "expected improvement" if len(directions) == 1 else "expected hypervolume improvement"
    if constraints:
        improvement = f"constrained {improvement}"
    known = {
        "bayesian": Words(improvement, startup=startup),
        # a dimension that no group of past trials contains gets a model of its own
        "tpe": Words("TPE", alone="TPE (one dimension)", startup=startup, counts_pruned=True),
        "cmaes": Words("CMA-ES", alone="independent draw (not numeric or conditional)", startup=1),
        "genetic": Words("genetic crossover", changed="genetic mutation", generations=True),
        "random": Words("random draw", alone="random draw"),
    }
    return known.get(strategy) or Words(strategy, alone=f"{strategy} (one dimension)")


def notes(strategy: str | BaseSampler, space: Space, directions: Sequence[str] = ("maximize",)) -> list[str]:
    """What a person should know before choosing the strategy for this space; one sentence or two each."""
    name = strategy if isinstance(strategy, str) else type(strategy).__name__
    conditional = list(dict.fromkeys(d.name for d in space.dimensions if d.condition is not None))
    found = []
    if name == "bayesian":
        if conditional:
            found.append(
                f"Conditional dimensions ({', '.join(conditional)}) are drawn independently at random: the Gaussian "
                "process models only the dimensions that all completed trials have. Strategy 'tpe' models them too."
            )
        found.append("Pruned trials do not inform the Gaussian process; only completed ones do.")
    if name == "cmaes":
        apart = [d.name for d in space.dimensions if d.kind == "categorical" or d.condition is not None]
        if apart:
            found.append(
                "CMA-ES models numeric dimensions that are always active; the others "
                f"({', '.join(dict.fromkeys(apart))}) are drawn independently at random."
            )
        found.append(
            "Optuna keeps the state of CMA-ES as a pickle in trial attributes and loads it again: "
            "do not continue a CMA-ES study from a store that you do not trust."
        )
    if name == "genetic" and conditional:
        found.append(
            f"Conditional dimensions ({', '.join(conditional)}) are drawn independently at random: crossover works on "
            "the dimensions that all completed trials have."
        )
    if name == "grid":
        found.append(
            "Real-valued and long integer ranges are taken at 5 points, both ends included, evenly spaced "
            "(in the logarithm for log ranges); choices and short ranges are taken in full."
        )
    return found


def _tpe(seed: int, startup: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # group: one joint model per set of dimensions that occur together, so conditional ones are modelled too
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, group=True)


def _offered(strategy: str) -> Callable[[int], BaseSampler]:
    point = next(point for point in sampler_entry_points() if point.name == strategy)
    factory = point.load()

    def make(seed: int) -> BaseSampler:
        sampler = factory(seed=seed)
        if not isinstance(sampler, BaseSampler):
            raise StrategyError(
                f"The strategy {strategy!r} of {point.value} must make an Optuna sampler, but made "
                f"{type(sampler).__name__}."
            )
        return sampler

    return make
