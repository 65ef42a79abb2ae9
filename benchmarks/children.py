"""Child processes of a benchmark: one for each side, so that memory and imports are each side's own.

Parent and child speak in lines of JSON over a pipe of their own. A child's standard
output and error go to a log file, for libraries print there. A request is answered
with {"ok": ...} or {"error": "..."}; a child that dies raises `ChildFailed` with the
end of its log.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from autoglm_nb.training.threads import worker_environment
from benchmarks.machine import ROOT

__all__ = [
    "Child",
    "ChildFailed",
    "one_busy_core",
    "peak_memory_gb",
    "proportional_memory_gb",
    "reset_peak_memory",
    "serve",
    "side_child",
]

Handler = Callable[..., dict[str, Any]]


class ChildFailed(Exception):
    """A child process died or reported an error; says which and why."""


class Child:
    """The parent's end of a child process that runs `module` as a script and `serve`s in it.

    Args:
        module: dotted name of the module to run.
        arguments: command line of the child.
        log: where the child's output goes.
        environment: variables to set in the child, beside this process's own.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = f"{module} {' '.join(arguments)}".strip()
        self._log = log
        read_requests, requests = os.pipe()
        answers, write_answers = os.pipe()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments, "--pipes", f"{read_requests},{write_answers}"],
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(read_requests, write_answers),
            )
        os.close(read_requests)
        os.close(write_answers)
        self._requests = os.fdopen(requests, "w", encoding="utf-8")
        self._answers = os.fdopen(answers, encoding="utf-8")

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        self.send(do, **what)
        return self.receive()

    def send(self, do: str, **what: Any) -> None:
        """Send a request; `receive` gets its answer."""
        with suppress(BrokenPipeError):  # `receive` says why
            self._requests.write(json.dumps({"do": do, **what}) + "\n")
            self._requests.flush()

    def receive(self) -> dict[str, Any]:
        """The answer to the oldest request not answered yet.

        Raises:
            ChildFailed: the request failed, or the child is gone.
        """
        line = self._answers.readline()
        if not line:
            code = self._process.wait()
            raise ChildFailed(f"{self.name} ended with exit status {code}.\n{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ChildFailed(f"{self.name}: {answer['error']}\n{self._last_words()}")
        return dict(answer["ok"])

    def close(self) -> None:
        """Let the child leave; end it if it does not."""
        with suppress(BrokenPipeError):
            self._requests.close()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _last_words(self) -> str:
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])


def side_child(side: str, log: Path) -> Child:
    """A side of `sides`: "peer" in this process's environment, "engine" in that of a study's worker."""
    return Child("benchmarks.sides", [side], log, worker_environment() if side == "engine" else None)


def serve(pipes: str, handlers: Mapping[str, Handler]) -> None:
    """The child's end: answer requests until the parent closes the pipe.

    Args:
        pipes: the value of `--pipes` on the child's command line.
        handlers: by the name of the request; called with the rest of it.
    """
    read, write = (int(number) for number in pipes.split(","))
    with os.fdopen(read, encoding="utf-8") as requests, os.fdopen(write, "w", encoding="utf-8") as answers:
        for line in requests:
            request = json.loads(line)
            try:
                answer: dict[str, Any] = {"ok": handlers[request.pop("do")](**request)}
            except Exception as error:  # noqa: BLE001 - whatever it is, the parent reports it
                traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


_COUNT = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(10_000_000):
        pass
"""


@contextmanager
def one_busy_core(busy: bool = True) -> Iterator[None]:
    """Keep one core busy with a process that only counts, for as long as the block, and this process, lasts."""
    if not busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", _COUNT, str(os.getpid())])
    try:
        time.sleep(0.5)
        yield
    finally:
        process.kill()
        process.wait()


def peak_memory_gb() -> float:
    """Largest memory of this process since `reset_peak_memory`, in GiB: of its GPU if it uses one, else resident.

    Where the system has no such figure, the largest since the process began.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated()) / 2**30
    try:
        return _kilobytes("/proc/self/status", "VmHWM") / 2**20
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**30 if sys.platform == "darwin" else 2**20)


def reset_peak_memory() -> None:
    """Start measuring the peak anew, where the system allows it (Linux)."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def proportional_memory_gb(pid: int) -> float:
    """Memory of a process now, in GiB, each shared page divided among those that share it; 0 if it is gone.

    The sum over processes is what they take together. Without Linux's `smaps_rollup`, memory that is the
    process's alone.
    """
    try:
        return _kilobytes(f"/proc/{pid}/smaps_rollup", "Pss") / 2**20
    except (OSError, StopIteration):
        import psutil

        try:
            return float(psutil.Process(pid).memory_full_info().uss) / 2**30
        except psutil.Error:
            return 0.0


def _kilobytes(path: str, field: str) -> int:
    lines = Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field + ":")))
