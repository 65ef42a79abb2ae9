"""Tables that live in the notebook, written to Parquet so that a worker can read them.

A DataFrame, a `datasets.Dataset` or `DatasetDict`, a list of dicts, a dict of
lists, a list of strings or a pair (texts, labels). The checksum is that of the
rows, so that running the cell again with an equal table continues the study.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoglm_nb.data.files import whole_file
from autoglm_nb.data.fingerprints import CHECKSUM_KEY
from autoglm_nb.errors import DataError

__all__ = ["store_object"]


def store_object(obj: Any, folder: Path, name: str) -> dict[str, str]:
    """Write `obj` to `folder/<name>-<checksum>.parquet` and return fields for a `DataSpec`.

    The checksum in the name keeps one study's rows apart from those of a later
    table of the same name; equal rows are written once.

    Args:
        obj: the table.
        folder: made if missing, say `runs/<study>/data`.
        name: file stem, say "train".

    Returns:
        `path` and `checksum`; of a `DatasetDict` also `validation` and `test`, paths where it has those splits.

    Raises:
        DataError: not a table, no rows, columns of different lengths, or a column of mixed types.
    """
    if isinstance(obj, Mapping) and "train" in obj and not isinstance(obj["train"], list | tuple):
        fields = store_object(obj["train"], folder, name)
        for split in ("validation", "test"):
            if split in obj:
                fields[split] = store_object(obj[split], folder, f"{name}-{split}")["path"]
        return fields
    columns = _columns(obj)
    lengths = {len(values) for values in columns.values()}
    if not lengths or lengths == {0}:
        raise DataError("The data must have at least one row, but the table given has none. Check how it was made.")
    if len(lengths) > 1:
        sizes = ", ".join(f"{key}: {len(values)}" for key, values in columns.items())
        raise DataError(f"All columns must have the same length, but got {sizes}. Make them equal.")
    checksum = _checksum(columns)
    path = Path(folder) / f"{name}-{checksum[:12]}.parquet"
    if not path.exists():
        _write(columns, path, checksum)
    return {"path": str(path.resolve()), "checksum": checksum}


def _columns(obj: Any) -> dict[str, list[Any]]:
    if hasattr(obj, "to_dict") and hasattr(obj, "columns") and hasattr(obj, "iloc"):  # a DataFrame
        duplicated = [str(c) for c in obj.columns[obj.columns.duplicated()]]
        if duplicated:
            raise DataError(f"Column names must be unique, but {', '.join(duplicated)} occurs twice. Rename one.")
        return {str(column): [_plain(v) for v in obj[column].tolist()] for column in obj.columns}
    if hasattr(obj, "column_names") and hasattr(obj, "features"):  # datasets.Dataset
        return {column: _class_names(obj, column) for column in obj.column_names}
    if isinstance(obj, Mapping):
        odd = next((key for key, values in obj.items() if not _is_list(values)), None)
        if odd is not None:
            raise DataError(
                f"Each column of a dict must be a list of values, but {str(odd)!r} is {type(obj[odd]).__name__}. "
                "Put it into a list."
            )
        return {str(key): [_plain(v) for v in values] for key, values in obj.items()}
    if isinstance(obj, tuple) and len(obj) == 2 and all(_is_list(part) for part in obj):
        return {"text": [_plain(v) for v in obj[0]], "label": [_plain(v) for v in obj[1]]}
    if _is_list(obj) and all(isinstance(row, Mapping) for row in obj):
        names = dict.fromkeys(str(key) for row in obj for key in row)
        return {key: [_plain(row.get(key)) for row in obj] for key in names}
    if _is_list(obj) and all(isinstance(row, str) for row in obj):
        return {"text": list(obj)}
    raise DataError(
        "The data must be a file, a DataFrame, a datasets.Dataset, a list of dicts or a pair (texts, labels), but got "
        f"{type(obj).__name__}. Convert it to a DataFrame."
    )


def _is_list(value: Any) -> bool:
    return (isinstance(value, Sequence) and not isinstance(value, str | bytes)) or hasattr(value, "tolist")


def _plain(value: Any) -> Any:
    """Python's own types: NaN and NA become None, NumPy scalars numbers, arrays lists, the rest as it is."""
    if hasattr(value, "tolist") and not isinstance(value, str):
        value = value.tolist()
    if isinstance(value, float) and value != value:
        return None
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _class_names(dataset: Any, column: str) -> list[Any]:
    names = getattr(dataset.features[column], "names", None)
    values = [_plain(value) for value in dataset[column]]
    if not names:
        return values
    return [names[v] if isinstance(v, int) and 0 <= v < len(names) else None for v in values]


def _checksum(columns: Mapping[str, Sequence[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(columns):
        digest.update(json.dumps(name).encode())
        for value in columns[name]:
            digest.update(json.dumps(value, sort_keys=True, default=str, ensure_ascii=False).encode(errors="replace"))
            digest.update(b"\n")
    return digest.hexdigest()


def _write(columns: Mapping[str, list[Any]], path: Path, checksum: str) -> None:
    import pyarrow
    import pyarrow.parquet

    arrays = {}
    for name, values in columns.items():
        try:
            arrays[name] = pyarrow.array(values)
        except (pyarrow.ArrowException, OverflowError, UnicodeError) as error:
            kinds = dict.fromkeys(type(value).__name__ for value in values if value is not None)
            first = next(iter(kinds), "None")
            odd = next((i for i, v in enumerate(values) if v is not None and type(v).__name__ != first), 0)
            raise DataError(
                f"Column {name!r} must hold strings or one other type of value, but mixes {', '.join(kinds)} "
                f"(first: row {odd + 1}). Convert it, for texts with .astype(str), or drop it."
            ) from error
    table = pyarrow.table(arrays).replace_schema_metadata({CHECKSUM_KEY: checksum.encode()})
    with whole_file(path) as scratch:
        pyarrow.parquet.write_table(table, scratch)
