"""Does the notebook stay usable? The time of `1+1` in a kernel that tunes in the background.

A real kernel is driven through jupyter_client, as a front end does. Measured
from sending the request to its reply: with nothing else going on, during a
study with the process executor, while `%explain` runs, and during a study with
the thread executor, live view and record updating each time. The promise is a
95th percentile of at most 30 ms for all but the thread executor.

A row is refused, and the exit status is 1, if what it claims did not happen
meanwhile: fewer than eight trials finished, no live view or record was updated,
no explanation was written, or too few samples were taken.

    python benchmarks/responsiveness.py                # minilm on movie reviews, about five minutes
    python benchmarks/responsiveness.py --tiny         # a toy model: checks the benchmark, not the package
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from autoglm_nb.store import Store
from benchmarks import machine

PROMISE_MS = 30.0
MIN_TRIALS = 8
MIN_SAMPLES = 100
PAUSE_SECONDS = 0.05
STUDY_SECONDS = 900.0
EXPLAIN_SECONDS = 180.0
ACTIVE = ("running", "confirming")
ENDED = ("finished", "stopped", "failed", "interrupted")

SPACE = """learning_rate = loguniform(1e-4, 5e-3)
rank = choice(4, 8, 16)
batch_size = 16
epochs = 1
"""


class Refused(Exception):
    """The measurement would not show what it claims to."""


@dataclass
class Row:
    """The samples taken in one situation, and what went on meanwhile."""

    what: str
    promised: bool
    samples_ms: list[float] = field(default_factory=list)
    messages: Counter[str] = field(default_factory=Counter)
    trials: int = 0
    seconds: float = 0.0

    def percentile(self, percent: int) -> float:
        """A percentile of the samples, in milliseconds."""
        return statistics.quantiles(self.samples_ms, n=100, method="inclusive")[percent - 1]

    def result(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "situation": self.what,
            "samples": len(self.samples_ms),
            "p50_ms": round(self.percentile(50), 2),
            "p95_ms": round(self.percentile(95), 2),
            "max_ms": round(max(self.samples_ms), 2),
            "promise_ms": PROMISE_MS if self.promised else None,
            "kept": self.percentile(95) <= PROMISE_MS if self.promised else None,
            "trials_finished": self.trials,
            "view_updates": self.messages["comm_msg"],
            "record_updates": self.messages["update_display_data"],
            "seconds": round(self.seconds, 1),
        }


class Kernel:
    """A notebook kernel of its own process, and the messages that came from it."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client
        self.messages: Counter[str] = Counter()

    def one_plus_one(self) -> float:
        """Milliseconds from sending `1+1` to its reply."""
        start = time.perf_counter()
        self.wait(self.send("1+1"))
        took = (time.perf_counter() - start) * 1000
        self.drain()
        return took

    def send(self, code: str) -> str:
        """Ask for `code` to be executed; return the message id."""
        return str(self._client.execute(code, store_history=False))

    def wait(self, message: str, timeout: float = 120.0) -> None:
        """Wait for the reply to `message`.

        Raises:
            Refused: the code failed, or no reply came.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                reply = self._client.get_shell_msg(timeout=deadline - time.monotonic())
            except Empty:
                break
            if reply["parent_header"].get("msg_id") == message:
                if reply["content"]["status"] != "ok":
                    raise Refused(f"a cell failed: {reply['content'].get('evalue')}")
                return
        raise Refused(f"the kernel gave no answer within {timeout:.0f} s")

    def drain(self) -> None:
        """Take in and count what the kernel has published."""
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=0)
            except Empty:
                return
            self.messages[message["msg_type"]] += 1
            if message["msg_type"] == "error":
                raise Refused(f"a cell failed: {message['content']['ename']}: {message['content']['evalue']}")


@contextmanager
def kernel(home: Path) -> Iterator[Kernel]:
    """Start a kernel with the extension loaded; shut it down afterwards."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(
        extra_arguments=["--log-level=40"], env={**os.environ, "AUTOGLM_HOME": str(home)}, cwd=str(home.parent)
    )
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        ready = Kernel(client)
        ready.wait(ready.send("%load_ext autoglm_nb"))
        yield ready
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def measure(row: Row, nb: Kernel, going_on: Callable[[], bool], counts: Callable[[], bool] = lambda: True) -> Row:
    """Sample until `going_on` is false; keep the samples taken while `counts` is true before and after."""
    nb.drain()
    before, start = nb.messages.copy(), time.monotonic()
    while going_on():
        valid = counts()
        sample = nb.one_plus_one()
        if valid and counts():
            row.samples_ms.append(sample)
        time.sleep(PAUSE_SECONDS)
    row.messages, row.seconds = nb.messages - before, time.monotonic() - start
    if len(row.samples_ms) < MIN_SAMPLES:
        raise Refused(f"{row.what}: only {len(row.samples_ms)} samples (at least {MIN_SAMPLES} are needed)")
    return row


def idle(nb: Kernel) -> Row:
    """Nothing but the samples."""
    left = iter(range(2 * MIN_SAMPLES))
    return measure(Row("idle", promised=False), nb, lambda: next(left, None) is not None)


