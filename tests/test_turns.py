"""Who may run beside whom when tests run in several processes."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.turns import turn

Enter = Callable[[str, bool], threading.Event]


@pytest.fixture
def story() -> list[str]:
    return []


@pytest.fixture
def enter(tmp_path: Path, story: list[str]) -> Enter:
    """Starts a test of that name in a thread of its own; the event ends it."""
    door, room = tmp_path / "door", tmp_path / "room"
    door.touch()
    room.touch()

    def start(name: str, alone: bool) -> threading.Event:
        leave = threading.Event()

        def stay() -> None:
            with turn(alone=alone, door=door, room=room):
                story.append(f"{name} in")
                leave.wait(60)
                story.append(f"{name} out")

        threading.Thread(target=stay, daemon=True).start()
        return leave

    return start


def until(story: list[str], entry: str) -> None:
    end = time.monotonic() + 60
    while entry not in story:
        assert time.monotonic() < end, story
        time.sleep(0.01)


def until_shut(door: Path) -> None:
    end = time.monotonic() + 60
    with door.open() as entrance:
        while True:
            try:
                fcntl.flock(entrance, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            fcntl.flock(entrance, fcntl.LOCK_UN)
            assert time.monotonic() < end
            time.sleep(0.01)


def test_ordinary_tests_run_beside_each_other(enter: Enter, story: list[str]) -> None:
    first = enter("a", False)
    until(story, "a in")
    second = enter("b", False)
    until(story, "b in")
    for leave in (first, second):
        leave.set()
    until(story, "a out")
    until(story, "b out")


def test_who_must_be_alone_waits_and_lets_nobody_in_meanwhile(enter: Enter, story: list[str], tmp_path: Path) -> None:
    """Also those that come while it waits for the room to empty."""
    first = enter("a", False)
    until(story, "a in")
    measuring = enter("m", True)
    until_shut(tmp_path / "door")
    last = enter("b", False)
    time.sleep(0.2)
    assert story == ["a in"]
    first.set()
    until(story, "m in")
    time.sleep(0.2)
    assert story == ["a in", "a out", "m in"]
    measuring.set()
    until(story, "b in")
    last.set()
    until(story, "b out")
    assert story == ["a in", "a out", "m in", "m out", "b in", "b out"]
