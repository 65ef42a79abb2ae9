"""How far each hyper-parameter moves the surrogate's prediction, trial by trial (SHAP).

Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017; for
trees Lundberg et al., "From local explanations to global understanding with explainable AI
for trees", Nature Machine Intelligence 2020. `shap.TreeExplainer` is used as it is, along
the paths of the trees, so that no configuration is made up that the space does not allow.
Four things are added. A surrogate that does not predict held-out trials is not explained
at all. The columns of one hyper-parameter are added up. A hyper-parameter that is not
active in a trial gets nothing there: what its absence does goes to those that decide about
it. And the trials are resampled for the interval, with a column of noise in competition.

`shap` is an extra of this package and imported when a function is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from autoglm_nb.space.conditions import atoms
from autoglm_nb.surrogates.encoding import Axis, Encoder, axes_of
from autoglm_nb.surrogates.forest import MIN_R2, Forest, fit_forest, validate
from autoglm_nb.surrogates.observations import Observations, observe

__all__ = ["Attribution", "Effect", "installed", "shapley"]

MIN_ACTIVE = 6
"""A conditional hyper-parameter active in fewer observations is not scored, as in `fanova`."""

_TREES, _RESAMPLES, _RESAMPLE_TREES, _RESAMPLE_ROWS, _MOST_ROWS = 96, 40, 16, 80, 600


@dataclass(frozen=True)
class Effect:
    """What one hyper-parameter does to the prediction, over the trials in which it is active.

    Attributes:
        axis: the hyper-parameter.
        size: mean |SHAP value|, in the metric's own units.
        low, high: 95 % bootstrap interval over trials.
        matters: beats a column of noise in 95 % of the resamples.
        trials: observations in which it was active.
        rows: their positions in the attribution's matrix.
        values: shape (rows,), SHAP values.
        rank_correlation: Spearman's, between its value and its SHAP value; None for unordered choices.
    """

    axis: Axis
    size: float
    low: float
    high: float
    matters: bool
    trials: int
    rows: np.ndarray
    values: np.ndarray
    rank_correlation: float | None

    @property
    def name(self) -> str:
        return self.axis.name


@dataclass(frozen=True)
class Attribution:
    """SHAP values of all hyper-parameters, or the reason why there are none.

    Attributes:
        evidence: whether the values may be interpreted; without it there are none.
        because: the reason as a clause, with the figure and the threshold.
        r2: cross-validated R² of the surrogate (NaN when it could not be fitted).
        p: permutation p-value, None when not reached.
        observations: what the figures rest on.
        base: the prediction before any hyper-parameter is known.
        predicted: shape (n,), the surrogate's prediction for each explained observation.
        explained: positions of the explained observations; all of them up to 600.
        effects: greatest first.
        unscored: (name, active observations) of those too rarely active.
        rest: shape (n,), what belongs to no scored hyper-parameter: base + sum of effects + rest = predicted.
    """

    evidence: bool
    because: str
    r2: float
    p: float | None
    observations: Observations
    base: float = 0.0
    predicted: np.ndarray | None = None
    explained: np.ndarray | None = None
    effects: tuple[Effect, ...] = ()
    unscored: tuple[tuple[str, int], ...] = ()
    rest: np.ndarray | None = None


def installed() -> bool:
    """Whether the library is there; looks, does not import."""
    return find_spec("shap") is not None


def shapley(
    trials: Sequence[Mapping[str, Any]], space: Any, direction: str, *, objective: int = 0, seed: int = 0
) -> Attribution:
    """SHAP values of the surrogate with uncertainty, given that it predicts held-out trials.

    Args:
        trials: records with the fields of `protocol.TrialSnapshot`.
        space: the `space.Space` searched, or None when only configurations are known.
        direction: "maximize" or "minimize".
        objective: position in `values` for a study with several objectives.
        seed: of every draw; the same seed gives the same result.

    Raises:
        UsageError: unknown direction.
        ImportError: the library `shap` is not installed.
    """
    observations = observe(trials, direction, objective=objective)
    encoder = Encoder(axes_of(space, observations.configs))
    x, y = encoder.matrix(observations.configs), observations.values
    validation = validate(x, y, seed=seed)
    if not validation.ok:
        because = validation.because
        if validation.r2 < MIN_R2:
            because = (
                f"the surrogate's cross-validated R² is {validation.r2:.2f}, and at least {MIN_R2:.2f} is needed: "
                "it does not predict held-out trials"
            )
        return Attribution(False, because, validation.r2, validation.p, observations)
    rng = np.random.default_rng(seed)
    explained = np.sort(rng.permutation(len(y))[:_MOST_ROWS])
    shares = _Shares(encoder, space, [observations.configs[i] for i in explained])
    forest = _fitted(x, y, _TREES, seed)
    values, base = _shap(forest, _noisy(x[explained], seed))
    per_axis, rest = shares.of(values)
    drawn, noise = _resampled(x, y, shares, explained, seed)
    counts = encoder.active(observations.configs).sum(axis=0)
    effects = []
    for i, axis in enumerate(encoder.axes):
        if counts[i] < MIN_ACTIVE or not shares.active[:, i].any():
            rest = rest + per_axis[:, i]
            continue
        rows = np.flatnonzero(shares.active[:, i])
        own = per_axis[rows, i]
        size = float(np.abs(own).mean())
        low, high = np.quantile(drawn[:, i], [0.025, 0.975])
        effects.append(
            Effect(
                axis=axis,
                size=size,
                low=float(min(low, size)),
                high=float(max(high, size)),
                matters=bool(np.mean(drawn[:, i] > noise) >= 0.95),
                trials=int(counts[i]),
                rows=rows,
                values=own,
                rank_correlation=_correlation(axis, [observations.configs[explained[r]] for r in rows], own),
            )
        )
    return Attribution(
        True,
        "",
        validation.r2,
        validation.p,
        observations,
        base=base,
        predicted=forest.predict(_noisy(x[explained], seed)),
        explained=explained,
        effects=tuple(sorted(effects, key=lambda e: -e.size)),
        unscored=tuple((a.name, int(n)) for a, n in zip(encoder.axes, counts, strict=True) if n < MIN_ACTIVE),
        rest=rest,
    )


class _Shares:
    """Gives every column's SHAP value to the hyper-parameter it belongs to.

    Where a hyper-parameter is active its value columns are its own. The column that says
    whether it is active, and all its columns where it is not, tell only what its parents
    decided, and are shared among those of them that are axes.
    """

    def __init__(self, encoder: Encoder, space: Any, configs: Sequence[Mapping[str, Any]]) -> None:
        self._columns = encoder.columns
        self._index = {a.name: i for i, a in enumerate(encoder.axes)}
        self._parents = {a.name: self._deciding(space, a.name) for a in encoder.axes}
        self.active = encoder.active(configs)

    def of(self, values: np.ndarray, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(shape (rows, axes), shape (rows,) for the column of noise).

        Args:
            values: SHAP values, one column per column of the encoder and the noise at the end.
            rows: positions of these rows among the explained configurations; None for all.
        """
        active = self.active if rows is None else self.active[rows]
        found = np.zeros((len(values), len(self._index)))
        for place, (name, holds) in enumerate(self._columns):
            own, parents = self._index[name], self._parents[name]
            mine = np.ones(len(values)) if not parents else active[:, own] * float(holds != "active")
            found[:, own] += values[:, place] * mine
            for parent in parents:
                found[:, parent] += values[:, place] * (1.0 - mine) / len(parents)
        return found, values[:, -1].copy()

    def _deciding(self, space: Any, name: str) -> list[int]:
        """Axes that the conditions of a hyper-parameter name."""
        dimensions = [d for d in (space.dimensions if space is not None else ()) if d.name == name]
        named = dict.fromkeys(a.name for d in dimensions for a in atoms(d.condition))
        return [self._index[n] for n in named if n in self._index and n != name]


