"""The event file: numbered without gaps, repaired after a crash, followed by offset."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoglm_nb.errors import DiskFullError
from autoglm_nb.protocol import EVENT_VERSION, Event
from autoglm_nb.store import EventTail, EventWriter, LiveState
from tests.store.conftest import Python, heard


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "events.jsonl"


def _lines(path: Path) -> list[Event]:
    found = [Event.from_line(line) for line in path.read_text().splitlines()]
    assert None not in found
    return [event for event in found if event is not None]


def _fill(path: Path, count: int) -> None:
    with EventWriter(path) as events:
        for i in range(count):
            events.emit("message", level="info", text=f"text {i} é")


def test_events_are_numbered_on_by_the_next_writer(path: Path) -> None:
    """A new worker goes on counting."""
    _fill(path, 3)
    _fill(path, 2)
    assert [e.n for e in _lines(path)] == [1, 2, 3, 4, 5]
    assert [e.data["text"] for e in _lines(path)][2:4] == ["text 2 é", "text 0 é"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 520))
def test_a_file_cut_anywhere_is_repaired_and_goes_on(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """kill -9 or a full disk may cut a line in two; whole lines are kept, the rest goes."""
    path = tmp_path_factory.mktemp("cut") / "events.jsonl"
    _fill(path, 5)
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    _fill(path, 2)
    assert [e.n for e in _lines(path)] == [*range(1, whole + 1), whole + 1, whole + 2]


def test_long_garbage_at_the_end_is_looked_behind(path: Path) -> None:
    """More than one block of it; the last good number still counts."""
    _fill(path, 3)
    with path.open("ab") as file:
        file.write(b"\x00" * 200_000 + b"\n" + b"x" * 100_000)
    _fill(path, 1)
    tail = EventTail(path, tail_bytes=None)
    assert [e.n for e in tail.poll()] == [1, 2, 3, 4]


def test_the_number_of_a_newer_version_counts(path: Path) -> None:
    """After a downgrade the old worker must not number from the start."""
    path.parent.mkdir()
    path.write_text(json.dumps({"v": EVENT_VERSION + 1, "n": 41, "t": 0, "type": "new"}) + "\n")
    _fill(path, 1)
    assert [e.n for e in EventTail(path).poll()] == [42]


def test_steps_come_four_times_a_second_for_each_run_and_the_last_one_always(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that is left out takes no number; other events are never left out."""
    now = 0.0
    monkeypatch.setattr("autoglm_nb.store.events.time", SimpleNamespace(monotonic=lambda: now, time=lambda: now))
    with EventWriter(path) as events:
        for step in range(1, 201):  # 100 steps a second
            now = step / 100
            for run in ("trial-0001", "trial-0002"):
                events.emit("step", run=run, step=step, total_steps=200, loss=1.0)
            events.emit("report", run="trial-0001", rung=step, value=0.5)
    written = _lines(path)
    assert [e.n for e in written] == list(range(1, len(written) + 1))
    for run in ("trial-0001", "trial-0002"):
        steps = [e.data["step"] for e in written if e.type == "step" and e.data["run"] == run]
        assert steps == [1, 26, 51, 76, 101, 126, 151, 176, 200]
    assert len([e for e in written if e.type == "report"]) == 200


