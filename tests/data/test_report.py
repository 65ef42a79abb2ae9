"""The description for the record and the score of the laziest answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from autoglm_nb.data import describe, encode, majority_score, prepare
from autoglm_nb.protocol import DataSpec
from tests import tiny


@pytest.fixture
def skewed(tmp_path: Path) -> Path:
    frame = tiny.toy_reviews(150)
    frame.loc[:20, "label"] = "mixed"
    frame.loc[100:, "label"] = "positive"
    frame.to_csv(tmp_path / "skewed.csv", index=False)
    return tmp_path / "skewed.csv"


def test_majority_score_equals_scikit_learn(skewed: Path, tmp_path: Path) -> None:
    """Accuracy and macro F1 of a constant answer, three classes, on two splits."""
    data = prepare(DataSpec(str(skewed), target="label"), "classification", seed=0, folder=tmp_path)
    answer = int(np.bincount(data.train.labels).argmax())
    for name in ("validation", "test"):
        truth = data.splits[name].labels
        constant = np.full_like(truth, answer)
        assert majority_score(data, "accuracy", split=name) == pytest.approx(accuracy_score(truth, constant))
        assert majority_score(data, "macro_f1", split=name) == pytest.approx(
            f1_score(truth, constant, average="macro", zero_division=0)
        )
    assert majority_score(data, "loss") is None


def test_language_modelling_has_no_majority(tmp_path: Path) -> None:
    """There is no class to answer."""
    pd.DataFrame({"text": tiny.toy_corpus(30)}).to_csv(tmp_path / "c.csv", index=False)
    data = prepare(DataSpec(str(tmp_path / "c.csv")), "causal-lm", seed=0, folder=tmp_path)
    assert majority_score(data, "accuracy") is None


def test_description_counts_rows_classes_and_tokens(skewed: Path, tmp_path: Path, tiny_encoder_path: Path) -> None:
    """Plain JSON, and the figures are those of the splits."""
    from transformers import AutoTokenizer

    data = prepare(DataSpec(str(skewed), target="label"), "classification", seed=0, folder=tmp_path)
    words = describe(data)
    encoded = encode(data, AutoTokenizer.from_pretrained(tiny_encoder_path))
    tokens = describe(data, encoded)
    assert json.loads(json.dumps(tokens)) == tokens
    for name, split in data.splits.items():
        entry = tokens["splits"][name]
        assert entry["rows"] == len(split)
        assert sum(entry["classes"].values()) == len(split)
        assert entry["length"]["p100"] == encoded.splits[name].lengths.max()
        assert words["splits"][name]["length"]["p100"] == max(len(text.split()) for text in split.texts)
    assert (words["length_unit"], tokens["length_unit"], tokens["max_length"]) == ("words", "tokens", 128)
