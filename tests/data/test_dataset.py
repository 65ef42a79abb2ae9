"""Rows and splits of a study: made once, reused, and refused when the data changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autoglm_nb.data import dataset as room
from autoglm_nb.data import fingerprint, prepare
from autoglm_nb.errors import DataError
from autoglm_nb.protocol import DataSpec
from tests import tiny


def _spec(path: Path, **fields: object) -> DataSpec:
    return DataSpec(str(path), target="label", **fields)


def _csv(folder: Path, frame: pd.DataFrame, name: str = "data.csv") -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def test_labels_and_texts_follow_the_rows(reviews_csv: Path, tmp_path: Path) -> None:
    """Each example of each split is the row its id names, with that row's label."""
    frame = pd.read_csv(reviews_csv)
    data = prepare(_spec(reviews_csv), "classification", seed=0, folder=tmp_path)
    assert data.label_names == ("negative", "positive")
    for split in data.splits.values():
        assert split.texts == frame["text"].iloc[split.ids].tolist()
        assert [data.label_names[i] for i in split.labels] == frame["label"].iloc[split.ids].tolist()
    assert [len(s) for s in data.splits.values()] == [96, 12, 12]


def test_splits_are_made_once(reviews_csv: Path, tmp_path: Path) -> None:
    """A second call, even with another seed, finds the rows of the first."""
    first = prepare(_spec(reviews_csv), "classification", seed=0, folder=tmp_path)
    before = (tmp_path / "splits.json").read_bytes()
    second = prepare(_spec(reviews_csv), "classification", seed=9, folder=tmp_path)
    assert second.checksum == first.checksum
    assert np.array_equal(first.test.ids, second.test.ids)
    assert (tmp_path / "splits.json").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".tmp") == []


def test_changed_data_is_refused(tmp_path: Path) -> None:
    """One more row, or another target, and the study does not go on with it."""
    frame = tiny.toy_reviews(40)
    path = _csv(tmp_path, frame)
    prepare(_spec(path), "classification", seed=0, folder=tmp_path / "study")
    _csv(tmp_path, tiny.toy_reviews(41))
    with pytest.raises(DataError, match=r"has changed since\. .*--fork"):
        prepare(_spec(path), "classification", seed=0, folder=tmp_path / "study")
    _csv(tmp_path, frame)
    prepare(_spec(path), "classification", seed=0, folder=tmp_path / "study")


def test_data_changed_before_the_worker_began_is_refused(tmp_path: Path) -> None:
    """The checksum taken when the study was asked for is compared."""
    path = _csv(tmp_path, tiny.toy_reviews(40))
    spec = _spec(path, checksum=fingerprint(_spec(path)))
    _csv(tmp_path, tiny.toy_reviews(42))
    with pytest.raises(DataError, match="has changed since"):
        prepare(spec, "classification", seed=0, folder=tmp_path / "study")


@pytest.mark.parametrize("content", ["", "{", "{}", '{"version": 1}'])
def test_damaged_splits_are_not_remade_silently(content: str, reviews_csv: Path, tmp_path: Path) -> None:
    """Making them anew could move test rows into training."""
    (tmp_path / "splits.json").write_text(content)
    with pytest.raises(DataError, match="damaged"):
        prepare(_spec(reviews_csv), "classification", seed=0, folder=tmp_path)


def test_splits_of_a_newer_version(reviews_csv: Path, tmp_path: Path) -> None:
    """They are left alone."""
    prepare(_spec(reviews_csv), "classification", seed=0, folder=tmp_path)
    stored = json.loads((tmp_path / "splits.json").read_text())
    (tmp_path / "splits.json").write_text(json.dumps({**stored, "version": 99}))
    with pytest.raises(DataError, match="newer version"):
        prepare(_spec(reviews_csv), "classification", seed=0, folder=tmp_path)


