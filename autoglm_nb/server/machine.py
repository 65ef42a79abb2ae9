"""The machine and its workers now: CPU, memory, GPU, and each worker's share.

CPU shares are differences between two readings, so one object is kept and read
by one thread at a time, and a second question within a second gets the same
answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from autoglm_nb.resources import Monitor, process_alive
from autoglm_nb.resources.gpu import GpuReader
from autoglm_nb.server.places import Place
from autoglm_nb.store import LeaseRow

__all__ = ["Machine"]

_KEPT_SECONDS = 1.0
_FIRST_SECONDS = 0.1  # the first share is an average over this long
_GIB = 1024**3


class Machine:
    """Reads on demand. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "autoglm-machine")  # psutil remembers CPU times for each thread
        self._monitors: dict[tuple[int, float], Monitor] = {}
        self._gpu: GpuReader | None = None
        self._read_at = -1.0
        self._last: dict[str, Any] = {}
        self._of: Hashable = None

    def read(self, leases: Sequence[tuple[Place, LeaseRow]]) -> dict[str, Any]:
        """The machine's figures and one entry for each living worker of this machine."""
        with self._lock:
            now = time.monotonic()
            whose = tuple((place.id, lease.study, lease.pid, lease.device) for place, lease in leases)
            if not self._last or whose != self._of or now - self._read_at >= _KEPT_SECONDS:
                self._of = whose
                self._last, self._read_at = self._thread.submit(self._reading, leases).result(), now
            return self._last

    def close(self) -> None:
        """Ends its thread; it reads no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _reading(self, leases: Sequence[tuple[Place, LeaseRow]]) -> dict[str, Any]:
        # A process of another machine or container may have the same id, but not the same start as well.
        here = [(place, lease) for place, lease in leases if process_alive(lease.pid, lease.pid_started)]
        alive = {(lease.pid, lease.pid_started) for _, lease in here}
        self._monitors = {key: monitor for key, monitor in self._monitors.items() if key in alive}
        machine = self._machine()  # first, for each worker's monitor reads the machine too and begins its interval anew
        workers = []
        for place, lease in here:
            key = (lease.pid, lease.pid_started)
            if key not in self._monitors:
                device = lease.device if lease.device.startswith("cuda") else "cpu"
                self._monitors[key] = Monitor(lease.pid, device)
            reading = self._monitors[key].read()
            workers.append(
                {
                    "home": place.id,
                    "study": lease.study,
                    "device": lease.device,
                    "pid": lease.pid,
                    "cpu_percent": reading["cpu_percent"],
                    "memory_gb": reading["memory_gb"],
                    "gpu_percent": reading["gpu_percent"],
                    "gpu_memory_gb": reading["gpu_memory_gb"],
                }
            )
        return {"t": round(time.time(), 3), "machine": machine, "workers": workers}

    def _machine(self) -> dict[str, Any]:
        import psutil

        if self._gpu is None:
            self._gpu = GpuReader()
            psutil.cpu_percent(None)
            time.sleep(_FIRST_SECONDS)
        gpu_percent, gpu_memory = self._gpu.read(())
        memory = psutil.virtual_memory()
        return {
            "cpu_percent": round(float(psutil.cpu_percent(None)), 1),
            "cpu_count": psutil.cpu_count(),
            "memory_percent": round(float(memory.percent), 1),
            "memory_gb": round((memory.total - memory.available) / _GIB, 3),
            "memory_total_gb": round(memory.total / _GIB, 3),
            "gpu_percent": gpu_percent,
            "gpu_memory_gb": None if gpu_memory is None else round(gpu_memory, 3),
        }
