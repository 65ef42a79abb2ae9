"""A running or stored study, held by name: start it, watch it, control it, find it again.

Handles are cheap and many may point at one study; each kernel keeps one
`Follower` per study, shared by all its handles. Control goes through the
store, so a handle in another notebook works as well as this one.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoglm_nb import decisions, hooks, settings
from autoglm_nb.errors import AutoGLMError, UsageError, WorkerError
from autoglm_nb.protocol import Action, Snapshot, StudySpec, StudyState
from autoglm_nb.record import words
from autoglm_nb.session.planning import Plan
from autoglm_nb.session.teamwork import Teamwork
from autoglm_nb.store import Store, StudySummary, registry, snapshot
from autoglm_nb.tuning import executors
from autoglm_nb.tuning.context import Extras
from autoglm_nb.tuning.executors import WorkerHandle
from autoglm_nb.tuning.follower import Follower

if TYPE_CHECKING:
    from autoglm_nb.models import TunedModel
    from autoglm_nb.session.results import Results

__all__ = ["StudyHandle", "attach", "launch", "studies"]

_followers: dict[tuple[Path, str], Follower] = {}
_lock = threading.Lock()


class StudyHandle(Teamwork):
    """One study. Made by `launch` and `attach`; thread-safe."""

    def __init__(self, home: Path, name: str) -> None:
        self.home = home
        self.name = name
        self._store = Store(home, create=False)

    @property
    def status(self) -> str:
        """The study's state, such as "running" or "finished"."""
        return str(self._store.state(self.name)[0])

    @property
    def reason(self) -> str:
        """The sentence that goes with the state; "" when there is none."""
        return self._store.state(self.name)[1]

    @property
    def spec(self) -> StudySpec:
        return self._store.spec(self.name)

    def wait(self, timeout: float | None = None) -> StudyHandle:
        """Block until the study ends, stands still without a worker, or the time is up.

        Ctrl-C stops the waiting, not the study.

        Raises:
            TimeoutError: after `timeout` seconds.
            AutoGLMError: the study failed; its reason.
        """
        follower = _follower(self.home, self.name)
        remaining = timeout
        while not follower.ended.wait(0.2):
            follower = _followers.get((self.home, self.name), follower)  # `resume` puts another in its place
            if remaining is not None:
                remaining -= 0.2
                if remaining <= 0:
                    raise TimeoutError(f"Study {self.name!r} is still {self.status} after {timeout:g} seconds.")
        state, reason = self._store.state(self.name)
        if state is StudyState.FAILED:
            raise AutoGLMError(reason)
        return self

    def pause(self) -> None:
        """Ask the worker to stand still; running trials keep their place."""
        self._store.request(self.name, Action.PAUSE)

    def resume(self) -> None:
        """Go on after a pause, an interruption or a stop.

        Raises:
            UsageError: a custom objective is needed again, or the data, which did not come with a shared
                file: run its cell. Or an environment variable that the worker could not read.
        """
        holder = self._store.holder(self.name)
        if holder is not None and holder.alive:
            self._store.request(self.name, Action.RESUME)
            return
        spec = self.spec
        if self._store.provenance(self.name).get("brought_in") and spec.data.path is None:
            raise UsageError(
                f"Study {self.name!r} was brought in from a shared file, without its data. Run its cell on the same "
                f"data with `--name {words.quoted(self.name)}` to continue it, or on other data with `--fork`."
            )
        if spec.objective is not None:
            raise UsageError(
                f"Study {self.name!r} was started with the objective {spec.objective!r}, which is not stored. "
                "Run its cell again to continue it."
            )
        if faults := settings.faults():
            raise UsageError(faults[0], faults)
        _start_worker(self.home, spec, Extras())
        _tell_others(self.home, self.name)

    def stop(self) -> None:
        """End the study; finished trials are kept, running ones can be continued later."""
        holder = self._store.holder(self.name)
        state = self._store.state(self.name)[0]
        if (holder is not None and holder.alive) or state is StudyState.QUEUED:
            self._store.request(self.name, Action.STOP)
            if holder is None or not holder.alive:  # it waits, and perhaps its worker is gone: no need to wait for it
                self._store.set_state(self.name, StudyState.STOPPED, "Stopped by a person while it waited.")
        elif not state.final:
            self._store.set_state(self.name, StudyState.STOPPED, "Stopped by a person. The same cell continues it.")

    def stop_trial(self, number: int) -> None:
        """End one running trial; it is stored as pruned.

        Raises:
            UsageError: no such trial is running.
        """
        row = self._store.run(self.name, f"trial-{number:04d}")
        if row is None or row.state.final:
            found = "there is none" if row is None else f"it is {row.state}"
            raise UsageError(
                f"Only a running trial can be stopped, but trial {number} is not: {found}. "
                f"`%autotune status {words.quoted(self.name)}` shows which ones run."
            )
        self._store.request(self.name, Action.STOP_TRIAL, {"trial": int(number)})

    def enqueue(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """Try these configurations next.

        Raises:
            SpaceError: one of them lies outside the search space.
        """
        from autoglm_nb.space import Space

        space = Space.from_json(self.spec.space)
        for config in configs:
            space.validate(dict(config), partial=True)
        for config in configs:
            self._store.request(self.name, Action.ENQUEUE, {"config": dict(config)})

    def snapshot(self) -> Snapshot:
        """The study as it stands, as plain JSON: what every view draws."""
        follower = _followers.get((self.home, self.name))
        if follower is not None and not follower.ended.is_set():
            return follower.snapshot()
        return snapshot(self._store, self.name)

    def follow(self, callback: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Call `callback(snapshot)` from a background thread on changes, at most twice a second, and at the end.

        Returns:
            a function that ends it.
        """
        return _follower(self.home, self.name).subscribe(callback)

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to wait for."""
        return _follower(self.home, self.name).ended.is_set()

    def results(self) -> Results:
        """What is known so far; complete once the study is finished."""
        from autoglm_nb.session.results import Results

        return Results(self.home, self.name)

    def best_model(
        self, device: str = "cpu", *, force: bool = False, base: str | os.PathLike[str] | None = None
    ) -> TunedModel:
        """The best trial's model, ready for `.predict(texts)`; one that was rejected only with `force`.

        `base` is the folder of the base model, where it cannot be found by its name.
        """
        return self.results().best_model(device=device, force=force, base=base)

    def log(self, lines: int = 40) -> str:
        """The last lines of the worker's log."""
        path = self._store.study_dir(self.name) / "worker.log"
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 200 * lines - 4096))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])

    def __repr__(self) -> str:
        try:
            return f"<study {self.name!r}: {self.status}>"
        except AutoGLMError:
            return f"<study {self.name!r}: not stored any more>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from autoglm_nb import record

        return record.bundle(self.snapshot())


