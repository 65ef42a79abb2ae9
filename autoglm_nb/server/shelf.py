"""The stores that are open for reading, and what is remembered of each."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from autoglm_nb.server.places import Place, Places
from autoglm_nb.store import EventTail, LiveState, Overview, Store, Watch

__all__ = ["OpenStore", "Shelf"]

_FOLLOWED = 64


@dataclass
class _Followed:
    """The fold of one study's events, and who may add to it."""

    tail: EventTail
    inode: int
    live: LiveState = field(default_factory=LiveState)
    lock: threading.Lock = field(default_factory=threading.Lock)


class OpenStore:
    """A store opened for reading alone. Threads may share it.

    Raises:
        StoreError, StoreVersionError: as `Store`.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.file = _identity(place)
        self.store = Store(place.home, read_only=True)
        self.watch = Watch(self.store)
        self.overview = Overview(self.store, self.watch)
        self._followed: OrderedDict[str, _Followed] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def following(self, name: str) -> Iterator[LiveState]:
        """The fold of a study's events up to now; nobody else adds to it inside the block."""
        path = self.store.study_dir(name) / "events.jsonl"
        try:
            inode = os.stat(path).st_ino
        except OSError:
            inode = 0
        with self._lock:
            followed = self._followed.get(name)
            if followed is None or followed.inode != inode:  # the first look, or another study of that name
                followed = self._followed[name] = _Followed(EventTail(path), inode)
            self._followed.move_to_end(name)
            while len(self._followed) > _FOLLOWED:
                self._followed.popitem(last=False)
        with followed.lock:
            followed.live.apply_all(followed.tail.poll())
            yield followed.live

    def close(self) -> None:
        """Closes its connections."""
        self.watch.close()
        self.store.close()


class Shelf:
    """Stores by their place, opened when they are first asked for. Threads may share it."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._open: dict[str, OpenStore] = {}
        self._lock = threading.Lock()

    def take(self, place: Place) -> OpenStore:
        """The store of a place; a file that was replaced is opened anew.

        Raises:
            StoreError, StoreVersionError: as `Store`.
        """
        with self._lock:
            found = self._open.get(place.id)
            if found is None or found.file != _identity(place):
                # The old one is left to the threads that may still read it.
                found = self._open[place.id] = OpenStore(place)
            return found

    def keep_only(self, ids: frozenset[str]) -> None:
        """Lets go of the stores that are gone."""
        with self._lock:
            for id in self._open.keys() - ids:
                del self._open[id]

    def close(self) -> None:
        """Closes every store."""
        with self._lock:
            for found in self._open.values():
                found.close()
            self._open.clear()


def _identity(place: Place) -> Hashable:
    status = os.stat(place.home / "studies.db")
    return status.st_dev, status.st_ino
