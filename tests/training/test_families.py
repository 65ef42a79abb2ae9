"""Models that do something else than BERT and Llama: mixtures of experts, flattened texts, one layer run repeatedly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoglm_nb.errors import ModelError
from autoglm_nb.training import Engine, plan_run
from autoglm_nb.training.packed import RowMap, Segment
from tests.training.conftest import shared_step

STEPS = 12
TRIALS: tuple[dict[str, Any], ...] = (
    {"rank": 4, "batch_size": 4, "dropout": 0.1},
    {"rank": 8, "batch_size": 7},
)


@pytest.fixture(scope="module")
def experts(tiny_decoder_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Mixtral of four experts, two for each token, that asks for the auxiliary loss."""
    from transformers import AutoConfig, MixtralConfig, MixtralForCausalLM

    folder = tmp_path_factory.mktemp("experts")
    small = AutoConfig.from_pretrained(tiny_decoder_path)
    kept = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
            "intermediate_size", "max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")  # fmt: skip
    config = MixtralConfig(
        **{name: getattr(small, name) for name in kept},
        num_local_experts=4,
        num_experts_per_tok=2,
        output_router_logits=True,
        initializer_range=0.2,
    )
    return _base(MixtralForCausalLM, config, tiny_decoder_path, folder, task="causal-lm")


@pytest.fixture(scope="module")
def flat(tiny_decoder_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An OPT."""
    from transformers import AutoConfig, OPTConfig, OPTForCausalLM

    small = AutoConfig.from_pretrained(tiny_decoder_path)
    folder = tmp_path_factory.mktemp("flat")
    config = OPTConfig(
        vocab_size=small.vocab_size, hidden_size=32, word_embed_proj_dim=32, num_hidden_layers=2, ffn_dim=64,
        num_attention_heads=2, max_position_embeddings=128, init_std=0.2,
        pad_token_id=2, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return _base(OPTForCausalLM, config, tiny_decoder_path, folder, task="causal-lm")


@pytest.fixture(scope="module")
def again(tiny_encoder_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An ALBERT: one layer, run four times."""
    from transformers import AlbertConfig, AlbertModel, AutoConfig

    small = AutoConfig.from_pretrained(tiny_encoder_path)
    folder = tmp_path_factory.mktemp("again")
    config = AlbertConfig(
        vocab_size=small.vocab_size, embedding_size=32, hidden_size=32, num_hidden_layers=4, num_hidden_groups=1,
        num_attention_heads=2, intermediate_size=64, pad_token_id=0, max_position_embeddings=128, initializer_range=0.2,
    )  # fmt: skip
    return _base(
        AlbertModel, config, tiny_encoder_path, folder, task="classification", label_names=["negative", "positive"]
    )


@pytest.mark.slow
@pytest.mark.usefixtures("dear_passes")
@pytest.mark.parametrize("family", ["experts", "flat"])
def test_a_pack_equals_its_solo_runs(family: str, request: pytest.FixtureRequest, pairs: Any) -> None:
    """Dropout on, other ranks, targets and batch sizes beside each other: the losses of each alone.

    A mixture of experts routes each token by itself: the Mixtral of transformers drops none for want of capacity, and
    its auxiliary loss, a mean over all rows of a pass, is never added here. OPT flattens rows and positions into one
    dimension before its feed-forward layers.
    """
    base = request.getfixturevalue(family)
    targets = ["attention", "all-linear"] if family == "flat" else ["qv", "attention"]

    def engine(capacity: int) -> Engine:
        return Engine(base, pairs, device="cpu", precision="fp32", capacity=capacity)

    def plans(made: Engine) -> list[Any]:
        common = {"steps": STEPS, "learning_rate": 1e-3}
        trials = ({**common, **trial, "target_modules": t} for trial, t in zip(TRIALS, targets, strict=True))
        return [plan_run(f"trial-{n}", trial, 10 + n, made.data) for n, trial in enumerate(trials)]

    expected = []
    for number in range(len(TRIALS)):
        alone = engine(1)
        slot = alone.admit(plans(alone)[number])
        expected.append([alone.step()[slot].loss for _ in range(STEPS)])
    together = engine(len(TRIALS))
    slots = [together.admit(one) for one in plans(together)]
    steps = [shared_step(together) for _ in range(STEPS)]
    for slot, want in zip(slots, expected, strict=True):
        np.testing.assert_allclose([step[slot].loss for step in steps], want, rtol=1e-4)
        assert want[-1] != want[0]


def test_a_layer_that_is_run_again_and_again_is_no_frozen_prefix(
    again: Any, reviews: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head above all four rounds of ALBERT's layer learns from the fourth, with the cache of states or without."""
    config = {"method": "head", "learning_rate": 1e-2, "batch_size": 8, "steps": 10}
    curves = []
    for megabytes in ("1024", "0"):
        monkeypatch.setenv("AUTOGLM_PREFIX_MB", megabytes)
        engine = Engine(again, reviews, device="cpu", precision="fp32")
        slot = engine.admit(plan_run("t", config, 3, engine.data))
        curves.append([engine.step()[slot].loss for _ in range(5)])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-5)


def test_rows_and_positions_in_one_dimension_are_told_apart_only_where_they_can_be() -> None:
    """The very number of tokens of the pass is a flattened batch; any other number is nobody's."""
    row_map = RowMap()
    with row_map.over((Segment(0, 0, 3, 0, None),), positions=4):
        assert row_map.by_rows(torch.zeros(3, 4, 5), "fc").shape == (3, 4, 5)
        assert row_map.by_rows(torch.zeros(3, 5), "pooler").shape == (3, 5)
        flat = torch.arange(60.0).view(12, 5)
        assert torch.equal(row_map.by_rows(flat, "fc"), flat.view(3, 4, 5))
        with pytest.raises(ModelError, match=r"'expert' got 6 rows in a pass of 3\. Leave this layer out"):
            row_map.by_rows(torch.zeros(6, 5), "expert")


def _base(kind: Any, config: Any, source: Path, folder: Path, **task: Any) -> Any:
    """A model with random weights of seed 0, saved and loaded with the tokenizer of `source`, whatever its kind."""
    from autoglm_nb.models import load_base, resolve

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind(config).save_pretrained(folder)
    shutil.copy(source / "tokenizer.json", folder)
    settings = json.loads((source / "tokenizer_config.json").read_text())
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return load_base(resolve(str(folder)), **task)
