"""How much of the variation between configurations each hyper-parameter explains (fANOVA).

Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter
Importance", ICML 2014: fit a random forest f, then the share of x_i is
Var[E(f | x_i)] / Var[f] over the whole space (their eq. 3 to 5), and the interaction of
a pair is what their joint marginal explains beyond the two single ones. Three things
differ from the usual implementations. The averages are taken over valid configurations
of the conditional space (`Population`), and a conditional hyper-parameter is scored
within the configurations in which it is active. The uncertainty is that of the trials:
they are resampled with replacement and the forest fitted again. And a column of noise
competes in every fit: only what beats it in 95 % of the resamples is said to matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from autoglm_nb.surrogates.encoding import Axis, Encoder, axes_of, label
from autoglm_nb.surrogates.forest import Validation, fit_forest, validate
from autoglm_nb.surrogates.observations import Observations, observe
from autoglm_nb.surrogates.population import Population

__all__ = ["Importance", "Interaction", "Share", "importance"]

MIN_ACTIVE = 6
"""A conditional hyper-parameter active in fewer observations gets no share."""

_POPULATION, _GRID, _PAIR_GRID = 128, 9, 5
_TREES = 96
_PAIRED_AXES = 4


@dataclass(frozen=True)
class _Effort:
    """What the uncertainty may cost; the figures themselves cost the same."""

    resamples: int
    resample_trees: int
    shuffle_trees: int
    pairs: bool


_FULL = _Effort(resamples=40, resample_trees=12, shuffle_trees=24, pairs=True)
_QUICK = _Effort(resamples=24, resample_trees=8, shuffle_trees=8, pairs=False)


@dataclass(frozen=True)
class Share:
    """One hyper-parameter's part of the variance.

    Attributes:
        name: the hyper-parameter.
        share: between 0 and 1, of the variance among configurations in which it is active.
        low, high: 95 % bootstrap interval over trials.
        trials: observations in which it was active.
        conditional: not active in every configuration; the share holds given that it is.
        matters: beats a column of noise in 95 % of the resamples.
        marginal: [(value, predicted mean with everything else averaged), ...] in axis order.
    """

    name: str
    share: float
    low: float
    high: float
    trials: int
    conditional: bool
    matters: bool
    marginal: tuple[tuple[Any, float], ...]


@dataclass(frozen=True)
class Interaction:
    """What a pair explains together beyond its single shares, with a 95 % interval."""

    names: tuple[str, str]
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Importance:
    """Shares of all hyper-parameters, or the reason why there are none.

    Attributes:
        evidence: whether the shares may be interpreted; without it they are empty.
        because: the reason as a clause when there is no evidence.
        r2: cross-validated R² of the surrogate (NaN when it could not be fitted).
        p: permutation p-value, None when not reached.
        observations: what the figures rest on.
        shares: greatest first.
        interactions: among the four greatest, greatest first.
        unscored: (name, active observations) of those too rarely active.
    """

    evidence: bool
    because: str
    r2: float
    p: float | None
    observations: Observations
    shares: tuple[Share, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    unscored: tuple[tuple[str, int], ...] = ()


def importance(
    trials: Sequence[Mapping[str, Any]],
    space: Any,
    direction: str,
    *,
    objective: int = 0,
    use_pruned: bool = True,
    seed: int = 0,
    quick: bool = False,
) -> Importance:
    """fANOVA shares with uncertainty, given that a surrogate predicts held-out trials.

    Args:
        trials: records with the fields of `protocol.TrialSnapshot`.
        space: the `space.Space` searched, or None when only configurations are known.
        direction: "maximize" or "minimize".
        objective: position in `values` for a study with several objectives.
        use_pruned: whether pruned trials enter (see `observations`).
        seed: of every draw; the same seed gives the same result.
        quick: at less than half of the cost: the same rule for evidence, wider intervals, no interactions.

    Raises:
        UsageError: unknown direction.
    """
    effort = _QUICK if quick else _FULL
    observations = observe(trials, direction, objective=objective, use_pruned=use_pruned)
    axes = axes_of(space, observations.configs)
    encoder = Encoder(axes)
    x = encoder.matrix(observations.configs)
    validation = validate(x, observations.values, seed=seed, shuffle_trees=effort.shuffle_trees)
    if not validation.ok:
        return Importance(False, validation.because, validation.r2, validation.p, observations)
    counts = encoder.active(observations.configs).sum(axis=0)
    scored = tuple(a for a, n in zip(axes, counts, strict=True) if n >= MIN_ACTIVE)
    unscored = tuple((a.name, int(n)) for a, n in zip(axes, counts, strict=True) if n < MIN_ACTIVE)
    fanova = _Fanova(space, encoder, scored, observations, seed, effort)
    shares, interactions = fanova.result(dict(zip((a.name for a in axes), counts.tolist(), strict=True)))
    return _importance(validation, observations, shares, interactions, unscored)


def _importance(
    validation: Validation,
    observations: Observations,
    shares: list[Share],
    interactions: list[Interaction],
    unscored: tuple[tuple[str, int], ...],
) -> Importance:
    return Importance(
        evidence=True,
        because="",
        r2=validation.r2,
        p=validation.p,
        observations=observations,
        shares=tuple(sorted(shares, key=lambda s: -s.share)),
        interactions=tuple(sorted(interactions, key=lambda i: -i.share)),
        unscored=unscored,
    )


class _Fanova:
    """One point estimate and its resamples on shared design matrices."""

    def __init__(
        self,
        space: Any,
        encoder: Encoder,
        axes: tuple[Axis, ...],
        observations: Observations,
        seed: int,
        effort: _Effort,
    ) -> None:
        self._effort = effort
        self._encoder, self._axes, self._observations, self._seed = encoder, axes, observations, seed
        self._rng = np.random.default_rng(seed)
        self._population = Population(space, encoder.axes, observations.configs, size=_POPULATION, seed=seed)
        self._base = self._encode(self._population.base)
        self._active = encoder.active(self._population.base)
        self._index = {a.name: i for i, a in enumerate(encoder.axes)}
        self._grids = {a.name: a.grid(_GRID) for a in axes}
        self._designs = {
            a.name: [self._encode(self._population.pinned({a.name: v})) for v in self._grids[a.name]] for a in axes
        }

    def result(self, counts: dict[str, int]) -> tuple[list[Share], list[Interaction]]:
        x = self._encoder.matrix(self._observations.configs)
        y = self._observations.values
        point = self._single(self._predictor(x, y, _TREES, self._seed))
        samples = []
        forests = []
        for r in range(self._effort.resamples):
            rows = self._rng.integers(0, len(y), len(y))
            if np.ptp(y[rows]) == 0:
                continue
            forests.append(self._predictor(x[rows], y[rows], self._effort.resample_trees, self._seed + 1 + r))
            samples.append(self._single(forests[-1]))
        shares = []
        for axis in self._axes:
            drawn = np.array([s[axis.name][0] for s in samples])
            noise = np.array([s[axis.name][1] for s in samples])
            share, _, marginal = point[axis.name]
            low, high = _interval(drawn, share)
            shares.append(
                Share(
                    axis.name,
                    share,
                    low,
                    high,
                    counts[axis.name],
                    axis.conditional,
                    bool(np.mean(drawn > noise) >= 0.95),
                    tuple(zip(self._grids[axis.name], marginal.tolist(), strict=True)),
                )
            )
        if not self._effort.pairs:
            return shares, []
        leading = [s.name for s in sorted(shares, key=lambda s: -s.share)[:_PAIRED_AXES]]
        return shares, self._pairs(leading, self._predictor(x, y, _TREES, self._seed), forests)

    def _predictor(self, x: np.ndarray, y: np.ndarray, trees: int, seed: int) -> Any:
        noise = np.random.default_rng(seed).random((len(y), 1))
        return fit_forest(np.hstack([x, noise]), y, trees=trees, seed=seed).predict

    def _encode(self, configs: list[dict[str, Any]]) -> np.ndarray:
        """Population rows with the noise column spread evenly over [0, 1)."""
        noise = (np.arange(len(configs)) * 0.6180339887498949 % 1.0)[:, None]
        return np.hstack([self._encoder.matrix(configs), noise])

    def _single(self, predict: Any) -> dict[str, tuple[float, float, np.ndarray]]:
        """Per axis: its share, the share of noise among the same rows, its marginal."""
        base = predict(self._base)
        noise_rows = np.vstack([_with_noise(self._base, (i + 0.5) / _GRID) for i in range(_GRID)])
        noise = predict(noise_rows).reshape(_GRID, -1)
        found = {}
        for axis in self._axes:
            designs = self._designs[axis.name]
            cells = predict(np.vstack(designs)).reshape(len(designs), -1)
            rows = self._active[:, self._index[axis.name]]
            if not rows.any():
                rows = np.ones(len(base), dtype=bool)
            total = float(base[rows].var())
            marginal = cells[:, rows].mean(axis=1)
            found[axis.name] = (
                _share(float(marginal.var()), total),
                _share(float(noise[:, rows].mean(axis=1).var()), total),
                marginal,
            )
        return found

    def _pairs(self, names: list[str], predict: Any, forests: list[Any]) -> list[Interaction]:
        found = []
        for first, second in combinations(names, 2):
            rows = self._active[:, self._index[first]] & self._active[:, self._index[second]]
            if rows.sum() < 8:
                continue
            values = [self._keeping(a, b, rows) for a, b in ((first, second), (second, first))]
            if min(map(len, values)) < 2:
                continue
            design = np.vstack(
                [
                    self._encode(self._population.pinned({first: v, second: w}))[rows]
                    for v in values[0]
                    for w in values[1]
                ]
            )
            shape = (len(values[0]), len(values[1]), int(rows.sum()))
            point = _beyond_singles(predict(design).reshape(shape))
            drawn = np.array([_beyond_singles(f(design).reshape(shape)) for f in forests])
            found.append(Interaction((first, second), point, *_interval(drawn, point)))
        return found

    def _keeping(self, name: str, other: str, rows: np.ndarray) -> list[Any]:
        """Values of `name` under which `other` stays active: a pair is scored where both can vary."""
        place = self._index[other]
        kept = [
            value
            for value in self._grids[name]
            if self._encoder.active(self._population.pinned({name: value}))[rows, place].all()
        ]
        return _thin(kept, _PAIR_GRID)


def _beyond_singles(cells: np.ndarray) -> float:
    """Share of the pair's interaction: cells has shape (first, second, population rows)."""
    joint = cells.mean(axis=2)
    residual = joint - joint.mean(axis=1, keepdims=True) - joint.mean(axis=0, keepdims=True) + joint.mean()
    return _share(float((residual**2).mean()), float(cells.var()))


def _with_noise(rows: np.ndarray, value: float) -> np.ndarray:
    copy = rows.copy()
    copy[:, -1] = value
    return copy


def _share(part: float, total: float) -> float:
    return min(part / total, 1.0) if total > 0 else 0.0


def _interval(samples: np.ndarray, point: float) -> tuple[float, float]:
    if len(samples) == 0:
        return 0.0, 1.0
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(min(low, point)), float(max(high, point))


def _thin(values: list[Any], at_most: int) -> list[Any]:
    if len(values) <= at_most:
        return values
    positions = np.linspace(0, len(values) - 1, at_most).round().astype(int)
    return [values[i] for i in dict.fromkeys(positions.tolist())]


def best_setting(share: Share, maximize: bool) -> tuple[Any, float]:
    """The axis value with the best predicted mean, and that mean."""
    return (max if maximize else min)(share.marginal, key=lambda m: (m[1], label(m[0])))
