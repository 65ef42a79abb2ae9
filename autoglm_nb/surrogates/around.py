"""What a small change to one setting would do, around one configuration.

A Gaussian process (Matern 5/2, one length scale per column, fitted noise) is smooth where
a forest is a staircase, so differences make sense. Steps are taken in unit space, a tenth
of each range to either side, so that units do not matter: the central difference
(f(x + h) - f(x - h)) / 2h is an elasticity. Choices are switched. The 95 % interval of a
difference comes from the joint posterior of both ends, observation noise left out.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoglm_nb.surrogates.encoding import Axis, Encoder, axes_of, label
from autoglm_nb.surrogates.forest import MIN_R2, MIN_TRIALS, r2
from autoglm_nb.surrogates.observations import observe

__all__ = ["Move", "Sensitivity", "sensitivity"]

STEP = 0.1
"""Length of a step, as a part of the range."""

_MOST_ROWS, _FOLDS = 200, 5


@dataclass(frozen=True)
class Move:
    """One hyper-parameter changed, the rest as in the configuration.

    Attributes:
        name: the hyper-parameter.
        value: what it is now.
        to: what it is changed to.
        change: predicted difference of the metric, in its own units.
        low, high: 95 % interval of the difference.
    """

    name: str
    value: Any
    to: Any
    change: float
    low: float
    high: float


@dataclass(frozen=True)
class Sensitivity:
    """Predicted changes around one configuration, or the reason why there are none.

    Attributes:
        evidence: whether the changes may be interpreted.
        because: the reason as a clause when there is no evidence.
        r2: cross-validated R² of the Gaussian process.
        trials: observations it was fitted to.
        moves: every step, in the space's order.
        elasticity: (name, slope, low, high): central difference per whole range.
        skipped: choices that could not be switched alone, because others depend on them.
    """

    evidence: bool
    because: str
    r2: float
    trials: int
    moves: tuple[Move, ...] = ()
    elasticity: tuple[tuple[str, float, float, float], ...] = ()
    skipped: tuple[str, ...] = ()


def sensitivity(
    trials: Sequence[Mapping[str, Any]], space: Any, direction: str, around: Mapping[str, Any], *, seed: int = 0
) -> Sensitivity:
    """Central differences and switches around a configuration, on a Gaussian process.

    Args:
        trials: records with the fields of `protocol.TrialSnapshot`.
        space: the `space.Space` searched, or None.
        direction: "maximize" or "minimize".
        around: the configuration to start from, usually the winner's.
        seed: of folds and of the thinning above 200 observations.

    Raises:
        UsageError: unknown direction.
    """
    observations = observe(trials, direction)
    axes = axes_of(space, [*observations.configs, dict(around)])
    encoder = Encoder(axes)
    y = observations.values
    if len(y) < MIN_TRIALS or np.ptp(y) == 0 or not axes:
        because = (
            f"{len(y)} usable trials are fewer than {MIN_TRIALS}"
            if len(y) < MIN_TRIALS
            else ("all values are equal" if axes else "no setting was varied")
        )
        return Sensitivity(False, because, math.nan, len(y))
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(y))[:_MOST_ROWS])
    x, y = encoder.matrix(observations.configs)[rows], y[rows]
    score = _cross_validated(x, y, rng)
    if score < MIN_R2:
        because = f"a model of the settings does not predict held-out trials (R² {score:.2f})"
        return Sensitivity(False, because, score, len(y))
    return _explore(_Process(x, y), encoder, dict(around), score, len(y), _dependent(axes, space))


def _explore(
    process: _Process, encoder: Encoder, around: dict[str, Any], score: float, trials: int, parents: set[str]
) -> Sensitivity:
    moves: list[Move] = []
    slopes: list[tuple[str, float, float, float]] = []
    skipped = []
    here = encoder.matrix([around])
    for axis in encoder.axes:
        if axis.name not in around:
            continue
        if axis.name in parents:
            skipped.append(axis.name)
            continue
        ends = []
        for to in _steps(axis, around[axis.name]):
            there = encoder.matrix([{**around, axis.name: to}])
            ends.append((axis.unit(to), there))
            moves.append(Move(axis.name, around[axis.name], to, *process.difference(here, there)))
        if axis.kind != "choice" and len(ends) == 2:
            (left, below), (right, above) = ends
            change, low, high = process.difference(below, above)
            per = right - left
            slopes.append((axis.name, change / per, low / per, high / per))
    return Sensitivity(True, "", score, trials, tuple(moves), tuple(slopes), tuple(skipped))


class _Process:
    """A fitted Gaussian process that predicts differences."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(
            np.full(x.shape[1], 0.5), (0.05, 20.0), nu=2.5
        ) + WhiteKernel(0.1, (1e-4, 1.0))
        self._scale = float(y.std()) or 1.0
        self._model = GaussianProcessRegressor(kernel, random_state=0)
        self._mean = float(y.mean())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # length scales at their bound: an axis without influence
            self._model.fit(x, (y - self._mean) / self._scale)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._model.predict(x)) * self._scale + self._mean

    def difference(self, start: np.ndarray, end: np.ndarray) -> tuple[float, float, float]:
        """f(end) - f(start) with its 95 % interval."""
        mean, covariance = self._model.predict(np.vstack([start, end]), return_cov=True)
        noise = float(self._model.kernel_.k2.noise_level)
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1] - 2 * noise
        change = float(mean[1] - mean[0]) * self._scale
        reach = 1.96 * math.sqrt(max(float(variance), 0.0)) * self._scale
        return change, change - reach, change + reach


def _cross_validated(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> float:
    predicted = np.empty_like(y)
    for fold in np.array_split(rng.permutation(len(y)), _FOLDS):
        rest = np.setdiff1d(np.arange(len(y)), fold)
        predicted[fold] = _Process(x[rest], y[rest]).predict(x[fold])
    return r2(y, predicted)


def _steps(axis: Axis, value: Any) -> list[Any]:
    """Neighbouring values: a tenth of the range to either side, or the other choices."""
    if axis.kind == "choice":
        return [c for c in axis.choices if label(c) != label(value)]
    if axis.kind == "ordered":
        at = [label(c) for c in axis.choices].index(label(value)) if label(value) in map(label, axis.choices) else 0
        return [axis.choices[i] for i in (at - 1, at + 1) if 0 <= i < len(axis.choices)]
    unit = axis.unit(value)
    units = [u for u in (unit - STEP, unit + STEP) if -1e-9 <= u <= 1 + 1e-9]
    return [to for to in (axis.value(min(max(u, 0.0), 1.0)) for u in units) if label(to) != label(value)]


def _dependent(axes: Sequence[Axis], space: Any) -> set[str]:
    """Hyper-parameters that others depend on: switching one alone would not be a valid configuration."""
    if space is None:
        return set()
    text = " ".join(d.condition.source() for d in space.dimensions if d.condition is not None)
    return {a.name for a in axes if f"{a.name} " in f" {text} ".replace("(", " ")}
