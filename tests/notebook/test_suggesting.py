"""From the data of a cell to the first line of a study: what is a table, which column is a label, how it is written."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest

from autoglm_nb.notebook import options
from autoglm_nb.notebook.suggesting import suggest, suggest_json


class Table:
    """As pyarrow's and datasets' tables look."""

    column_names = ("text", "Intent")


def _line(found: list[dict[str, str]]) -> str:
    assert len(found) == 1
    return found[0]["line"]


def test_a_data_frame_with_a_label_becomes_a_classification_study() -> None:
    """The label's own spelling is kept."""
    variables = {"df": pd.DataFrame({"text": ["a"], "Label": [1]})}
    assert _line(suggest(["df"], [], variables)) == "%%autotune --model minilm --data df --target Label --trials 12"


def test_text_alone_becomes_language_modelling() -> None:
    """Without a column that is called like a label nothing is guessed."""
    line = _line(suggest(["df"], [], {"df": pd.DataFrame({"text": ["a"], "length": [1]})}))
    assert "--task causal-lm" in line
    assert "--target" not in line


def test_other_libraries_tables_count_and_other_values_do_not() -> None:
    """By what a value looks like: none of these libraries is imported for it."""
    found = suggest(["t", "n", "missing", "Table"], [], {"t": Table(), "n": 3, "Table": Table})
    assert [given["data"] for given in found] == ["t"]
    assert "--target Intent" in found[0]["line"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "text,label\nx,1\n"),
        ("a.tsv", "text\tlabel\nx\t1\n"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": "y", "label": 0}\n'),
        ("with bom.csv", "\ufeffLABEL,text\n1,x\n"),
    ],
)
def test_a_files_head_tells_its_label(name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CSV, TSV and JSON lines, a byte-order mark included."""
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text, encoding="utf-8")
    assert "--target label" in _line(suggest([], [name], {})).lower()


def test_parquet_tells_its_columns(tmp_path: Path) -> None:
    """From the schema, without reading rows."""
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"text": ["a"], "category": ["b"]}).to_parquet(path)
    assert "--target category" in _line(suggest([], [str(path)], {}))


@pytest.mark.parametrize(("name", "text"), [("a.jsonl", "{nonsense"), ("a.csv", ""), ("a.parquet", "no parquet")])
def test_a_file_that_cannot_be_read_is_still_a_file(name: str, text: str, tmp_path: Path) -> None:
    """What is wrong with it is told when the study starts, not by a button."""
    (tmp_path / name).write_text(text)
    assert "--data" in _line(suggest([], [str(tmp_path / name)], {}))


def test_a_file_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    """The cell may be about to make it."""
    assert suggest([], [str(tmp_path / "missing.csv")], {}) == []


def test_names_with_spaces_and_quotes_survive_the_line(tmp_path: Path) -> None:
    """The line is split as a shell splits it, so what is odd is quoted."""
    path = tmp_path / "it's here.csv"
    path.write_text('text,"the class"\n')
    words = options.split(_line(suggest([], [str(path)], {})))
    assert words[words.index("--data") + 1] == str(path)


def test_the_answer_passes_through_the_kernel_as_one_quoted_word() -> None:
    """The front end gets Python's repr of the string; nothing in it needs an escape."""
    variables: dict[str, Any] = {"dfé": pd.DataFrame({"text": ["a"], "label": [1]})}
    shown = repr(suggest_json(["dfé"], [], variables))
    assert ast.literal_eval(shown) == shown[1:-1]
    assert json.loads(unquote(shown[1:-1])) == suggest(["dfé"], [], variables)
