"""Metrics of a run, in numpy: accuracy, macro F1, perplexity, latency percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["accuracy", "latency_percentiles", "macro_f1", "perplexity", "stratified_rows"]

SUBSET_SEED = 20_240_229
"""Decides which rows a partial evaluation uses; the same for every run of every study."""


def accuracy(truth: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any]) -> float:
    """Share of rows predicted right; NaN for no rows."""
    return float(np.mean(truth == predicted)) if len(truth) else math.nan


def macro_f1(truth: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any]) -> float:
    """Unweighted mean of the F1 of every class that occurs in truth or prediction; NaN for no rows.

    A class without a true positive has F1 = 0, as in scikit-learn with `zero_division=0`.
    """
    classes = np.union1d(truth, predicted)
    if not len(classes):
        return math.nan
    scores = []
    for label in classes:
        hits = int(np.sum((truth == label) & (predicted == label)))
        scores.append(2.0 * hits / (int(np.sum(truth == label)) + int(np.sum(predicted == label))))
    return float(np.mean(scores))


def perplexity(loss: float) -> float:
    """exp(mean loss per token); infinite where that overflows."""
    return math.exp(loss) if loss < 700.0 else math.inf


def latency_percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p95 in milliseconds."""
    p50, p95 = np.percentile(np.asarray(seconds) * 1000.0, [50, 95])
    return float(p50), float(p95)


def stratified_rows(labels: Sequence[int] | np.ndarray[Any, Any] | None, rows: int, limit: int) -> np.ndarray[Any, Any]:
    """A fixed subset of at most `limit` of `rows` row numbers, ascending.

    With class labels, each class keeps its share (largest remainders), at least one row
    each where `limit` allows.
    """
    generator = np.random.default_rng(SUBSET_SEED)
    if limit >= rows:
        return np.arange(rows)
    if labels is None:
        return np.sort(generator.permutation(rows)[:limit])
    truth = np.asarray(labels)
    classes, counts = np.unique(truth, return_counts=True)
    exact = counts * (limit / rows)
    quota = np.floor(exact).astype(int)
    if limit >= len(classes):
        quota = np.maximum(quota, 1)
    order = np.argsort(-(exact - np.floor(exact)), kind="stable")
    for i in order[: max(0, limit - int(quota.sum()))]:
        quota[i] += 1
    while quota.sum() > limit:
        quota[np.argmax(quota)] -= 1
    chosen = [generator.permutation(np.flatnonzero(truth == c))[:q] for c, q in zip(classes, quota, strict=True)]
    return np.sort(np.concatenate(chosen))
