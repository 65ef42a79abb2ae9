"""What `--dry-run` predicts: by counting, for models that nobody has loaded, and against a worker that ran."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from autoglm_nb import AutoTuner
from autoglm_nb.models.report import ModelReport, report_of
from autoglm_nb.protocol import StudySpec
from autoglm_nb.session import dry_run
from autoglm_nb.session.estimate import memory_gb
from tests import tiny

SPACE = "learning_rate = loguniform(1e-4, 1e-2)\nrank = choice(4, 16)\nbatch_size = 16"

LLAMA_3_8B = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "max_position_embeddings": 8192,
}  # fmt: skip


@pytest.fixture
def llama() -> ModelReport:
    return report_of("llama-3-8b", LLAMA_3_8B, local=False, entry=None)


@pytest.fixture
def spec(tiny_encoder_path: Path, reviews_csv: Path) -> StudySpec:
    return AutoTuner(str(tiny_encoder_path), SPACE).plan(str(reviews_csv), target="label").spec


def test_the_parameters_of_a_model_are_counted_from_its_config(llama: ModelReport) -> None:
    """8.03 billion; grouped queries, the gated feed-forward layers and the output layer of its own are in it."""
    assert llama.matrices + llama.embeddings == pytest.approx(8.03e9, rel=0.005)
    assert llama.embeddings == 2 * 128256 * 4096


def test_memory_of_a_large_model_on_a_gpu(llama: ModelReport, spec: StudySpec) -> None:
    """Weights of bf16 alone are 15 GiB, of nf4 5.3; what is on top depends on passes, methods and neighbours."""

    def gb(free: float = 80.0, **options: Any) -> float:
        return memory_gb(replace(spec, pack=1, **options), llama, free, gpu=True)

    bf16, nf4 = gb(precision="bf16"), gb(precision="nf4")
    assert bf16 - nf4 == pytest.approx(llama.matrices * (2 - 0.516) / 2**30, rel=1e-3)
    assert 5.3 < gb(precision="nf4", gradient_checkpointing=True) < 9 < nf4 < 20
    assert gb(precision="auto") == bf16, "a GPU's own format"
    assert gb(max_length=32) < gb(max_length=64) < gb()
    assert memory_gb(replace(spec, pack=4), llama, 80.0, gpu=True) > gb()
    four = replace(spec, pack=4, max_length=64)
    assert memory_gb(four, llama, 80.0, gpu=True) > 25 > memory_gb(four, llama, 24.0, gpu=True), "as far as memory goes"
    assert memory_gb(replace(spec, pack=4, constraints=("memory_gb <= 10",)), llama, 80.0, gpu=True) == gb()


def test_full_fine_tuning_holds_gradients_and_moments(
    llama: ModelReport, tiny_encoder_path: Path, reviews_csv: Path
) -> None:
    """Sixteen bytes a parameter."""
    tuner = AutoTuner(str(tiny_encoder_path), 'method = choice("lora", "full")\nlearning_rate = 1e-4')
    spec = tuner.plan(str(reviews_csv), target="label").spec
    assert memory_gb(spec, llama, 80.0, gpu=True) > 16 * 8.03e9 / 2**30
    tuner = AutoTuner(str(tiny_encoder_path), 'method = "top-k"\ntop_k = choice(1, 2)\nbatch_size = 16')
    spec = tuner.plan(str(reviews_csv), target="label").spec
    assert 16 * 7e9 * 2 / 32 / 2**30 + 15 < memory_gb(spec, llama, 80.0, gpu=True) < 40


def test_a_dry_run_on_this_machine_is_whole(tiny_encoder_path: Path, reviews_csv: Path) -> None:
    found = dry_run(AutoTuner(str(tiny_encoder_path), SPACE).plan(str(reviews_csv), target="label", device="cpu"))
    assert found["seconds"] >= 0 and found["disk_mb"] > 0 and found["training_rows"] > 0
    assert 0.5 < found["memory_gb"] < 1.0, "the libraries, and next to nothing for a tiny model"
    assert found["memory_free_gb"] > 0


@pytest.mark.real
@pytest.mark.slow
def test_the_predicted_memory_is_about_what_a_worker_takes(tmp_path: Path) -> None:
    """MiniLM with batches of 32 texts of 128 tokens, in a process of its own."""
    rows = tiny.toy_reviews(300)
    rows["text"] = [" ".join([text] * 30) for text in rows["text"]]
    space = "learning_rate = 1e-3\nrank = 8\nbatch_size = 32\nsteps = 4"
    tuner = AutoTuner("minilm", space, "grid", home=tmp_path, baseline=False, seeds=0, pack=1, device="cpu")
    predicted = dry_run(tuner.plan(rows, target="label", max_trials=1))["memory_gb"]
    results = tuner.optimize(rows, target="label", max_trials=1, name="memory")
    (taken,) = pd.to_numeric(results.trials["memory_gb"])
    assert predicted == pytest.approx(taken, rel=0.35)
