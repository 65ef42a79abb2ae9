"""The rows of a study and its three splits, made once and reused.

`prepare` reads the sources, validates every row and divides them: 80 % train,
10 % validation, 10 % test, less where the user brought a set. `splits.json` in
the study's folder keeps the row numbers with the fingerprint of the data; a
second call, or another worker, gets the same rows or an error if the data
changed meanwhile.

`max_rows` limits the training rows by a stratified subsample. Validation and
test rows are then limited to half of it, but never below 500, since scoring a
small trial on a hundred thousand rows would take longer than training it.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoglm_nb.data.columns import Columns, choose_columns
from autoglm_nb.data.files import whole_file
from autoglm_nb.data.fingerprints import content_checksum, fingerprint
from autoglm_nb.data.rows import Example, Rows, label_order, make_rows, single_class_fault
from autoglm_nb.data.sources import read_table
from autoglm_nb.data.splitting import Ids, split_rows, subsample
from autoglm_nb.errors import DataError, did_you_mean
from autoglm_nb.protocol import DataSpec
from autoglm_nb.settings import shown_path

__all__ = ["EVALUATION_ROWS", "FRACTIONS", "SAMPLE_ROWS", "SPLITS", "Dataset", "Split", "prepare", "read_rows"]

SPLITS = ("train", "validation", "test")
FRACTIONS = {"validation": 0.1, "test": 0.1}
EVALUATION_ROWS = 500
"""Validation and test are never limited below this by `max_rows`."""

SAMPLE_ROWS = 200
"""Rows read to settle which columns are text and target."""

_VERSION = 1
_FILE = "splits.json"


@dataclass(frozen=True)
class Split:
    """Rows of one split.

    Attributes:
        examples: in the order of `ids`.
        labels: class ids of shape (rows,), None for language modelling.
        ids: row numbers in the source, from 0.
        source: "data", or "validation"/"test" for a set of the user's own.
    """

    examples: tuple[Example, ...]
    labels: Ids | None
    ids: Ids
    source: str = "data"

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def texts(self) -> list[str]:
        """Each example as one string."""
        return [example.content for example in self.examples]


@dataclass(frozen=True)
class Dataset:
    """Everything a study trains and scores on.

    Attributes:
        task: "classification" or "causal-lm".
        train, validation, test: the splits.
        label_names: names by class id; empty for language modelling.
        checksum: SHA-256 of the data and of the splits together.
        columns: which columns were read.
        notes: sentences for the record: duplicates, overlap, what was limited.
    """

    task: str
    train: Split
    validation: Split
    test: Split
    label_names: tuple[str, ...]
    checksum: str
    columns: Columns
    notes: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def prepare(data: DataSpec, task: str, *, seed: int, folder: Path) -> Dataset:
    """The rows and splits of a study.

    Args:
        data: where the rows come from.
        task: "classification" or "causal-lm".
        seed: decides the splits when they are made; those already made stay as they are.
        folder: the study's folder, where `splits.json` is or will be.

    Raises:
        DataError: the data cannot serve the task, or changed since the study was asked for or its splits were made.
    """
    main = data.path or data.source
    current = fingerprint(data)
    if data.checksum and data.checksum not in (current, content_checksum(main)):
        raise _changed(data)
    columns = choose_columns(read_table(main, limit=SAMPLE_ROWS), data, task)
    rows = {name: read_rows(source, columns, what) for name, source, what in _sources(data, main)}
    names = _label_names(rows, columns)
    stored = _load(folder / _FILE)
    if stored is None:
        stored = {"fingerprint": current, "columns": list(columns.names), **_make(rows, data, seed)}
        _save(folder / _FILE, stored)
    elif (stored["fingerprint"], stored["columns"]) != (current, list(columns.names)):
        raise _changed(data)
    splits = {name: _take(rows, names, stored["splits"][name]) for name in SPLITS}
    checksum = hashlib.sha256(json.dumps([current, task, columns.names, stored["splits"]]).encode()).hexdigest()
    notes = (*columns.notes, *_duplicate_notes(rows["data"]), *_overlap_notes(splits), *stored["notes"])
    return Dataset(task, **splits, label_names=names, checksum=checksum, columns=columns, notes=notes)


def read_rows(source: str, columns: Columns, what: str = "data", *, limit: int | None = None) -> Rows:
    """Validated rows of one source; `what` names it in messages."""
    return make_rows(read_table(source, columns=columns.names, limit=limit), columns, what=what)


def check_labels(known: Sequence[str], labels: Sequence[str], what: str) -> None:
    """Raise `DataError` if a set of the user's own has a label that the training data lacks."""
    strange = sorted(set(labels) - set(known))
    if strange:
        raise DataError(
            f"The {what} must have labels of the training data ({', '.join(sorted(known)[:20])}), but has "
            f"{', '.join(map(repr, strange[:5]))}. {did_you_mean(strange[0], list(known))}"
        )


