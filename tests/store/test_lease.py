"""Leases: one worker per study, one per device, and a dead one is noticed at once."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from autoglm_nb.errors import StoreError, StudyNotFoundError
from autoglm_nb.protocol import StudyState
from autoglm_nb.settings import LEASE_STALE_SECONDS
from autoglm_nb.store import Lease, Store
from tests.store.conftest import Python, heard, make_spec, tell

HOLD = """
    store = Store(home)
    lease = store.acquire("reviews", "cpu")
    say("got" if lease else "none"); listen()
"""


def _change(store: Store, **columns: object) -> None:
    with store._write() as connection:
        for column, value in columns.items():
            connection.execute(f"UPDATE autoglm_leases SET {column} = ?", (value,))


def test_one_worker_per_study_and_one_per_device(store: Store, study: str) -> None:
    """A second study on a busy device waits; on another device it runs."""
    store.create_study(make_spec("other"))
    lease = store.acquire(study, "cuda:0")
    assert lease is not None
    assert store.acquire(study, "cuda:1") is None
    assert store.acquire("other", "cuda:0") is None
    holder = store.device_holder("cuda:0")
    assert holder is not None and (holder.study, holder.pid, holder.alive) == (study, os.getpid(), True)
    second = store.acquire("other", "cuda:1")
    assert second is not None
    lease.release()
    lease.release()
    assert store.holder(study) is None
    assert store.acquire(study, "cuda:0") is not None
    assert store.holder("other") is not None


def test_a_lease_moves_between_devices_and_keeps_its_study(store: Store, study: str) -> None:
    """A paused study leaves the device to others; it comes back only when that is free."""
    store.create_study(make_spec("other"))
    lease = store.acquire(study, "cpu")
    assert lease is not None and lease.move("paused/reviews") and lease.device == "paused/reviews"
    other = store.acquire("other", "cpu")
    assert other is not None and store.acquire(study, "cuda:0") is None
    assert not lease.move("cpu") and lease.heartbeat() and lease.device == "paused/reviews"
    other.release()
    assert lease.move("cpu") and store.device_holder("cpu").study == study  # type: ignore[union-attr]
    lease.release()
    assert not lease.move("cuda:0") and store.device_holder("cuda:0") is None


def test_a_lease_needs_a_study(store: Store) -> None:
    """The worker of a deleted study must not start."""
    with pytest.raises(StudyNotFoundError):
        store.acquire("missing", "cpu")


def test_of_many_threads_one_gets_the_lease(store: Store, study: str) -> None:
    """Threads of one kernel share a process id, so the id alone would let all of them in."""
    barrier, got = threading.Barrier(8), []

    def race() -> None:
        barrier.wait()
        got.append(store.acquire(study, "cpu"))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([lease for lease in got if lease is not None]) == 1


def test_of_two_processes_one_gets_the_lease(store: Store, study: str, python: Python) -> None:
    """Two notebooks may start the same study at the same moment."""
    code = 'store = Store(home); say("ready"); listen()\nlease = store.acquire("reviews", "cpu")\n'
    processes = [python(code + 'say("got" if lease else "none"); listen()') for _ in range(3)]
    assert [heard(p) for p in processes] == ["ready"] * 3
    for process in processes:
        tell(process)
    assert sorted(heard(p) for p in processes) == ["got", "none", "none"]
    holder = store.holder(study)
    assert holder is not None and holder.alive and holder.pid in [p.pid for p in processes]


def test_a_killed_worker_s_lease_is_free_at_once(store: Store, study: str, python: Python) -> None:
    """Even before its parent has collected it: a zombie has ended."""
    store.set_state(study, StudyState.RUNNING)
    process = python(HOLD)
    assert heard(process) == "got"
    assert store.acquire(study, "cpu") is None
    assert store.state(study)[0] is StudyState.RUNNING
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, but not collected
    holder = store.holder(study)
    assert holder is not None and not holder.alive
    assert store.state(study)[0] is StudyState.INTERRUPTED
    assert store.acquire(study, "cpu") is not None


def test_a_queued_study_whose_worker_died_is_interrupted(store: Store, study: str, python: Python) -> None:
    """Queued without any worker yet is merely queued."""
    assert store.state(study)[0] is StudyState.QUEUED
    process = python(HOLD)
    assert heard(process) == "got"
    assert store.state(study)[0] is StudyState.QUEUED
    process.kill()
    process.wait()
    assert store.state(study)[0] is StudyState.INTERRUPTED


def test_a_reused_process_id_is_not_the_holder(store: Store, study: str) -> None:
    """After days the number may belong to another program; its start time tells."""
    lease = store.acquire(study, "cpu")
    assert lease is not None
    _change(store, pid=os.getppid(), pid_started=1.0)
    holder = store.holder(study)
    assert holder is not None and not holder.alive
    taken = store.acquire(study, "cpu")
    assert taken is not None
    assert not lease.heartbeat(), "the loser learns of it at its next heartbeat"
    assert taken.heartbeat()
    lease.release()
    assert store.holder(study) is not None, "a late release must not free somebody else's lease"


def test_on_another_host_the_heartbeat_decides(store: Store, study: str) -> None:
    """Process ids of other machines, and of other containers, mean nothing here."""
    lease = store.acquire(study, "cpu")
    assert lease is not None
    _change(store, host="elsewhere", machine="elsewhere/1", heartbeat_at=time.time() - LEASE_STALE_SECONDS / 2)
    holder = store.holder(study)
    assert holder is not None and holder.alive
    assert store.acquire(study, "cpu") is None
    assert store.device_holder("cpu") is None, "the other host's device is not this host's"
    _change(store, heartbeat_at=time.time() - LEASE_STALE_SECONDS - 1)
    holder = store.holder(study)
    assert holder is not None and not holder.alive
    assert store.acquire(study, "cpu") is not None


def test_a_heartbeat_keeps_the_lease_fresh(store: Store, study: str) -> None:
    """For readers on other hosts."""
    lease = store.acquire(study, "cpu")
    assert lease is not None
    _change(store, heartbeat_at=0.0)
    assert lease.heartbeat()
    holder = store.holder(study)
    assert holder is not None and time.time() - holder.heartbeat_at < 60


def test_a_lease_dropped_by_a_dead_thread_is_free(store: Store, study: str) -> None:
    """The thread executor lives in the kernel's process, which goes on living."""
    lease: Lease | None = store.acquire(study, "cpu")
    assert lease is not None
    del lease
    gc.collect()
    holder = store.holder(study)
    assert holder is not None and not holder.alive
    with Store(store.home) as other:
        again = other.acquire(study, "cpu")
        assert again is not None


