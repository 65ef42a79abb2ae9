"""A random-forest surrogate and the question whether it predicts anything.

Two independent checks: R² on trials left out in turn (cross-validated), and how often
a forest fitted to shuffled values looks as good (a permutation test on the out-of-bag
R²). A surrogate that fails either says nothing about the settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Forest", "MIN_R2", "MIN_TRIALS", "SIGNIFICANT", "Validation", "fit_forest", "r2", "validate"]

MIN_TRIALS = 10
"""Fewer observations than this are never interpreted."""

MIN_R2 = 0.15
"""A cross-validated R² below this counts as no evidence."""

SIGNIFICANT = 0.02
"""A shuffle test with a greater p-value counts as no evidence: none of 59 shuffles may look as good."""

_FOLDS, _REPEATS, _SHUFFLES, _TREES = 5, 2, 59, 24


@dataclass(frozen=True)
class Validation:
    """How well a forest predicts trials it has not seen.

    Attributes:
        r2: cross-validated, 5 folds, mean of 2 repetitions.
        p: share of shuffled data sets at least as predictable; None where R² already
            fails or the test was cut short because it could only fail.
        ok: R² and p both pass.
        because: the reason in a sentence when not ok.
    """

    r2: float
    p: float | None
    ok: bool
    because: str = ""


@dataclass(frozen=True)
class Forest:
    """Bagged scikit-learn regression trees, without the cost of cloning estimators.

    `RandomForestRegressor` spends most of a small fit on parameter checks; the resamples
    and shuffles here fit a hundred forests to a few dozen rows.

    Attributes:
        trees: fitted `sklearn.tree._tree.Tree` objects.
        out_of_bag: shape (rows,), mean of the trees that did not see the row, NaN if all did.
    """

    trees: tuple[Any, ...]
    out_of_bag: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Mean over trees, shape (rows,)."""
        rows = np.ascontiguousarray(x, dtype=np.float32)
        return np.asarray(np.mean([t.predict(rows).ravel() for t in self.trees], axis=0))


def fit_forest(x: np.ndarray, y: np.ndarray, *, trees: int, seed: int) -> Forest:
    """Fit bagged trees (Breiman 2001: bootstrap rows, a random two thirds of the columns per split).

    Args:
        x: shape (rows, columns), unit cube.
        y: shape (rows,).
        trees: number of trees.
        seed: of bootstrap and column draws.
    """
    from sklearn import config_context
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(seed)
    rows = np.ascontiguousarray(x, dtype=np.float32)
    draws = np.random.RandomState(seed)  # scikit-learn takes this older kind of generator only
    target = np.ascontiguousarray(y, dtype=np.float64)[:, None]
    fitted, sums, seen = [], np.zeros(len(y)), np.zeros(len(y))
    with config_context(skip_parameter_validation=True, assume_finite=True):
        for _ in range(trees):
            counts = np.bincount(rng.integers(0, len(y), len(y)), minlength=len(y)).astype(float)
            tree = DecisionTreeRegressor(max_features=0.7, random_state=draws)
            fitted.append(tree.fit(rows, target, sample_weight=counts, check_input=False).tree_)
            outside = counts == 0
            if outside.any():
                sums[outside] += fitted[-1].predict(rows[outside]).ravel()
                seen += outside
    with np.errstate(invalid="ignore"):
        return Forest(tuple(fitted), sums / np.where(seen == 0, np.nan, seen))


def validate(x: np.ndarray, y: np.ndarray, *, seed: int = 0, shuffle_trees: int = _TREES) -> Validation:
    """Cross-validate a forest and compare it with forests on shuffled values.

    Args:
        x: shape (rows, columns), unit cube.
        y: shape (rows,).
        seed: of every draw.
        shuffle_trees: size of the forests that are compared, the one on true values among them; with
            fewer the test is as strict, but finds less.
    """
    if len(y) < MIN_TRIALS:
        return Validation(float("nan"), None, False, f"{len(y)} usable trials are fewer than {MIN_TRIALS}")
    if np.ptp(y) == 0:
        return Validation(float("nan"), None, False, "all values are equal")
    if x.shape[1] == 0:
        return Validation(float("nan"), None, False, "no setting was varied")
    score = _cross_validated(x, y, seed)
    if score < MIN_R2:
        return Validation(
            score, None, False, f"a model of the settings does not predict held-out trials (R² {score:.2f})"
        )
    p = _shuffle_test(x, y, seed, shuffle_trees)
    if p > SIGNIFICANT:
        return Validation(
            score,
            p,
            False,
            f"shuffled values are predicted about as well (R² {score:.2f}, permutation p > {SIGNIFICANT})",
        )
    return Validation(score, p, True)


def r2(y: np.ndarray, predicted: np.ndarray) -> float:
    """1 - residual over total sum of squares; may be negative."""
    total = float(((y - y.mean()) ** 2).sum())
    return 1.0 - float(((y - predicted) ** 2).sum()) / total if total > 0 else float("nan")


def _cross_validated(x: np.ndarray, y: np.ndarray, seed: int) -> float:
    rng = np.random.default_rng(seed)
    scores = []
    for repeat in range(_REPEATS):
        folds = np.array_split(rng.permutation(len(y)), _FOLDS)
        predicted = np.empty_like(y)
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(y)), fold)
            predicted[fold] = fit_forest(x[rest], y[rest], trees=_TREES, seed=seed + repeat).predict(x[fold])
        scores.append(r2(y, predicted))
    return float(np.mean(scores))


def _shuffle_test(x: np.ndarray, y: np.ndarray, seed: int, trees: int) -> float:
    """(1 + shuffles at least as good) / (1 + shuffles), cut short once it must fail."""
    rng = np.random.default_rng(seed + 1)
    observed = _out_of_bag(x, y, seed, trees)
    as_good = 0
    for shuffle in range(_SHUFFLES):
        as_good += _out_of_bag(x, rng.permutation(y), seed + shuffle, trees) >= observed
        if (1 + as_good) / (1 + _SHUFFLES) > SIGNIFICANT:
            break
    return (1 + as_good) / (1 + _SHUFFLES)


def _out_of_bag(x: np.ndarray, y: np.ndarray, seed: int, trees: int) -> float:
    predicted = fit_forest(x, y, trees=trees, seed=seed).out_of_bag
    return r2(y, np.where(np.isnan(predicted), y.mean(), predicted))
