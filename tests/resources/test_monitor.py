"""Readings of a process tree, its machine and its GPUs."""

from __future__ import annotations

import subprocess
import sys
import time
import types
from collections.abc import Iterator

import psutil
import pytest

from autoglm_nb.protocol import ReadingSnapshot
from autoglm_nb.resources import Monitor
from autoglm_nb.resources.gpu import GpuReader

GIB = 1024**3
BUSY = """
import subprocess, sys, time
block = bytearray(100 * 2**20)
block[::4096] = b"x" * len(block[::4096])
child = subprocess.Popen([sys.executable, "-c", "import time\\nprint('ready', flush=True)\\nwhile True: pass"])
time.sleep(60)
"""


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[str]]:
    """A process that holds 100 MB and has a child that works."""
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().strip() == "ready"
    children = psutil.Process(process.pid).children(recursive=True)
    yield process
    for child in [*children, psutil.Process(process.pid)] if process.poll() is None else children:
        if child.is_running():
            child.kill()
    process.wait()


@pytest.mark.alone
def test_a_reading_covers_the_whole_tree(busy: subprocess.Popen[str]) -> None:
    """A worker's data loaders are its children."""
    monitor = Monitor(busy.pid)
    tree = [psutil.Process(busy.pid), *psutil.Process(busy.pid).children(recursive=True)]
    before, started = sum(sum(p.cpu_times()[:2]) for p in tree), time.monotonic()
    time.sleep(0.6)
    reading = monitor.read()
    used, elapsed = sum(sum(p.cpu_times()[:2]) for p in tree) - before, time.monotonic() - started
    assert set(reading) == set(ReadingSnapshot.__annotations__)
    own, child = reading["processes"]
    assert own["pid"] == busy.pid and child["pid"] == tree[1].pid
    assert own["memory_gb"] > 0.1 > child["memory_gb"] > 0
    assert child["cpu_percent"] > own["cpu_percent"], "the child works, its parent sleeps"
    assert own["memory_gb"] + child["memory_gb"] == pytest.approx(reading["memory_gb"], abs=0.002)
    assert reading["cpu_percent"] == pytest.approx(100 * used / elapsed, rel=0.3)
    assert reading["cpu_percent"] > 5
    assert reading["memory_gb"] == pytest.approx(sum(p.memory_info().rss for p in tree) / GIB, rel=0.2)
    assert reading["memory_gb"] > 0.1
    assert abs(reading["t"] - time.time()) < 5
    assert 0 <= reading["machine_cpu_percent"] <= 100
    assert 0 < reading["machine_memory_percent"] <= 100


def test_a_tree_that_ended_reads_as_nothing(busy: subprocess.Popen[str]) -> None:
    """The pulse may outlive the process it watches by a moment."""
    monitor = Monitor(busy.pid)
    for process in psutil.Process(busy.pid).children(recursive=True):
        process.kill()
    busy.kill()
    busy.wait()
    reading = monitor.read()
    assert (reading["cpu_percent"], reading["memory_gb"]) == (0.0, 0.0)


@pytest.mark.alone
def test_a_monitor_reads_its_own_process_by_default() -> None:
    """That is what a worker does."""
    monitor = Monitor(device="cpu")
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    reading = monitor.read()
    assert reading["cpu_percent"] > 10
    assert reading["gpu_percent"] is None and reading["gpu_memory_gb"] is None
    assert set(ReadingSnapshot.__annotations__) - set(reading) <= {"processes"}


class _FakeNvml(types.ModuleType):
    """Three GPUs; on number 2 NVML knows the process 77."""

    class NVMLError(Exception):
        pass

    def __init__(self, broken: bool = False) -> None:
        super().__init__("pynvml")
        self.broken = broken

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> bytes:
        return f"GPU-{'abc'[handle]}123".encode()

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> types.SimpleNamespace:
        if self.broken:
            raise self.NVMLError("lost")
        return types.SimpleNamespace(gpu=10 * (handle + 1), memory=0)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[types.SimpleNamespace]:
        if handle == 1:
            raise self.NVMLError("not supported")
        known = [types.SimpleNamespace(pid=77, usedGpuMemory=2 * GIB), types.SimpleNamespace(pid=5, usedGpuMemory=GIB)]
        return known if handle == 2 else [types.SimpleNamespace(pid=77, usedGpuMemory=None)]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> types.SimpleNamespace:
        return types.SimpleNamespace(used=(handle + 4) * GIB, total=80 * GIB)