def launch(plan: Plan) -> StudyHandle:
    """Store a planned study and start its worker, or go on with the study of that name.

    Returns at once. A study that is running already is only attached to (a
    higher number of trials or budget still reaches it); a finished one whose
    trials are all there is returned as it is.

    Raises:
        StudyMismatchError: the name is taken by a study of other model, data, space or metric.
        WorkerError: no worker could be started.
    """
    store = Store(plan.home)
    registry.remember(plan.home)
    spec = plan.spec
    if plan.fork and store.has_study(spec.name):
        spec = dataclasses.replace(spec, name=store.fork_name(spec.name))
    if store.has_study(spec.name):
        store.continue_study(spec)
        holder = store.holder(spec.name)
        if (holder is not None and holder.alive) or _complete(store, spec) or _on_its_way(store, plan):
            _tell_others(plan.home, spec.name)
            return StudyHandle(plan.home, spec.name)
    else:
        store.create_study(spec)
    _start_worker(plan.home, spec, plan.extras)
    _tell_others(plan.home, spec.name)
    return StudyHandle(plan.home, spec.name)


def attach(name: str, home: str | os.PathLike[str] | None = None) -> StudyHandle:
    """A handle on a stored study: after a refresh, a kernel restart, from another notebook.

    Raises:
        StudyNotFoundError: no study of that name, with the names there are.
    """
    folder = Path(home).expanduser().resolve() if home else settings.home()
    store = Store(folder, create=False)
    store.spec(name)
    _tell_others(folder, name)
    return StudyHandle(folder, name)


def studies(home: str | os.PathLike[str] | None = None) -> list[StudySummary]:
    """All stored studies, running ones first."""
    folder = Path(home).expanduser().resolve() if home else settings.home()
    if not (folder / "studies.db").exists():
        return []
    return Store(folder, create=False).studies()


def _tell_others(home: Path, name: str) -> None:
    """See that trackers are told about a study, and that what waits for the decision system is sent."""
    hooks.start(home, name)
    decisions.resume(home)


def _complete(store: Store, spec: StudySpec) -> bool:
    """Whether a finished study already has all that is asked for."""
    if store.state(spec.name)[0] is not StudyState.FINISHED or spec.trials is None:
        return False
    headline = snapshot(store, spec.name, limit=1)["headline"]
    return headline["finished"] >= spec.trials


def _on_its_way(store: Store, plan: Plan) -> bool:
    """Whether this kernel's worker for the study lives but has no lease yet: it is starting, or waits for the device.

    A worker that was given code of the caller's own is sent away, for the code may have changed.
    """
    name = plan.spec.name
    follower = _followers.get((plan.home, name))
    worker = follower.worker if follower is not None else None
    if worker is None or not worker.alive() or store.state(name)[0] is not StudyState.QUEUED:
        return False
    if plan.extras:
        worker.detach()
        return False
    return all(request.action is not Action.STOP for request in store.pending(name))


def _start_worker(home: Path, spec: StudySpec, extras: Extras) -> None:
    store = Store(home)
    for request in store.pending(spec.name):  # asked of a worker that is gone; configurations still count
        if request.action is not Action.ENQUEUE:
            store.handled(request.id, "superseded by a new start")
    store.set_state(spec.name, StudyState.QUEUED)

    def start() -> WorkerHandle:
        return executors.start(home, spec.name, spec.executor, extras)

    try:
        worker = start()
    except WorkerError as error:
        store.set_state(spec.name, StudyState.FAILED, str(error))
        raise
    with _lock:
        old = _followers.pop((home, spec.name), None)
        follower = _followers[(home, spec.name)] = Follower(home, spec.name, worker, start)
        if old is not None:
            for subscriber in old.close():
                follower.subscribe(subscriber)


def _follower(home: Path, name: str) -> Follower:
    with _lock:
        follower = _followers.get((home, name))
        if follower is None or (follower.ended.is_set() and not Store(home).state(name)[0].final):
            follower = _followers[(home, name)] = Follower(home, name)
        return follower
