"""What decides whether data is the same: SHA-256 over contents and the row limit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from autoglm_nb.data import catalogue, hub
from autoglm_nb.data.sources import locate
from autoglm_nb.errors import DataError
from autoglm_nb.protocol import DataSpec

__all__ = ["CHECKSUM_KEY", "content_checksum", "fingerprint"]

CHECKSUM_KEY = b"autoglm_checksum"
"""Metadata key of Parquet files that `store_object` wrote: the checksum of the rows themselves."""


def fingerprint(data: DataSpec) -> str:
    """SHA-256 over everything that decides the rows of a study.

    That is the content of the three sources and `max_rows`, not the paths: the
    same file elsewhere, or the same DataFrame stored again, has the same
    fingerprint. Which columns are read is settled later and compared apart.

    Raises:
        DataError: a source does not exist or cannot be read.
    """
    parts = {
        "data": content_checksum(data.path or data.source),
        "validation": content_checksum(data.validation) if data.validation else None,
        "test": content_checksum(data.test) if data.test else None,
        "max_rows": data.max_rows,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def content_checksum(source: str) -> str:
    """SHA-256 of one source: of the file, of all texts of a folder, or of the catalogue entry."""
    path = locate(source)
    if path is None:
        if catalogue.is_catalogue_name(source):
            return catalogue.lookup(source).checksum
        return hashlib.sha256(f"hub:{source}:{hub.read_hub(source)._fingerprint}".encode()).hexdigest()
    if path.is_file():
        return _stored_checksum(path) or _file_checksum(path)
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*.txt")):
        digest.update(f"{file.relative_to(path).as_posix()}:{_file_checksum(file)}\n".encode())
    return digest.hexdigest()


def _stored_checksum(path: Path) -> str | None:
    if path.suffix.lower() not in (".parquet", ".pq"):
        return None
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_metadata(path).metadata or {}
    except (pyarrow.ArrowException, OSError):
        return None
    stored = metadata.get(CHECKSUM_KEY)
    return stored.decode() if stored else None


def _file_checksum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"The data must be readable, but {path.name!r} is not ({error.strerror or error}). Check its permissions."
        ) from error
