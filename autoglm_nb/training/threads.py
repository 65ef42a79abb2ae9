"""How many threads a worker computes with, next to a kernel and whatever else runs.

Threads of a product wait for each other, so two threads on a core and a half are slower
than one thread on one core: the slower of them holds up the other. `ThreadGovernor`
watches how much of the machine others use and moves the number of threads accordingly;
`worker_environment` says how waiting threads behave, which OpenMP reads once, when the
library is loaded, so that it must be in the environment of a new process.

Cores are those that this process may use: the affinity mask, and the CPU quota of its
control group; a user's `OMP_NUM_THREADS` is obeyed as well. Nothing here imports torch before it is needed.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CpuUse", "ThreadGovernor", "available_cores", "most_threads", "worker_environment"]

WAITING = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
"""GNU's OpenMP counts turns, LLVM's and Intel's milliseconds."""

LOOK_SECONDS = 2.0
"""Time between two looks at what others use."""

AGREEING_LOOKS = 2
"""So many looks in a row must ask for another number of threads."""


@dataclass(frozen=True)
class CpuUse:
    """Processor seconds since some moment: of everybody on our cores, and of this process."""

    everybody: float
    ours: float


def available_cores(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores this process may use: by affinity, and by its control group's quota, rounded up."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    quota = _quota(root)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def most_threads(environ: Mapping[str, str] | None = None) -> int:
    """A thread for each available core, or fewer where the user's `OMP_NUM_THREADS` says so."""
    given = (os.environ if environ is None else environ).get("OMP_NUM_THREADS", "").split(",")[0].strip()
    cores = available_cores()
    return min(cores, int(given)) if given.isdecimal() and int(given) > 0 else cores


def worker_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What to add to a worker's environment; settings of the user's own are left alone.

    Waiting threads spin for some microseconds, which spares most wake-ups between two products, and then
    sleep: a thread that spins for long takes the core that the kernel, or the very thread it waits for, needs.
    """
    given = os.environ if environ is None else environ
    if any(name in given for name in ("OMP_WAIT_POLICY", *WAITING)):
        return {}
    return dict(WAITING)


class ThreadGovernor:
    """Moves torch's threads with what the machine has free. Used by the thread that trains.

    Args:
        cores: the most threads; `most_threads()` if None.
        read: gives the present `CpuUse`.
        apply: sets the number of threads.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        cores: int | None = None,
        *,
        read: Callable[[], CpuUse] | None = None,
        apply: Callable[[int], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cores = cores or most_threads()
        self.threads = self.cores
        self._read = read or _cpu_use
        self._apply = apply or _set_torch_threads
        self._clock = clock
        self._before: tuple[float, CpuUse] | None = None
        self._asked: tuple[int, int] = (self.cores, 0)

    def start(self) -> None:
        """Set the most threads and begin to look."""
        self._apply(self.threads)
        self._before = (self._clock(), self._read())

    def tick(self) -> int:
        """Look, if it is time, and set another number of threads if that was asked for often enough; the number.

        Cheap enough for every step of training.
        """
        now = self._clock()
        if self._before is None or now - self._before[0] < LOOK_SECONDS:
            return self.threads
        use = self._read()
        elapsed = now - self._before[0]
        others = (use.everybody - self._before[1].everybody) - (use.ours - self._before[1].ours)
        self._before = (now, use)
        wanted = threads_for(self.cores, max(0.0, others / elapsed))
        count = self._asked[1] + 1 if wanted == self._asked[0] else 1
        self._asked = (wanted, count)
        if wanted != self.threads and count >= AGREEING_LOOKS:
            self.threads = wanted
            self._apply(wanted)
        return self.threads


def threads_for(cores: int, busy: float) -> int:
    """Threads that find a core of their own while others keep `busy` cores occupied; at least one.

    Half a core is enough for a thread: others come and go.
    """
    return max(1, min(cores, math.floor(cores - busy + 0.5)))


def _cpu_use() -> CpuUse:
    import psutil

    busy = 0.0
    with contextlib.suppress(OSError, NotImplementedError):
        each = psutil.cpu_times(percpu=True)
        ours = _affinity(len(each))
        for core in ours:
            busy += sum(each[core]) - each[core].idle - getattr(each[core], "iowait", 0.0)
            # Linux counts guests twice: within user and nice, and by themselves
            busy -= getattr(each[core], "guest", 0.0) + getattr(each[core], "guest_nice", 0.0)
    own = psutil.Process().cpu_times()
    return CpuUse(busy, own.user + own.system)


def _affinity(cores: int) -> list[int]:
    try:
        return [core for core in os.sched_getaffinity(0) if core < cores]
    except AttributeError:
        return list(range(cores))


def _set_torch_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)


def _quota(root: Path) -> float | None:
    """Cores granted by the control group (version 2, then 1); None without a limit."""
    with contextlib.suppress(OSError, ValueError):
        limit, period = (root / "cpu.max").read_text(encoding="ascii").split()[:2]
        return None if limit == "max" else int(limit) / int(period)
    with contextlib.suppress(OSError, ValueError):
        limit_us = int((root / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period_us = int((root / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii"))
        return None if limit_us <= 0 else limit_us / period_us
    return None
