"""How much of a trial's time is not the model? Search, store, events and checkpoints, accounted for.

A study runs in this process through the worker's own code, with a clock around
each room's calls. Times are exclusive: a store commit inside a search call
counts as store. A trial's time is from asking for its configuration to telling
its value. The promise is under 3 % outside the model, where the model's part is
the engine's: `step` (data, forward, backward, optimizer), `evaluate`, and timing
the model for the latency metric. Building and saving a slot's tensors is listed
as checkpoints, on the other side. Loading the base, packing its weights and timing
them happens once in a study: it is listed, and is no part of a trial's time.

Refused, with exit status 1, if fewer than the trials asked for completed, or if
the parts do not add up to the whole within 1 %.

    python benchmarks/overhead.py                # minilm on movie reviews
    python benchmarks/overhead.py --tiny         # a toy model: the worst case for this share
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import machine

PROMISE = 0.03
REST = "everything else"
ONCE = "set-up, once"

SPACE = """learning_rate = loguniform(1e-4, 5e-3)
rank = choice(4, 8, 16)
batch_size = choice(16, 32)
epochs = 2
"""


class Clock:
    """Exclusive time per part: entering a part stops the clock of the part around it.

    Only calls inside the part `root`, in the thread that made the clock, are counted.
    """

    def __init__(self, root: str, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self.parts: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self.whole = 0.0
        self._root = root
        self._thread = threading.get_ident()
        self._stack: list[str] = []
        self._since = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time inside as `name`'s."""
        if threading.get_ident() != self._thread or (not self._stack and name != self._root):
            yield
            return
        entered = self._switch()
        self._stack.append(name)
        self.calls[name] += 1
        try:
            yield
        finally:
            left = self._switch()
            self._stack.pop()
            if not self._stack:
                self.whole += left - entered

    def wrap(self, owner: type, method: str, name: str) -> None:
        """Count every call of `owner.method` as `name`'s."""
        original: Callable[..., Any] = getattr(owner, method)

        @functools.wraps(original)
        def timed(*args: Any, **keywords: Any) -> Any:
            with self.part(name):
                return original(*args, **keywords)

        setattr(owner, method, timed)

    def _switch(self) -> float:
        now = self._now()
        if self._stack:
            self.parts[self._stack[-1]] += now - self._since
        self._since = now
        return now


def instrument(clock: Clock) -> None:
    """Put the clock around the calls between the rooms."""
    from autoglm_nb.search import Searcher
    from autoglm_nb.store import EventWriter, Store
    from autoglm_nb.training.engine import Engine
    from autoglm_nb.tuning.control import Control
    from autoglm_nb.tuning.study_run import StudyRun
    from autoglm_nb.tuning.workshop import Workshop

    for owner, part, methods in (
        (Engine, "model: training steps", ("step",)),
        (Engine, "model: evaluation", ("evaluate",)),
        (Engine, "model: latency", ("latency",)),
        (Engine, "checkpoints and slots", ("admit", "evict", "save_checkpoint", "save_adapter")),
        (Searcher, "search", ("ask", "tell", "report", "adopt")),
        (Store, "store", ("start_run", "update_run", "end_run", "run", "runs", "add_active_seconds", "active_seconds")),
        (EventWriter, "events", ("emit",)),
        (Control, "control", ("poll",)),
        (Workshop, ONCE, ("engine",)),
    ):
        for method in methods:
            clock.wrap(owner, method, part)
    clock.wrap(StudyRun, "_search", REST)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and store; 0 if the promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--data", default="sentiment-domains/movies")
    parser.add_argument("--target", default="label")
    parser.add_argument("--strategy", default="bayesian")
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--max-rows", type=int, default=1500)
    parser.add_argument("--tiny", action="store_true", help="a toy model and toy data instead of real ones")
    parser.add_argument("--json", type=Path, help="where to write the result (default: benchmarks/results/)")
    options = parser.parse_args(argv)

    about = machine.describe()
    with tempfile.TemporaryDirectory(prefix="autoglm-bench-") as folder:
        result = measure(options, Path(folder))
    whole, outside = result["seconds"] or 1.0, result["outside_the_model"]
    print(
        f"Where a trial's time goes: {options.model} on {options.data}, {options.strategy}, {result['trials']} trials"
    )
    print(machine.sentence(about))
    kept, faults = outside <= PROMISE, result["faults"]
    for fault in faults:
        print(f"refused: {fault}")
    if not faults:
        print("part                        seconds   share     calls")
        for part, seconds in sorted(result["parts"].items(), key=lambda item: -item[1]):
            print(f"{part:<26} {seconds:>8.2f} {seconds / whole:>7.2%} {result['calls'].get(part, 0):>9}")
        print(f"{ONCE:<26} {result['set_up_seconds']:>8.2f}")
        print(f"outside the model: {outside:.2%} (promise: under {PROMISE:.0%}, {'kept' if kept else 'MISSED'})")
    path = machine.save("overhead", {"machine": about, "command": machine.command(argv), **result}, options.json)
    print(f"JSON: {path}")
    return 0 if kept and not faults else 1


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run one study under the clock and account for its search phase."""
    from autoglm_nb import session
    from autoglm_nb.protocol import RunRole, TrialState
    from autoglm_nb.store import Store
    from autoglm_nb.tuning.worker import run_worker

    if options.tiny:
        from tests import tiny

        options.model = str(tiny.tiny_encoder(folder / "tiny-encoder"))
        options.data = str(folder / "reviews.csv")
        tiny.toy_reviews(options.max_rows).to_csv(options.data, index=False)
    clock = Clock(root=REST)
    instrument(clock)
    plan = session.plan(
        model=options.model,
        data=options.data,
        target=options.target,
        space=SPACE,
        name="overhead",
        strategy=options.strategy,
        pruner="none",
        trials=options.trials,
        max_rows=options.max_rows,
        seeds=0,
        baseline=True,
    )
    store = Store(folder / ".autoglm")
    store.create_study(plan.spec)
    run_worker(folder / ".autoglm", "overhead")

    trials = [row for row in store.runs("overhead", RunRole.TRIAL) if row.state is TrialState.COMPLETED]
    parts, once = dict(clock.parts), clock.parts.get(ONCE, 0.0)
    parts.pop(ONCE, None)
    total = clock.whole - once
    faults = []
    if len(trials) < options.trials:
        state, reason = store.state("overhead")
        faults.append(f"{len(trials)} of {options.trials} trials completed; the study is {state}. {reason}")
    if not total or abs(sum(parts.values()) - total) > 0.01 * total:
        faults.append(f"the parts add up to {sum(parts.values()):.2f} s, but the trials took {total:.2f} s")
    model = sum(seconds for part, seconds in parts.items() if part.startswith("model"))
    return {
        "trials": len(trials),
        "seconds": round(total, 3),
        "set_up_seconds": round(once, 3),
        "parts": {part: round(seconds, 4) for part, seconds in parts.items()},
        "calls": dict(clock.calls),
        "outside_the_model": round(1 - model / total, 5) if total else 1.0,
        "faults": faults,
    }


if __name__ == "__main__":
    sys.exit(main())
