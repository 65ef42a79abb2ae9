"""Token ids, labels, truncation and the cache."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autoglm_nb.data import Dataset, EncodedData, collate, default_max_length, encode, prepare
from autoglm_nb.data import encoding as room
from autoglm_nb.protocol import DataSpec
from tests import tiny

END = 2


@pytest.fixture(scope="module")
def encoder(tiny_encoder_path: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_encoder_path)


@pytest.fixture
def decoder(tiny_decoder_path: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_decoder_path)


def _dataset(folder: Path, rows: Any, task: str, **fields: Any) -> Dataset:
    path = folder / "rows.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return prepare(DataSpec(str(path), **fields), task, seed=0, folder=folder)


def _first(data: EncodedData) -> tuple[list[int], list[int]]:
    return data.train.row(0).tolist(), data.train.row_labels(0).tolist()


def test_classification_equals_the_tokenizer(tmp_path: Path, encoder: Any) -> None:
    """Ids are what the tokenizer gives for each text alone, special tokens included."""
    data = _dataset(tmp_path, tiny.toy_reviews(40), "classification")
    encoded = encode(data, encoder, max_length=9)
    for i, text in enumerate(data.train.texts):
        assert encoded.train.row(i).tolist() == encoder(text, truncation=True, max_length=9)["input_ids"]
        assert encoded.train.row_labels(i) == data.train.labels[i]
    assert encoded.train.lengths.max() == 9
    assert encoded.at_limit["train"] == sum(len(encoder(t)["input_ids"]) >= 9 for t in data.train.texts)


def test_texts_end_with_a_learned_end_token(tmp_path: Path, decoder: Any) -> None:
    """Although it is the pad token too; a text that was cut does not pretend to end."""
    data = _dataset(tmp_path, {"text": tiny.toy_corpus(30)}, "causal-lm")
    encoded = encode(data, decoder)
    for i, text in enumerate(data.train.texts):
        assert encoded.train.row(i).tolist() == [*decoder(text)["input_ids"], END]
        assert encoded.train.row_labels(i).tolist() == encoded.train.row(i).tolist()
    cut = encode(data, decoder, max_length=4).train
    assert set(cut.lengths) == {4} and END not in cut.input_ids


def test_padding_is_not_learned_but_the_end_is(tmp_path: Path, decoder: Any, tiny_decoder_path: Path) -> None:
    """The loss of a padded batch equals that of its rows one by one, end tokens counted."""
    import torch
    from transformers import AutoModelForCausalLM

    data = _dataset(tmp_path, {"text": tiny.toy_corpus(30)}, "causal-lm")
    split = encode(data, decoder).train
    rows = [int(split.lengths.argmin()), int(split.lengths.argmax())]
    batch = collate(split, rows, pad_id=END)
    assert int((batch["labels"] == END).sum()) == 2
    assert int((batch["input_ids"] == END).sum()) > 2
    model = AutoModelForCausalLM.from_pretrained(tiny_decoder_path).eval()
    with torch.no_grad():
        together = model(**batch).loss
        alone = [model(**collate(split, [row], pad_id=END)).loss for row in rows]
    weights = [int(split.lengths[row]) - 1 for row in rows]
    expected = sum(loss * weight for loss, weight in zip(alone, weights, strict=True)) / sum(weights)
    assert together.item() == pytest.approx(expected.item(), rel=1e-5)


def test_only_the_completion_is_learned(tmp_path: Path, decoder: Any) -> None:
    """The prompt gives context; completion and end token are learned."""
    data = _dataset(tmp_path, tiny.toy_pairs(30), "causal-lm")
    ids, labels = _first(encode(data, decoder))
    example = data.train.examples[0]
    prompt = decoder(example.text)["input_ids"]
    answer = [*decoder(example.completion)["input_ids"], END]
    assert ids == prompt + answer
    assert labels == [-100] * len(prompt) + answer


def test_long_prompts_are_cut_at_their_beginning(tmp_path: Path, decoder: Any) -> None:
    """The completion stays whole while it fits, with the end of the prompt before it."""
    data = _dataset(tmp_path, tiny.toy_pairs(30), "causal-lm")
    whole_ids, whole_labels = _first(encode(data, decoder))
    ids, labels = _first(encode(data, decoder, max_length=6))
    assert (ids, labels) == (whole_ids[-6:], whole_labels[-6:])
    learned = [label for label in whole_labels if label != -100]
    ids, labels = _first(encode(data, decoder, max_length=2))
    assert labels == [-100, learned[0]]


def test_chat_mask_equals_that_of_transformers(tmp_path: Path, decoder: Any) -> None:
    """Reference: `return_assistant_tokens_mask` with a template that marks what is generated."""
    marked = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}"
        "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
        "{% else %}{{ m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    )
    data = _dataset(tmp_path, tiny.toy_chat(30), "causal-lm")
    encoded = encode(data, decoder)
    for i, example in enumerate(data.train.examples):
        reference = decoder.apply_chat_template(
            list(example.messages), chat_template=marked, return_assistant_tokens_mask=True, return_dict=True
        )
        ids, mask = reference["input_ids"], reference["assistant_masks"]
        size = int(encoded.train.lengths[i])
        assert encoded.train.row(i).tolist() == ids[:size]
        assert encoded.train.row_labels(i).tolist() == [t if m else -100 for t, m in zip(ids, mask)][:size]
        assert encoded.train.row_labels(i)[-1] == END


def test_chat_without_offsets_gives_the_same(tmp_path: Path, decoder: Any) -> None:
    """A tokenizer in Python has no offsets: pieces are encoded one by one."""

    class Slow:
        is_fast = False

        def __getattr__(self, name: str) -> Any:
            return getattr(decoder, name)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            assert "return_offsets_mapping" not in kwargs
            return decoder(*args, **kwargs)

    data = _dataset(tmp_path, tiny.toy_chat(30), "causal-lm")
    fast, slow = encode(data, decoder), encode(data, Slow())
    assert np.array_equal(fast.train.input_ids, slow.train.input_ids)
    assert np.array_equal(fast.train.labels, slow.train.labels)


def test_long_chats_keep_something_to_learn(tmp_path: Path, decoder: Any) -> None:
    """If the beginning holds no answer, the end is kept."""
    question = "what colour is the sky " * 10
    talk = [{"role": "user", "content": question}, {"role": "assistant", "content": "blue"}]
    data = _dataset(
        tmp_path, {"messages": [[{**talk[0], "content": f"{i} {question}"}, talk[1]] for i in range(10)]}, "causal-lm"
    )
    ids, labels = _first(encode(data, decoder, max_length=12))
    assert len(ids) == 12
    assert [label for label in labels if label != -100] == [*decoder("blue")["input_ids"], END]


def test_tokenizer_without_template_gets_the_plain_one(tmp_path: Path, decoder: Any) -> None:
    """Also when the tokens come from the cache, since it is saved with the adapter."""
    data = _dataset(tmp_path, tiny.toy_chat(30), "causal-lm")
    for _ in range(2):
        decoder.chat_template = None
        encode(data, decoder, cache=tmp_path / "cache")
        assert "Assistant: " in decoder.chat_template


def test_default_lengths(encoder: Any, decoder: Any) -> None:
    """The task's default, capped by tokenizer and model."""
    assert default_max_length("classification", encoder) == 128
    assert default_max_length("causal-lm", decoder) == 128
    decoder.model_max_length = int(1e30)
    assert default_max_length("causal-lm", decoder) == 256
    assert default_max_length("causal-lm", decoder, model_limit=64) == 64


