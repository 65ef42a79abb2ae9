"""The frozen lower part: the same numbers as through the whole model, computed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoglm_nb.training import plan_run
from autoglm_nb.training.prefix import FrozenPrefix, _blocks, frozen_depth
from tests.training.conftest import run_losses

TOP: dict[str, Any] = {
    "method": "lora", "rank": 4, "dropout": 0.1, "top_layers": 1, "target_modules": "all-linear",
    "learning_rate": 5e-3, "batch_size": 8, "steps": 40,
}  # fmt: skip


def curve(
    make_engine: Callable[..., Any], kind: str, config: dict[str, Any], steps: int, split: str
) -> tuple[Any, Any]:
    engine = make_engine(kind)
    slot = engine.admit(plan_run("t", config, 3, engine.data))
    losses = run_losses(engine, slot, steps)
    return [*losses, engine.evaluate(slot, split)["loss"]], engine


def layer_passes(model: Any, number: int) -> list[int]:
    """Rows of every pass that runs the feed-forward part of a layer."""
    from autoglm_nb.models.targets import transformer_layers

    seen: list[int] = []
    layer = transformer_layers(model)[number][1]
    part = getattr(layer, "intermediate", None) or layer.mlp
    part.register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape[0]))
    return seen


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("method", ["lora", "dora", "top-k"])
def test_losses_above_a_frozen_prefix_equal_those_of_the_whole_model(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, kind: str, method: str
) -> None:
    """24 steps and an evaluation, with and without the cache, agree to rounding."""
    config = {**TOP, "method": method, "top_k": 1}
    with_cache, engine = curve(make_engine, kind, config, 24, "train")
    assert engine.prefix.rows_served > 0
    monkeypatch.setenv("AUTOGLM_PREFIX_MB", "0")
    without, engine = curve(make_engine, kind, config, 24, "train")
    assert engine.prefix.rows_served == 0
    np.testing.assert_allclose(with_cache, without, rtol=1e-5)


def test_the_head_alone_reads_states_of_the_last_layer(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training only the head runs no layer at all after the first epoch."""
    config = {"method": "head", "learning_rate": 1e-2, "batch_size": 8, "steps": 40}
    with_cache, engine = curve(make_engine, "encoder", config, 24, "train")
    assert engine.prefix.rows_computed <= len(engine.data.train)
    monkeypatch.setenv("AUTOGLM_PREFIX_MB", "0")
    np.testing.assert_allclose(with_cache, curve(make_engine, "encoder", config, 24, "train")[0], rtol=1e-5)


def test_each_row_goes_through_the_prefix_once_for_all_trials_and_epochs(
    make_engine: Callable[..., Any],
) -> None:
    """Two packed trials and a later one: the lower layer sees every row once, and those of the timed batches.

    An evaluation of 96 rows times one batch of 32, which goes through the whole model.
    """
    engine = make_engine(capacity=2)
    slots = [engine.admit(plan_run(f"t{i}", {**TOP, "rank": 2 + i}, i, engine.data)) for i in range(2)]
    lower = layer_passes(engine._packed.model, 0)
    upper = layer_passes(engine._packed.model, 1)
    for _ in range(30):
        engine.step()
    for slot in slots:
        engine.evaluate(slot, "train")
        engine.evict(slot)
    slot = engine.admit(plan_run("late", {**TOP, "batch_size": 5}, 9, engine.data))
    run_losses(engine, slot, 20)
    engine.evaluate(slot, "train")
    rows, timed = len(engine.data.train), 3 * 32
    assert engine.prefix.rows_computed == rows and sum(lower) == rows + timed
    assert sum(upper) > 5 * rows
    assert engine.prefix.describe()["rows_served"] == sum(upper) - timed


def test_a_neighbour_that_adapts_lower_layers_turns_the_prefix_off_and_nothing_else(
    make_engine: Callable[..., Any],
) -> None:
    """In a shared pass the lowest adapted layer decides; the upper trial's losses stay what they are alone."""
    alone, _ = curve(make_engine, "encoder", TOP, 12, "train")
    engine = make_engine(capacity=2)
    upper = engine.admit(plan_run("t", TOP, 3, engine.data))
    engine.admit(plan_run("w", {**TOP, "top_layers": 2}, 5, engine.data))
    losses = [engine.step()[upper].loss for _ in range(12)]
    np.testing.assert_allclose([*losses, engine.evaluate(upper, "train")["loss"]], alone, rtol=1e-5)


