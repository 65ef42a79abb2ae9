"""Events and rows in, calls of one hook out, each thing once.

The event file says in which order things happened; the rows say what came of them. After each
call the state of the hook is written, and whoever follows next skips what stands there. What
the events do not tell (they may be lost) is told from the rows at the end.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from typing import Any

from autoglm_nb.hooks._base import Hook, RunInfo, RunOutcome, StudyInfo, StudyOutcome
from autoglm_nb.hooks.names import make
from autoglm_nb.protocol import Event, RunRole, StudyState, TrialState
from autoglm_nb.record import words
from autoglm_nb.store import EventTail, RunRow, Store, metric_of, snapshot
from autoglm_nb.store.hook_state import HookState, hook_state, save_hook_state

__all__ = ["POLL_SECONDS", "HookFollower", "wanted"]

POLL_SECONDS = 1.0

GRACE_SECONDS = 60.0
"""A study that stands still without a worker is left after this long; `attach` takes it up again."""

QUEUE_SECONDS = 86_400.0
"""A queued study may wait so long for its device."""

log = logging.getLogger(__name__)


def wanted(store: Store, study: str, name: str) -> bool:
    """Whether a hook has something left to tell: the study is under way, or was not told to its end."""
    state = hook_state(store, study, name)
    return bool(state.failure) or not state.over or not store.state(study)[0].final


class HookFollower:
    """Follows one study for one hook, from one thread.

    Args:
        store: where the study is.
        study: its name.
        name: the hook's name.
        hook: given by a test; otherwise made by name when there is something to tell.
    """

    def __init__(self, store: Store, study: str, name: str, hook: Hook | None = None) -> None:
        self._store, self._study, self._name = store, study, name
        self._state = hook_state(store, study, name)
        if hook is not None:
            hook.memory = self._state.memory
        self._hook = hook
        self._info: StudyInfo | None = None
        self._runs: dict[str, RunInfo] = {}
        self._tail = EventTail(store.study_dir(study) / "events.jsonl", tail_bytes=None)
        self._fresh = True
        self._lonely_since: float | None = None

    @property
    def state(self) -> HookState:
        """How far the hook is."""
        return self._state

    def run(self, stop: threading.Event | None = None) -> bool:
        """Follow until the study ends, stands still, or the hook fails; whether it got to the end.

        Never raises for a fault of the hook: it is stored and shown among the study's messages.
        """
        stop = stop or threading.Event()
        try:
            while not stop.is_set():
                if self.step():
                    return True
                if self._left_alone():
                    return False
                stop.wait(POLL_SECONDS)
            return False
        except Exception as error:  # noqa: BLE001 - whatever a tracker raises must not reach the study
            self._fail(error)
            return False
        finally:
            if self._hook is not None:
                with contextlib.suppress(Exception):
                    self._hook.close()

    def step(self) -> bool:
        """Tell what has happened since the last time; True once the end of the study has been told."""
        over = self._over()
        events = self._tail.poll()
        if self._fresh and events:
            if max(e.n for e in events) < self._state.n:  # a new file: runs and evaluations say what is known
                self._state.n = 0
            self._fresh = False
        if events or over:
            self._begin()
        for event in events:
            if event.n > self._state.n:
                self._tell(event)
        if events and events[-1].n > self._state.n:
            self._state.n = events[-1].n
            self._save()
        if not over:
            return False
        if events:  # a long file comes in pieces: the rest first
            return self.step()
        self._catch_up()
        self._end()
        return True

    def _begin(self) -> None:
        """Tell of the study's start, once a process."""
        if self._info is not None:
            return
        if self._hook is None:
            self._hook = make(self._name, self._state.memory)
        self._info = self._study_info(resumed=self._state.begun)
        self._hook.on_study_started(self._info)
        self._state.begun, self._state.over, self._state.failure = True, "", ""
        self._save()

    def _tell(self, event: Event) -> None:
        name = str(event.data.get("run") or "")
        if event.type == "started" and name:
            self._started(self._from_event(name, event))
        elif event.type == "report" and name:
            self._reported(name, event.data.get("rung"), event.data.get("value"), event.t)
        elif event.type == "ended" and name:
            state = str(event.data.get("state") or "")
            if state in set(TrialState) and TrialState(state).final:
                self._ended(name, self._outcome(name, event))
        else:
            return
        self._state.n = event.n
        self._save()

    def _started(self, run: RunInfo) -> None:
        hook, info = self._called()
        self._runs[run.name] = run
        if run.name in self._state.started:  # another worker goes on with it
            return
        if run.name in self._state.ended:
            self._state.ended.remove(run.name)
        hook.on_trial_started(info, run)
        self._state.started.append(run.name)

    def _reported(self, name: str, rung: Any, value: Any, at: float) -> None:
        hook, info = self._called()
        usable = isinstance(rung, int) and isinstance(value, int | float) and math.isfinite(value)
        if not usable or rung <= self._state.rungs.get(name, -1):
            return
        hook.on_report(info, self._run(name), int(rung), float(value), at)
        self._state.rungs[name] = int(rung)

    def _ended(self, name: str, outcome: RunOutcome) -> None:
        hook, info = self._called()
        if name in self._state.ended:
            return
        hook.on_trial_ended(info, self._run(name), outcome)
        self._state.ended.append(name)
        self._state.started = [n for n in self._state.started if n != name]
        self._state.rungs.pop(name, None)
        self._runs.pop(name, None)

    def _catch_up(self) -> None:
        """Tell from the rows what no event told: runs that ended, and their evaluations."""
        known = set(self._state.ended)
        missing = [r for r in self._store.runs(self._study) if r.state.final and r.run not in known]
        if not missing:
            return
        shot = snapshot(self._store, self._study, limit=None)
        reports = {t["number"]: t["reports"] for t in shot["trials"]}
        for row in missing:
            self._started(_run_info(row))
            for rung, value in reports.get(row.trial, []) if row.trial is not None else []:
                self._reported(row.run, int(rung), value, row.ended_at or row.started_at)
            self._ended(row.run, _row_outcome(row))
            self._save()

    def _end(self) -> None:
        hook, info = self._called()
        shot = snapshot(self._store, self._study, limit=1)
        head = shot["headline"]
        hook.on_study_ended(
            info,
            StudyOutcome(
                state=shot["study"]["state"],
                best_value=head["best_value"],
                best_trial=head["best_trial"],
                best_config=dict(head["best_config"]),
                baseline_value=head["baseline_value"],
                final=dict(shot["final"] or {}),
            ),
        )
        self._state.over = shot["study"]["state"]
        self._save()

    def _called(self) -> tuple[Hook, StudyInfo]:
        self._begin()
        if self._hook is None or self._info is None:
            raise RuntimeError("A hook is called after it was begun.")
        return self._hook, self._info

    def _run(self, name: str) -> RunInfo:
        if name not in self._runs:
            row = self._store.run(self._study, name)
            self._runs[name] = _run_info(row) if row is not None else RunInfo(name, RunRole.TRIAL, None)
        return self._runs[name]

    def _from_event(self, name: str, event: Event) -> RunInfo:
        row = self._store.run(self._study, name)
        if row is not None:
            return _run_info(row)
        trial, config = event.data.get("trial"), event.data.get("config")
        return RunInfo(
            name,
            str(event.data.get("role") or RunRole.TRIAL),
            trial if isinstance(trial, int) else None,
            dict(config) if isinstance(config, dict) else {},
            started_at=event.t,
        )

    def _outcome(self, name: str, event: Event) -> RunOutcome:
        """The row where it is final already, else what the event says."""
        row = self._store.run(self._study, name)
        if row is not None and row.state.final:
            return _row_outcome(row)
        value = event.data.get("value")
        usable = isinstance(value, int | float) and math.isfinite(value)
        return RunOutcome(
            str(event.data.get("state")),
            float(value) if usable and value is not None else None,
            str(event.data.get("because") or ""),
            ended_at=event.t,
        )

    def _study_info(self, *, resumed: bool) -> StudyInfo:
        study = snapshot(self._store, self._study, limit=1)["study"]
        return StudyInfo(
            name=study["name"],
            identity=study["identity"],
            model=study["model"],
            data=study["data"],
            task=study["task"],
            metric=metric_of(self._store.spec(self._study)),
            direction=study["direction"],
            strategy=study["strategy"],
            seed=study["seed"],
            created_at=study["created_at"],
            home=self._store.home,
            resumed=resumed,
        )

    def _over(self) -> bool:
        """Whether the study has ended and no worker is left that could still write."""
        if not self._store.state(self._study)[0].final:
            return False
        holder = self._store.holder(self._study)
        return holder is None or not holder.alive

    def _left_alone(self) -> bool:
        """Whether the study has stood still without a worker for a while."""
        state = self._store.state(self._study)[0]
        if state not in (StudyState.PAUSED, StudyState.INTERRUPTED, StudyState.QUEUED):
            self._lonely_since = None
            return False
        holder = self._store.holder(self._study)
        if holder is not None and holder.alive:
            self._lonely_since = None
            return False
        now = time.monotonic()
        self._lonely_since = self._lonely_since or now
        patience = QUEUE_SECONDS if state is StudyState.QUEUED else GRACE_SECONDS
        return now - self._lonely_since >= patience

    def _save(self) -> None:
        save_hook_state(self._store, self._study, self._name, self._state)

    def _fail(self, error: BaseException) -> None:
        said = words.clean(f"{type(error).__name__}: {error}", 240).rstrip(".")
        self._state.failure = (
            f"Logging to {self._name} stopped: {said}. The study goes on; "
            f"`%autotune attach {words.quoted(self._study)}` tries again."
        )
        self._state.failed_at = time.time()
        log.warning("the hook %s of %s failed", self._name, self._study, exc_info=error)
        with contextlib.suppress(Exception):
            self._save()


def _run_info(row: RunRow) -> RunInfo:
    return RunInfo(row.run, str(row.role), row.trial, dict(row.config), row.proposed_by, row.started_at)


def _row_outcome(row: RunRow) -> RunOutcome:
    return RunOutcome(str(row.state), row.value, row.because, dict(row.metrics), row.ended_at or 0.0)
