"""Tests in several processes take turns where they must: what measures time or memory runs while no other test does.

Also what has real models, which use all cores, or drives a browser. The locks are those of two
files that are there anyway, so two runs in one checkout take turns too.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ALONE", "turn"]

ALONE = ("alone", "real", "browser")
"""Markers of tests beside which no other runs."""

_DOOR, _ROOM = Path(__file__), Path(__file__).with_name("conftest.py")


@contextmanager
def turn(*, alone: bool, door: Path = _DOOR, room: Path = _ROOM) -> Iterator[None]:
    """Be in the room, beside others or alone; waits until that is possible.

    Who wants to be alone keeps the door shut while the room empties, so that others cannot hold it up for ever.
    """
    with door.open() as entrance, room.open() as inside:
        fcntl.flock(entrance, fcntl.LOCK_EX)
        fcntl.flock(inside, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(entrance, fcntl.LOCK_UN)
        try:
            yield
        finally:  # a forked child that is still there has copies of both files
            fcntl.flock(inside, fcntl.LOCK_UN)
            fcntl.flock(entrance, fcntl.LOCK_UN)
