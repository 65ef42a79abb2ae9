"""Scoring a slot: the task's metrics and the latency at which they were had.

Rows are read in order of length, so that little is padded, and as many at once as make
a pass worth its fixed cost; the result does not depend on either. Nothing random happens
here, so training cannot be disturbed. Latency is the time of a forward pass over a batch
divided by its rows, at the batch size stated beside it, tokenisation not included. A few
batches of that size, from the shortest to the longest, are timed on the way; they go
through the whole model, while the others may begin above the frozen layers (`prefix`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autoglm_nb.errors import UsageError
from autoglm_nb.training.loss import pass_logits, segment_losses
from autoglm_nb.training.memory import is_out_of_memory, release_memory, reraise
from autoglm_nb.training.metrics import accuracy, latency_percentiles, macro_f1, perplexity, stratified_rows
from autoglm_nb.training.packed import Segment
from autoglm_nb.training.rounds import make_round

if TYPE_CHECKING:
    from autoglm_nb.data import EncodedSplit
    from autoglm_nb.training.engine import Engine
    from autoglm_nb.training.slots import Slot

__all__ = ["EVALUATION_BATCH", "evaluate_slot", "measure_latency"]

EVALUATION_BATCH = 32
"""Rows of a batch that is timed."""

TIMED_BATCHES = 6
TOKENS = 2048
"""Of the other batches, padding included."""


@dataclass(frozen=True)
class _Batch:
    rows: np.ndarray[Any, Any]
    timed: bool


@dataclass
class _Tally:
    """What a pass over the rows leaves behind."""

    loss: float = 0.0
    terms: int = 0
    truth: list[int] = field(default_factory=list)
    predicted: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def evaluate_slot(engine: Engine, slot: Slot, split: str, limit_rows: int | None) -> dict[str, Any]:
    """Metrics of a slot on "train", "validation" or "test".

    Args:
        limit_rows: use a fixed, stratified subset of this many rows.

    Returns:
        loss, rows, latency_ms_p50, latency_ms_p95, latency_batch_size, and by task accuracy and
        macro_f1, or perplexity and tokens (the scored ones).

    Raises:
        UsageError: the split is unknown or empty.
    """
    encoded = _split(engine, split)
    classify = engine.base.task != "causal-lm"
    rows = stratified_rows(encoded.labels if classify else None, len(encoded.lengths), limit_rows or 2**62)
    rows = rows[np.argsort(np.asarray(encoded.lengths)[rows], kind="stable")]
    batch_size = EVALUATION_BATCH
    batches = _mixed(rows, np.asarray(encoded.lengths))
    while True:
        try:
            tally = _read(engine, slot, encoded, batches)
            break
        except Exception as error:
            if len(batches) == len(rows) or not is_out_of_memory(error):
                raise
        release_memory(engine.device)
        batch_size = min(batch_size, max(len(b.rows) for b in batches) // 2)
        batches = _equal(rows, batch_size)
    loss = tally.loss / max(1, tally.terms)
    p50, p95 = latency_percentiles(tally.seconds or [0.0])
    metrics: dict[str, Any] = {"loss": loss, "rows": len(rows)}
    if classify:
        truth, predicted = np.asarray(tally.truth), np.asarray(tally.predicted)
        metrics |= {"accuracy": accuracy(truth, predicted), "macro_f1": macro_f1(truth, predicted)}
    else:
        metrics |= {"perplexity": perplexity(loss), "tokens": tally.terms}
    latency = {"latency_ms_p50": p50, "latency_ms_p95": p95, "latency_batch_size": min(batch_size, len(rows))}
    return metrics | latency


def measure_latency(
    engine: Engine, slot: Slot, *, split: str = "validation", batch_size: int = 1, batches: int = 50
) -> dict[str, float]:
    """p50 and p95 in milliseconds per sample at a batch size, over fixed rows, after a warm-up.

    Raises:
        OutOfMemoryError: no room for a pass.
    """
    encoded = _split(engine, split)
    rows = stratified_rows(None, len(encoded.lengths), batch_size * batches)
    try:
        _read(engine, slot, encoded, _equal(rows[: 3 * batch_size], batch_size))
        timed = _read(engine, slot, encoded, _equal(rows, batch_size))
    except Exception as error:  # noqa: BLE001 - raised again as one of ours
        reraise(error, engine.device)
    p50, p95 = latency_percentiles(timed.seconds or [0.0])
    return {"latency_ms_p50": p50, "latency_ms_p95": p95, "latency_batch_size": batch_size}


def _split(engine: Engine, name: str) -> EncodedSplit:
    if name not in ("train", "validation", "test"):
        raise UsageError(f"`split` must be train, validation or test, but got {name!r}. Use 'validation'.")
    encoded: EncodedSplit | None = getattr(engine.data, name)
    if encoded is None or not len(encoded.lengths):
        raise UsageError(f"A run is scored on rows, but the {name} split is empty. Give more data or `--{name}`.")
    return encoded


def _equal(rows: np.ndarray[Any, Any], batch_size: int) -> list[_Batch]:
    """All rows in timed batches of one size."""
    return [_Batch(rows[i : i + batch_size], True) for i in range(0, len(rows), batch_size)]


def _mixed(rows: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]) -> list[_Batch]:
    """Some batches to be timed, evenly spread over the rows as they come, and the rest as large as is good."""
    equal = _equal(rows, EVALUATION_BATCH)
    wanted = max(1, min(TIMED_BATCHES, len(equal) // 4))
    timed = {(2 * i + 1) * len(equal) // (2 * wanted) for i in range(wanted)}
    batches = []
    waiting: list[int] = []
    for number, batch in enumerate(equal):
        if number in timed:
            batches.append(batch)
            continue
        for row in batch.rows.tolist():
            if waiting and (len(waiting) + 1) * max(int(lengths[row]), int(lengths[waiting[-1]])) > TOKENS:
                batches.append(_Batch(np.asarray(waiting), False))
                waiting = []
            waiting.append(row)
    if waiting:
        batches.append(_Batch(np.asarray(waiting), False))
    return batches


def _read(engine: Engine, slot: Slot, split: EncodedSplit, batches: list[_Batch]) -> _Tally:
    tally = _Tally()
    model, row_map = engine.model_of(slot)
    task = engine.base.task
    model.eval()
    for batch in batches:
        segment = Segment(slot.number, 0, len(batch.rows))
        one = make_round(split, batch.rows, [segment], engine.data.pad_id, task, engine.device)
        if batch.timed:
            one = replace(one, split=None)  # what is served later has no cache of hidden states
        began = time.perf_counter()
        with torch.no_grad(), engine.passing(slot, row_map, one):
            logits, targets = pass_logits(model, one.batch, task, row_map)
            if engine.device.type == "cuda":
                torch.cuda.synchronize(engine.device)
            if batch.timed:
                tally.seconds.append((time.perf_counter() - began) / len(batch.rows))
            (loss,) = segment_losses(logits, targets, one.terms, [0.0])
        tally.loss += float(loss)
        tally.terms += one.terms[0]
        if task != "causal-lm":
            tally.truth += targets.tolist()
            tally.predicted += logits.argmax(dim=-1).tolist()
    return tally
