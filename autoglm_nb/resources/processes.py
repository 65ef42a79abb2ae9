"""Who a process is, so that a lease can tell whether its holder still lives.

A process id alone is reused; with its start time it is unique on one machine
until the next boot. On Linux the start time is read from `/proc` in ticks since
boot, because a wall-clock start time drifts when the clock is set. A zombie has
ended: its parent has merely not collected it yet.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import lru_cache
from pathlib import Path

__all__ = ["machine_id", "process_alive", "process_started"]

_LINUX = sys.platform.startswith("linux")
_SAME_START = 0.5  # seconds; psutil's figure on other systems is a rounded wall-clock time


def process_started(pid: int) -> float | None:
    """When the process started, on a clock of this machine; None if it has ended.

    Seconds since boot on Linux, Unix seconds elsewhere: compare, do not display.
    """
    if _LINUX:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return None
        state, *fields = stat.rpartition(")")[2].split()
        if state in "ZX":
            return None
        return int(fields[18]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc_pid_stat(5)
    return _started_elsewhere(pid)


def process_alive(pid: int, started: float) -> bool:
    """Whether the process of that id and start time still runs on this machine."""
    now = process_started(pid)
    return now is not None and abs(now - started) < _SAME_START


def machine_id() -> str:
    """Names this host, its boot and its process-id namespace: where a process id means the same process.

    Two containers of one host name, or one host before and after a reboot, differ.
    """
    return _machine_id(os.getpid())


@lru_cache(maxsize=1)
def _machine_id(pid: int) -> str:
    """Read once per process: a forked one may have moved to another namespace."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(os.readlink("/proc/self/ns/pid").strip("pid:[]"))
    except OSError:
        pass
    return "/".join(parts)


def _started_elsewhere(pid: int) -> float | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return float(process.create_time())
    except psutil.Error:
        return None
