"""The quick answer in the notebook: can this data serve the task? No torch, no download.

Reads the header and the needed columns only, and of a large file only the
beginning; what holds of all rows is checked again when the study prepares.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from autoglm_nb.data import catalogue
from autoglm_nb.data.columns import Columns, choose_columns
from autoglm_nb.data.dataset import FRACTIONS, SAMPLE_ROWS, check_labels
from autoglm_nb.data.rows import label_order, make_rows, single_class_fault
from autoglm_nb.data.sources import Table, locate, read_table
from autoglm_nb.data.splitting import split_rows
from autoglm_nb.errors import DataError
from autoglm_nb.protocol import DataSpec

__all__ = ["DataReport", "check"]

LARGE_BYTES = 50_000_000
"""Of files larger than this, `EXAMINED_ROWS` are examined."""

EXAMINED_ROWS = 50_000


@dataclass(frozen=True)
class DataReport:
    """What `check` found.

    Attributes:
        task: "classification" or "causal-lm".
        columns: all columns of the data.
        text: text columns that will be used.
        target: target column that will be used; None for plain language modelling.
        rows: rows of the data; an estimate if `partial`.
        labels: class names in order; None for language modelling.
        counts: rows of each class among those examined.
        kind: "labelled", "text", "pairs" or "chat".
        notes: what was decided without being told.
        partial: only the beginning of a large file was examined.
    """

    task: str
    columns: tuple[str, ...]
    text: tuple[str, ...]
    target: str | None
    rows: int
    labels: tuple[str, ...] | None
    counts: dict[str, int]
    kind: str
    notes: tuple[str, ...] = ()
    partial: bool = False


def check(data: DataSpec, task: str | None = None, *, fallback: str | None = None) -> DataReport:
    """Whether the data can serve the task.

    Args:
        data: as the user described it.
        task: as the user said; None to find out.
        fallback: the task of the model's own config, used where the data does not decide.

    Raises:
        DataError: it cannot; the message names the rule, what was found and the remedy.
    """
    main = data.path or data.source
    if data.max_rows is not None and data.max_rows < 2:
        raise DataError(f"max_rows must be at least 2, but got {data.max_rows}. Leave it out to use all rows.")
    if catalogue.is_catalogue_name(main):
        report = _check_catalogue(data, catalogue.lookup(main), task, fallback)
    else:
        report = _check_source(data, main, task, fallback)
    columns = Columns(report.task, report.kind, report.text, report.target)
    for name, source in (("validation data", data.validation), ("test data", data.test)):
        if source and not catalogue.is_catalogue_name(source):
            rows = make_rows(_read(source, columns), columns, what=name)
            if not report.partial:
                check_labels(report.labels or (), rows.labels or (), name)
        elif source:
            catalogue.lookup(source)
    return report


def _check_catalogue(
    data: DataSpec, entry: catalogue.CatalogueSet, task: str | None, fallback: str | None
) -> DataReport:
    """A catalogue set is known without reading it."""
    names = ("text", "label", "rating", "domain", "id")
    sample = Table({name: ["x"] if name != "rating" else [1.0] for name in names}, entry.rows)
    columns = choose_columns(sample, data, task or ("classification" if fallback is None else None), fallback=fallback)
    if columns.target not in ("label", None):
        raise DataError(f"The target of {entry.name!r} must be 'label', but got {columns.target!r}. Leave it out.")
    labelled = columns.kind == "labelled"
    return DataReport(
        columns.task,
        names,
        columns.text,
        columns.target,
        entry.rows,
        tuple(sorted(entry.counts)) if labelled else None,
        dict(entry.counts) if labelled else {},
        columns.kind,
        notes=(),
    )


def _check_source(data: DataSpec, main: str, task: str | None, fallback: str | None) -> DataReport:
    sample = read_table(main, limit=SAMPLE_ROWS)
    columns = choose_columns(sample, data, task, fallback=fallback)
    table = _read(main, columns)
    rows = make_rows(table, columns)
    if rows.labels is not None:
        faults = single_class_fault(rows.labels, columns.target or "")
        if faults and not table.partial:
            raise DataError(faults[0])
    if not table.partial:
        wanted = {n: f for n, f in FRACTIONS.items() if getattr(data, n) is None}
        split_rows([example.key for example in rows.examples], rows.labels, wanted, seed=0)
    return DataReport(
        columns.task,
        tuple(sample.columns),
        columns.text,
        columns.target,
        table.total,
        None if rows.labels is None else label_order(rows.labels),
        dict(Counter(rows.labels or ())),
        columns.kind,
        columns.notes,
        table.partial,
    )


def _read(source: str, columns: Columns) -> Table:
    path = locate(source)
    large = path is not None and path.is_file() and Path(path).stat().st_size > LARGE_BYTES
    return read_table(source, columns=columns.names, limit=EXAMINED_ROWS if large else None)
