"""Small JSON files beside the tables: written whole or not at all, read with distrust."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from autoglm_nb.store._database import disk_full_error, is_disk_full
from autoglm_nb.store._json import plain

__all__ = ["read_json", "write_json"]

_MOST_BYTES = 64 * 1024 * 1024


def read_json(path: Path) -> dict[str, Any]:
    """The object a file holds; empty where it is missing, too long, damaged or something else."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return {}
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, value: dict[str, Any], *, durable: bool = False) -> None:
    """Write beside the target and rename, so that a reader or a crash never meets half a file.

    Args:
        path: the file; its folder is made when missing.
        value: plain JSON values.
        durable: wait until the disk has it, so that a power cut loses nothing.

    Raises:
        DiskFullError: there is no room.
    """
    text = json.dumps(plain(value), ensure_ascii=False, sort_keys=True, allow_nan=False)
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if is_disk_full(error):
            raise disk_full_error(path) from error
        raise