@pytest.mark.parametrize(
    ("visible", "device", "expected"),
    [
        (None, "cuda:2", (30.0, 2.0)),  # the memory of process 77
        (None, "cuda:0", (10.0, 4.0)),  # NVML does not say how much: the device's
        (None, "cuda:1", (20.0, 5.0)),  # NVML does not say who: the device's
        (None, "cuda", (10.0, 4.0)),
        (None, None, (30.0, 4.0 + 5.0 + 2.0)),
        ("2", "cuda:0", (30.0, 2.0)),
        ("1,2", "cuda:1", (30.0, 2.0)),
        ("GPU-c", "cuda:0", (30.0, 2.0)),
        ("1,9,2", None, (20.0, 5.0)),  # CUDA stops at the first it does not know
        ("", None, (None, None)),
        ("1", "cuda:1", (None, None)),
        (None, "cpu", (None, None)),
    ],
)
def test_the_gpu_that_cuda_means_is_read(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, device: str | None, expected: tuple[float | None, ...]
) -> None:
    """`CUDA_VISIBLE_DEVICES` renumbers what NVML counts through."""
    monkeypatch.setitem(sys.modules, "pynvml", _FakeNvml())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert GpuReader(device).read([77]) == expected


def test_a_gpu_that_is_lost_reads_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver may be updated under a running worker."""
    monkeypatch.setitem(sys.modules, "pynvml", _FakeNvml(broken=True))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert GpuReader().read([77]) == (None, None)


def test_without_nvml_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is optional at run time."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert GpuReader().read([77]) == (None, None)


class _PerProcess(_FakeNvml):
    """Number 2 tells who computes how much: the newest sample counts, and strangers do not."""

    def nvmlDeviceGetProcessUtilization(self, handle: int, since: int) -> list[types.SimpleNamespace]:
        if handle != 2:
            raise self.NVMLError("not found")
        samples = [(77, 10, 1), (77, 64, 3), (77, 20, 2), (5, 99, 3), (78, 7, 1)]
        return [types.SimpleNamespace(pid=p, smUtil=u, timeStamp=t) for p, u, t in samples]


@pytest.mark.parametrize(
    ("nvml", "expected"),
    [
        (_PerProcess(), {77: (64.0, 2.0), 78: (7.0, None)}),
        (_FakeNvml(), {77: (None, 2.0)}),  # a driver without such samples
    ],
)
def test_each_process_has_its_own_share_of_the_gpu(
    monkeypatch: pytest.MonkeyPatch, nvml: types.ModuleType, expected: dict[int, tuple[float | None, float | None]]
) -> None:
    """Unlike the load of a device, which others may have caused."""
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert GpuReader().by_process([77, 78, 79]) == expected
    assert GpuReader("cpu").by_process([77]) == {}


def test_a_reading_tells_the_gpu_of_each_process(monkeypatch: pytest.MonkeyPatch, busy: subprocess.Popen[str]) -> None:
    """The worker's tree on a GPU: the device's load, the tree's memory, and each process by itself."""
    nvml = _PerProcess()
    known = [types.SimpleNamespace(pid=busy.pid, usedGpuMemory=3 * GIB)]
    samples = [types.SimpleNamespace(pid=busy.pid, smUtil=21, timeStamp=1)]
    monkeypatch.setattr(nvml, "nvmlDeviceGetComputeRunningProcesses", lambda handle: known)
    monkeypatch.setattr(nvml, "nvmlDeviceGetProcessUtilization", lambda handle, since: samples)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    reading = Monitor(busy.pid, "cuda:2").read()
    assert (reading["gpu_percent"], reading["gpu_memory_gb"]) == (30.0, 3.0)
    own, child = reading["processes"]
    assert (own["gpu_percent"], own["gpu_memory_gb"]) == (21.0, 3.0)
    assert (child["gpu_percent"], child["gpu_memory_gb"]) == (None, None)
