"""Configurations of methods: defaults, what is refused and in which words."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from autoglm_nb.errors import ModelError
from autoglm_nb.models import MethodConfig, check, check_space_against_model, method_config
from tests.models.helpers import load


def space(*dimensions: dict[str, object], **constants: object) -> dict[str, object]:
    return {
        "version": 1,
        "dimensions": list(dimensions),
        "constants": [{"name": name, "value": value} for name, value in constants.items()],
    }


def test_a_missing_value_takes_the_default_and_other_rooms_keys_are_left_alone(tiny_encoder_path: Path) -> None:
    config = method_config({"method": "lora", "learning_rate": 1e-3, "alpha": None}, load(tiny_encoder_path))
    assert (config.rank, config.alpha, config.targets) == (8, 16.0, "qv")
    assert config.head_modules == ("classifier",)
    assert len(config.target_modules) == 4


@pytest.mark.parametrize(("use_rslora", "expected"), [(False, 16 / 4), (True, 16 / 2)])
def test_scaling_is_alpha_over_rank_and_over_its_root_for_rank_stabilised(use_rslora: bool, expected: float) -> None:
    assert MethodConfig("lora", "causal-lm", rank=4, alpha=16.0, use_rslora=use_rslora).scaling == expected


def test_a_rank_larger_than_the_smallest_adapted_layer_is_refused(tiny_encoder_path: Path) -> None:
    with pytest.raises(ModelError, match=r"must not exceed the smallest adapted layer \(32 for .*rank=64.*at most 32"):
        method_config({"rank": 64}, load(tiny_encoder_path))


def test_the_promised_sentence_for_minilm_without_loading_it() -> None:
    with pytest.raises(ModelError) as caught:
        method_config({"method": "lora", "rank": 512}, check("minilm"), task="classification")
    assert str(caught.value).startswith(
        "`rank` must not exceed the smallest adapted layer (384 for minilm), but got rank=512. Choose at most 64"
    )


def test_grouped_queries_make_the_value_projection_the_smallest_layer(tiny_decoder_path: Path) -> None:
    base = load(tiny_decoder_path, "causal-lm")
    with pytest.raises(ModelError, match=r"\(16 for"):
        method_config({"rank": 17, "target_modules": "qv"}, base)
    assert method_config({"rank": 17, "target_modules": ["q_proj"]}, base).rank == 17


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"method": "lora", "rank": 0}, r"`rank` must be a positive integer, but got rank=0\. Choose 4, 8 or 16"),
        ({"method": "lora", "rank": True}, "`rank` must be a positive integer"),
        ({"method": "lora", "dropout": 1.0}, "`dropout` must be at least 0 and below 1, but got dropout=1.0"),
        ({"method": "lora", "alpha": 0}, "`alpha` must be above 0"),
        ({"method": "lora", "lora_plus_ratio": 0.5}, "`lora_plus_ratio` must be at least 1"),
        ({"method": "lora", "use_rslora": "yes"}, "`use_rslora` must be True or False"),
        ({"method": "lora", "target_modules": [3]}, "`target_modules` must be one of"),
        ({"method": "top-k", "top_k": 3}, r"`top_k` must not exceed the number of layers \(2 for .*top_k=3"),
        ({"method": "prompt", "prompt_length": 65}, r"`prompt_length` must leave room for the text \(at most 64"),
        ({"method": "adaptor"}, "got 'adaptor'. Did you mean 'adapter'"),
    ],
)
def test_what_does_not_fit_is_refused_with_rule_value_and_remedy(
    tiny_encoder_path: Path, config: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence):
        method_config(config, load(tiny_encoder_path))


def test_all_faults_are_told_at_once(tiny_encoder_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        method_config({"rank": 0, "dropout": 2}, load(tiny_encoder_path))
    assert len(caught.value.faults) == 2


def test_a_value_of_another_method_is_not_judged(tiny_encoder_path: Path) -> None:
    assert method_config({"method": "head", "rank": 10**6}, load(tiny_encoder_path)).method == "head"


def test_head_only_needs_a_head(tiny_decoder_path: Path) -> None:
    with pytest.raises(ModelError, match=r"needs a classification head"):
        method_config({"method": "head"}, load(tiny_decoder_path, "causal-lm"))


def test_a_bare_model_will_do_for_a_base(tiny_encoder_path: Path) -> None:
    base = load(tiny_encoder_path)
    assert method_config({"rank": 4}, base.model) == method_config({"rank": 4}, base)


@pytest.mark.parametrize("method", ["lora", "adapter", "prompt", "top-k", "full"])
def test_a_config_survives_json(tiny_encoder_path: Path, method: str) -> None:
    config = method_config({"method": method, "rank": 4, "top_k": 1, "prompt_length": 5}, load(tiny_encoder_path))
    back = MethodConfig.from_json(config.to_json())
    assert back.to_json() == config.to_json()
    if method == "lora":
        assert back == config


def test_a_space_is_checked_against_the_shape_before_anything_is_loaded() -> None:
    report = check("minilm")
    faults = check_space_against_model(
        space(
            {"name": "rank", "kind": "categorical", "choices": [4, 385]},
            {"name": "top_k", "kind": "int", "low": 1, "high": 7},
            {"name": "learning_rate", "kind": "float", "low": 1e-5, "high": 1e-2},
            prompt_length=129,
        ),
        report,
    )
    assert len(faults) == 3
    assert "rank=385" in faults[0]
    assert "at most 128" in faults[1]
    assert "top_k=7" in faults[2]


def test_a_space_at_the_limits_has_no_fault() -> None:
    parameters = (
        {"name": "rank", "kind": "int", "low": 4, "high": 384},
        {"name": "top_k", "kind": "int", "low": 1, "high": 6},
    )
    assert check_space_against_model(space(*parameters), check("minilm")) == []


def test_the_room_reads_what_the_space_room_writes() -> None:
    from autoglm_nb.space import parse_cell

    written = parse_cell("rank = choice(4, 512)\ntop_k = 9", {}).to_json()
    assert len(check_space_against_model(written, check("minilm"))) == 2


def test_fields_of_a_method_config_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MethodConfig("lora", "causal-lm").rank = 3  # type: ignore[misc]
