"""Free room on a disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["disk_free"]


def disk_free(path: str | os.PathLike[str]) -> int:
    """Bytes this user may still write where `path` is, or would be created."""
    where = Path(path).absolute()
    while not where.exists() and where != where.parent:
        where = where.parent
    return shutil.disk_usage(where).free
