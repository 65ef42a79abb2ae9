"""The quick check in the notebook: reports and the promised sentences."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from autoglm_nb.data import check, checking
from autoglm_nb.errors import DataError
from autoglm_nb.protocol import DataSpec
from tests import tiny

TEXTS = [f"text number {i}" for i in range(30)]
LABELS: list[Any] = ["x", "y"] * 15


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def _file(folder: Path, **columns: Any) -> str:
    return _jsonl(folder / "data.jsonl", [dict(zip(columns, row)) for row in zip(*columns.values())])


def test_report_of_a_csv(reviews_csv: Path) -> None:
    """Task, columns, rows and classes of a plain file."""
    report = check(DataSpec(str(reviews_csv), target="label"), None)
    assert (report.task, report.columns, report.text, report.target) == (
        "classification",
        ("text", "label"),
        ("text",),
        "label",
    )
    assert (report.rows, report.labels, report.counts) == (
        120,
        ("negative", "positive"),
        {"negative": 60, "positive": 60},
    )


@pytest.mark.parametrize(("rows", "kind"), [(tiny.toy_pairs(20), "pairs"), (tiny.toy_chat(20), "chat")])
def test_report_of_instructions(rows: list[dict[str, Any]], kind: str, tmp_path: Path) -> None:
    """Prompts with completions and conversations are language modelling."""
    report = check(DataSpec(_jsonl(tmp_path / "d.jsonl", rows)), None)
    assert (report.task, report.kind, report.labels, report.rows) == ("causal-lm", kind, None, 20)


def test_catalogue_set_is_known_without_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched: the cache stays empty."""
    monkeypatch.setenv("AUTOGLM_CACHE", str(tmp_path / "cache"))
    report = check(DataSpec("sentiment-domains/movies"), None)
    assert (report.task, report.labels, report.rows) == ("classification", ("negative", "positive"), 10043)
    assert not (tmp_path / "cache").exists()


def test_labels_that_are_numbers_keep_their_order(tmp_path: Path) -> None:
    """Class 10 comes after class 9, and 1.0 is class 1."""
    report = check(DataSpec(_file(tmp_path, text=TEXTS, label=[10, 9, 1.0] * 10)), None)
    assert report.labels == ("1", "9", "10")


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"text": TEXTS, "label": ["x"] * 30}, r"at least two classes, but 'label' is 'x' in all 30 rows"),
        (
            {"text": TEXTS, "label": [*LABELS[:27], None, "", "x"]},
            r"must be filled in every row of the data, but 2 of 30 labels are missing \(first: row 28\)",
        ),
        (
            {"text": [*TEXTS[:28], 3, 4.5], "label": LABELS},
            r"must hold strings, but 2 of 30 rows do not \(first: row 29, int\)",
        ),
        (
            {"text": ["  ", *TEXTS[1:29], None], "label": LABELS},
            r"must hold a text in every row, but 2 of 30 rows have none \(first: row 1\)",
        ),
        ({"text": TEXTS, "label": [i + 0.5 for i in range(30)]}, r"holds 30 different numbers in 30 rows, which looks"),
        (
            {"text": TEXTS, "label": [["x"]] * 30},
            r"must be strings or numbers, but column 'label' of the data holds list",
        ),
        (
            {"text": TEXTS, "label": ["x"] * 14 + ["y"] * 14 + ["z"] * 2},
            r"at least 3 rows with different texts to be split, but 'z' has 2",
        ),
        ({"text": ["same"] * 15 + TEXTS[:15], "label": ["x"] * 15 + ["y"] * 15}, r"but 'x' has 1"),
    ],
)
def test_data_that_cannot_serve(columns: dict[str, list[Any]], sentence: str, tmp_path: Path) -> None:
    """Rule, evidence and remedy for each kind of bad data."""
    with pytest.raises(DataError, match=sentence):
        check(DataSpec(_file(tmp_path, **columns), target="label", text=("text",)), None)


