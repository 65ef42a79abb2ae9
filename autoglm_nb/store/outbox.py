"""Reports on their way to a decision system: one file each in `runs/<study>/outbox/`.

A message is written durably before anything is sent, and changed by whole-file renames, so
that any process may die at any time and another one goes on. Its name is its idempotency key:
the same report twice is one message. This module keeps the files; `decisions/` sends them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from autoglm_nb.store._files import read_json, write_json

if TYPE_CHECKING:
    from autoglm_nb.store.store import Store

__all__ = ["STATES", "Message", "claimed", "message", "messages", "put"]

STATES = ("waiting", "refused", "sent", "decided")
"""Not delivered yet; delivered to a no; delivered, undecided; decided."""

_KEY = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True)
class Message:
    """One report on its way.

    Attributes:
        key: idempotency key, a hash of what the report says.
        study, trial: what it is about; the trial is the winner reported.
        state: one of `STATES`.
        body: what is sent.
        created_at, next_at, sent_at: Unix seconds; `next_at` is when the next attempt is due.
        attempts: how often it was tried.
        problem: why the last attempt, or the last answer, was of no use; "" where it was.
        poll: address to ask for the decision, "" for the usual one.
    """

    key: str
    study: str
    trial: int | None
    body: dict[str, Any] = field(repr=False)
    state: str = "waiting"
    created_at: float = 0.0
    next_at: float = 0.0
    sent_at: float = 0.0
    attempts: int = 0
    problem: str = ""
    poll: str = ""


def put(store: Store, given: Message) -> None:
    """Stores a message, new or changed; durable when the call returns.

    Raises:
        ValueError: a key or a state that is not one.
        DiskFullError: there is no room.
    """
    if not _KEY.fullmatch(given.key) or given.state not in STATES:
        raise ValueError(f"A message needs a hexadecimal key and a state of {', '.join(STATES)}.")
    write_json(_path(store, given.study, given.key), {"version": 1, **asdict(given)}, durable=True)


def message(store: Store, study: str, key: str) -> Message | None:
    """One message, None where there is none of that key."""
    return _read(_path(store, study, key), study) if _KEY.fullmatch(key) else None


def messages(store: Store, study: str | None = None) -> list[Message]:
    """The messages of a study (of all studies: None), oldest first."""
    runs = store.home / "runs"
    names = [study] if study is not None else sorted(p.name for p in runs.glob("*") if not p.name.startswith("."))
    found = []
    for name in names:
        for path in sorted((runs / name / "outbox").glob("*.json")):
            one = _read(path, name) if _KEY.fullmatch(path.stem) else None
            found += [one] if one is not None else []
    return sorted(found, key=lambda m: (m.created_at, m.key))


@contextmanager
def claimed(store: Store, study: str, key: str) -> Iterator[Message | None]:
    """The message as it stands, for this process alone; None while another one has it, or when it is gone."""
    path = _path(store, study, key)
    lock = FileLock(f"{path}.lock", timeout=0)
    try:
        lock.acquire()
    except (Timeout, OSError):
        yield None
        return
    try:
        yield _read(path, study)
    finally:
        lock.release()


def _path(store: Store, study: str, key: str) -> Path:
    return store.study_dir(study) / "outbox" / f"{key}.json"


def _read(path: Path, study: str) -> Message | None:
    """A message from its file; the folder says whose it is, also after the study was renamed."""
    raw = read_json(path)
    known = {f.name for f in fields(Message)}
    given = {k: v for k, v in raw.items() if k in known} | {"study": study, "key": path.stem}
    if not isinstance(given.get("body"), dict) or given.get("state", "waiting") not in STATES:
        return None
    numbers = ("created_at", "next_at", "sent_at", "attempts")
    if any(not isinstance(given.get(n, 0), int | float) for n in numbers):
        return None
    if given.get("next_at", 0) > time.time() + 86400:  # a clock that was wrong must not hold a report back for years
        given["next_at"] = 0.0
    return Message(**({"trial": None} | given))
