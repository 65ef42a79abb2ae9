"""Reading what the user named: a file, a folder of texts, a catalogue name or a hub id.

All of it becomes a `Table`: named columns of plain Python values in row order.
Nothing is interpreted here beyond the file format; empty CSV cells and nulls are None.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from autoglm_nb.data import catalogue, hub
from autoglm_nb.errors import DataError, did_you_mean
from autoglm_nb.protocol import DataSpec

__all__ = ["FORMATS", "Table", "anchor", "column_names", "locate", "read_table"]

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""Suffixes that are read, `.gz` after a CSV's included."""

_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Table:
    """Columns by name, all of the same length.

    Attributes:
        columns: name -> values; str, int, float, bool, None, or lists and dicts of them.
        total: rows of the source; more than `rows` when only its beginning was read.
    """

    columns: dict[str, list[Any]]
    total: int

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values()), []))

    @property
    def partial(self) -> bool:
        return self.total > self.rows


def anchor(data: DataSpec, folder: Path | None = None) -> DataSpec:
    """The same data with paths made absolute, so that a worker in another folder finds them.

    Args:
        data: as written by the user.
        folder: what relative paths are relative to; the current folder if None.
    """
    base = folder or Path.cwd()

    def absolute(source: str | None) -> str | None:
        if source is None or catalogue.is_catalogue_name(source):
            return source
        path = base / Path(source).expanduser()
        return str(path.resolve()) if path.exists() else source

    path = absolute(data.path or data.source)
    return dataclasses.replace(
        data,
        path=path if path != data.source else data.path,
        validation=absolute(data.validation),
        test=absolute(data.test),
    )


def locate(source: str) -> Path | None:
    """The file or folder that `source` names; None for a catalogue name or a hub id.

    Raises:
        DataError: it looks like a path, but there is nothing.
    """
    if catalogue.is_catalogue_name(source):
        catalogue.lookup(source)
        return None
    try:
        path = Path(source).expanduser()
        there = path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"The data must be a file, a folder or a known name, but {source[:60]!r} is no file's name "
            f"({_reason(error)}). Check the path."
        ) from error
    if there:
        return path
    suffixes = [s.lower() for s in path.suffixes]
    named_file = bool(suffixes) and (suffixes[-1] in FORMATS or suffixes[-1] in (".gz", ".txt", ".xlsx"))
    if named_file or path.is_absolute() or source.startswith((".", "~")) or not hub.looks_like_hub_id(source):
        neighbours = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        close = did_you_mean(path.name, neighbours)
        remedy = close if close.startswith("Did you mean") else "Check the path."
        raise DataError(f"The data must be a file, a folder or a known name, but {source!r} does not exist. {remedy}")
    if get_close_matches(source, list(catalogue.CATALOGUE), cutoff=0.8):
        catalogue.lookup(source)  # a slip of the pen, not a hub id
    return None


def read_table(source: str, *, columns: Sequence[str] | None = None, limit: int | None = None) -> Table:
    """The rows of a source.

    Args:
        source: file, folder, catalogue name or hub id.
        columns: read these only, where the format allows it; all if None.
        limit: read about this many rows from the beginning; `Table.total` is an estimate then.

    Raises:
        DataError: it does not exist, cannot be read or has no rows.
    """
    path = locate(source)
    if path is None and catalogue.is_catalogue_name(source):
        loaded = catalogue.load(source)
        table = Table(loaded, len(loaded["text"]))
    elif path is None:
        rows = hub.read_hub(source)
        names = [n for n in rows.column_names if columns is None or n in columns]
        head = rows if limit is None else rows.select(range(min(limit, len(rows))))
        table = Table({name: _named_classes(rows, name, list(head[name])) for name in names}, len(rows))
    elif path.is_dir():
        table = _read_folder(path)
    else:
        kind = _format(path)
        reader = {"csv": _read_csv, "json": _read_json, "parquet": _read_parquet}[kind]
        table = reader(path, columns, limit)
    if table.rows == 0:
        raise DataError(f"The data must have at least one row, but {source!r} has none. Check the file.")
    return table


def column_names(source: str) -> list[str]:
    """Names of the columns, from the header alone where there is one."""
    path = locate(source)
    if path is None:
        return (
            ["text", "label", "rating", "domain", "id"]
            if catalogue.is_catalogue_name(source)
            else list(hub.read_hub(source).column_names)
        )
    if path.is_file() and _format(path) == "parquet":
        return [str(name) for name in _parquet(path).schema_arrow.names]
    return list(read_table(source, limit=20).columns)


def _format(path: Path) -> str:
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    kind = FORMATS.get(suffixes[-1]) if suffixes else None
    if kind is None or (kind != "csv" and path.suffix.lower() == ".gz"):
        raise DataError(
            f"Data files must be CSV, JSON, JSONL or Parquet, but {path.name!r} is none of them. "
            "Give a folder for plain .txt files, or convert it first."
        )
    return kind


