"""Evaluation against predictions made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from autoglm_nb.data import collate
from autoglm_nb.errors import OutOfMemoryError, UsageError
from autoglm_nb.training import evaluate, plan_run
from tests.training.conftest import run_losses

METHODS = ("lora", "dora", "adapter", "prompt", "p-tuning", "head", "top-k", "full")
CONFIG: dict[str, Any] = {"method": "full", "learning_rate": 1e-3, "batch_size": 8, "steps": 20}


def test_classification_metrics_are_those_of_the_rows_one_by_one(make_engine: Callable[..., Any]) -> None:
    """Loss, accuracy and macro F1 over the training rows, each read alone and scored by scikit-learn."""
    engine = make_engine()
    slot = engine.admit(plan_run("t", CONFIG, 0, engine.data))
    run_losses(engine, slot, 3)
    metrics = engine.evaluate(slot, "train")
    model, split = engine._slots[slot].model, engine.data.train
    losses, predicted = [], []
    model.eval()
    with torch.no_grad():
        for i in range(len(split)):
            out = model(**collate(split, [i], engine.data.pad_id))
            losses.append(out.loss.item())
            predicted.append(out.logits.argmax().item())
    assert metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(accuracy_score(split.labels, predicted))
    assert metrics["macro_f1"] == pytest.approx(f1_score(split.labels, predicted, average="macro"))
    assert metrics["rows"] == len(split)


def test_perplexity_is_over_tokens_not_rows(make_engine: Callable[..., Any]) -> None:
    """The mean over all scored tokens, from logits at every position."""
    engine = make_engine("decoder")
    slot = engine.admit(plan_run("t", CONFIG, 0, engine.data))
    run_losses(engine, slot, 3)
    metrics = engine.evaluate(slot, "train")
    model, split = engine._slots[slot].model, engine.data.train
    total, tokens = 0.0, 0
    with torch.no_grad():
        for i in range(len(split)):
            batch = collate(split, [i], engine.data.pad_id)
            labels = batch.pop("labels")[:, 1:]
            logits = model.eval()(**batch).logits[:, :-1]
            scored = labels != -100
            total += torch.nn.functional.cross_entropy(logits[scored], labels[scored], reduction="sum").item()
            tokens += int(scored.sum())
    assert metrics["tokens"] == tokens
    assert metrics["loss"] == pytest.approx(total / tokens, rel=1e-5)
    assert metrics["perplexity"] == pytest.approx(np.exp(total / tokens), rel=1e-4)


def test_the_end_token_is_scored_though_it_is_the_pad_token(make_engine: Callable[..., Any]) -> None:
    """Padding is told by labels, not by the pad id."""
    engine = make_engine("decoder")
    assert engine.data.pad_id == engine.base.tokenizer.eos_token_id
    split = engine.data.train
    ends = [split.row_labels(i)[-1] for i in range(len(split))]
    assert all(label == engine.data.pad_id for label in ends)
    slot = engine.admit(plan_run("t", CONFIG, 0, engine.data))
    expected = sum(int((split.row_labels(i)[1:] != -100).sum()) for i in range(len(split)))
    assert engine.evaluate(slot, "train")["tokens"] == expected


def test_padding_with_another_id_changes_no_result(make_engine: Callable[..., Any], pairs: Any) -> None:
    """Neither losses nor metrics see what padding is filled with."""
    outcomes = []
    for pad_id in (2, 7):
        engine = make_engine("decoder")
        engine.data = replace(pairs, pad_id=pad_id)
        slot = engine.admit(plan_run("t", {**CONFIG, "method": "lora"}, 0, engine.data))
        outcomes.append([*run_losses(engine, slot, 4), engine.evaluate(slot)["loss"]])
    assert outcomes[0] == outcomes[1]


def test_a_limit_uses_the_same_stratified_rows_each_time(make_engine: Callable[..., Any]) -> None:
    """Partial evaluations of one run at one step are identical, and of the stated size."""
    engine = make_engine()
    slot = engine.admit(plan_run("t", CONFIG, 0, engine.data))
    one, two = (engine.evaluate(slot, "train", limit_rows=21) for _ in range(2))
    assert one["rows"] == 21
    assert all(one[k] == two[k] for k in ("loss", "accuracy", "macro_f1"))


def test_latency_is_stated_with_its_batch_size(make_engine: Callable[..., Any]) -> None:
    """p50 is not above p95, and a single-sample measurement says so."""
    engine = make_engine()
    slot = engine.admit(plan_run("t", CONFIG, 0, engine.data))
    metrics = engine.evaluate(slot, "train")
    assert 0 < metrics["latency_ms_p50"] <= metrics["latency_ms_p95"]
    assert metrics["latency_batch_size"] == 32
    alone = engine.latency(slot, batch_size=1, batches=10)
    assert alone["latency_batch_size"] == 1
    assert alone["latency_ms_p50"] > metrics["latency_ms_p50"]


@pytest.mark.slow
def test_evaluation_halves_its_batch_when_memory_is_short(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metrics are those of the whole batch; the batch size that worked is stated."""
    import autoglm_nb.training.evaluate as module

    engine = make_engine()
    slot = engine.admit(plan_run("t", CONFIG, 0, engine.data))
    expected = engine.evaluate(slot, "train")
    whole = module.pass_logits

    def small(model: Any, batch: Any, *rest: Any) -> Any:
        if len(batch["input_ids"]) > 8:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return whole(model, batch, *rest)

    monkeypatch.setattr(module, "pass_logits", small)
    got = engine.evaluate(slot, "train")
    assert got["latency_batch_size"] == 8
    assert got["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert got["accuracy"] == expected["accuracy"]


def test_an_unknown_split_is_refused(make_engine: Callable[..., Any]) -> None:
    engine = make_engine()
    slot = engine.admit(plan_run("t", CONFIG, 0, engine.data))
    with pytest.raises(UsageError, match="validation"):
        engine.evaluate(slot, "valid")


@pytest.mark.parametrize(
    ("kind", "method"),
    [(k, m) for k in ("encoder", "decoder") for m in METHODS if (k, m) != ("decoder", "head")],
)
def test_a_saved_adapter_reproduces_the_measured_loss(
    make_engine: Callable[..., Any], tmp_path: Path, kind: str, method: str
) -> None:
    """What `save_adapter` writes, read back by the models room, scores the same on the same rows."""
    from autoglm_nb.models import load_adapter

    engine = make_engine(kind)
    config = {**CONFIG, "method": method, "rank": 4, "prompt_length": 4, "top_k": 1, "learning_rate": 5e-3}
    slot = engine.admit(plan_run("t", config, 0, engine.data))
    run_losses(engine, slot, 5)
    expected = engine.evaluate(slot, "train")["loss"]
    engine.save_adapter(slot, tmp_path / "adapter", extra={"run": "t"})
    model, split = load_adapter(tmp_path / "adapter", engine.base), engine.data.train
    total, terms = 0.0, 0
    with torch.no_grad():
        for i in range(len(split)):
            batch = collate(split, [i], engine.data.pad_id)
            labels = batch.pop("labels")
            logits = model(**batch).logits
            if kind == "decoder":
                scored = labels[:, 1:] != -100
                logits, labels = logits[:, :-1][scored], labels[:, 1:][scored]
            total += torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item()
            terms += len(labels)
    assert expected == pytest.approx(total / terms, rel=1e-4)


def test_batches_hold_every_row_once_and_few_are_timed() -> None:
    """1,000 ragged rows: six timed batches of 32 over all lengths, the others near 2,048 tokens and never above."""
    from autoglm_nb.training.evaluate import _mixed

    lengths = np.sort(np.random.default_rng(0).integers(4, 90, 1000))
    batches = _mixed(np.arange(1000), lengths)
    assert sorted(np.concatenate([b.rows for b in batches]).tolist()) == list(range(1000))
    timed = [b for b in batches if b.timed]
    assert [len(b.rows) for b in timed] == [32] * 6
    assert lengths[timed[0].rows].max() < 20 and lengths[timed[-1].rows].min() > 75
    padded = [len(b.rows) * lengths[b.rows].max() for b in batches if not b.timed]
    assert max(padded) <= 2048 and np.median(padded) > 1700
    assert [b.timed for b in _mixed(np.arange(5), lengths)] == [True]


def test_latency_that_runs_out_of_memory_is_the_runs_own_fault(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's bare error becomes the one that fails a run, and not its study."""
    engine = make_engine()
    slot = engine.admit(plan_run("run", {"rank": 2}, 0, engine.data))

    def starved(*_: Any, **__: Any) -> None:
        torch.empty(2**50, dtype=torch.uint8)

    monkeypatch.setattr(evaluate, "pass_logits", starved)
    with pytest.raises(OutOfMemoryError):
        engine.latency(slot, batch_size=1, batches=2)
