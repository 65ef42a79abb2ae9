"""The tiny models are what the other tests take them for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests import tiny


def _checksums(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("make", [tiny.tiny_encoder, tiny.tiny_decoder])
def test_models_are_the_same_each_time(make, tmp_path: Path) -> None:
    """Two folders made with one seed hold the same bytes; another seed gives other weights."""
    first, again, other = make(tmp_path / "a"), make(tmp_path / "b"), make(tmp_path / "c", seed=1)
    assert _checksums(first) == _checksums(again)
    assert _checksums(first)["model.safetensors"] != _checksums(other)["model.safetensors"]


def test_decoder_ends_with_the_token_it_pads_with(tiny_decoder_path: Path) -> None:
    """As in SmolLM2, pad and end token are one."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_decoder_path)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 2


def test_reviews_are_distinct_and_balanced() -> None:
    """Half of the reviews praise, no two are equal, and the seed decides which they are."""
    frame = tiny.toy_reviews(60, seed=3)
    assert frame["text"].is_unique
    assert frame["label"].value_counts().to_dict() == {"negative": 30, "positive": 30}
    assert frame.equals(tiny.toy_reviews(60, seed=3))
    assert not frame.equals(tiny.toy_reviews(60, seed=4))
