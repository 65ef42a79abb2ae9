"""A small description of the data for the record, and the score of the laziest answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoglm_nb.data.dataset import Dataset
from autoglm_nb.data.encoding import EncodedData

__all__ = ["describe", "majority_score"]

QUANTILES = (0.5, 0.9, 0.99, 1.0)
_MAX_LABELS = 50


def describe(dataset: Dataset, encoded: EncodedData | None = None) -> dict[str, Any]:
    """Rows, class balance and lengths of each split, as plain JSON.

    Lengths are in tokens if `encoded` is given, else in words.
    """
    splits: dict[str, Any] = {}
    for name, split in dataset.splits.items():
        lengths: Sequence[int] = (
            encoded.splits[name].lengths.tolist() if encoded else [len(text.split()) for text in split.texts]
        )
        entry: dict[str, Any] = {
            "rows": len(split),
            "source": split.source,
            "length": {f"p{round(100 * q)}": int(v) for q, v in zip(QUANTILES, np.quantile(lengths, QUANTILES))},
        }
        if split.labels is not None and len(dataset.label_names) <= _MAX_LABELS:
            counts = np.bincount(split.labels, minlength=len(dataset.label_names))
            entry["classes"] = {label: int(n) for label, n in zip(dataset.label_names, counts, strict=True)}
        if encoded is not None:
            entry["at_limit"] = encoded.at_limit[name]
        splits[name] = entry
    return {
        "task": dataset.task,
        "text": list(dataset.columns.text),
        "target": dataset.columns.target,
        "labels": len(dataset.label_names),
        "length_unit": "tokens" if encoded is not None else "words",
        "max_length": encoded.max_length if encoded is not None else None,
        "splits": splits,
        "checksum": dataset.checksum,
        "notes": list(dataset.notes),
    }


def majority_score(dataset: Dataset, metric: str, *, split: str = "test") -> float | None:
    """Score on a split of always answering the class that is commonest in the training rows.

    Args:
        dataset: the data.
        metric: "accuracy" or "macro_f1" (mean over the classes that occur in truth or answer).
        split: which rows to score.

    Returns:
        None where the metric or the task has no such answer.
    """
    truth = dataset.splits[split].labels
    if dataset.train.labels is None or truth is None or len(truth) == 0:
        return None
    commonest = int(np.bincount(dataset.train.labels, minlength=len(dataset.label_names)).argmax())
    share = float((truth == commonest).mean())
    if metric == "accuracy":
        return share
    if metric == "macro_f1":
        return 2 * share / (1 + share) / len({*truth.tolist(), commonest})
    return None
