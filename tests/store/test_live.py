"""The fold of the event stream."""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autoglm_nb.protocol import Event
from autoglm_nb.store import LiveState


class _Stream:
    def __init__(self) -> None:
        self.live = LiveState()
        self.numbers = count(1)

    def __call__(self, type: str, **data: Any) -> None:
        n = next(self.numbers)
        self.live.apply(Event(n, float(n), type, data))


def test_a_run_is_followed_from_start_to_end() -> None:
    """Steps, evaluations, outcome."""
    emit = _Stream()
    emit("started", run="trial-0003", trial=3, role="trial", config={"rank": 8}, total_steps=40)
    emit("step", run="trial-0003", trial=3, step=10, total_steps=40, loss=0.7, learning_rate=1e-3)
    emit("report", run="trial-0003", trial=3, rung=1, rungs=4, value=0.6)
    emit("report", run="trial-0003", trial=3, rung=2, rungs=4, value=0.7)
    emit("report", run="trial-0003", trial=3, rung=2, rungs=4, value=0.8)
    run = emit.live.runs["trial-0003"]
    assert (run.trial, run.role, run.config, run.step, run.total_steps) == (3, "trial", {"rank": 8}, 10, 40)
    assert (run.loss, run.learning_rate, run.rungs, run.state) == (0.7, 1e-3, 4, "running")
    assert run.reports == [[1, 0.6], [2, 0.8]], "a repeated evaluation after a resume replaces the first"
    emit("ended", run="trial-0003", trial=3, state="pruned", value=0.7, because="below the median")
    assert run.state == "pruned"
    assert emit.live.n == 6


def test_following_may_begin_in_the_middle() -> None:
    """A tail does not see the start of a run."""
    emit = _Stream()
    emit("step", run="trial-0001", trial=1, step=5, total_steps=9, loss=1.0)
    assert emit.live.runs["trial-0001"].total_steps == 9


def test_a_new_worker_clears_what_a_dead_one_left_running() -> None:
    """Its `preparing` is the first thing it says."""
    emit = _Stream()
    emit("started", run="a", total_steps=1)
    emit("started", run="b", total_steps=1)
    emit("ended", run="b", state="completed")
    emit("state", state="preparing", reason="")
    assert list(emit.live.runs) == ["b"]
    emit("state", state="running", reason="why")
    assert (emit.live.state, emit.live.reason) == ("running", "why")


def test_readings_and_messages_are_bounded_and_newest_last() -> None:
    """A kernel may follow a study for days."""
    emit = _Stream()
    for i in range(500):
        emit("reading", cpu_percent=float(i))
        emit("message", level="info", text=str(i))
        emit("started", run=f"r{i}", total_steps=1)
        emit("ended", run=f"r{i}", state="completed")
    assert [r["cpu_percent"] for r in emit.live.readings] == [float(i) for i in range(260, 500)]
    assert [m["text"] for m in emit.live.messages] == [str(i) for i in range(480, 500)]
    assert len(emit.live.runs) <= 50


def test_an_unknown_type_changes_nothing_but_the_count() -> None:
    """A newer worker may say more."""
    emit = _Stream()
    emit("weather", text="fine")
    assert emit.live == LiveState(n=1)


events = st.lists(
    st.builds(
        Event,
        n=st.integers(1, 100),
        t=st.floats(0, 1e9),
        type=st.sampled_from(["state", "started", "step", "report", "ended", "reading", "message", "new"]),
        data=st.dictionaries(st.sampled_from(["run", "trial", "state", "value"]), st.one_of(st.none(), st.text())),
    )
)


@given(events)
def test_missing_fields_do_not_stop_the_fold(stream: list[Event]) -> None:
    """A view must not die of one odd line."""
    live = LiveState()
    live.apply_all(stream)
    assert live.n == (stream[-1].n if stream else 0)