def test_threads_may_share_a_writer(path: Path) -> None:
    """The pulse thread writes readings while the trainer writes steps."""
    with EventWriter(path) as events:

        def work(name: str) -> None:
            for i in range(100):
                events.emit("message", text=f"{name} {i}")

        threads = [threading.Thread(target=work, args=(str(i),)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    written = _lines(path)
    assert [e.n for e in written] == list(range(1, 401))
    assert len({e.data["text"] for e in written}) == 400


def test_values_that_json_cannot_hold_become_null(path: Path) -> None:
    """JavaScript must be able to parse every line."""
    with EventWriter(path) as events:
        events.emit("step", run="a", step=1, loss=float("nan"))
    assert json.loads(path.read_text())["loss"] is None
    assert "NaN" not in path.read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_reported_as_such(path: Path) -> None:
    """And the numbering goes on without a gap when there is room again."""
    with EventWriter(path) as events:
        events.emit("message", text="before")
        room = os.dup(events._file)
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, events._file)
        with pytest.raises(DiskFullError, match=r"no room left.*events\.jsonl"):
            events.emit("message", text="lost")
        os.dup2(room, events._file)
        os.close(room)
        os.close(full)
        events.emit("message", text="after")
    assert [(e.n, e.data["text"]) for e in _lines(path)] == [(1, "before"), (2, "after")]


def test_a_killed_writer_leaves_a_file_the_next_one_continues(path: Path, python: Python) -> None:
    """kill -9 in the middle of writing."""
    process = python(
        """
        events = EventWriter(sys.argv[2]); say("ready")
        while True:
            events.emit("message", text="x" * 5000)
        """,
        path,
    )
    assert heard(process) == "ready"
    end = time.monotonic() + 60
    while path.stat().st_size < 100_000:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _fill(path, 1)
    numbers = [e.n for e in _lines(path)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 2


def test_a_tail_follows_what_is_added(path: Path) -> None:
    """Nothing twice, nothing left out; the file may come later."""
    tail = EventTail(path)
    assert tail.poll() == []
    _fill(path, 2)
    assert [e.n for e in tail.poll()] == [1, 2]
    assert tail.poll() == []
    _fill(path, 2)
    assert [e.n for e in tail.poll()] == [3, 4]


@given(st.lists(st.integers(1, 60), max_size=30))
def test_a_tail_sees_each_event_once_however_the_bytes_arrive(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[int]
) -> None:
    """A reader may look while a line is half written, in the middle of a character too."""
    path = tmp_path_factory.mktemp("pieces") / "events.jsonl"
    content = "".join(Event(n, 0.0, "message", {"text": "é" * n}).to_line() + "\n" for n in range(1, 8)).encode()
    tail, seen = EventTail(path), []
    with path.open("wb", buffering=0) as file:
        for size in [*pieces, len(content)]:
            file.write(content[:size])
            content = content[size:]
            seen += [e.n for e in tail.poll()]
    assert seen == list(range(1, 8))


def test_a_tail_of_a_long_file_begins_with_a_whole_event(path: Path) -> None:
    """Wherever the jump lands, the events that lie wholly behind it come, and no fragment."""
    lines = [(Event(n, 0.0, "message", {"text": "x" * n}).to_line() + "\n").encode() for n in range(1, 9)]
    path.parent.mkdir()
    path.write_bytes(b"".join(lines))
    for tail_bytes in range(path.stat().st_size + 2):
        expected, room = [], tail_bytes
        for n in range(8, 0, -1):
            room -= len(lines[n - 1])
            if room < 0:
                break
            expected.insert(0, n)
        assert [e.n for e in EventTail(path, tail_bytes=tail_bytes).poll()] == expected


def _busy(path: Path, seconds: int) -> None:
    """What eight trials side by side leave: 32 steps a second, a reading every two seconds."""
    lines, n = [], 0
    for second in range(seconds):
        for step in range(32):
            n += 1
            data = {"run": f"trial-{step % 8:04d}", "trial": step % 8, "step": n, "total_steps": 10**6, "loss": 0.5}
            lines.append(Event(n, second + step / 32, "step", data).to_line())
        if second % 2 == 0:
            n += 1
            text = Event(n, float(second), "message", {"level": "info", "text": '"type": "reading"'}).to_line()
            lines += [text, Event(n + 1, float(second), "reading", {"cpu_percent": float(second)}).to_line()]
            n += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines))


def test_readings_before_the_jump_are_told_first(path: Path) -> None:
    """A quarter of a megabyte of steps is less than a minute; the readings of eight minutes are there all the same."""
    _busy(path, 900)
    assert path.stat().st_size > 2_000_000
    tail = EventTail(path)
    events = tail.poll()
    assert [e.n for e in events] == sorted({e.n for e in events}), "none twice, none out of order"
    readings = [e.data["cpu_percent"] for e in events if e.type == "reading"]
    assert len(readings) > 240 and readings == [float(s) for s in range(900)][-2 * len(readings) :: 2]
    live = LiveState()
    live.apply_all(events)
    assert len(live.readings) == 240 and live.readings[-1]["cpu_percent"] == 898.0
    assert tail.poll() == []


def test_readings_are_looked_for_wherever_the_jump_lands(path: Path) -> None:
    """On a reading, in one, after one; and with a single line behind it that is not whole yet."""
    _busy(path, 6)
    whole = [e for e in _lines(path) if e.type == "reading"]
    for tail_bytes in range(0, path.stat().st_size, 61):
        found = [e.n for e in EventTail(path, tail_bytes=tail_bytes).poll() if e.type == "reading"]
        if tail_bytes:
            assert found == [e.n for e in whole], tail_bytes
    with path.open("a") as file:
        file.write("half a line" * 100)
    tail = EventTail(path, tail_bytes=500)
    assert tail.poll() == []
    with path.open("a") as file:
        file.write("\n")
    assert [e.n for e in tail.poll()] == [e.n for e in whole]


def test_a_shortened_or_replaced_file_is_read_from_its_start(path: Path) -> None:
    """A study may be deleted and started anew under its name."""
    tail = EventTail(path)
    _fill(path, 5)
    assert len(tail.poll()) == 5
    path.unlink()
    _fill(path, 2)
    assert [e.n for e in tail.poll()] == [1, 2]
    os.truncate(path, 0)
    _fill(path, 1)
    assert [e.n for e in tail.poll()] == [1]


def test_lines_that_are_no_events_are_passed_over(path: Path) -> None:
    """Damage, and events of a newer version."""
    _fill(path, 1)
    with path.open("ab") as file:
        file.write(b'\xff\xfe garbage\n[]\n{"v": 99, "n": 2, "t": 0, "type": "new"}\n')
        file.write(Event(3, 0.0, "message").to_line().encode() + b"\n")
    assert [e.n for e in EventTail(path).poll()] == [1, 3]


def test_a_closed_writer_says_so(path: Path) -> None:
    """Its descriptor may belong to another file by then."""
    events = EventWriter(path)
    events.close()
    events.close()
    with pytest.raises(ValueError, match="closed"):
        events.emit("message")
