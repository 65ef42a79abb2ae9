"""One reading of a process tree and its machine, as the views show it."""

from __future__ import annotations

import os
import time
from typing import Any

from autoglm_nb.protocol import ProcessReading, ReadingSnapshot
from autoglm_nb.resources.gpu import GpuReader

__all__ = ["Monitor"]

_GIB = 1024**3
_MOST_PROCESSES = 4


class Monitor:
    """Reads CPU, memory and GPU of a process and its descendants.

    CPU shares are averages since the last `read` (the first one: since the
    monitor was made). Not for use from several threads.

    Args:
        pid: root of the process tree; None for the calling process.
        device: `"cuda:0"` or `"cpu"` to read that device alone; None reads every visible GPU.
    """

    def __init__(self, pid: int | None = None, device: str | None = None) -> None:
        import psutil

        self._psutil: Any = psutil
        self._pid = os.getpid() if pid is None else pid
        self._known: dict[int, Any] = {}
        self._gpu = GpuReader(device)
        psutil.cpu_percent(None)
        for process in self._tree():
            self._cpu(process)

    def read(self) -> ReadingSnapshot:
        """A reading now. A tree that has ended reads as 0 % and 0 GiB."""
        tree = self._tree()
        used = {p.pid: (self._cpu(p), self._memory(p)) for p in tree}
        gpu_percent, gpu_memory = self._gpu.read(list(used))
        reading = ReadingSnapshot(
            t=round(time.time(), 3),
            cpu_percent=round(sum(cpu for cpu, _ in used.values()), 1),
            memory_gb=round(sum(memory for _, memory in used.values()) / _GIB, 3),
            machine_cpu_percent=round(float(self._psutil.cpu_percent(None)), 1),
            machine_memory_percent=round(float(self._psutil.virtual_memory().percent), 1),
            gpu_percent=gpu_percent,
            gpu_memory_gb=None if gpu_memory is None else round(gpu_memory, 3),
        )
        if len(used) > 1:
            reading["processes"] = self._processes(used)
        return reading

    def _processes(self, used: dict[int, tuple[float, int]]) -> list[ProcessReading]:
        """The root and the largest of its descendants, one by one."""
        largest = sorted((pid for pid in used if pid != self._pid), key=lambda pid: (-used[pid][1], pid))
        gpu = self._gpu.by_process(list(used))
        found = []
        for pid in [self._pid, *largest][:_MOST_PROCESSES]:
            cpu, memory = used.get(pid, (0.0, 0))
            percent, gpu_memory = gpu.get(pid, (None, None))
            found.append(
                ProcessReading(
                    pid=pid,
                    cpu_percent=round(cpu, 1),
                    memory_gb=round(memory / _GIB, 3),
                    gpu_percent=percent,
                    gpu_memory_gb=None if gpu_memory is None else round(gpu_memory, 3),
                )
            )
        return found

    def _tree(self) -> list[Any]:
        """Process objects of the tree; the same object for the same process, since it holds the last CPU times."""
        try:
            root = self._psutil.Process(self._pid)
            found = [root, *root.children(recursive=True)]
        except self._psutil.Error:
            found = []
        kept = {p.pid: self._known[p.pid] if self._known.get(p.pid) == p else p for p in found}
        self._known = kept
        return list(kept.values())

    def _cpu(self, process: Any) -> float:
        try:
            return float(process.cpu_percent(None))
        except self._psutil.Error:
            return 0.0

    def _memory(self, process: Any) -> int:
        try:
            return int(process.memory_info().rss)
        except self._psutil.Error:
            return 0
