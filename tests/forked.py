"""Processes that need not import: forked from one that has already imported what a worker does.

Starting Python and importing torch and transformers takes seconds, which a test that
kills twenty workers would pay twenty times. A forked process is otherwise a process of
its own: with its own id, session, memory and death.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Forked"]


class Forked:
    """A process that calls `function`, with the part of `subprocess.Popen`'s interface that tests use.

    Args:
        function: of a module that can be imported; its result is the exit status.
        arguments: of the call; pickled.
        environment: the process's variables; this process's if None.
    """

    def __init__(
        self, function: Callable[..., int | None], *arguments: Any, environment: Mapping[str, str] | None = None
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.warm"])
        given = dict(os.environ if environment is None else environment)
        # A daemon in the sense of multiprocessing: one that a failed test leaves does not keep pytest from leaving.
        self._process = context.Process(target=_call, args=(given, function, arguments), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the exit status."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise TimeoutError(f"Process {self.pid} still runs after {timeout} seconds.")
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


def _call(environment: dict[str, str], function: Callable[..., int | None], arguments: tuple[Any, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.setsid()
    sys.exit(function(*arguments))
