"""A study that is acted: a handle with a script in place of a worker, and a shell to run magics in."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from autoglm_nb.errors import StudyNotFoundError
from tests.record import samples

Callback = Callable[[dict[str, Any]], None]


class FakeHandle:
    """What the notebook uses of a `StudyHandle`. `tell` hands a snapshot to the followers, from any thread."""

    def __init__(self, name: str = "reviews", snapshot: dict[str, Any] | None = None, home: str = ".autoglm") -> None:
        self.name = name
        self.home = Path(home)
        self.current = snapshot or samples.running_snapshot()
        self.current["study"]["name"] = name
        self.asked: list[Any] = []
        self.followers: list[Callback] = []
        self.slow = 0.0
        self.error: Exception | None = None

    @property
    def status(self) -> str:
        return str(self.current["study"]["state"])

    def snapshot(self) -> dict[str, Any]:
        return copy.deepcopy(self.current)

    def follow(self, callback: Callback) -> Callable[[], None]:
        self.followers.append(callback)
        return lambda: self.followers.remove(callback) if callback in self.followers else None

    def tell(self, **changes: Any) -> None:
        """Change the state of the study (and whatever else is given) and tell the followers."""
        for key, value in changes.items():
            self.current["study" if key in ("state", "reason") else "headline"][key] = value
        for follower in list(self.followers):
            follower(self.snapshot())

    def finish(self) -> None:
        """Jump to the finished study."""
        name, self.current = self.name, samples.finished_snapshot()
        self.current["study"]["name"] = name
        self.tell()

    def play(self, ticks: int = 10, seconds: float = 0.5) -> threading.Thread:
        """Let the running trials advance in a background thread, then finish."""

        def act() -> None:
            for _ in range(ticks):
                for trial in self.current["trials"]:
                    if trial["state"] == "running":
                        trial["progress"] = min(1.0, trial["progress"] + 0.5 / ticks)
                self.current["headline"]["seconds_left"] -= seconds
                self.current["readings"].append({**self.current["readings"][-1], "machine_cpu_percent": 80.0})
                self.tell()
                time.sleep(seconds)
            self.finish()

        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        return thread

    def wait(self, timeout: float | None = None) -> FakeHandle:
        self.asked.append(("wait", timeout))
        if self.error is not None:
            raise self.error
        while self.status == "running":
            time.sleep(0.05)
        return self

    def pause(self) -> None:
        self._ask("pause", "paused")

    def resume(self) -> None:
        self._ask("resume", "running")

    def stop(self) -> None:
        self._ask("stop", "stopped")

    def stop_trial(self, number: int) -> None:
        self._ask(("stop_trial", number), None)

    def log(self, lines: int = 40) -> str:
        return f"the last {lines} lines\n\x1b[31mred\x1b[0m"

    def _ask(self, what: Any, state: str | None) -> None:
        time.sleep(self.slow)
        self.asked.append(what)
        if self.error is not None:
            raise self.error
        if state is not None:
            self.tell(state=state)


class FakeSession:
    """Stands in for `autoglm_nb.session`: remembers what it was asked for."""

    def __init__(self, *handles: FakeHandle) -> None:
        self.handles = {handle.name: handle for handle in handles}
        self.planned: list[dict[str, Any]] = []
        self.launched: list[Any] = []
        self.fault: Exception | None = None
        self.notes: tuple[str, ...] = ()
        self.checks = SimpleNamespace(parse_budget=lambda text: {"1s": 1.0}.get(text, 600.0))

    def plan(self, **options: Any) -> Any:
        self.planned.append(options)
        if self.fault is not None:
            raise self.fault
        return SimpleNamespace(spec=SimpleNamespace(name=options.get("name", "reviews")), notes=self.notes)

    def launch(self, plan: Any) -> FakeHandle:
        self.launched.append(plan)
        return self.handles.setdefault(plan.spec.name, FakeHandle(plan.spec.name))

    def dry_run(self, plan: Any) -> dict[str, Any]:
        return {"study": plan.spec.name, "trials": 24, "seconds": 372, "memory_gb": 1.04, "disk_mb": 80.0, "space": []}

    def attach(self, name: str, home: Any = None) -> FakeHandle:
        if name not in self.handles:
            raise StudyNotFoundError(f"There is no study named {name!r}.")
        return self.handles[name]

    def studies(self, home: Any = None) -> list[Any]:
        return [summary(handle.name, handle.status) for handle in self.handles.values()]


def summary(name: str, state: str = "running") -> Any:
    """One line of the list of studies."""
    return SimpleNamespace(
        name=name, state=state, reason="", model="minilm", data="movies", metric="accuracy", direction="maximize",
        best_value=0.847, finished=11, total=24, created_at=1.0, updated_at=2.0, notebook="a.ipynb",
    )  # fmt: skip