def _resampled(
    x: np.ndarray, y: np.ndarray, shares: _Shares, explained: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean |SHAP value| of forests fitted to resampled trials: (resamples, axes), and of the noise (resamples,)."""
    rng = np.random.default_rng(seed + 1)
    sizes, noises = [], []
    for r in range(_RESAMPLES):
        rows = rng.integers(0, len(y), len(y))
        asked = np.sort(rng.permutation(len(explained))[:_RESAMPLE_ROWS])
        if np.ptp(y[rows]) == 0:
            continue
        forest = _fitted(x[rows], y[rows], _RESAMPLE_TREES, seed + 1 + r)
        values, _ = _shap(forest, _noisy(x[explained[asked]], seed + 1 + r))
        per_axis, noise = shares.of(values, asked)
        active = shares.active[asked]
        total = np.maximum(active.sum(axis=0), 1)
        sizes.append((np.abs(per_axis) * active).sum(axis=0) / total)
        noises.append(float(np.abs(noise).mean()))
    return np.array(sizes), np.array(noises)


def _fitted(x: np.ndarray, y: np.ndarray, trees: int, seed: int) -> Forest:
    return fit_forest(_noisy(x, seed), y, trees=trees, seed=seed)


def _noisy(x: np.ndarray, seed: int) -> np.ndarray:
    """The matrix with a column of noise."""
    return np.hstack([x, np.random.default_rng(seed).random((len(x), 1))])


def _shap(forest: Forest, x: np.ndarray) -> tuple[np.ndarray, float]:
    """(SHAP values, shape (rows, columns); the expected prediction): exact for each tree, averaged over the forest."""
    import shap

    explainer = shap.TreeExplainer({"trees": list(forest.trees)}, feature_perturbation="tree_path_dependent")
    values = explainer.shap_values(np.ascontiguousarray(x, dtype=np.float32), check_additivity=False)
    number = len(forest.trees)
    expected = float(np.ravel(explainer.expected_value)[0]) / number
    return np.asarray(values, dtype=float).reshape(x.shape) / number, expected


def _correlation(axis: Axis, configs: Sequence[Mapping[str, Any]], values: np.ndarray) -> float | None:
    """Spearman's rank correlation of a setting's value with its SHAP value, None where it means nothing."""
    from scipy import stats

    if axis.kind == "choice":
        return None
    units = [axis.unit(c[axis.name]) for c in configs]
    if np.ptp(units) == 0 or np.ptp(values) == 0:
        return None
    return float(stats.spearmanr(units, values).statistic)
