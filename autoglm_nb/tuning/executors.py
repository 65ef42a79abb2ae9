"""Starting a worker: in a process of its own (default) or in a thread of this one.

`start(home, study, "process")` starts `python -m autoglm_nb.tuning.worker` as
the leader of a new session: the kernel's interrupt and restart go to the
kernel's own process group and do not reach it. `"thread"` runs the same
function in a daemon thread; it ends with the kernel, and another kernel can
take the study up again from its checkpoints.
"""

from __future__ import annotations

import atexit
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Protocol

from autoglm_nb import settings
from autoglm_nb.errors import WorkerError
from autoglm_nb.store import Store
from autoglm_nb.training.threads import worker_environment
from autoglm_nb.tuning.context import Extras, log_traceback
from autoglm_nb.tuning.control import Control
from autoglm_nb.tuning.worker import run_worker

__all__ = ["EXECUTORS", "WorkerHandle", "end_threads", "start"]

EXECUTORS = ("process", "thread")
KEEP_LOG_BYTES = 2 * 2**20
LEAVE_SECONDS = 5.0
"""What workers in threads get, all together, to leave a checkpoint when the kernel exits."""


class WorkerHandle(Protocol):
    """What the starter of a worker may ask of it."""

    def alive(self) -> bool: ...

    def exit_code(self) -> int | None:
        """None while alive; negative: killed by that signal."""

    def detach(self) -> None:
        """Ask the worker to leave, keeping everything resumable."""


def start(home: Path, study: str, executor: str, extras: Extras | None = None) -> WorkerHandle:
    """Start a worker for a stored study and return at once.

    Raises:
        WorkerError: the process could not be started, or an objective cannot be pickled.
    """
    if executor == "thread":
        return _ThreadWorker(home, study, extras)
    return _ProcessWorker(home, study, extras)


def end_threads(seconds: float = LEAVE_SECONDS) -> None:
    """Ask all workers in threads to leave, and wait for them: at kernel exit none is cut off in mid-step."""
    workers = [worker for worker in _in_threads if worker.alive()]
    for worker in workers:
        worker.detach()
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))


class _ProcessWorker:
    def __init__(self, home: Path, study: str, extras: Extras | None) -> None:
        payload = _pickle(extras) if extras else None
        command = [sys.executable, "-m", "autoglm_nb.tuning.worker", "--home", str(home), "--study", study]
        folder = Store(home).study_dir(study)
        folder.mkdir(parents=True, exist_ok=True)
        log_path = folder / "worker.log"
        try:
            if log_path.exists() and log_path.stat().st_size >= KEEP_LOG_BYTES:
                log_path.unlink()
            with log_path.open("ab") as log:  # appended to: the worker also writes tracebacks to it by name
                self._process = subprocess.Popen(
                    command + (["--extras"] if payload is not None else []),
                    stdin=subprocess.PIPE if payload is not None else subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=settings.child_environment(
                        TOKENIZERS_PARALLELISM="false", PYTHONUNBUFFERED="1", **worker_environment()
                    ),
                )
        except OSError as error:
            raise WorkerError(
                f"A worker process must be startable, but the system refused: {error.strerror or error}. "
                "Free memory or disk space, or use `--executor thread`."
            ) from error
        if payload is not None and self._process.stdin is not None:
            threading.Thread(target=self._hand_over, args=(payload,), daemon=True).start()

    def _hand_over(self, payload: bytes) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            try:
                pipe.write(payload)
                pipe.close()
            except BrokenPipeError:
                return

    def alive(self) -> bool:
        return self._process.poll() is None

    def exit_code(self) -> int | None:
        return self._process.poll()

    def detach(self) -> None:
        if self.alive():
            self._process.terminate()


class _ThreadWorker:
    def __init__(self, home: Path, study: str, extras: Extras | None) -> None:
        self._control = Control(Store(home), study)
        self._code = 0
        self._thread = threading.Thread(
            target=self._run,
            args=(home, study, extras),
            name=f"autoglm-worker-{study}",
            daemon=True,
        )
        self._thread.start()
        _in_threads.add(self)
        atexit.unregister(end_threads)
        atexit.register(end_threads)  # the newest handler is called first, before those of what training imports

    def _run(self, home: Path, study: str, extras: Extras | None) -> None:
        try:
            run_worker(home, study, extras=extras, control=self._control)
        except BaseException:  # noqa: BLE001 - as in a process: the log has it, and the follower starts another
            self._code = 1
            log_traceback(Store(home), study)

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, at most so long."""
        self._thread.join(timeout)

    def alive(self) -> bool:
        return self._thread.is_alive()

    def exit_code(self) -> int | None:
        return None if self.alive() else self._code

    def detach(self) -> None:
        self._control.detach()


# while its thread runs, a worker is referred to by it
_in_threads: weakref.WeakSet[_ThreadWorker] = weakref.WeakSet()


def _pickle(extras: Extras) -> bytes:
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(extras))
    except Exception as error:
        raise WorkerError(
            f"A custom objective is handed to its worker by cloudpickle, but this one cannot be pickled: {error}. "
            "Keep open files, locks and connections out of it, or use `--executor thread`."
        ) from error