def test_a_resumed_run_meets_the_very_same_states(make_engine: Callable[..., Any], tmp_path: Path) -> None:
    """Blocks depend on the data alone: a run taken up in a fresh engine repeats the uninterrupted one bit for bit."""
    plan = lambda engine: plan_run("t", TOP, 3, engine.data)  # noqa: E731
    engine = make_engine()
    slot = engine.admit(plan(engine))
    run_losses(engine, slot, 7)
    engine.save_checkpoint(slot, tmp_path / "c")
    rest = run_losses(engine, slot, 6)
    engine = make_engine()
    slot = engine.admit(plan(engine), tmp_path / "c")
    assert run_losses(engine, slot, 6) == rest


def test_what_does_not_fit_into_the_budget_is_not_kept(encoder: Any, reviews: Any) -> None:
    """A split larger than the budget runs whole; a smaller one beside it is kept."""
    from autoglm_nb.models.targets import transformer_layers

    width = encoder.model.config.hidden_size
    names = [name for name, _ in transformer_layers(encoder.model)]
    small = 4 * width * len(reviews.validation.input_ids)
    assert small < 4 * width * len(reviews.train.input_ids)
    prefix = FrozenPrefix(reviews, names, budget_bytes=small)
    assert prefix._store(encoder.model, reviews.train, 1) is None
    assert prefix._store(encoder.model, reviews.validation, 1) is not None
    assert prefix._store(encoder.model, reviews.validation, 2) is None
    assert prefix.bytes_used == small


def test_depths_by_method(encoder: Any) -> None:
    """The lowest target decides for LoRA; methods that touch the embeddings leave nothing frozen."""
    from autoglm_nb.models import method_config
    from autoglm_nb.models.targets import transformer_layers

    names = [name for name, _ in transformer_layers(encoder.model)]
    expected = {"lora": 0, "dora": 0, "head": 2, "top-k": 1, "full": 0, "adapter": 0, "prompt": 0, "p-tuning": 0}
    for method, depth in expected.items():
        assert frozen_depth(method_config({"method": method, "top_k": 1}, encoder), names) == depth, method
    assert frozen_depth(method_config({"top_layers": 1}, encoder), names) == 1
    listed = {"target_modules": ["layer.1.attention.self.query"]}
    assert frozen_depth(method_config(listed, encoder), names) == 1


def test_blocks_hold_every_row_once_and_rows_of_like_length() -> None:
    """The blocks partition the rows; a row longer than a block has one of its own."""
    generator = np.random.default_rng(0)
    lengths = np.concatenate([generator.integers(3, 90, 500), [5000]])
    blocks = _blocks(lengths)
    assert sorted(np.concatenate(blocks).tolist()) == list(range(501))
    assert all(lengths[b].max() * len(b) <= 2048 or len(b) == 1 for b in blocks)
    assert len(blocks) < 1.3 * lengths.sum() / 2048 + 2


def test_an_adapter_of_upper_layers_loads_with_plain_peft(make_engine: Callable[..., Any], tmp_path: Path) -> None:
    """What `top_layers` saves names only the upper modules, and PEFT gives the same logits."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    from autoglm_nb.data import collate

    engine = make_engine()
    slot = engine.admit(plan_run("t", {**TOP, "dropout": 0.0}, 3, engine.data))
    run_losses(engine, slot, 10)
    folder = engine.save_adapter(slot, tmp_path / "adapter")
    base = AutoModelForSequenceClassification.from_pretrained(engine.base.resolved.path, num_labels=2)
    tuned = PeftModel.from_pretrained(base, str(folder)).eval()
    changed = [n for n, _ in tuned.named_parameters() if "lora_A" in n]
    assert changed and all(".layer.1." in n for n in changed)
    rows = list(range(len(engine.data.validation)))
    batch = collate(engine.data.validation, rows, engine.data.pad_id)
    with torch.no_grad():
        loss = tuned(**batch).loss.item()
    assert engine.evaluate(slot)["loss"] == pytest.approx(loss, rel=1e-5)
