"""Tables of the notebook, stored and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

from autoglm_nb.data import fingerprint, store_object
from autoglm_nb.data.sources import read_table
from autoglm_nb.errors import DataError
from autoglm_nb.protocol import DataSpec
from tests import tiny

ROWS = [{"text": "a", "label": 0}, {"text": "b", "label": 1}]


@pytest.mark.parametrize(
    "obj",
    [
        pd.DataFrame(ROWS, index=[7, 7]),
        datasets.Dataset.from_list(ROWS),
        ROWS,
        {"text": ["a", "b"], "label": [0, 1]},
        (["a", "b"], np.array([0, 1])),
        (pd.Series(["a", "b"]), pd.Series([0, 1])),
    ],
    ids=["frame", "dataset", "dicts", "lists", "pair", "series"],
)
def test_tables_of_all_kinds_are_stored_alike(obj: Any, tmp_path: Path) -> None:
    """The same rows in another wrapping are the same data, checksum included."""
    fields = store_object(obj, tmp_path, "train")
    reference = store_object(ROWS, tmp_path / "again", "train")
    assert read_table(fields["path"]).columns == {"text": ["a", "b"], "label": [0, 1]}
    assert fields["checksum"] == reference["checksum"]
    assert fingerprint(DataSpec("df", path=fields["path"])) == fingerprint(DataSpec("df", path=reference["path"]))


def test_another_row_is_other_data(tmp_path: Path) -> None:
    """One changed label changes checksum and fingerprint."""
    one = store_object(ROWS, tmp_path / "a", "train")
    two = store_object([ROWS[0], {"text": "b", "label": 0}], tmp_path / "b", "train")
    assert one["checksum"] != two["checksum"]
    assert fingerprint(DataSpec("d", path=one["path"])) != fingerprint(DataSpec("d", path=two["path"]))


def test_class_names_of_a_dataset_become_labels(tmp_path: Path) -> None:
    """A `ClassLabel` column holds numbers with names; the names are kept."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    table = datasets.Dataset.from_list(ROWS, features=features)
    stored = store_object(table, tmp_path, "train")
    assert read_table(stored["path"]).columns["label"] == ["no", "yes"]


def test_splits_of_a_dataset_dict(tmp_path: Path) -> None:
    """Validation and test of a `DatasetDict` become sets of their own."""
    table = datasets.Dataset.from_list(ROWS)
    fields = store_object(datasets.DatasetDict(train=table, test=table), tmp_path, "train")
    assert sorted(fields) == ["checksum", "path", "test"]
    assert read_table(fields["test"]).rows == 2


def test_conversations_survive(tmp_path: Path) -> None:
    """Nested rows come back as they were."""
    chats = tiny.toy_chat(5)
    fields = store_object(pd.DataFrame(chats), tmp_path, "chat")
    assert read_table(fields["path"]).columns["messages"] == [row["messages"] for row in chats]


def test_missing_values_are_missing_again(tmp_path: Path) -> None:
    """None, NaN and NA all come back as None."""
    frame = pd.DataFrame({"text": ["a", None, "c", pd.NA], "n": [1.5, float("nan"), 2.0, 3.0]})
    fields = store_object(frame, tmp_path, "train")
    assert read_table(fields["path"]).columns == {"text": ["a", None, "c", None], "n": [1.5, None, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("obj", "sentence"),
    [
        (pd.DataFrame({"text": ["a", 3]}), r"mixes str, int \(first: row 2\)"),
        (pd.DataFrame({"text": []}), r"at least one row"),
        ([], r"at least one row"),
        ({"text": ["a"], "label": [1, 2]}, r"same length, but got text: 1, label: 2"),
        (pd.DataFrame([["a", "b"]], columns=["text", "text"]), r"must be unique, but text occurs twice"),
        (42, r"but got int"),
    ],
)
def test_what_is_no_table(obj: Any, sentence: str, tmp_path: Path) -> None:
    """The sentence names the column or the type."""
    with pytest.raises(DataError, match=sentence):
        store_object(obj, tmp_path, "train")


@pytest.mark.parametrize("table", [{"text": 3, "label": 4}, {"text": "abc", "label": "x"}])
def test_columns_of_a_dict_must_be_lists(tmp_path: Path, table: object) -> None:
    """A string is not a column of letters."""
    with pytest.raises(DataError, match=r"must be a list of values, but 'text' is (int|str)"):
        store_object(table, tmp_path, "train")
