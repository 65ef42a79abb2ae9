"""Who waits for a device, and behind whom, as the worker itself leaves it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from autoglm_nb.protocol import Action, StudyState
from autoglm_nb.store import EventWriter, Overview, Store, device_queues
from tests.store.conftest import Python, heard, make_spec


def _until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _behind(store: Store) -> dict[str, str | None]:
    return {line.name: line.queued_behind for line in Overview(store).lines()[0]}


def test_a_worker_that_waits_is_seen_behind_the_one_that_works(store: Store, study: str) -> None:
    """With the worker's own waiting, so that its wording and our reading of it cannot part."""
    from autoglm_nb.tuning.control import Control
    from autoglm_nb.tuning.worker import _wait_for_lease

    store.create_study(make_spec("second"))
    first = store.acquire(study, "cpu")
    store.set_state(study, StudyState.RUNNING)
    assert first is not None
    got = []

    def wait() -> None:
        with Store(store.home) as own, EventWriter(own.study_dir("second") / "events.jsonl") as events:
            got.append(_wait_for_lease(own, "second", "cpu", Control(own, "second"), events))

    thread = threading.Thread(target=wait)
    thread.start()
    _until(lambda: store.state("second")[1])
    assert _behind(store) == {study: None, "second": study}
    line = next(line for line in Overview(store).lines()[0] if line.name == "second")
    assert (line.state, line.device) == (StudyState.QUEUED, "cpu")
    [queue] = device_queues(store)
    assert (queue.device, queue.holder) == ("cpu", study)
    assert [(w.study, w.reason) for w in queue.waiting] == [("second", "Waiting: cpu is in use by study 'reviews'.")]
    first.release()
    thread.join(60)
    assert got[0] is not None and _behind(store)["second"] is None
    got[0].release()
    assert device_queues(store) == []


def test_after_a_pause_a_study_waits_with_a_lease_of_its_own(store: Store, study: str) -> None:
    """It keeps its study while the device is another's; the wording is the context's."""
    store.create_study(make_spec("second"))
    paused = store.acquire(study, "cuda:0")
    assert paused is not None and paused.move(f"paused/{study}")
    other = store.acquire("second", "cuda:0")
    store.set_state("second", StudyState.RUNNING)
    store.set_state(study, StudyState.QUEUED, "Waiting for cuda:0. It is used by study 'second'.")
    assert other is not None
    assert _behind(store) == {study: "second", "second": None}
    [queue] = device_queues(store)
    assert (queue.device, queue.holder, [w.study for w in queue.waiting]) == ("cuda:0", "second", [study])


def test_the_one_in_front_is_read_off_the_leases_and_not_off_the_stored_sentence(store: Store, study: str) -> None:
    """The sentence names who was there when the waiting began."""
    for name in ("second", "third"):
        store.create_study(make_spec(name))
    store.set_state("third", StudyState.QUEUED, f"Waiting: cuda:1 is in use by study {study!r}.")
    assert _behind(store)["third"] is None
    lease = store.acquire("second", "cuda:1")
    assert lease is not None and _behind(store)["third"] == "second"


@pytest.mark.parametrize(("device", "behind"), [("cuda:1", "reviews"), ("cuda:0", None), ("auto", None)])
def test_before_it_says_so_a_study_waits_for_the_device_it_asked_for(
    store: Store, study: str, device: str, behind: str | None
) -> None:
    """A study that was just accepted has no sentence yet; `auto` names no device."""
    store.create_study(make_spec("second", device=device))
    lease = store.acquire(study, "cuda:1")
    assert lease is not None and _behind(store)["second"] == behind


def test_nobody_waits_behind_the_dead(store: Store, study: str, python: Python) -> None:
    """The lease of a killed worker holds no device."""
    store.create_study(make_spec("second"))
    store.set_state("second", StudyState.QUEUED, f"Waiting: cpu is in use by study {study!r}.")
    worker = python("lease = Store(home).acquire('reviews', 'cpu'); say('got'); listen()")
    assert heard(worker) == "got" and _behind(store)["second"] == study
    worker.kill()
    worker.wait()
    assert _behind(store)["second"] is None and device_queues(store) == []


def test_the_longest_waiting_comes_first_and_two_devices_have_two_queues(store: Store, study: str) -> None:
    """Studies on other devices are not mixed in; a paused one holds no device."""
    leases = [store.acquire(study, "cuda:0")]
    for name, device in (("b", "cuda:0"), ("a", "cuda:0"), ("c", "cuda:1"), ("d", "cuda:1")):
        store.create_study(make_spec(name))
        if name == "c":
            leases.append(store.acquire("c", "cuda:1"))
            store.set_state("c", StudyState.RUNNING)
        else:
            store.set_state(name, StudyState.QUEUED, f"Waiting: {device} is in use.")
    store.create_study(make_spec("e"))
    paused = store.acquire("e", "paused/e")
    assert paused is not None and all(leases)
    found = {q.device: [w.study for w in q.waiting] for q in device_queues(store)}
    assert found == {"cuda:0": ["b", "a"], "cuda:1": ["d"]}


def test_a_hostile_sentence_names_no_device(store: Store, study: str) -> None:
    """Only the worker's wording counts, and a request in between changes nothing."""
    store.create_study(make_spec("second"))
    lease = store.acquire(study, "cpu")
    for reason in ("Waiting: <b>cpu</b> is in use", "Waiting: cpu", "waiting for cpu.", "Waiting for cpu:x."):
        store.set_state("second", StudyState.QUEUED, reason)
        store.request("second", Action.PAUSE)
        assert _behind(store)["second"] is None, reason
    assert lease is not None
