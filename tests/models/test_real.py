"""The catalogue's models themselves: fetched once, then cached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from autoglm_nb.models import (
    CATALOGUE,
    TunedModel,
    apply_method,
    load_base,
    method_config,
    read_card,
    resolve,
    save_adapter,
    trainable_share,
    trainable_state,
)
from tests.models.helpers import LABELS, reviews, train
from tests.models.test_adapters import READER, metric

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_minilm_through_plain_peft_reproduces_the_stored_metric(tmp_path: Path) -> None:
    resolved = resolve("minilm")
    base = load_base(resolved, task="classification", label_names=LABELS)
    config = method_config({"method": "lora", "rank": 8, "target_modules": "qv"}, base)
    torch.manual_seed(0)
    model = apply_method(base, config)
    assert 0.001 < trainable_share(model) < 0.01
    train(model, base, steps=6, learning_rate=3e-3)
    stored = metric(model, base)
    save_adapter(tmp_path / "a", method=config, state=trainable_state(model), loaded=base, metrics={"loss": stored})
    written = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert written["base_model_name_or_path"] == CATALOGUE["minilm"].hub_id
    assert written["revision"] == CATALOGUE["minilm"].revision
    assert read_card(tmp_path / "a").base["checksum"] == CATALOGUE["minilm"].package.weights_sha256
    rows = list(zip(*reviews(20, seed=5), strict=True))
    jobs = [(str(tmp_path / "a"), str(resolved.path), "classification")]
    done = subprocess.run(
        [sys.executable, "-c", READER, json.dumps(rows), json.dumps(jobs)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)[1] == pytest.approx(stored, rel=1e-4)


def test_minilm_is_sentence_encoder_enough_to_tell_praise_from_blame_with_a_head_alone(tmp_path: Path) -> None:
    base = load_base(resolve("minilm"), task="classification", label_names=LABELS)
    config = method_config({"method": "head"}, base)
    assert config.pooling == "mean"
    model = apply_method(base, config)
    train(model, base, steps=40, learning_rate=3e-2)
    save_adapter(tmp_path / "a", method=config, state=trainable_state(model), loaded=base)
    texts, labels = reviews(40, seed=7)
    answers = TunedModel.load(tmp_path / "a").predict_proba(texts).argmax(-1)
    assert np.mean(answers == np.array(labels)) >= 0.8


def test_smollm2_is_a_language_model_after_dequantisation(tmp_path: Path) -> None:
    resolved = resolve("smollm2-135m")
    base = load_base(resolved, task="causal-lm")
    assert sum(p.numel() for p in base.model.parameters()) == 134_515_008
    assert not hasattr(base.model.config, "quantization_config")
    ids = base.tokenizer("The capital of France is", return_tensors="pt")
    new = base.model.generate(**ids, max_new_tokens=2, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Paris" in base.tokenizer.decode(new)
    assert base.tokenizer.chat_template
    config = method_config({"method": "lora", "rank": 4}, base)
    model = apply_method(base, config)
    save_adapter(tmp_path / "a", method=config, state=trainable_state(model), loaded=base)
    tuned = TunedModel.load(tmp_path / "a")
    assert "Paris" in tuned.generate([{"role": "user", "content": "What is the capital of France?"}], max_new_tokens=12)
    assert tuned.perplexity(["The cat sat on the mat."]) < tuned.perplexity(["mat the on cat sat The."])
