"""A second opinion: what it took to be among the best trials (PED-ANOVA).

fANOVA asks what moves the value anywhere in the space; PED-ANOVA (Watanabe, Bansal and
Hutter, IJCAI 2023; with conditions, KDD 2026) asks where the best trials lie apart from
the others. Optuna's evaluator is used as it is, on an in-memory study of completed and
extrapolated trials, with a bootstrap over trials for the interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from autoglm_nb.surrogates.encoding import Axis, axes_of, label
from autoglm_nb.surrogates.observations import Observations

__all__ = ["ped_anova"]

TOP_TRIALS = 5
"""PED-ANOVA's authors ask for at least this many trials among the best."""

_RESAMPLES = 30


def ped_anova(observations: Observations, space: Any, *, seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """(share, low, high) by hyper-parameter; shares add up to 1; empty below 2 x 5 trials.

    Args:
        observations: from `observe`.
        space: the `space.Space` searched, or None.
        seed: of the bootstrap.
    """
    n = len(observations)
    axes = axes_of(space, observations.configs)
    if n < 2 * TOP_TRIALS or not axes or np.ptp(observations.values) == 0:
        return {}
    loss = -observations.values if observations.maximize else observations.values
    rng = np.random.default_rng(seed)
    with _quiet():
        point = _evaluate(axes, observations, loss, np.arange(n))
        drawn = [_evaluate(axes, observations, loss, rng.integers(0, n, n)) for _ in range(_RESAMPLES)]
    result = {}
    for name, share in sorted(point.items(), key=lambda item: -item[1]):
        low, high = np.quantile([d.get(name, 0.0) for d in drawn], [0.025, 0.975])
        result[name] = (share, float(min(low, share)), float(max(high, share)))
    return result


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's line for each study it creates."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _evaluate(
    axes: tuple[Axis, ...], observations: Observations, loss: np.ndarray, rows: np.ndarray
) -> dict[str, float]:
    import warnings

    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator

    if np.ptp(loss[rows]) == 0:
        return {}
    study = optuna.create_study()
    study.add_trials([_trial(axes, observations.configs[i], float(loss[i])) for i in rows])
    quantile = min(max(0.1, TOP_TRIALS / len(rows)), 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the evaluator is marked experimental
        evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
        try:
            shares = evaluator.evaluate(study, params=None)
        except (ValueError, ZeroDivisionError):
            return {}
    total = sum(shares.values())
    return {name: value / total for name, value in shares.items()} if total > 0 else {}


def _trial(axes: tuple[Axis, ...], config: dict[str, Any], value: float) -> Any:
    import optuna

    params: dict[str, Any] = {}
    distributions: dict[str, Any] = {}
    for axis in axes:
        if axis.name not in config:
            continue
        if axis.kind == "number":
            params[axis.name] = min(max(float(config[axis.name]), axis.low), axis.high)
            distributions[axis.name] = optuna.distributions.FloatDistribution(axis.low, axis.high, log=axis.log)
        else:
            params[axis.name] = label(config[axis.name])
            distributions[axis.name] = optuna.distributions.CategoricalDistribution([label(c) for c in axis.choices])
    return optuna.trial.create_trial(params=params, distributions=distributions, value=value)