def study(nb: Kernel, home: Path, executor: str, options: argparse.Namespace) -> Row:
    """A study with this executor, from its first training step to its last trial."""
    name = f"bench-{executor}"
    row = Row(f"study, {executor} executor", promised=executor == "process")
    cell = (
        f"%%autotune --model {options.model} --data {options.data} --target {options.target} --name {name} "
        f"--strategy random --pruner none --trials {options.trials} --max-rows {options.max_rows} --seeds 1 "
        f"--executor {executor}\n{SPACE}"
    )
    watch = _Watch(home, name)
    nb.wait(nb.send(cell))
    deadline = time.monotonic() + STUDY_SECONDS
    measure(
        row, nb, lambda: watch.state() not in ENDED and time.monotonic() < deadline, lambda: watch.state() in ACTIVE
    )
    row.trials = watch.finished()
    if watch.state() != "finished":
        raise Refused(f"{row.what}: the study is {watch.state()}, not finished. {watch.reason()}")
    if row.trials < MIN_TRIALS:
        raise Refused(f"{row.what}: only {row.trials} trials finished (at least {MIN_TRIALS} are needed)")
    for kind, meaning in (("comm_msg", "live view"), ("update_display_data", "record")):
        if row.messages[kind] < MIN_TRIALS:
            raise Refused(f"{row.what}: the {meaning} was updated only {row.messages[kind]} times meanwhile")
    return row


def explain(nb: Kernel, home: Path, name: str) -> Row:
    """Explanations of a finished study, one after the other until there are samples enough."""
    row, number = Row("%explain", promised=True), 0
    started, target = 0.0, home.parent / "none"

    def going_on() -> bool:
        nonlocal number, started, target
        if target.exists() or not number:
            if len(row.samples_ms) >= MIN_SAMPLES:
                return False
            number, started = number + 1, time.monotonic()
            target = home.parent / f"explained-{number}.html"
            nb.send(f"%explain {name} --html {target}")
        elif time.monotonic() - started > EXPLAIN_SECONDS:
            raise Refused(f"%explain: no explanation was written within {EXPLAIN_SECONDS:.0f} s")
        return True

    measure(row, nb, going_on, lambda: not target.exists())
    return row


class _Watch:
    """The study's state and finished trials from the store, asked for at most twice a second."""

    def __init__(self, home: Path, name: str) -> None:
        self._home, self._name = home, name
        self._store: Store | None = None
        self._asked = 0.0
        self._seen: Any = None

    def state(self) -> str:
        return str(self._look().state) if self._look() else ""

    def finished(self) -> int:
        self._asked = 0.0
        return int(self._look().finished)

    def reason(self) -> str:
        return str(self._look().reason)

    def _look(self) -> Any:
        if time.monotonic() - self._asked > 0.5 and (self._home / "studies.db").exists():
            self._store = self._store or Store(self._home, create=False)
            self._seen = next((s for s in self._store.studies() if s.name == self._name), None)
            self._asked = time.monotonic()
        return self._seen


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a text table."""
    lines = ["situation                  p50 ms   p95 ms   max ms  samples  trials  view  record  promise (p95)"]
    for row in rows:
        promise = "-" if row["kept"] is None else f"<= {PROMISE_MS:.0f} ms " + ("kept" if row["kept"] else "MISSED")
        lines.append(
            f"{row['situation']:<24} {row['p50_ms']:>8.1f} {row['p95_ms']:>8.1f} {row['max_ms']:>8.1f} "
            f"{row['samples']:>8} {row['trials_finished']:>7} {row['view_updates']:>5} {row['record_updates']:>7}  "
            f"{promise}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and store; 0 if every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--data", default="sentiment-domains/movies")
    parser.add_argument("--target", default="label")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--max-rows", type=int, default=400)
    parser.add_argument("--executors", nargs="*", default=["process", "thread"], choices=["process", "thread"])
    parser.add_argument("--tiny", action="store_true", help="a toy model and toy data instead of real ones")
    parser.add_argument("--json", type=Path, help="where to write the result (default: benchmarks/results/)")
    options = parser.parse_args(argv)

    about = machine.describe()
    rows: list[dict[str, Any]] = []
    refusals: list[str] = []
    with tempfile.TemporaryDirectory(prefix="autoglm-bench-") as folder:
        home = Path(folder) / ".autoglm"
        if options.tiny:
            _make_tiny(options, Path(folder))
        with kernel(home) as nb:
            steps: list[Callable[[], Row]] = [lambda: idle(nb)]
            for executor in options.executors:
                steps.append(lambda executor=executor: study(nb, home, executor, options))
                if executor == options.executors[0]:
                    steps.append(lambda executor=executor: explain(nb, home, f"bench-{executor}"))
            for step in steps:
                try:
                    rows.append(step().result())
                except Refused as refusal:
                    refusals.append(str(refusal))
    what = "a toy model" if options.tiny else f"{options.model} on {options.data}"
    print(f"`1+1` through jupyter_client: {what}")
    print(machine.sentence(about))
    print(table(rows))
    for refusal in refusals:
        print(f"refused: {refusal}")
    result = {"machine": about, "command": machine.command(argv), "rows": rows, "refused": refusals}
    path = machine.save("responsiveness", result, options.json)
    print(f"JSON: {path}")
    return 1 if refusals or any(row["kept"] is False for row in rows) else 0


def _make_tiny(options: argparse.Namespace, folder: Path) -> None:
    from tests import tiny

    options.model = str(tiny.tiny_encoder(folder / "tiny-encoder"))
    options.data = str(folder / "reviews.csv")
    tiny.toy_reviews(2000).to_csv(options.data, index=False)
    options.max_rows = 2000


if __name__ == "__main__":
    sys.exit(main())
