"""Readings of CPU, memory, disk, GPU and processes.

Contract: every function is a plain read that changes nothing and may be called
from any thread; `Monitor` belongs to one thread, because CPU shares are
differences between its own calls. psutil and NVML are imported on first use,
so importing this room costs nothing.

Data flow: the worker reads a `Monitor` every few seconds and emits the result
as a `reading` event; the store asks `processes` whether a lease holder lives.

Failure modes: what cannot be read is None (no GPU, no cgroup, no such process),
never an exception; a process that ends during a reading is left out of it.
"""

from autoglm_nb.resources.disk import disk_free
from autoglm_nb.resources.gpu import gpu_free_gb
from autoglm_nb.resources.memory import available_memory_gb, oom_kill_count
from autoglm_nb.resources.monitor import Monitor
from autoglm_nb.resources.processes import machine_id, process_alive, process_started

__all__ = [
    "Monitor",
    "available_memory_gb",
    "disk_free",
    "gpu_free_gb",
    "machine_id",
    "oom_kill_count",
    "process_alive",
    "process_started",
]
