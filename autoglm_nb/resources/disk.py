"""Free room on a disk."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

__all__ = ["disk_free", "no_room"]


def no_room(error: BaseException) -> bool:
    """Whether a write failed because the disk is full; safetensors says so in its message alone."""
    full = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    return getattr(error, "errno", None) in full or "No space left" in str(error)


def disk_free(path: str | os.PathLike[str]) -> int:
    """Bytes this user may still write where `path` is, or would be created."""
    where = Path(path).absolute()
    while not where.exists() and where != where.parent:
        where = where.parent
    return shutil.disk_usage(where).free