def _read_csv(path: Path, columns: Sequence[str] | None, limit: int | None) -> Table:
    import pandas as pd

    wanted = None if columns is None else set(columns)
    try:
        frame = pd.read_csv(
            path,
            sep="\t" if ".tsv" in path.suffixes else _delimiter(path),
            nrows=limit,
            encoding="utf-8-sig",
            usecols=None if wanted is None else lambda name: str(name).strip() in wanted,
            keep_default_na=False,
            na_values=[""],
            low_memory=False,
        )
    except pd.errors.EmptyDataError:
        return Table({}, 0)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name!r} must be UTF-8 text, but byte {error.start} is not. Save it as UTF-8 and try again."
        ) from error
    except (pd.errors.ParserError, ValueError, OSError, EOFError) as error:
        raise DataError(
            f"{path.name!r} cannot be read as CSV: {_first_line(error)}. Quote texts that hold the separator or a "
            "line break."
        ) from error
    values = {str(name).strip(): _plain(frame[name].tolist()) for name in frame.columns}
    return Table(values, _estimate(path, len(frame), limit))


def _delimiter(path: Path) -> str:
    """The separator that occurs most often in the header line, a comma if none does."""
    import gzip

    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rb") as file:
        header = file.readline(1 << 20).decode("utf-8", errors="replace")
    outside_quotes = "".join(header.split('"')[::2])
    best = max(_DELIMITERS, key=outside_quotes.count)
    return best if best in outside_quotes else ","


def _read_json(path: Path, columns: Sequence[str] | None, limit: int | None) -> Table:
    rows: list[dict[str, Any]] = []
    try:
        for number, row in _json_rows(path):
            if not isinstance(row, dict):
                raise DataError(
                    f"Each row of {path.name!r} must be an object of column names and values, but row {number} is "
                    f'{type(row).__name__}. Write rows as {{"text": ...}}.'
                )
            rows.append(row)
            if limit is not None and len(rows) >= limit:
                break
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name!r} must be UTF-8 text, but byte {error.start} is not. Save it as UTF-8 and try again."
        ) from error
    except (ValueError, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path.name!r} cannot be read as JSON: {_first_line(error)}. Correct that line.") from error
    names = [n for n in dict.fromkeys(n for row in rows for n in row) if columns is None or n in columns]
    return Table({name: [row.get(name) for row in rows] for name in names}, _estimate(path, len(rows), limit))


def _json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Numbered rows of a JSON array, of {"data": [...]}, or of one object a line."""
    with path.open(encoding="utf-8-sig") as file:
        if path.suffix.lower() == ".json":
            text = file.read()
            try:
                whole = json.loads(text)
            except ValueError:
                lines: Any = text.splitlines()
                if len(lines) < 2 or text.lstrip().startswith("["):
                    raise
            else:
                if isinstance(whole, dict):
                    lists = [value for value in whole.values() if isinstance(value, list)]
                    whole = lists[0] if len(lists) == 1 and len(whole) <= 2 else [whole]
                yield from enumerate(whole if isinstance(whole, list) else [whole], start=1)
                return
        else:
            lines = file
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    raise ValueError(f"line {number}: {error}") from error


def _read_parquet(path: Path, columns: Sequence[str] | None, limit: int | None) -> Table:
    file = _parquet(path)
    names = [n for n in file.schema_arrow.names if columns is None or n in columns]
    if limit is None:
        rows = file.read(columns=names)
        values = {name: rows.column(name).to_pylist() for name in names}
    else:
        batch = next(file.iter_batches(batch_size=limit, columns=names), None)
        values = {} if batch is None else {name: batch.column(name).to_pylist() for name in names}
    return Table({name: _plain(column) for name, column in values.items()}, int(file.metadata.num_rows))


def _parquet(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path.name!r} cannot be read as Parquet: {_first_line(error)}. Write it again.") from error


def _read_folder(path: Path) -> Table:
    """One row per .txt file; the name of a subfolder becomes the label."""
    direct = sorted(path.glob("*.txt"))
    nested = sorted(path.glob("*/*.txt"))
    try:
        if nested and not direct:
            labels = [file.parent.name for file in nested]
            return Table({"text": [f.read_text(encoding="utf-8") for f in nested], "label": labels}, len(nested))
        return Table({"text": [f.read_text(encoding="utf-8") for f in direct]} if direct else {}, len(direct))
    except UnicodeDecodeError as error:
        raise DataError(f"The texts in {path.name!r} must be UTF-8, but one is not: {error.reason}.") from error


def _estimate(path: Path, rows: int, limit: int | None) -> int:
    """Rows of the whole file, by its size, when reading stopped at the limit."""
    if limit is None or rows < limit or path.suffix.lower() == ".gz":
        return rows
    with path.open("rb") as file:
        read = sum(len(line) for _, line in zip(range(rows), file))
    return max(rows, round(path.stat().st_size / max(1, read) * rows))


def _plain(values: list[Any]) -> list[Any]:
    """NaN becomes None; other values stay."""
    return [None if isinstance(value, float) and value != value else value for value in values]


def _named_classes(rows: Any, name: str, values: list[Any]) -> list[Any]:
    feature = rows.features[name]
    names = getattr(feature, "names", None)
    return [names[v] if names and isinstance(v, int) and v >= 0 else (None if names else v) for v in values]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or _first_line(error)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:200]
