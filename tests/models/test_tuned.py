"""A tuned model answers as at training: labels, probabilities, text, perplexity."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoglm_nb.errors import ModelError
from autoglm_nb.models import TunedModel, apply_method, method_config, save_adapter, trainable_state
from tests.models.helpers import load, logits_of, reviews, train
from tests.tiny import toy_corpus


def save(path: Path, folder: Path, method: str, task: str = "classification", steps: int = 15, **settings: Any) -> Any:
    base = load(path, task)
    config = method_config({"method": method, "rank": 4, "prompt_length": 3, "top_k": 1, **settings}, base)
    torch.manual_seed(0)
    model = apply_method(base, config)
    train(model, base, steps=steps)
    save_adapter(folder, method=config, state=trainable_state(model), loaded=base, max_length=64)
    return model, base


@pytest.mark.parametrize("method", ["lora", "prompt", "adapter", "top-k"])
def test_it_predicts_labels_it_has_learned(tiny_encoder_path: Path, tmp_path: Path, method: str) -> None:
    save(tiny_encoder_path, tmp_path / "a", method, steps=40, target_modules="all-linear")
    texts, labels = reviews(40, seed=9)
    tuned = TunedModel.load(tmp_path / "a")
    answers = tuned.predict(texts)
    correct = np.mean([answer == tuned.label_names[label] for answer, label in zip(answers, labels, strict=True)])
    assert correct >= 0.8
    assert tuned.predict(texts[0]) == answers[0]


def test_probabilities_come_in_the_order_of_the_texts_whatever_the_batches(
    tiny_encoder_path: Path, tmp_path: Path
) -> None:
    model, base = save(tiny_encoder_path, tmp_path / "a", "lora")
    texts, _ = reviews(17, seed=3)
    tuned = TunedModel.load(tmp_path / "a")
    expected = logits_of(model, base.tokenizer, texts).softmax(-1).numpy()
    for size in (1, 4, 64):
        np.testing.assert_allclose(tuned.predict_proba(texts, batch_size=size), expected, rtol=1e-4, atol=1e-5)
    assert tuned.predict_proba([]).shape == (0, 2)


def test_perplexity_is_the_exponential_of_the_mean_token_loss(tiny_decoder_path: Path, tmp_path: Path) -> None:
    model, base = save(tiny_decoder_path, tmp_path / "a", "lora", "causal-lm")
    texts = toy_corpus(9, seed=4)
    total, count = 0.0, 0
    for text in texts:
        ids = torch.tensor(base.tokenizer(text)["input_ids"])
        logits = logits_of(model, base.tokenizer, [text])[:-1]
        total -= float(logits.log_softmax(-1)[range(len(ids) - 1), ids[1:]].sum())
        count += len(ids) - 1
    assert TunedModel.load(tmp_path / "a").perplexity(texts, batch_size=4) == pytest.approx(
        math.exp(total / count), rel=1e-4
    )


@pytest.mark.parametrize("method", ["lora", "prompt", "adapter"])
def test_generation_is_greedy_and_gives_the_new_text_alone(
    tiny_decoder_path: Path, tmp_path: Path, method: str
) -> None:
    model, base = save(tiny_decoder_path, tmp_path / "a", method, "causal-lm")
    tuned = TunedModel.load(tmp_path / "a")
    prompts = ["this film was", "we found the plot really"]
    ids = base.tokenizer(prompts[0])["input_ids"]
    for _ in range(5):  # by hand, without a cache
        with torch.no_grad():
            mask = torch.ones(1, len(ids), dtype=torch.long)
            ids = [*ids, int(model(input_ids=torch.tensor([ids]), attention_mask=mask).logits[0, -1].argmax())]
    expected = base.tokenizer.decode(ids[-5:], skip_special_tokens=True)
    answers = tuned.generate(prompts, max_new_tokens=5)
    assert answers[0] == expected
    assert tuned.generate(prompts[0], max_new_tokens=5) == expected
    assert len(answers) == 2


def test_a_chat_is_put_through_the_models_template(tiny_decoder_path: Path, tmp_path: Path) -> None:
    save(tiny_decoder_path, tmp_path / "a", "lora", "causal-lm")
    tuned = TunedModel.load(tmp_path / "a")
    written = "<|im_start|>user\nwhat colour is grass<|im_end|>\n<|im_start|>assistant\n"
    chat = [{"role": "user", "content": "what colour is grass"}]
    assert tuned.generate(chat, max_new_tokens=4) == tuned.generate(written, max_new_tokens=4)


def test_a_local_base_is_found_again_and_may_be_given_where_it_moved(tiny_encoder_path: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_encoder_path, tmp_path / "base")
    save(tmp_path / "base", tmp_path / "a", "lora")
    assert TunedModel.load(tmp_path / "a").predict(["good film"])
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(ModelError, match=r"was a local folder, and it is not where it was.*base="):
        TunedModel.load(tmp_path / "a")
    assert TunedModel.load(tmp_path / "a", base=tmp_path / "moved").predict(["good film"])


def test_a_base_of_another_shape_or_other_weights_is_refused(
    tiny_encoder_path: Path, tiny_decoder_path: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_encoder_path, tmp_path / "base")
    save(tmp_path / "base", tmp_path / "a", "lora")
    weights = load_file(tmp_path / "base" / "model.safetensors")
    changed = {k: v + 1 for k, v in weights.items()}
    save_file(changed, tmp_path / "base" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"must run on the base it was trained on"):
        TunedModel.load(tmp_path / "a")
    with pytest.warns(UserWarning, match=r"other weights .* stored metrics do not hold"):
        TunedModel.load(tmp_path / "a", base=tmp_path / "base")
    with pytest.raises(ModelError, match=r"The base must be .*an encoder of 2 layers.* is a decoder of 2 layers"):
        TunedModel.load(tmp_path / "a", base=tiny_decoder_path)


def test_the_wrong_question_and_the_wrong_input_are_refused(tiny_encoder_path: Path, tmp_path: Path) -> None:
    save(tiny_encoder_path, tmp_path / "a", "head", steps=1)
    tuned = TunedModel.load(tmp_path / "a")
    with pytest.raises(ModelError, match=r"`generate` needs a model tuned for causal-lm"):
        tuned.generate("a film")
    with pytest.raises(ModelError, match=r"Texts must be strings, but got 3"):
        tuned.predict(["good", 3])  # type: ignore[list-item]
