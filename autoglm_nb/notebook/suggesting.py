"""What the cell toolbar's button asks: which data a cell is about, and how a study of it would begin.

The front end reads names and file names from a cell's text; only the kernel
knows whether a name holds a table and which columns there are. No more than
the head of a file is read, so that the answer comes while one waits. A column
that is called like a label makes it a classification study, and text alone one
of language modelling.
"""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = ["suggest", "suggest_json"]

LABELS = ("label", "labels", "target", "class", "category", "sentiment", "intent", "topic", "y")
TRIALS = 12
_TABLES = ("DataFrame", "Dataset", "DatasetDict", "Table")
_HEAD = 64 * 1024  # characters of a file that are read


def suggest(names: Iterable[str], files: Iterable[str], variables: Mapping[str, Any]) -> list[dict[str, str]]:
    """What could be tuned on, in the order given: `data` as a person reads it, `line` as a `%%autotune` line.

    Args:
        names: variables that a cell mentions; those that hold no table are left out.
        files: data files that a cell mentions; those that do not exist are left out.
        variables: the notebook's variables.
    """
    found = []
    for name in names:
        value = variables.get(name)
        if type(value).__name__ in _TABLES:
            found.append(_line(name, _columns(value)))
    for file in files:
        columns = _header(Path(file).expanduser())
        if columns is not None:
            found.append(_line(file, columns))
    return found


def suggest_json(names: Iterable[str], files: Iterable[str], variables: Mapping[str, Any]) -> str:
    """`suggest` as JSON in percent-encoding, so that Python's `repr` of it is the text in quotes."""
    return quote(json.dumps(suggest(names, files, variables)), safe="")


def _line(data: str, columns: Sequence[str]) -> dict[str, str]:
    target = _target(columns)
    model, task = ("minilm", f"--target {shlex.quote(target)}") if target else ("smollm2-135m", "--task causal-lm")
    return {"data": data, "line": f"%%autotune --model {model} --data {shlex.quote(data)} {task} --trials {TRIALS}"}


def _target(columns: Sequence[str]) -> str | None:
    by_name = {column.lower(): column for column in reversed(columns)}
    return next((by_name[label] for label in LABELS if label in by_name), None)


def _columns(value: Any) -> list[str]:
    """Column names of a table of pandas, datasets or pyarrow; the first split of several."""
    if type(value).__name__ == "DatasetDict":
        value = next(iter(value.values()), None)
    given: Any = getattr(value, "column_names", None)
    if given is None:
        given = getattr(value, "columns", ())
    return [str(column) for column in list(given)[:1000]]


def _header(path: Path) -> list[str] | None:
    """Column names of a data file as its head gives them; None where there is no such file."""
    try:
        if not path.is_file():
            return None
        if path.suffix.lower() == ".parquet":
            return _parquet_columns(path)
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            head = stream.read(_HEAD)
        if path.suffix.lower() in (".csv", ".tsv"):
            return next(csv.reader(head.splitlines(), delimiter="\t" if path.suffix.lower() == ".tsv" else ","), [])
        row = json.loads(head.lstrip().splitlines()[0]) if head.strip() else {}
        row = row[0] if isinstance(row, list) and row else row
        return [str(column) for column in row] if isinstance(row, dict) else []
    except (OSError, ValueError, csv.Error):
        return []


def _parquet_columns(path: Path) -> list[str]:
    import pyarrow.lib
    import pyarrow.parquet

    try:
        return [str(name) for name in pyarrow.parquet.read_schema(path).names]
    except pyarrow.lib.ArrowException:
        return []
