"""Watching a study from the notebook: one background thread per followed study.

The thread tails `events.jsonl`, folds it into a `LiveState`, and calls its
subscribers with a fresh snapshot at most twice a second. It also looks after
the worker it was given: a worker that dies in the middle of a study is
replaced, up to a limit, and each time the card says so. It never prints and
never touches the display itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from autoglm_nb import settings
from autoglm_nb.errors import AutoGLMError
from autoglm_nb.protocol import Snapshot, StudyState
from autoglm_nb.record import words
from autoglm_nb.store import EventTail, LiveState, Store, snapshot
from autoglm_nb.tuning.executors import WorkerHandle

__all__ = ["Follower", "Subscriber"]

Subscriber = Callable[[Snapshot], None]

RESTARTS_WITHOUT_PROGRESS = 5
"""A worker that dies this often without one more event of training is not replaced again."""

STATE_SECONDS = 1.0
GRACE_SECONDS = 5.0
PAGE = 200

log = logging.getLogger(__name__)


class Follower:
    """Follows one study until it ends; thread-safe.

    Args:
        worker: the worker started with it, if this kernel did. Without one the
            follower only watches.
        restart: starts another worker when that one dies.
    """

    def __init__(
        self,
        home: Path,
        study: str,
        worker: WorkerHandle | None = None,
        restart: Callable[[], WorkerHandle] | None = None,
    ) -> None:
        self._store = Store(home)
        self._study = study
        self._worker = worker
        self._restart = restart
        self._tail = EventTail(self._store.study_dir(study) / "events.jsonl")
        self._live = LiveState()
        self._subscribers: list[Subscriber] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._stop = threading.Event()
        self._deaths = 0
        self._progress = self._last_progress = 0
        self._lonely_since: float | None = None
        self._thread = threading.Thread(target=self._follow, name=f"autoglm-follow-{study}", daemon=True)
        self._thread.start()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber(snapshot)` on changes and once at the end; returns the way to stop that.

        Called from the background thread. An exception ends that subscription.
        """
        with self._lock:
            self._subscribers.append(subscriber)
        if self._ended.is_set():
            self._notify([subscriber])

        def unsubscribe() -> None:
            with self._lock:
                if subscriber in self._subscribers:
                    self._subscribers.remove(subscriber)

        return unsubscribe

    @property
    def ended(self) -> threading.Event:
        """Set when there is nothing more to follow: a final state, or no worker and no way to start one."""
        return self._ended

    @property
    def worker(self) -> WorkerHandle | None:
        return self._worker

    def close(self) -> list[Subscriber]:
        """Stop following (not the study); the subscribers, for the follower that comes after."""
        self._stop.set()
        with self._lock:
            subscribers, self._subscribers = self._subscribers, []
        return subscribers

    def snapshot(self) -> Snapshot:
        """The study as it stands now."""
        return snapshot(self._store, self._study, live=self._live, limit=PAGE)

    def _follow(self) -> None:
        next_state, state = 0.0, None
        while not self._stop.is_set():
            try:
                events = self._tail.poll()
                self._live.apply_all(events)
                self._progress += sum(event.type in ("step", "report", "ended") for event in events)
                now = time.monotonic()
                if now >= next_state or any(e.type == "state" for e in events):
                    next_state = now + STATE_SECONDS
                    before, state = state, self._store.state(self._study)
                    if self._look_after(state[0]):
                        state = self._store.state(self._study)
                    if state != before or events:
                        self._notify()
                    if self._over(state[0]):
                        self._live.apply_all(self._tail.poll())
                        self._ended.set()
                        self._notify()
                        return
                elif events:
                    self._notify()
            except AutoGLMError as error:
                log.debug("following %s: %s", self._study, error)
                if not self._store.has_study(self._study):
                    self._ended.set()
                    return
            except Exception:
                log.exception("following %s", self._study)
            self._stop.wait(settings.VIEW_SECONDS)

    def _over(self, state: StudyState) -> bool:
        """Whether there is nothing left to follow."""
        if state in (StudyState.PREPARING, StudyState.RUNNING, StudyState.CONFIRMING):
            return False
        worker_here = self._worker is not None and self._worker.alive()
        holder = self._store.holder(self._study)
        if worker_here or (holder is not None and holder.alive):
            self._lonely_since = None
            return False
        if state.final or state is StudyState.PAUSED:
            return True
        # interrupted or queued without a worker: another kernel may be replacing it right now
        now = time.monotonic()
        self._lonely_since = self._lonely_since or now
        return now - self._lonely_since >= GRACE_SECONDS

    def _look_after(self, state: StudyState) -> bool:
        """Replace a dead worker of an unfinished study; whether anything was done."""
        worker = self._worker
        if worker is None or worker.alive() or state not in (StudyState.INTERRUPTED, StudyState.QUEUED):
            return False
        holder = self._store.holder(self._study)
        if holder is not None and holder.alive:
            return False
        self._deaths = 1 if self._progress > self._last_progress else self._deaths + 1
        self._last_progress = self._progress
        if self._restart is not None and self._deaths <= RESTARTS_WITHOUT_PROGRESS:
            self._worker = self._restart()
            return True
        self._worker = None
        self._store.set_state(
            self._study,
            StudyState.FAILED,
            f"The worker ended unexpectedly (exit code {worker.exit_code()}). "
            f"`%autotune logs {words.quoted(self._study)}` shows its last words; the same cell continues the study.",
        )
        return True

    def _notify(self, only: list[Subscriber] | None = None) -> None:
        with self._lock:
            subscribers = list(self._subscribers) if only is None else only
        if not subscribers:
            return
        current = self.snapshot()
        for subscriber in subscribers:
            try:
                subscriber(current)
            except Exception:
                log.exception("a view of %s failed and is no longer updated", self._study)
                with self._lock:
                    if subscriber in self._subscribers:
                        self._subscribers.remove(subscriber)