def test_asked_length_is_capped_by_the_model(tmp_path: Path, encoder: Any) -> None:
    """A model with 128 positions takes no more."""
    rows = {"text": [f"good bad {i} " * 100 for i in range(12)], "label": ["x", "y"] * 6}
    encoded = encode(_dataset(tmp_path, rows, "classification"), encoder, max_length=512)
    assert encoded.max_length == 128 and set(encoded.train.lengths) == {128}
    assert encoded.at_limit == {"train": 8, "validation": 2, "test": 2}


@pytest.mark.alone
def test_cache_serves_a_second_call(tmp_path: Path, encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tokenised again, and the arrays are equal."""
    data = _dataset(tmp_path, tiny.toy_reviews(60), "classification")
    first = encode(data, encoder, cache=tmp_path / "cache")
    monkeypatch.setattr(room, "_encode_split", None)
    start = time.perf_counter()
    second = encode(data, encoder, cache=tmp_path / "cache")
    assert time.perf_counter() - start < 1.0
    for name, split in first.splits.items():
        assert np.array_equal(split.input_ids, second.splits[name].input_ids)
        assert np.array_equal(split.labels, second.splits[name].labels)
        assert second.splits[name].labels.dtype == split.labels.dtype
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".npz"]


def test_cache_key_follows_what_matters(tmp_path: Path, encoder: Any, decoder: Any) -> None:
    """Length, tokenizer and data change the key; an earlier truncated call of the tokenizer does not."""
    data = _dataset(tmp_path, tiny.toy_reviews(60), "classification")
    key = encode(data, encoder).key
    encoder(["good"], truncation=True, max_length=3, padding="max_length")
    assert encode(data, encoder).key == key
    others = [
        encode(data, encoder, max_length=20).key,
        encode(data, decoder).key,
        encode(replace(data, checksum="other"), encoder).key,
    ]
    assert len({key, *others}) == 4


def test_cache_that_cannot_be_written_stops_nothing(tmp_path: Path, encoder: Any) -> None:
    """A file where the folder should be, say: the tokens are used without being kept."""
    data = _dataset(tmp_path, tiny.toy_reviews(60), "classification")
    (tmp_path / "cache").write_text("in the way")
    assert len(encode(data, encoder, cache=tmp_path / "cache").train) == len(data.train)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half", None])
def test_damaged_cache_is_made_anew(damage: bytes | None, tmp_path: Path, encoder: Any) -> None:
    """Half a file, nothing, or something else in its place."""
    data = _dataset(tmp_path, tiny.toy_reviews(60), "classification")
    first = encode(data, encoder, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(damage if damage is not None else file.read_bytes()[:-200])
    again = encode(data, encoder, cache=tmp_path / "cache")
    assert np.array_equal(first.train.input_ids, again.train.input_ids)
    assert np.load(file)["train.ids"].tolist() == first.train.input_ids.tolist()
