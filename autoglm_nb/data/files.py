"""Files that appear whole or not at all, in this room's folders and caches."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autoglm_nb.errors import DiskFullError
from autoglm_nb.settings import shown_path

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a scratch path beside `path` to write to, and rename it when the block ends well.

    A process killed inside leaves the old file, or none; two writers at once
    leave the file of one of them.

    Raises:
        DiskFullError: there is no room; the scratch file is removed.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield scratch
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"Writing {path.name} needs room on the disk, but there is none left at "
                f"{shown_path(path.parent)}. "
                "Free some and resume."
            ) from error
        raise
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
