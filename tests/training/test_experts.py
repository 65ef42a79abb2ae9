"""A mixture of experts routes each token by itself: trials may share its passes.

The Mixtral of transformers drops no token for want of capacity, and its auxiliary loss,
a mean over all rows of a pass, is off unless a config asks for it; ours never adds it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoglm_nb.training import Engine, plan_run

STEPS = 12
TRIALS: tuple[dict[str, Any], ...] = (
    {"rank": 4, "batch_size": 4, "dropout": 0.1},
    {"rank": 8, "batch_size": 7, "target_modules": "attention"},
)


@pytest.fixture(scope="module")
def experts(tiny_decoder_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Mixtral of four experts, two for each token, that asks for the auxiliary loss."""
    from transformers import AutoConfig, MixtralConfig, MixtralForCausalLM

    from autoglm_nb.models import load_base, resolve

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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        MixtralForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_decoder_path / name, folder)
    return load_base(resolve(str(folder)), task="causal-lm")


@pytest.mark.slow
def test_a_pack_over_experts_equals_its_solo_runs(experts: Any, pairs: Any) -> None:
    """Dropout on, other ranks, targets and batch sizes beside each other: the losses of each alone."""

    def engine(capacity: int) -> Engine:
        return Engine(experts, pairs, device="cpu", precision="fp32", capacity=capacity)

    def plans(made: Engine) -> list[Any]:
        common = {"steps": STEPS, "learning_rate": 1e-3}
        return [plan_run(f"trial-{n}", {**common, **TRIALS[n]}, 10 + n, made.data) for n in range(len(TRIALS))]

    expected = []
    for number in range(len(TRIALS)):
        alone = engine(1)
        slot = alone.admit(plans(alone)[number])
        expected.append([alone.step()[slot].loss for _ in range(STEPS)])
    together = engine(len(TRIALS))
    slots = [together.admit(one) for one in plans(together)]
    steps = [together.step() for _ in range(STEPS)]
    for slot, want in zip(slots, expected, strict=True):
        np.testing.assert_allclose([step[slot].loss for step in steps], want, rtol=1e-4)
        assert want[-1] != want[0]
