"""The packed model on a CPU: quicker parts that change no number, each proved before it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from autoglm_nb.models.apply import share_frozen
from autoglm_nb.models.targets import transformer_layers
from autoglm_nb.training import plan_run
from autoglm_nb.training.build import PackedModel
from autoglm_nb.training.frozen import FrozenLinear
from autoglm_nb.training.lastlayer import read_first_token_only
from tests.training.conftest import run_losses

MEASURES = ("none", "products", "attention", "first-token", "prefix", "all")


def curve(make_engine: Callable[..., Any], kind: str, **config: Any) -> list[float]:
    engine = make_engine(kind)
    plan = plan_run(
        "t", {"rank": 4, "dropout": 0.1, "learning_rate": 5e-3, "batch_size": 8, "steps": 20, **config}, 3, engine.data
    )
    slot = engine.admit(plan)
    losses = run_losses(engine, slot, 20)
    return [*losses, engine.evaluate(slot)["loss"]]


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_no_measure_changes_a_curve(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Twenty steps with dropout and an evaluation, under each measure alone and under all, to 1e-5."""
    curves = {}
    for measure in MEASURES:
        monkeypatch.setenv("AUTOGLM_CPU_PATH", measure)
        curves[measure] = curve(make_engine, kind, target_modules="all-linear", top_layers=1)
    for measure in MEASURES[1:]:
        np.testing.assert_allclose(curves[measure], curves["none"], rtol=1e-5, err_msg=measure)


def test_the_measures_are_on_record(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`describe` names processor, threads, products and what was replaced; nothing where nothing was."""
    said = PackedModel(encoder, torch.float32, False).describe()
    assert said["short_attention"] and said["first_token_only"]
    assert set(said["products"]) == {"32x32", "64x32", "32x64"} and said["threads"] == torch.get_num_threads()
    monkeypatch.setenv("AUTOGLM_CPU_PATH", "none")
    assert PackedModel(encoder, torch.float32, False).describe() == {}


def test_frozen_layers_are_replaced_and_the_base_is_not(encoder: Any) -> None:
    """Every layer's products are frozen ones in the pack; heads stay as they are."""
    packed = PackedModel(encoder, torch.float32, False)
    assert sum(isinstance(m, FrozenLinear) for m in packed.model.modules()) == 2 * 6 + 1
    assert not any(isinstance(m, FrozenLinear) for m in encoder.model.modules())


def test_the_last_layer_gives_one_position_and_the_same_logits(encoder: Any) -> None:
    """Padded rows, both kinds of last layer, from the same weights."""
    model: Any = share_frozen(encoder.model)
    layer = transformer_layers(model)[-1][1]
    ids = (torch.arange(30).view(3, 10) * 31 + 1) % 60
    mask = torch.ones_like(ids)
    mask[2, 3:] = 0
    want = model(input_ids=ids, attention_mask=mask).logits
    assert read_first_token_only(model, layer)
    shapes: list[Any] = []
    layer.intermediate.register_forward_hook(lambda _m, args, _o: shapes.append(tuple(args[0].shape)))
    torch.testing.assert_close(model(input_ids=ids, attention_mask=mask).logits, want, rtol=1e-5, atol=1e-6)
    assert shapes == [(3, 1, 32)]


def test_a_classifier_that_reads_other_tokens_keeps_its_last_layer(encoder: Any) -> None:
    """Mean pooling reads every position: the two ways disagree, and the layer stays whole."""
    from autoglm_nb.models.pooling import pool_by_mean

    model: Any = share_frozen(encoder.model)
    pool_by_mean(model)
    ids = (torch.arange(30).view(3, 10) * 31 + 1) % 60
    want = model(input_ids=ids).logits
    layer = transformer_layers(model)[-1][1]
    assert not read_first_token_only(model, layer)
    assert "forward" not in vars(layer)
    assert torch.equal(model(input_ids=ids).logits, want)


def test_a_decoder_keeps_its_last_layer(decoder: Any) -> None:
    """Its loss is taken at every labelled position."""
    model: Any = share_frozen(decoder.model)
    assert not read_first_token_only(model, transformer_layers(model)[-1][1])


def test_dropout_masks_of_the_last_layer_do_not_depend_on_the_positions_left_out(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mask is a hash of row and position, so the first token's is the same with and without the others."""
    curves = []
    for measure in ("none", "first-token"):
        monkeypatch.setenv("AUTOGLM_CPU_PATH", measure)
        curves.append(curve(make_engine, "encoder", dropout=0.4, target_modules="all-linear"))
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5)
