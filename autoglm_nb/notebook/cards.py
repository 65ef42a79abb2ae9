"""A study below a cell: the record first and always, the live view second while it lasts.

One `Card` per cell subscribes to the study's handle and hands every snapshot to
both. The record is sent again only when something in it changed, and is folded
to its first line while the live view stands below it. The live view is emptied
when the study ends, so that a reopened notebook shows no dead widget; at kernel
exit whatever is left is emptied too. Callbacks come from background threads:
they send display updates and comm messages and never print.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from IPython.display import DisplayHandle, display

from autoglm_nb import record
from autoglm_nb.protocol import StudyState

__all__ = ["RECORD_SECONDS", "Card", "close_all", "close_study", "open_card", "redraw"]

RECORD_SECONDS = 2.0
"""Two updates of a record are at least this far apart, except for the last one."""

RECORD_BYTES_PER_SECOND = 10_000
"""While a live view stands below it, the record of a large study is sent less often: nobody reads it then."""

MAX_CARDS = 4
"""Cards of one study in one kernel; an older one keeps its record and loses its live view."""

_ENDED = (StudyState.FINISHED, StudyState.STOPPED, StudyState.FAILED)
_cards: list[Card] = []
_lock = threading.Lock()


class Card:
    """Record and live view of one study below one cell; thread-safe.

    Args:
        handle: the study; `follow`, `snapshot` and the controls of a `StudyHandle`.
        live: whether to show the live view.
        cell: id of the cell, so that running it again replaces this card.
        panel: what the live view shows: `card`, or one of its panels alone.
    """

    def __init__(self, handle: Any, *, live: bool, cell: str | None = None, panel: str = "card") -> None:
        self.handle = handle
        self.cell = cell
        self._guard = threading.RLock()
        self._closed = False
        self._unfollow: Callable[[], None] | None = None
        self._later: threading.Timer | None = None
        snapshot = handle.snapshot()
        self._live = live and not _over(snapshot)
        self._bundle = record.bundle(snapshot, fold=self._live)
        self._last: Mapping[str, Any] = snapshot
        self._facts = record.fingerprint(snapshot)
        self._shown_at = time.monotonic()
        self._pace = self._pace_of(self._bundle)
        self._record: DisplayHandle = display(self._bundle, raw=True, display_id=True)
        self._view: Any = None
        if self._live:
            from autoglm_nb.notebook.views import open_view

            self._view = open_view(handle, snapshot, panel=panel)
            self._view.show()

    def follow(self) -> None:
        """Begin to follow; apart from `__init__`, so that the card is known before the first callback."""
        unfollow = self.handle.follow(self.update)
        with self._guard:
            self._unfollow = unfollow
            closed = self._closed
        if closed:
            unfollow()

    def update(self, snapshot: Mapping[str, Any]) -> None:
        """Draw a snapshot; the record only if it would differ."""
        with self._guard:
            if self._closed:
                return
            self._last = snapshot
            over = _over(snapshot)
            self._update_record(snapshot, force=over)
            if self._view is not None:
                if over:
                    self._view.close()
                    self._view = None
                else:
                    self._view.update(snapshot)

    def close(self) -> None:
        """Stop following and empty the live view; the record stays."""
        with self._guard:
            self._closed = True
            view, self._view = self._view, None
            unfollow, self._unfollow = self._unfollow, None
            if self._later is not None:
                self._later.cancel()
        if unfollow is not None:
            unfollow()
        if view is not None:
            view.close()
            self._record.update(record.bundle(self._last), raw=True)

    def _pace_of(self, bundle: Mapping[str, Any]) -> float:
        """Seconds until the next record but the last."""
        if not self._live:
            return RECORD_SECONDS
        return max(RECORD_SECONDS, sum(len(str(data)) for data in bundle.values()) / RECORD_BYTES_PER_SECOND)

    def _catch_up(self) -> None:
        with self._guard:
            self._later = None
            if not self._closed:
                self._update_record(self._last, force=True)

    def _update_record(self, snapshot: Mapping[str, Any], *, force: bool) -> None:
        facts, now = record.fingerprint(snapshot), time.monotonic()
        if facts == self._facts and not force:
            return
        early = self._shown_at + self._pace - now
        if early > 0 and not force and facts[0] == self._facts[0]:  # a change of state is told at once
            if self._later is None:  # there may be no further snapshot to bring it
                self._later = threading.Timer(early, self._catch_up)
                self._later.daemon = True
                self._later.start()
            return
        bundle = record.bundle(snapshot, fold=self._live and not _over(snapshot))
        self._facts, self._shown_at = facts, now
        if bundle != self._bundle:
            self._bundle = bundle
            self._pace = self._pace_of(bundle)
            self._record.update(bundle, raw=True)


def open_card(handle: Any, *, live: bool = True, cell: str | None = None, panel: str = "card") -> Card:
    """Show a study below the cell that runs now and keep it up to date."""
    with _lock:
        same_cell = [card for card in _cards if cell is not None and card.cell == cell]
        same_study = [card for card in _cards if _same(card.handle, handle) and card not in same_cell]
        dropped = same_cell + same_study[: max(0, len(same_study) + 1 - MAX_CARDS)]
        _cards[:] = [card for card in _cards if card not in dropped]
    for card in dropped:
        card.close()
    card = Card(handle, live=live, cell=cell, panel=panel)
    with _lock:
        _cards.append(card)
    card.follow()
    return card


def redraw(handle: Any) -> None:
    """Draw the cards of a study anew, for example because a note was written; nothing moves when it has ended."""
    with _lock:
        found = [card for card in _cards if _same(card.handle, handle)]
    if found:
        snapshot = handle.snapshot()
        for card in found:
            card.update(snapshot)


def close_study(handle: Any) -> None:
    """Close every card of a study, for example because it is deleted."""
    with _lock:
        dropped = [card for card in _cards if _same(card.handle, handle)]
        _cards[:] = [card for card in _cards if card not in dropped]
    for card in dropped:
        card.close()


def close_all() -> None:
    """Close every card of this kernel; studies go on."""
    with _lock:
        dropped = list(_cards)
        _cards.clear()
    for card in dropped:
        card.close()


def _over(snapshot: Mapping[str, Any]) -> bool:
    return (snapshot.get("study") or {}).get("state") in _ENDED


def _same(one: Any, other: Any) -> bool:
    return bool(one.name == other.name and getattr(one, "home", None) == getattr(other, "home", None))


atexit.register(close_all)