def test_several_faults_are_named_at_once(tmp_path: Path) -> None:
    """Texts and labels are examined together."""
    source = _file(tmp_path, text=[None, 3, *TEXTS[2:]], label=[None, *LABELS[1:]])
    with pytest.raises(DataError) as caught:
        check(DataSpec(source, target="label", text=("text",)), None)
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "is empty or not a list"),
        (["hello"], "has a turn that is not an object"),
        ([{"role": "robot", "content": "a"}], "has a role other than"),
        ([{"role": "assistant", "content": 3}], "has a content that is not a string"),
        ([{"role": "user", "content": "a"}], "has no answer"),
    ],
)
def test_broken_conversations(messages: Any, reason: str, tmp_path: Path) -> None:
    """The first broken row is named with what is wrong in it."""
    rows = [*tiny.toy_chat(5), {"messages": messages}]
    with pytest.raises(DataError, match=rf"row 6 {reason}"):
        check(DataSpec(_jsonl(tmp_path / "d.jsonl", rows)), None)


def test_own_validation_set_is_checked_too(reviews_csv: Path, tmp_path: Path) -> None:
    """A label that training lacks, a missing column, and a missing file."""
    other = pd.DataFrame({"text": ["good", "bad"], "label": ["positive", "neutral"]})
    other.to_csv(tmp_path / "v.csv", index=False)
    with pytest.raises(DataError, match=r"validation data must have labels of the training data .* but has 'neutral'"):
        check(DataSpec(str(reviews_csv), target="label", validation=str(tmp_path / "v.csv")), None)
    other.rename(columns={"label": "y"}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"test data must have the columns text, label, but lacks label"):
        check(DataSpec(str(reviews_csv), target="label", test=str(tmp_path / "t.csv")), None)
    with pytest.raises(DataError, match=r"does not exist"):
        check(DataSpec(str(reviews_csv), target="label", test=str(tmp_path / "none.csv")), None)


def test_fewer_rows_suffice_when_splits_are_given(tmp_path: Path) -> None:
    """With validation and test of one's own, nothing is split off."""
    frame = pd.DataFrame({"text": ["one", "two"], "label": ["x", "y"]})
    for name in ("a", "b", "c"):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    a, b, c = (str(tmp_path / f"{name}.csv") for name in "abc")
    assert check(DataSpec(a, target="label", validation=b, test=c), None).rows == 2
    with pytest.raises(DataError, match="at least 2 rows with different texts"):
        check(DataSpec(a, target="label", validation=b), None)


def test_of_a_large_file_the_beginning_is_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says that it is partial, and a class seen later is no fault yet."""
    monkeypatch.setattr(checking, "LARGE_BYTES", 1000)
    monkeypatch.setattr(checking, "EXAMINED_ROWS", 20)
    source = _file(tmp_path, text=TEXTS * 10, label=(["x"] * 30 + ["y"] * 270))
    report = check(DataSpec(source, target="label"), None)
    assert report.partial and report.labels == ("x",)
    assert report.rows == pytest.approx(300, rel=0.1)


@pytest.mark.parametrize("rows", [1, 0, -5])
def test_max_rows_must_be_sensible(rows: int, reviews_csv: Path) -> None:
    """One row cannot be trained on."""
    with pytest.raises(DataError, match=f"max_rows must be at least 2, but got {rows}"):
        check(DataSpec(str(reviews_csv), max_rows=rows), None)


def test_check_imports_no_torch(reviews_csv: Path) -> None:
    """The kernel stays light: neither torch nor transformers nor datasets is loaded."""
    code = (
        "import sys\nimport autoglm_nb.data as d\nassert 'pandas' not in sys.modules and 'numpy' not in sys.modules\n"
        "from autoglm_nb.protocol import DataSpec\n"
        f"d.check(DataSpec({str(reviews_csv)!r}, target='label'), None)\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'sklearn', 'optuna') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
