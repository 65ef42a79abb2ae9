"""Every environment variable and default of the package, in one place.

Read through functions, not module constants, so that a test or a notebook may
set a variable after import. Paths are absolute and not created here.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = [
    "CONTROL_POLL_SECONDS",
    "LEASE_STALE_SECONDS",
    "READING_SECONDS",
    "VIEW_SECONDS",
    "cache_dir",
    "checkpoint_seconds",
    "debug",
    "home",
    "hub_probe_seconds",
    "kernels_backend",
    "offline",
    "torch_threads",
]

CONTROL_POLL_SECONDS = 0.5
"""How often a worker looks for pause, resume and stop requests."""

VIEW_SECONDS = 0.5
"""Live views change at most this often (twice a second)."""

READING_SECONDS = 2.0
"""Interval between two readings of CPU, memory and GPU."""

LEASE_STALE_SECONDS = 30.0
"""A lease on another host counts as dead after this long without a heartbeat.

On the same host the process id and its start time decide at once.
"""


def home(notebook_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder `.autoglm` that holds the store: `AUTOGLM_HOME`, else beside the notebook."""
    given = os.environ.get("AUTOGLM_HOME")
    if given:
        return Path(given).expanduser().resolve()
    return Path(notebook_dir or Path.cwd()).resolve() / ".autoglm"


def cache_dir() -> Path:
    """Where models and data sets are cached: `AUTOGLM_CACHE`, else the user's cache folder."""
    given = os.environ.get("AUTOGLM_CACHE")
    if given:
        return Path(given).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "autoglm"


def checkpoint_seconds() -> float:
    """`AUTOGLM_CHECKPOINT_SECONDS` (15): a running trial is checkpointed at least this often.

    It is also checkpointed at every evaluation.
    """
    return float(os.environ.get("AUTOGLM_CHECKPOINT_SECONDS", "15"))


def debug() -> bool:
    """Whether `AUTOGLM_DEBUG=1` asks for full tracebacks in the notebook."""
    return os.environ.get("AUTOGLM_DEBUG", "") not in ("", "0")


def offline() -> bool:
    """Whether `AUTOGLM_OFFLINE=1` or `HF_HUB_OFFLINE=1` forbids asking the model hub."""
    return any(os.environ.get(v, "") not in ("", "0") for v in ("AUTOGLM_OFFLINE", "HF_HUB_OFFLINE"))


def hub_probe_seconds() -> float:
    """The longest an unreachable hub may cost before the fallback (`AUTOGLM_HUB_PROBE`, 2 s)."""
    return float(os.environ.get("AUTOGLM_HUB_PROBE", "2"))


def kernels_backend() -> str:
    """`AUTOGLM_KERNELS`: `auto` (Triton on a GPU), `triton` or `torch`."""
    return os.environ.get("AUTOGLM_KERNELS", "auto")


def torch_threads() -> int | None:
    """`AUTOGLM_THREADS`: intra-op threads of a worker; None leaves torch's default."""
    given = os.environ.get("AUTOGLM_THREADS")
    return int(given) if given else None
