"""Sending what is due, asking what became of it: the only place where a message changes its state.

Between two attempts lie `FIRST_SECONDS` at first and twice as long each time, up to
`LONGEST_SECONDS`, times a random factor so that many notebooks do not knock in step after an
outage. Each message is claimed by a file lock, so any number of processes may drain one
outbox; what a process that died had claimed is free again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from autoglm_nb.decisions.answers import Answer, read_answer
from autoglm_nb.decisions.transport import Reply, Silence, address, exchange, same_origin
from autoglm_nb.record import words
from autoglm_nb.store import Store, outbox
from autoglm_nb.store.decisions import add_decision
from autoglm_nb.store.outbox import Message

__all__ = ["FIRST_SECONDS", "LONGEST_SECONDS", "delay", "drain", "poll", "waiting"]

FIRST_SECONDS = 2.0
LONGEST_SECONDS = 900.0

_AGAIN = frozenset({408, 425, 429})
_SLICE_SECONDS = 1.0


def waiting(store: Store, study: str | None = None) -> list[Message]:
    """Messages that are not delivered yet."""
    return [m for m in outbox.messages(store, study) if m.state == "waiting"]


def drain(
    store: Store,
    study: str | None = None,
    *,
    seconds: float = 0.0,
    stopped: Callable[[], bool] = lambda: False,
    chance: random.Random | None = None,
) -> list[Message]:
    """Sends what is due, and what becomes due within some seconds; returns what still waits.

    Args:
        store: whose outbox.
        study: of this study alone; None for all.
        seconds: how long to go on. 0 makes one attempt at what is due now.
        stopped: asked about once a second; True ends it.
        chance: source of the jitter.

    Raises:
        UsageError: no usable address is set.
    """
    url = address()
    chance = chance or random.Random()
    end = time.monotonic() + seconds
    while True:
        for one in waiting(store, study):
            if one.next_at <= time.time():
                _attempt(store, one, url, chance)
        left = waiting(store, study)
        if not left or stopped():
            return left
        pause = max(0.0, min(m.next_at for m in left) - time.time())
        if time.monotonic() + pause > end:
            return left
        time.sleep(min(max(pause, 0.02), _SLICE_SECONDS))


def poll(store: Store, study: str | None = None) -> list[Message]:
    """Asks once about every delivered and undecided report; returns the messages as they stand after that.

    Raises:
        UsageError: no usable address is set.
    """
    url = address()
    for one in outbox.messages(store, study):
        if one.state not in ("sent", "decided"):
            continue
        with outbox.claimed(store, one.study, one.key) as claimed:
            if claimed is not None and claimed.state in ("sent", "decided"):
                _ask(store, claimed, url)
    return outbox.messages(store, study)


def delay(attempts: int, chance: random.Random) -> float:
    """Seconds until the next attempt after so many failed ones: doubled each time, with 50 % jitter either way."""
    base = min(FIRST_SECONDS * 2.0 ** min(attempts - 1, 20), LONGEST_SECONDS)
    return base * chance.uniform(0.5, 1.5)


def _attempt(store: Store, due: Message, url: str, chance: random.Random) -> None:
    with outbox.claimed(store, due.study, due.key) as message:
        if message is None or message.state != "waiting" or message.next_at > time.time():
            return
        reply = exchange(url, body=message.body, key=message.key)
        attempts = message.attempts + 1
        if isinstance(reply, Silence):
            _later(store, message, attempts, f"no connection: {reply.because}", delay(attempts, chance))
        elif 200 <= reply.status < 300:
            delivered = replace(message, state="sent", attempts=attempts, sent_at=time.time(), problem="")
            outbox.put(store, delivered)  # before anything else: a crash from here on does not send it again
            _settle(store, delivered, read_answer(reply, message, url))
        elif reply.status >= 500 or reply.status in _AGAIN:
            wait = max(delay(attempts, chance), min(_asked_for(reply), LONGEST_SECONDS))
            _later(store, message, attempts, f"it answered {reply.status}", wait)
        else:
            said = f"it answered {reply.status}" + _words_of(reply)
            if 300 <= reply.status < 400:
                said += "; a redirect is not followed, set AUTOGLM_DECISION_URL to the new address"
            outbox.put(store, replace(message, state="refused", attempts=attempts, problem=said))


def _later(store: Store, message: Message, attempts: int, problem: str, wait: float) -> None:
    outbox.put(store, replace(message, attempts=attempts, problem=problem, next_at=time.time() + wait))


def _ask(store: Store, message: Message, url: str) -> None:
    where = message.poll or f"{url.rstrip('/')}/{quote(message.key)}"
    if not same_origin(where, url):  # the system has moved since
        where = f"{url.rstrip('/')}/{quote(message.key)}"
    reply = exchange(where, key=message.key)
    if isinstance(reply, Silence):
        _note(store, message, f"no connection: {reply.because}")
    elif reply.status == 404 or reply.status in (202, 204, 304):
        _note(store, message, "")
    elif 200 <= reply.status < 300:
        _settle(store, message, read_answer(reply, message, url))
    else:
        _note(store, message, f"it answered {reply.status}" + _words_of(reply))


def _settle(store: Store, message: Message, answer: Answer) -> None:
    if answer.decision is not None:
        add_decision(store, message.study, answer.decision)
    state = "decided" if answer.decision is not None else message.state
    outbox.put(store, replace(message, state=state, problem=answer.problem, poll=answer.poll or message.poll))


def _note(store: Store, message: Message, problem: str) -> None:
    if message.problem != problem:
        outbox.put(store, replace(message, problem=problem))


def _asked_for(reply: Reply) -> float:
    """Seconds of a `Retry-After` header; a date there is left to our own waiting time."""
    given = reply.headers.get("retry-after", "")
    return float(given) if given.isdecimal() and len(given) < 8 else 0.0


def _words_of(reply: Reply) -> str:
    """The first words of an error's body, for a person to read."""
    text = words.clean((reply.body or b"")[:2000].decode("utf-8", "replace"), 200)
    return f": {text}" if text else ""