def test_equal_texts_share_a_split(tmp_path: Path) -> None:
    """Case and spacing do not hide a copy; the notes count copies and contradictions."""
    frame = tiny.toy_reviews(60)
    copies = frame.head(20).assign(text=frame["text"].head(20).str.upper() + "  ")
    torn = frame.tail(1).assign(label="negative")
    path = _csv(tmp_path, pd.concat([frame, copies, torn]))
    data = prepare(_spec(path), "classification", seed=0, folder=tmp_path)
    keys = [{example.key for example in split.examples} for split in data.splits.values()]
    assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])
    assert "21 of 81 rows repeat the text of another row; they share its split." in data.notes
    assert "1 texts occur with different labels." in data.notes


def test_own_sets_are_taken_whole_and_overlap_is_noted(reviews_csv: Path, tmp_path: Path) -> None:
    """Training keeps the rows it was given; what also lies in the test set is counted."""
    frame = pd.read_csv(reviews_csv)
    test = _csv(tmp_path, pd.concat([frame.head(3), tiny.toy_reviews(10, seed=77)]), "test.csv")
    data = prepare(_spec(reviews_csv, test=str(test)), "classification", seed=0, folder=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (108, 12, 13)
    assert data.test.source == "test"
    shared = len({e.key for e in data.train.examples} & {e.key for e in data.test.examples})
    assert shared >= 1
    assert any(note.startswith(f"{shared} of 13 test rows have a text that is also in train") for note in data.notes)


def test_own_set_with_a_strange_label(reviews_csv: Path, tmp_path: Path) -> None:
    """The label is named, with the one that may have been meant."""
    test = _csv(tmp_path, pd.DataFrame({"text": ["a"], "label": ["positiv"]}), "test.csv")
    with pytest.raises(DataError, match=r"test data must have labels .* but has 'positiv'\. Did you mean 'positive'"):
        prepare(_spec(reviews_csv, test=str(test)), "classification", seed=0, folder=tmp_path)


def test_max_rows_limits_training_and_notes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training is a stratified sample; evaluation is never below its floor."""
    monkeypatch.setattr(room, "EVALUATION_ROWS", 30)
    path = _csv(tmp_path, tiny.toy_reviews(400))
    limited = prepare(_spec(path, max_rows=50), "classification", seed=0, folder=tmp_path / "limited")
    whole = prepare(_spec(path), "classification", seed=0, folder=tmp_path / "whole")
    assert np.bincount(limited.train.labels).tolist() == [25, 25]
    assert [len(s) for s in limited.splits.values()] == [50, 30, 30]
    for name, split in limited.splits.items():
        assert set(split.ids) <= set(whole.splits[name].ids)
    assert "Train: a stratified sample of 50 of 320 rows (max_rows)." in limited.notes
    assert limited.checksum != whole.checksum


@pytest.mark.parametrize(
    ("columns", "kind"),
    [({"text": tiny.toy_corpus(30)}, "text"), ({"prompt": tiny.toy_corpus(30), "completion": ["yes"] * 30}, "pairs")],
)
def test_language_modelling_has_no_labels(columns: dict[str, list[str]], kind: str, tmp_path: Path) -> None:
    """Splits are 80/10/10 without strata."""
    data = prepare(DataSpec(str(_csv(tmp_path, pd.DataFrame(columns)))), "causal-lm", seed=0, folder=tmp_path)
    assert data.columns.kind == kind
    assert data.label_names == () and data.train.labels is None
    assert [len(s) for s in data.splits.values()] == [24, 3, 3]


def test_several_text_columns_are_joined(tmp_path: Path) -> None:
    """By a line break, in the order given."""
    frame = tiny.toy_reviews(30).assign(title=[f"t{i}" for i in range(30)])
    path = _csv(tmp_path, frame)
    data = prepare(_spec(path, text=("title", "text")), "classification", seed=0, folder=tmp_path)
    first = data.train.ids[0]
    assert data.train.texts[0] == f"t{first}\n{frame['text'][first]}"
