"""Methods on tiny models: what trains, how much of it, and that the base stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from autoglm_nb.errors import CheckpointError
from autoglm_nb.models import METHODS, LoadedBase, apply_method, method_config, trainable_share, trainable_state
from autoglm_nb.models.apply import load_trainable_state, share_frozen
from autoglm_nb.models.prompts import P_TUNING_WIDTH
from tests.models.helpers import load, logits_of, reviews, train

SETTINGS: dict[str, Any] = {
    "rank": 4,
    "adapter_width": 8,
    "prompt_length": 3,
    "top_k": 1,
    "target_modules": "attention",
}
STARTS_UNCHANGED = [m for m in METHODS if m not in ("prompt", "p-tuning")]


@pytest.fixture(scope="module")
def encoder(tiny_encoder_path: Path) -> LoadedBase:
    return load(tiny_encoder_path)


@pytest.fixture(scope="module")
def decoder(tiny_decoder_path: Path) -> LoadedBase:
    return load(tiny_decoder_path, "causal-lm")


def applied(base: LoadedBase, method: str, **settings: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return apply_method(base, method_config({**SETTINGS, "method": method, **settings}, base))


def trained_numbers(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


# Sizes of the tiny encoder, counted by hand from its architecture.
H, INNER, LAYERS, HEAD = 32, 64, 2, 2 * 32 + 2
LAYER = 4 * (H * H + H) + (H * INNER + INNER) + (INNER * H + H) + 2 * 2 * H


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("lora", LAYERS * 4 * (4 * H + H * 4) + HEAD),
        ("dora", LAYERS * 4 * (4 * H + H * 4 + H) + HEAD),
        ("adapter", LAYERS * 2 * (H * 8 + 8 + 8 * H + H) + HEAD),
        ("prompt", 3 * H + HEAD),
        (
            "p-tuning",
            3 * H
            + HEAD
            + (H * P_TUNING_WIDTH + P_TUNING_WIDTH)
            + (P_TUNING_WIDTH**2 + P_TUNING_WIDTH)
            + (P_TUNING_WIDTH * H + H),
        ),
        ("head", HEAD),
        ("top-k", LAYER + HEAD),
    ],
)
def test_trainable_parameters_are_those_of_the_formula(encoder: LoadedBase, method: str, expected: int) -> None:
    model = applied(encoder, method)
    assert trained_numbers(model) == expected
    total = sum(p.numel() for p in model.parameters())
    assert trainable_share(model) == pytest.approx(expected / total)


def test_full_trains_everything(encoder: LoadedBase, decoder: LoadedBase) -> None:
    assert trainable_share(applied(encoder, "full")) == 1.0
    full = applied(decoder, "full")
    assert full.lm_head.weight is full.model.embed_tokens.weight  # type: ignore[union-attr]


@pytest.mark.parametrize("method", STARTS_UNCHANGED)
def test_a_method_starts_from_the_unchanged_model(encoder: LoadedBase, method: str) -> None:
    texts, _ = reviews(4)
    before = logits_of(encoder.model, encoder.tokenizer, texts)
    torch.testing.assert_close(logits_of(applied(encoder, method).eval(), encoder.tokenizer, texts), before)


@pytest.mark.parametrize("method", list(METHODS))
def test_training_changes_the_answers_and_never_the_base(encoder: LoadedBase, method: str) -> None:
    texts, _ = reviews(4)
    weights = {name: p.clone() for name, p in encoder.model.named_parameters()}
    model = applied(encoder, method)
    before = logits_of(model.eval(), encoder.tokenizer, texts)
    train(model, encoder, steps=2)
    assert (logits_of(model, encoder.tokenizer, texts) - before).abs().max() > 1e-4
    for name, parameter in encoder.model.named_parameters():
        assert torch.equal(parameter, weights[name]), name
        assert not parameter.requires_grad
    assert not encoder.model._forward_hooks


def test_frozen_weights_are_shared_with_the_base(encoder: LoadedBase) -> None:
    of_base = {p.data_ptr() for p in encoder.model.parameters()}
    for method in METHODS:
        for name, parameter in applied(encoder, method).named_parameters():
            if method == "dora" and "magnitude" in name:
                continue
            assert (parameter.data_ptr() in of_base) == (not parameter.requires_grad), (method, name)


def test_a_shared_copy_keeps_ties(decoder: LoadedBase) -> None:
    copy: Any = share_frozen(decoder.model)
    assert copy.lm_head.weight is copy.model.embed_tokens.weight


@pytest.mark.parametrize("method", [m for m in METHODS if m != "head"])
@pytest.mark.parametrize("task", ["classification", "causal-lm"])
def test_logits_line_up_with_the_input_and_padding_changes_nothing(
    tiny_decoder_path: Path, method: str, task: str
) -> None:
    """Rows of unlike length in one padded batch answer as they do alone."""
    base = load(tiny_decoder_path, task)
    model = applied(base, method).eval()
    texts = ["this film was good", "the plot was really quite dull and we thought the script seemed weak"]
    alone = [logits_of(model, base.tokenizer, [text]) for text in texts]
    batch = base.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        together = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    for row, single in enumerate(alone):
        mine = together[row].reshape(-1, single.shape[-1])[: len(single)]
        torch.testing.assert_close(mine, single, rtol=1e-4, atol=1e-5)


def test_a_prompt_starts_from_embeddings_of_the_vocabulary(encoder: LoadedBase) -> None:
    model: Any = applied(encoder, "prompt")
    prompt = model.prompt_encoder["default"].embedding.weight
    vocabulary = encoder.model.get_input_embeddings().weight
    assert (torch.cdist(prompt, vocabulary).min(dim=1).values < 1e-4).all()


def test_equal_seeds_give_equal_starts(encoder: LoadedBase) -> None:
    for method in METHODS:
        first, second = trainable_state(applied(encoder, method)), trainable_state(applied(encoder, method))
        assert all(torch.equal(first[name], second[name]) for name in first), method


@pytest.mark.parametrize("method", list(METHODS))
def test_a_checkpointed_state_goes_back_in(encoder: LoadedBase, method: str) -> None:
    model = applied(encoder, method)
    train(model, encoder, steps=2)
    state = {name: t.clone() for name, t in trainable_state(model).items()}
    torch.manual_seed(1)
    other = apply_method(encoder, method_config({**SETTINGS, "method": method}, encoder))
    load_trainable_state(other, state)
    assert all(torch.equal(t, state[name]) for name, t in trainable_state(other).items())


def test_a_state_of_another_configuration_is_refused(encoder: LoadedBase) -> None:
    model = applied(encoder, "lora")
    with pytest.raises(CheckpointError, match=r"another configuration"):
        load_trainable_state(model, trainable_state(applied(encoder, "lora", rank=8)))
    with pytest.raises(CheckpointError, match=r"another configuration"):
        load_trainable_state(model, trainable_state(applied(encoder, "head")))


def test_a_bottleneck_is_the_papers_formula(encoder: LoadedBase) -> None:
    """Against the formula h + W_up gelu(W_down h + b) + b' written out."""
    from autoglm_nb.models.bottleneck import Bottleneck

    torch.manual_seed(0)
    adapter = Bottleneck(7, 3).double()
    torch.nn.init.normal_(adapter.up.weight)
    x = torch.randn(2, 5, 7, dtype=torch.float64)
    inner = x @ adapter.down.weight.T + adapter.down.bias
    expected = x + (0.5 * inner * (1 + torch.erf(inner / 2**0.5))) @ adapter.up.weight.T + adapter.up.bias
    torch.testing.assert_close(adapter(x), expected)
    assert torch.autograd.gradcheck(adapter, x.requires_grad_())