def _sources(data: DataSpec, main: str) -> list[tuple[str, str, str]]:
    sources = [("data", main, "data")]
    if data.validation:
        sources.append(("validation", data.validation, "validation data"))
    if data.test:
        sources.append(("test", data.test, "test data"))
    return sources


def _label_names(rows: dict[str, Rows], columns: Columns) -> tuple[str, ...]:
    labels = rows["data"].labels
    if labels is None:
        return ()
    faults = single_class_fault(labels, columns.target or "")
    if faults:
        raise DataError(faults[0])
    for name, part in rows.items():
        check_labels(label_order(labels), part.labels or (), f"{name} data")
    return label_order(labels)


def _make(rows: dict[str, Rows], data: DataSpec, seed: int) -> dict[str, Any]:
    main = rows["data"]
    fractions = {name: share for name, share in FRACTIONS.items() if name not in rows}
    made = split_rows([example.key for example in main.examples], main.labels, fractions, seed)
    notes = []
    splits: dict[str, Any] = {}
    for name in SPLITS:
        source = name if name in rows else "data"
        ids = made[name] if name in made else np.arange(len(rows[source].examples), dtype=np.int64)
        limit = data.max_rows
        if limit is not None and name != "train":
            limit = max(EVALUATION_ROWS, limit // 2)
        if limit is not None and len(ids) > limit:
            labels = rows[source].labels
            notes.append(f"{name.capitalize()}: a stratified sample of {limit} of {len(ids)} rows (max_rows).")
            ids = subsample(ids, None if labels is None else [labels[i] for i in ids], limit, seed)
        splits[name] = {"source": source, "rows": ids.tolist()}
    return {"version": _VERSION, "seed": seed, "splits": splits, "notes": notes}


def _take(rows: dict[str, Rows], names: Sequence[str], stored: dict[str, Any]) -> Split:
    part = rows[stored["source"]]
    ids = np.array(stored["rows"], dtype=np.int64)
    labels = None
    if part.labels is not None:
        number = {name: i for i, name in enumerate(names)}
        labels = np.array([number[part.labels[i]] for i in ids], dtype=np.int64)
    return Split(tuple(part.examples[i] for i in ids), labels, ids, stored["source"])


def _duplicate_notes(rows: Rows) -> list[str]:
    labels_of: dict[str, set[str]] = defaultdict(set)
    for i, example in enumerate(rows.examples):
        labels_of[example.key].add(rows.labels[i] if rows.labels is not None else "")
    notes = []
    repeated = len(rows.examples) - len(labels_of)
    if repeated:
        notes.append(f"{repeated} of {len(rows.examples)} rows repeat the text of another row; they share its split.")
    torn = sum(len(labels) > 1 for labels in labels_of.values())
    if torn:
        notes.append(f"{torn} texts occur with different labels.")
    return notes


def _overlap_notes(splits: dict[str, Split]) -> list[str]:
    keys = {name: [example.key for example in split.examples] for name, split in splits.items()}
    notes = []
    for name, other in (("validation", "train"), ("test", "train"), ("test", "validation")):
        known = set(keys[other])
        shared = sum(key in known for key in keys[name])
        if shared:
            notes.append(
                f"{shared} of {len(keys[name])} {name} rows have a text that is also in {other}; "
                f"the {name} score may be too good."
            )
    return notes


def _changed(data: DataSpec) -> DataError:
    return DataError(
        f"A study keeps the data and columns it began with, but {data.source!r} has changed since. "
        "Restore the file, or start another study (--fork, or another --name)."
    )


def _load(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        version, _ = int(stored["version"]), [stored["fingerprint"], stored["columns"], stored["notes"]]
        complete = all({"source", "rows"} <= set(stored["splits"][name]) for name in SPLITS)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DataError(
            f"The stored splits must be readable, but {shown_path(path)} is damaged. Restore it, or fork."
        ) from error
    if version > _VERSION or not complete:
        raise DataError(f"{shown_path(path)} was written by a newer version of this package. Upgrade autoglm_nb.")
    return dict(stored)


def _save(path: Path, stored: dict[str, Any]) -> None:
    with whole_file(path) as scratch:
        scratch.write_text(json.dumps(stored), encoding="utf-8")
