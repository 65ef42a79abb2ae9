"""Target modules by meaning, on three architectures that name them differently."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from autoglm_nb.errors import ModelError
from autoglm_nb.models import target_modules
from autoglm_nb.models.targets import adapter_sites, linear_size, transformer_layers
from tests.models.helpers import load


def test_qv_means_query_and_value_of_every_layer_in_an_encoder(tiny_encoder_path: Path) -> None:
    names = target_modules(load(tiny_encoder_path).model, "qv")
    assert names == [f"bert.encoder.layer.{i}.attention.self.{p}" for i in (0, 1) for p in ("query", "value")]


def test_attention_adds_key_and_output_but_no_feed_forward(tiny_decoder_path: Path) -> None:
    names = target_modules(load(tiny_decoder_path, "causal-lm").model, "attention")
    assert [n.rsplit(".", 1)[1] for n in names[:4]] == ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert len(names) == 8


def test_all_linear_leaves_out_embeddings_pooler_and_head(tiny_encoder_path: Path) -> None:
    names = target_modules(load(tiny_encoder_path).model, "all-linear")
    assert len(names) == 2 * 6
    assert not any("pooler" in n or "classifier" in n or "embeddings" in n for n in names)


def test_a_list_may_name_endings_or_full_names(tiny_decoder_path: Path) -> None:
    model = load(tiny_decoder_path, "causal-lm").model
    assert len(target_modules(model, ["mlp.down_proj", "q_proj"])) == 4
    assert target_modules(model, ["model.layers.1.mlp.up_proj"]) == ["model.layers.1.mlp.up_proj"]


def test_a_fused_projection_stands_in_for_query_and_value_and_its_transposed_size_is_read_right() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=24, n_head=2, vocab_size=11, n_positions=8))
    names = target_modules(model, "qv")
    assert names == ["transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_attn"]
    assert linear_size(model.get_submodule(names[0])) == (24, 72)
    assert len(adapter_sites(model)) == 4


def test_an_unknown_module_is_refused_with_the_closest_name(tiny_encoder_path: Path) -> None:
    model = load(tiny_encoder_path).model
    with pytest.raises(ModelError, match=r"got 'quary'\. Did you mean .*query"):
        target_modules(model, ["quary"])
    with pytest.raises(ModelError, match=r"got 'all_linear'\. Did you mean 'all-linear'"):
        target_modules(model, "all_linear")
    with pytest.raises(ModelError, match=r"at least one layer"):
        target_modules(model, [])


def test_adapters_go_after_attention_output_and_feed_forward_output(tiny_encoder_path: Path) -> None:
    assert adapter_sites(load(tiny_encoder_path).model) == [
        f"bert.encoder.layer.{i}.{site}" for i in (0, 1) for site in ("attention.output.dense", "output.dense")
    ]


def test_the_layers_are_the_stack_of_like_modules(tiny_decoder_path: Path) -> None:
    layers = transformer_layers(load(tiny_decoder_path, "causal-lm").model)
    assert [name for name, _ in layers] == ["model.layers.0", "model.layers.1"]
