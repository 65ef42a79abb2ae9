"""Answers as bytes, kept until what they tell of has changed.

Many tabs ask the same once a second. Whether anything has changed costs
microseconds (`store.Watch`); only then is an answer made anew. Its ETag is a
hash of its content, so a change that alters nothing shown still answers 304,
and an ETag outlives a restart of the server.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "Answers", "envelope"]

_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """A body and its ETag, without quotation marks."""

    body: bytes
    etag: str


class Answers:
    """Answers by what was asked. Threads may share it; the oldest are forgotten beyond some megabytes."""

    def __init__(self, limit: int = _BYTES) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[Hashable, tuple[Hashable, Answer]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, asked: Hashable, stamp: Hashable, make: Callable[[], Mapping[str, Any]]) -> Answer:
        """The answer to `asked` as of `stamp`; `make` gives its data where that is not known.

        Two threads may make the same answer at the same time, which does no harm.
        """
        with self._lock:
            kept = self._kept.get(asked)
            if kept is not None and kept[0] == stamp:
                self._kept.move_to_end(asked)
                return kept[1]
        answer = _answer(make())
        with self._lock:
            self._forget(asked)
            self._kept[asked] = (stamp, answer)
            self._size += len(answer.body)
            while self._size > self._limit and len(self._kept) > 1:
                self._forget(next(iter(self._kept)))
        return answer

    def _forget(self, asked: Hashable) -> None:
        kept = self._kept.pop(asked, None)
        if kept is not None:
            self._size -= len(kept[1].body)


def envelope(code: int, message: str, data: object = None) -> str:
    """What every route but the Prometheus text answers with, as JSON."""
    return _dumps({"code": code, "message": message, "data": data})


def _answer(data: Mapping[str, Any]) -> Answer:
    text = _dumps(data)
    etag = hashlib.sha256(text.encode()).hexdigest()[:20]
    if "etag" in data:  # a placeholder: the body says its own ETag, for a client that cannot see headers
        text = _dumps({**data, "etag": etag})
    return Answer(f'{{"code":0,"message":"ok","data":{text}}}'.encode(), etag)


def _dumps(value: object) -> str:
    # ASCII alone: a lone surrogate in untrusted text has an escape, but no UTF-8.
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
