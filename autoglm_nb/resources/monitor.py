"""One reading of a process tree and its machine, as the views show it."""

from __future__ import annotations

import os
import time
from typing import Any

from autoglm_nb.protocol import ReadingSnapshot
from autoglm_nb.resources.gpu import GpuReader

__all__ = ["Monitor"]

_GIB = 1024**3


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
        cpu = sum(self._cpu(p) for p in tree)
        memory = sum(self._memory(p) for p in tree)
        gpu_percent, gpu_memory = self._gpu.read([p.pid for p in tree])
        return ReadingSnapshot(
            t=round(time.time(), 3),
            cpu_percent=round(cpu, 1),
            memory_gb=round(memory / _GIB, 3),
            machine_cpu_percent=round(float(self._psutil.cpu_percent(None)), 1),
            machine_memory_percent=round(float(self._psutil.virtual_memory().percent), 1),
            gpu_percent=gpu_percent,
            gpu_memory_gb=None if gpu_memory is None else round(gpu_memory, 3),
        )

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
