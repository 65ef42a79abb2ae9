"""Standing still: the device is free, the study is not, and nobody is charged for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from autoglm_nb import settings
from autoglm_nb.protocol import Action, DataSpec, StudySpec, StudyState
from autoglm_nb.store import EventWriter, Store
from autoglm_nb.tuning.context import StudyContext
from autoglm_nb.tuning.control import Control, StudyStopped
from autoglm_nb.tuning.pulse import Pulse, pulse_path


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyContext:
    monkeypatch.setattr(settings, "CONTROL_POLL_SECONDS", 0.02)
    monkeypatch.setattr(settings, "READING_SECONDS", 0.05)
    store = Store(tmp_path / "home")
    for name in ("paused", "other"):
        store.create_study(StudySpec(name=name, model="m", data=DataSpec("d.csv"), space={}, identity=name))
    lease = store.acquire("paused", "cpu")
    assert lease is not None
    events = EventWriter(store.study_dir("paused") / "events.jsonl")
    made = StudyContext(store, store.spec("paused"), "cpu", events, Control(store, "paused"), lease)
    made.control.paused = True
    return made


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def test_a_resumed_study_queues_for_its_device_and_stays_the_worker_s(context: StudyContext) -> None:
    """Another study took the device meanwhile: the worker waits, beating, and no second worker may begin."""
    store = context.store
    thread = threading.Thread(target=context.stand_still, args=(StudyState.RUNNING,), daemon=True)
    with Pulse(context):
        thread.start()
        _until(lambda: store.holder("paused").device != "cpu")  # type: ignore[union-attr]
        other = store.acquire("other", "cpu")
        assert other is not None
        store.request("paused", Action.RESUME)
        _until(lambda: store.state("paused")[0] is StudyState.QUEUED)
        time.sleep(0.3)  # several beats
        assert store.acquire("paused", "cuda:7") is None
        assert thread.is_alive() and "'other'" in store.state("paused")[1]
        other.release()
        thread.join(timeout=60)
    assert not thread.is_alive() and store.state("paused")[0] is StudyState.RUNNING
    assert store.device_holder("cpu").study == "paused"  # type: ignore[union-attr]


def test_time_stood_still_is_not_active_time_even_when_it_ends_in_a_stop(
    context: StudyContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--budget` counts active seconds: a study stopped out of a pause is not charged for the pause."""
    began = context._since
    now = began + 3.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += 100.0
        context.store.request("paused", Action.STOP)
        time.sleep(seconds)

    clock = SimpleNamespace(monotonic=lambda: now, sleep=sleep)
    monkeypatch.setattr("autoglm_nb.tuning.context.time", clock)
    with pytest.raises(StudyStopped):
        context.stand_still(StudyState.RUNNING)
    context.flush_clock()
    assert now >= began + 103.0 and context.store.active_seconds("paused") == pytest.approx(3.0)


def test_a_worker_that_leaves_in_order_leaves_no_evidence(context: StudyContext) -> None:
    """Memory that runs out long after a study was stopped is not held against it."""
    path = pulse_path(context.store.study_dir("paused"))
    with Pulse(context):
        _until(path.exists)
    assert not path.exists()
