"""Mean pooling where a sentence encoder was trained with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from autoglm_nb.models import apply_method, load_adapter, method_config, read_card, save_adapter, trainable_state
from tests.models.helpers import load, logits_of, train


@pytest.fixture
def sentence_encoder(tiny_encoder_path: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "sentence-encoder"
    shutil.copytree(tiny_encoder_path, folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return folder


def test_the_head_reads_the_mean_of_the_tokens_that_are_not_padding(sentence_encoder: Path) -> None:
    base = load(sentence_encoder)
    config = method_config({"method": "head"}, base)
    assert config.pooling == "mean"
    model = apply_method(base, config).eval()
    texts = ["good film", "we thought the plot was really quite dull"]
    batch = base.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
        for row, text in enumerate(texts):
            hidden = base.model.bert(**base.tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            expected = base.model.classifier(hidden.mean(0))
            torch.testing.assert_close(logits[row], expected, rtol=1e-4, atol=1e-5)


def test_pefts_methods_keep_the_standard_class(sentence_encoder: Path) -> None:
    base = load(sentence_encoder)
    for method in ("lora", "prompt"):
        assert method_config({"method": method, "rank": 4}, base).pooling == "first"


def test_an_encoder_that_does_not_say_so_is_left_alone(tiny_encoder_path: Path, tiny_decoder_path: Path) -> None:
    for path in (tiny_encoder_path, tiny_decoder_path):
        assert method_config({"method": "head"}, load(path)).pooling == "first"


@pytest.mark.parametrize("method", ["head", "adapter", "top-k", "full"])
def test_the_pooling_is_stored_and_comes_back(sentence_encoder: Path, tmp_path: Path, method: str) -> None:
    base = load(sentence_encoder)
    config = method_config({"method": method, "top_k": 1, "adapter_width": 8}, base)
    model = apply_method(base, config)
    train(model, base, steps=3)
    save_adapter(tmp_path / "a", method=config, state=trainable_state(model), loaded=base)
    assert read_card(tmp_path / "a").config.pooling == "mean"
    texts = ["a good film", "dull and weak"]
    back = load_adapter(tmp_path / "a", load(sentence_encoder))
    torch.testing.assert_close(logits_of(back, base.tokenizer, texts), logits_of(model, base.tokenizer, texts))
    assert type(base.model.bert.pooler).__name__ == "BertPooler"
