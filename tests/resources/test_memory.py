"""Memory that is left, and kills for lack of it, from files a test can write."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from autoglm_nb.resources import available_memory_gb, disk_free, memory, oom_kill_count

GIB = 1024**3


def _files(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


VMSTAT = {"proc/vmstat": "pgfault 12\noom_kill 41\nnr_free 1\n"}
EVENTS = "low 0\nhigh 0\nmax 2\noom 1\noom_kill 3\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/self/cgroup": "0::/job/a\n", "sys/fs/cgroup/job/a/memory.events": EVENTS, **VMSTAT}, 3),
        ({"proc/self/cgroup": "0::/host/path\n", "sys/fs/cgroup/memory.events": EVENTS, **VMSTAT}, 3),
        (
            {
                "proc/self/cgroup": "4:cpu,memory:/job\n0::/\n",
                "sys/fs/cgroup/memory/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n",
                **VMSTAT,
            },
            7,
        ),
        ({"proc/self/cgroup": "0::/\n", **VMSTAT}, 41),
        (VMSTAT, 41),
        ({"proc/self/cgroup": "0::/\n"}, None),
        ({}, None),
    ],
)
def test_kills_are_counted_in_our_own_group_first(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    """Other containers' kills are not ours; without a group the machine's counter stands in."""
    assert oom_kill_count(_files(tmp_path, files)) == expected


def test_this_machine_gives_a_count_or_none() -> None:
    """And two readings never fall."""
    first, second = oom_kill_count(), oom_kill_count()
    assert (first is None) == (second is None)
    assert first is None or second is None or 0 <= first <= second


@pytest.mark.parametrize(
    ("files", "room"),
    [
        (
            {
                "proc/self/cgroup": "0::/job/a\n",
                "sys/fs/cgroup/job/a/memory.max": "max\n",
                "sys/fs/cgroup/job/a/memory.current": f"{GIB}\n",
                "sys/fs/cgroup/job/memory.max": f"{4 * GIB}\n",
                "sys/fs/cgroup/job/memory.current": f"{3 * GIB}\n",
                "sys/fs/cgroup/job/memory.stat": f"anon 1\ninactive_file {GIB // 2}\n",
            },
            GIB + GIB // 2,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/job\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{2 * GIB}\n",
                "sys/fs/cgroup/memory/job/memory.usage_in_bytes": f"{GIB}\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1\n",
            },
            GIB,
        ),
        ({"proc/self/cgroup": "0::/\n"}, None),
    ],
)
def test_the_tightest_limit_of_the_groups_above_counts(tmp_path: Path, files: dict[str, str], room: int | None) -> None:
    """Page cache that can be dropped counts as free; version 1 writes a huge number for no limit."""
    assert memory._cgroup_room(_files(tmp_path, files)) == room


def test_available_memory_is_at_most_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container sees the machine's memory, but may not use it."""
    assert 0 < available_memory_gb() <= psutil.virtual_memory().total / GIB
    monkeypatch.setattr(memory, "_cgroup_room", lambda root: GIB // 4)
    assert available_memory_gb() == 0.25


def test_disk_free_is_asked_for_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    """`.autoglm` is made only when a study starts."""
    free = psutil.disk_usage(str(tmp_path)).free
    assert disk_free(tmp_path / "a" / "b" / "c") == pytest.approx(free, rel=0.05)
