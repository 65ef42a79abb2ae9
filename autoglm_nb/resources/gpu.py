"""GPU load and memory through NVML, where an NVIDIA driver is present.

NVML numbers the machine's GPUs; `CUDA_VISIBLE_DEVICES` renumbers them for a
process, so that `cuda:0` may be NVML's number 3. The mapping is done here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from typing import Any

__all__ = ["GpuReader", "gpu_free_gb"]

_GIB = 1024**3


def gpu_free_gb(device: str | None = None) -> float | None:
    """Free memory in GiB of the GPU that a worker on `device` ("auto" or None: the first) would use.

    None where there is none, or the device is another.
    """
    return GpuReader("cuda" if device in (None, "auto") else device).free_gb()


class GpuReader:
    """Reads the GPUs a process may use; every figure is None where there is none.

    Args:
        device: `"cuda:1"` for one GPU, None for all visible ones, `"cpu"` for none.
    """

    def __init__(self, device: str | None = None) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        if device is not None and not device.startswith("cuda"):
            return
        try:
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
            visible = _visible(pynvml)
            if device is not None:
                _, _, index = device.partition(":")
                visible = visible[int(index or 0) :][:1]
            self._handles = visible
        except Exception:  # noqa: BLE001 (no package, no driver, no permission: all mean "no reading")
            self._handles = []

    def read(self, pids: Collection[int]) -> tuple[float | None, float | None]:
        """Load in percent (the busiest GPU) and memory in GiB.

        Args:
            pids: whose memory to count. Where NVML does not know them (inside a container it
                reports ids of the host), the memory in use on the devices is given instead.
        """
        if not self._handles:
            return None, None
        try:
            loads = [float(self._nvml.nvmlDeviceGetUtilizationRates(h).gpu) for h in self._handles]
            memory = sum(self._memory(h, pids) for h in self._handles)
        except self._nvml.NVMLError:
            return None, None
        return max(loads), memory / _GIB

    def free_gb(self) -> float | None:
        """Free memory of the first of these GPUs in GiB."""
        if not self._handles:
            return None
        try:
            return float(self._nvml.nvmlDeviceGetMemoryInfo(self._handles[0]).free) / _GIB
        except self._nvml.NVMLError:
            return None

    def by_process(self, pids: Collection[int]) -> dict[int, tuple[float | None, float | None]]:
        """Load in percent and memory in GiB of each process that NVML knows; None where it does not tell."""
        load: dict[int, float] = {}
        memory: dict[int, int] = {}
        for handle in self._handles:
            with contextlib.suppress(self._nvml.NVMLError):  # not every device says who uses it
                for found in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                    if found.pid in pids and found.usedGpuMemory is not None:
                        memory[found.pid] = memory.get(found.pid, 0) + int(found.usedGpuMemory)
            with contextlib.suppress(self._nvml.NVMLError, AttributeError):
                latest: dict[int, Any] = {}
                for sample in self._nvml.nvmlDeviceGetProcessUtilization(handle, 0):
                    if sample.pid in pids and (sample.pid not in latest or sample.timeStamp > latest[sample.pid][0]):
                        latest[sample.pid] = sample.timeStamp, float(sample.smUtil)
                for pid, (_, percent) in latest.items():
                    load[pid] = max(load.get(pid, 0.0), percent)
        known = {pid: memory[pid] / _GIB if pid in memory else None for pid in {*load, *memory}}
        return {pid: (load.get(pid), held) for pid, held in known.items()}

    def _memory(self, handle: Any, pids: Collection[int]) -> int:
        try:
            processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
            own = [p.usedGpuMemory for p in processes if p.pid in pids]
        except self._nvml.NVMLError:
            own = []
        if own and all(used is not None for used in own):
            return int(sum(own))
        return int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used)


def _visible(nvml: Any) -> list[Any]:
    """Handles in CUDA's order: `CUDA_VISIBLE_DEVICES` may give numbers or beginnings of identifiers."""
    handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return handles
    names = [_text(nvml.nvmlDeviceGetUUID(h)) for h in handles]
    chosen: list[Any] = []
    for entry in (e.strip() for e in given.split(",")):
        if entry.isdigit() and int(entry) < len(handles):
            chosen.append(handles[int(entry)])
        elif entry and not entry.isdigit() and any(n.startswith(entry) for n in names):
            chosen.append(next(h for h, n in zip(handles, names, strict=True) if n.startswith(entry)))
        else:
            break  # CUDA ignores everything after the first entry it does not know
    return chosen


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
