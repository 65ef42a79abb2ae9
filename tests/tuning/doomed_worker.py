"""A worker that kills itself with SIGKILL at a chosen place, for the fault tests.

`main(PLACE, COUNT, ["--home", H, "--study", S])` runs the real worker, but dies at
the COUNT-th time that it is at PLACE:

- `checkpoint`: a checkpoint's tensors are written, its folder not yet in place
- `store`: inside a write transaction of the store, before the commit
- `optuna`: inside a transaction of Optuna's storage, before the commit
- `never`: not at all (the parent kills it)
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any


class Doom:
    """Counts down to the kill."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(place: str, count: int) -> None:
    """Put the trap at its place; the patched code is otherwise the real one."""
    doom = Doom(count)
    if place == "checkpoint":
        real = os.replace

        def replace(source: Any, target: Any, **options: Any) -> None:
            if "checkpoints" in str(target):
                doom()
            real(source, target, **options)

        os.replace = replace  # type: ignore[assignment]
        real_rename = os.rename

        def rename(source: Any, target: Any, **options: Any) -> None:
            if "checkpoints" in str(target):
                doom()
            real_rename(source, target, **options)

        os.rename = rename  # type: ignore[assignment]
    elif place == "store":
        from autoglm_nb.store import _database

        real_write = _database.Database._write

        @contextlib.contextmanager
        def write(self: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
            with real_write(self, *arguments, **options) as connection:
                yield connection
                doom()

        _database.Database._write = write  # type: ignore[method-assign]
    elif place == "optuna":
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        event.listen(Engine, "commit", doom)


def main(place: str, count: int, arguments: list[str]) -> int:
    """Run the worker with the trap set; its exit status."""
    from autoglm_nb.tuning import worker

    arm(place, count)
    return worker.main(arguments)
