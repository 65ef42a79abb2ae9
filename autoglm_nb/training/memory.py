"""Memory of a run: recognising that it did not suffice, and measuring its peak.

An allocation that fails shows as `torch.OutOfMemoryError` on a GPU, as a plain
`RuntimeError` from torch's CPU allocator, or as `MemoryError` from Python. On a
CPU the system more often kills the process, which the worker's successor finds out.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import torch

from autoglm_nb.errors import AutoGLMError, DiskFullError, OutOfMemoryError, UnexpectedError, no_room

__all__ = ["PassMemory", "PeakMemory", "is_out_of_memory", "release_memory", "reraise"]

_MESSAGES = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "defaultcpuallocator",
    "bad alloc",
    "bad_alloc",
    "alloc_failed",
)


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether an exception, or one that caused it, says that an allocation failed."""
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, (MemoryError, torch.OutOfMemoryError, OutOfMemoryError)):
            return True
        if isinstance(current, (RuntimeError, OSError)) and any(m in str(current).lower() for m in _MESSAGES):
            return True
        current = current.__cause__ or current.__context__
    return False


def release_memory(device: torch.device) -> None:
    """Give back what a failed or finished run held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def reraise(error: Exception, device: torch.device) -> NoReturn:
    """Raise the error that computing a run met as one of ours.

    Raises:
        AutoGLMError: `error` itself, if it is one.
        OutOfMemoryError: an allocation failed; memory was given back first.
        DiskFullError: no room for a file, of a compiler for example.
        torch.AcceleratorError: `error` itself; the device is of no use to any run any more.
        UnexpectedError: anything else.
    """
    if isinstance(error, AutoGLMError):
        raise error
    if not is_out_of_memory(error):
        if isinstance(error, torch.AcceleratorError):
            raise error
        if no_room(error):
            raise DiskFullError(
                f"Training needs room for files, but a disk is full ({error}). Free some space."
            ) from error
        raise UnexpectedError(f"Training met an unexpected {type(error).__name__}: {error}.") from error
    error.__traceback__ = None  # its frames hold the activations
    release_memory(device)
    raise OutOfMemoryError(
        f"A step must fit into memory, but an allocation failed ({str(error).splitlines()[0][:120]}). "
        "Use a smaller micro-batch, `--max-length` or rank, or `--precision bf16`."
    ) from error


class PeakMemory:
    """Peak memory since the last `reset`, in GiB: of the device's allocator, or of the process on a CPU.

    Linux keeps the peak of the resident set and lets a process reset its own. Where
    that is refused or missing, the figure is the peak since the process began.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def reset(self) -> bool:
        """Begin anew; False where the system does not let it."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return True
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            return False
        return True

    def read_gb(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**30
        try:
            status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
            kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
            return int(kilobytes) / 2**20
        except (OSError, StopIteration, ValueError):
            return _peak_since_start_gb()


class PassMemory:
    """What a pass takes beyond what is held before it, in bytes.

    On a GPU its allocator says it for each pass. On a CPU only the process's peak is known, which
    tells about a pass that is larger than all before it, where the peak can be reset. Resetting
    loses the peak so far.

    Args:
        device: where the passes run.
        before_reset: called while the peak so far can still be read.
    """

    def __init__(self, device: torch.device, before_reset: Callable[[], object] = lambda: None) -> None:
        self.device = device
        self._before_reset = before_reset
        self._largest = 0
        self._floor: float | None = None
        self._before = 0.0
        self._peak = PeakMemory(device)

    def begin(self, tokens: int, held: float) -> bool:
        """Whether the pass about to run will tell something; `held` are the bytes of slots."""
        if self.device.type == "cuda":
            self._before_reset()
            self._peak.reset()
            self._before = float(torch.cuda.memory_allocated(self.device))
            return True
        if self._floor is None:
            self._floor = _resident_bytes() - held
        # an older peak, of an evaluation or of another model being loaded, is not this pass's
        if tokens <= self._largest:
            return False
        self._before_reset()
        if not self._peak.reset():
            return False
        self._largest = tokens
        self._before = self._floor + held
        return True

    def end(self) -> float:
        """Bytes of the pass that `begin` announced."""
        return self._peak.read_gb() * 2**30 - self._before


def _resident_bytes() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss)


def _peak_since_start_gb() -> float:
    try:
        import resource
    except ImportError:  # Windows has no such module
        import psutil

        return float(psutil.Process().memory_info().rss) / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
