"""The event file: one numbered JSON line for everything that moves while a worker runs.

One writer (the worker that holds the lease), any number of readers that follow
by byte offset. A line is written by a single `write`, so a reader sees whole
lines but for a crash in the middle of the last one, which the next writer cuts
off. Losing the file loses no result.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, Self

from autoglm_nb.protocol import Event
from autoglm_nb.store._database import disk_full_error, is_disk_full
from autoglm_nb.store._json import plain

__all__ = ["EventTail", "EventWriter"]

_BINARY = getattr(os, "O_BINARY", 0)  # Windows would write two bytes for a line's end
_STEP_INTERVAL = 0.25  # seconds between two `step` events of one run
_TAIL_BYTES = 256 * 1024
_POLL_BYTES = 4 * 1024 * 1024
_READINGS = 240
_READING = b'"type": "reading"'


class EventWriter:
    """Appends events, numbered without gaps, going on where the file ends.

    Threads may share a writer. `step` events of a run come at most four times a
    second; a step that is left out takes no number. The last step of a run is always written.

    Args:
        path: `events.jsonl`; folder and file are made when missing.

    Raises:
        DiskFullError: there is no room, here or on `emit`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._stepped: dict[str, float] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY, 0o644)
        self._next = _repair(self._file) + 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def emit(self, type: str, **data: Any) -> Event | None:
        """Writes one event; None for a `step` that came too soon after the last one of its run."""
        with self._lock:
            if type == "step" and self._too_soon(data):
                return None
            event = Event(n=self._next, t=time.time(), type=type, data=plain(data))
            self._append((event.to_line() + "\n").encode())
            self._next += 1
            return event

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _too_soon(self, data: dict[str, Any]) -> bool:
        run, now = str(data.get("run")), time.monotonic()
        last = data.get("total_steps") is not None and data.get("step") == data.get("total_steps")
        if not last and now - self._stepped.get(run, -1.0) < _STEP_INTERVAL:
            return True
        self._stepped[run] = now
        return False

    def _append(self, line: bytes) -> None:
        if self._file < 0:
            raise ValueError("The event file is closed.")
        size = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            if written < len(line):  # the disk filled in the middle of the line
                os.write(self._file, line[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)
            if is_disk_full(error):
                raise disk_full_error(self.path) from error
            raise


class EventTail:
    """Follows an event file by byte offset.

    Where a long file is not read from its beginning, its newest readings come first all the same:
    steps are many times as frequent, and would push all but the last minute out of sight.

    Half a line at the end waits for its rest; a line that is not an event (or of a newer
    version) is passed over. A file that became shorter or was replaced is read from its start.

    Args:
        path: `events.jsonl`; it need not exist yet.
        tail_bytes: where the file is longer, begin this far before its end; None begins at its start.
    """

    def __init__(self, path: str | os.PathLike[str], *, tail_bytes: int | None = _TAIL_BYTES) -> None:
        self.path = Path(path)
        self._tail_bytes = tail_bytes
        self._offset: int | None = None
        self._inode = 0
        self._skip = False  # the first line after a jump is a fragment
        self._look_back = False  # readings before the jump are yet to be told

    def poll(self) -> list[Event]:
        """The events added since the last call, at most a few MB of them; empty when there are none."""
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                self._settle(status)
                file.seek(self._offset or 0)
                block = file.read(_POLL_BYTES)
                earlier = self._readings_before(file, block) if self._look_back and b"\n" in block else []
        except FileNotFoundError:
            return []
        end = block.rfind(b"\n") + 1
        if end == 0:
            if len(block) == _POLL_BYTES:  # no line is that long: garbage, passed over
                self._offset, self._skip = (self._offset or 0) + len(block), True
            return []
        self._offset = (self._offset or 0) + end
        lines = block[:end].split(b"\n")[:-1]
        if self._skip:
            lines, self._skip = lines[1:], False
        found = (Event.from_line(line.decode("utf-8", errors="replace")) for line in lines)
        return [*earlier, *(event for event in found if event is not None)]

    def _readings_before(self, file: BinaryIO, block: bytes) -> list[Event]:
        """The newest readings among the lines that the jump left out, oldest first; told once."""
        self._look_back = False
        begin = (self._offset or 0) + (block.find(b"\n") + 1 if self._skip else 0)
        start = max(0, begin - _POLL_BYTES)
        file.seek(start)
        before = file.read(begin - start)
        found: list[Event] = []
        at = len(before)
        while len(found) < _READINGS and (at := before.rfind(_READING, 0, at)) >= 0:
            first, last = before.rfind(b"\n", 0, at) + 1, before.find(b"\n", at)
            if last < 0 or (first == 0 and start > 0):
                continue
            event = Event.from_line(before[first:last].decode("utf-8", errors="replace"))
            if event is not None and event.type == "reading":
                found.append(event)
        return found[::-1]

    def _settle(self, status: os.stat_result) -> None:
        """Where to read from, after a look at what the file is now."""
        replaced = self._offset is not None and (status.st_ino != self._inode or status.st_size < self._offset)
        self._inode = status.st_ino
        if replaced:
            self._offset, self._skip = 0, False
        elif self._offset is None:
            jump = 0 if self._tail_bytes is None else max(0, status.st_size - self._tail_bytes)
            # One byte earlier, so that a jump to the very start of a line does not lose that line.
            self._offset, self._skip = max(0, jump - 1), jump > 0
            self._look_back = jump > 0


def _repair(file: int) -> int:
    """Cuts off a half-written last line; the number of the last event, 0 in an empty file."""
    size = os.fstat(file).st_size
    end, position, buffer = None, size, b""
    while position > 0:
        start = max(0, position - 65536)
        os.lseek(file, start, os.SEEK_SET)
        buffer = os.read(file, position - start) + buffer
        position = start
        if end is None and b"\n" in buffer:
            end = position + buffer.rfind(b"\n") + 1
            buffer = buffer[: end - position]
        if end is not None:
            first, *lines = buffer.split(b"\n")
            for line in reversed(lines if position > 0 else [first, *lines]):
                number = _number(line)
                if number is not None:
                    os.ftruncate(file, end)
                    return number
    os.ftruncate(file, end or 0)
    return 0


def _number(line: bytes) -> int | None:
    """The number of an event line, of a newer version too."""
    try:
        number = json.loads(line)["n"]
    except (ValueError, KeyError, TypeError):
        return None
    return number if isinstance(number, int) else None
