"""How much memory is left, and whether the kernel has killed for lack of it.

A container's limit counts as much as the machine's memory, so both are read.
On a CPU, running out of memory is usually a SIGKILL and not an exception; the
counters here are how a dead worker's supervisor tells it from other deaths.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["available_memory_gb", "oom_kill_count"]

_GIB = 1024**3


def available_memory_gb() -> float:
    """GiB that can be allocated without swapping: the machine's, bounded by the control group's limit."""
    import psutil

    available = int(psutil.virtual_memory().available)
    room = _cgroup_room(Path("/"))
    return (available if room is None else min(available, room)) / _GIB


def oom_kill_count(root: str | Path = "/") -> int | None:
    """How many processes the kernel has killed for lack of memory so far; None where it does not say.

    The control group's own counter is preferred, because it leaves out other
    containers on the machine and counts every kill within this one; the
    machine's counter stands in where there is none. Only the difference between two
    calls of one process means something.

    Args:
        root: where `/proc` and `/sys` are mounted; for tests.
    """
    for folder, version in _cgroup_folders(Path(root)):
        name = "memory.events" if version == 2 else "memory.oom_control"
        count = _field(folder / name, "oom_kill")
        if count is not None:
            return count
    return _field(Path(root) / "proc/vmstat", "oom_kill")


def _cgroup_room(root: Path) -> int | None:
    """Bytes below the tightest memory limit of this control group and its parents; None without one."""
    rooms = []
    for folder, version in _cgroup_folders(root):
        limit, used, cache = (
            ("memory.max", "memory.current", "inactive_file")
            if version == 2
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        bound, now = _number(folder / limit), _number(folder / used)
        if bound is None or now is None or bound >= 1 << 60:  # version 1 writes a huge number for "none"
            continue
        reclaimable = _field(folder / "memory.stat", cache) or 0
        rooms.append(max(0, bound - now + reclaimable))
    return min(rooms) if rooms else None


def _cgroup_folders(root: Path) -> list[tuple[Path, int]]:
    """This process's memory control groups, innermost first, each with the version of its hierarchy."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[tuple[Path, int]] = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            base, version = root / "sys/fs/cgroup/memory", 1
        elif number == "0" and not controllers:
            base, version = root / "sys/fs/cgroup", 2
        else:
            continue
        inner = base / path.lstrip("/")
        # Inside a container the path is the host's, while the mount shows the container's group at its top.
        found += [(p, version) for p in (inner, *inner.parents) if p == base or base in p.parents]
    return found


def _field(path: Path, name: str) -> int | None:
    try:
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    except (OSError, ValueError):
        pass
    return None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max": no limit
        return None