def test_the_lease_is_released_at_the_end_of_its_block(store: Store, study: str) -> None:
    """Also when the block fails."""
    with pytest.raises(ValueError, match="boom"):
        lease = store.acquire(study, "cpu")
        assert lease is not None
        with lease:
            raise ValueError("boom")
    assert store.holder(study) is None


def test_a_forked_child_does_not_count_as_the_holder(store: Store, study: str, home: Path) -> None:
    """Data loaders fork; the child must neither hold nor free the parent's lease."""
    lease = store.acquire(study, "cpu")
    assert lease is not None
    child = os.fork()
    if child == 0:  # no pytest machinery may run in the child
        try:
            os._exit(0 if store.acquire(study, "cpu") is None else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert lease.heartbeat()


def test_a_refusal_names_no_machine(store: Store, study: str) -> None:
    """The sentence stays in a notebook that is shared; a process id means something on this machine alone."""
    lease = store.acquire(study, "cpu")
    assert lease is not None
    _change(store, machine="another/boot", host="mei-laptop", pid=4242, heartbeat_at=time.time())
    with pytest.raises(StoreError, match=r"being worked on \(on another machine\)") as caught:
        store.delete_study(study)
    assert "mei-laptop" not in str(caught.value) and "4242" not in str(caught.value)
