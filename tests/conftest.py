"""Fixtures for every room: tiny models, a small data set, and a home of its own per test.

No test asks the model hub, and none sees the user's studies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty `.autoglm` for this test, also the one that `settings.home()` gives."""
    folder = tmp_path / ".autoglm"
    monkeypatch.setenv("AUTOGLM_HOME", str(folder))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter-runtime"))
    yield folder


@pytest.fixture(scope="session")
def tiny_encoder_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random two-layer BERT with a WordPiece tokenizer."""
    return tiny.tiny_encoder(tmp_path_factory.mktemp("tiny-encoder"))


@pytest.fixture(scope="session")
def tiny_decoder_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random two-layer Llama with a BPE tokenizer whose pad token is its end token."""
    return tiny.tiny_decoder(tmp_path_factory.mktemp("tiny-decoder"))


@pytest.fixture(scope="session")
def reviews_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 120 learnable reviews with the columns text and label."""
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    tiny.toy_reviews(120).to_csv(path, index=False)
    return path
