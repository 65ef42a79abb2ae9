"""Bases and encoded data for the tests of this room, made once per session."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoglm_nb.protocol import DataSpec
from tests import tiny


@pytest.fixture(scope="session")
def encoder(tiny_encoder_path: Path) -> Any:
    """A tiny BERT with a two-class head."""
    from autoglm_nb.models import load_base, resolve

    return load_base(resolve(str(tiny_encoder_path)), task="classification", label_names=["negative", "positive"])


@pytest.fixture(scope="session")
def decoder(tiny_decoder_path: Path) -> Any:
    """A tiny Llama for language modelling."""
    from autoglm_nb.models import load_base, resolve

    return load_base(resolve(str(tiny_decoder_path)), task="causal-lm")


@pytest.fixture(scope="session")
def reviews(encoder: Any, reviews_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """120 encoded reviews, of ragged lengths."""
    from autoglm_nb.data import encode, prepare

    spec = DataSpec(source=str(reviews_csv), target="label")
    dataset = prepare(spec, "classification", seed=0, folder=tmp_path_factory.mktemp("reviews-study"))
    return encode(dataset, encoder.tokenizer, max_length=32)


@pytest.fixture(scope="session")
def pairs(decoder: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """40 encoded prompts with completions; loss on the completion only."""
    from autoglm_nb.data import encode, prepare

    folder = tmp_path_factory.mktemp("pairs")
    (folder / "pairs.jsonl").write_text("\n".join(json.dumps(row) for row in tiny.toy_pairs(40)), encoding="utf-8")
    dataset = prepare(DataSpec(source=str(folder / "pairs.jsonl")), "causal-lm", seed=0, folder=folder / "study")
    return encode(dataset, decoder.tokenizer, max_length=48)


@pytest.fixture
def make_engine(encoder: Any, decoder: Any, reviews: Any, pairs: Any) -> Callable[..., Any]:
    """`make_engine("encoder" | "decoder", **options)`: an engine on the CPU."""
    from autoglm_nb.training import Engine

    def make(kind: str = "encoder", **options: Any) -> Any:
        base, data = (encoder, reviews) if kind == "encoder" else (decoder, pairs)
        return Engine(base, data, **{"device": "cpu", "precision": "fp32", **options})

    return make


@pytest.fixture
def dear_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass costs so much beyond its tokens that runs share all they can, whatever this machine has measured."""
    from autoglm_nb.training.costs import MOST_OVERHEAD

    monkeypatch.setattr("autoglm_nb.training.engine.measured_overhead", lambda *_: MOST_OVERHEAD)


def shared_step(engine: Any) -> dict[int, Any]:
    """A step, in which every run under way must have shared a pass with every other."""
    results: dict[int, Any] = engine.step()
    for slot, result in results.items():
        assert result.neighbours == results.keys() - {slot}
    return results


def run_losses(engine: Any, slot: int, steps: int) -> list[float]:
    """Losses of the next steps of one slot."""
    return [engine.step()[slot].loss for _ in range(steps)]


def weights(model: Any) -> dict[str, np.ndarray[Any, Any]]:
    """A copy of every parameter, to compare with later."""
    return {name: p.detach().float().numpy().copy() for name, p in model.named_parameters()}


def with_pad(data: Any, pad_id: int) -> Any:
    """The same data, padded with another id."""
    return replace(data, pad_id=pad_id)
