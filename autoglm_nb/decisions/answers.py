"""What a decision system may answer, and what is made of it.

::

    {"decision": "approve" | "hold" | "reject", "reviewer": "...", "reason": "...", "decided_at": "..."}
    {"decision": {"verdict": "approve", "reviewer": "...", ...}}      the same, nested
    {"decision": null, "status_url": "..."}                           not yet; ask there

Everything else in the object is ignored. `idempotency_key`, where it is given, must be the
report's. Anything that does not fit is a sentence, never an exception and never a decision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urljoin

from autoglm_nb.decisions.transport import Reply, same_origin
from autoglm_nb.record import words
from autoglm_nb.store.decisions import VERDICTS, Decision
from autoglm_nb.store.outbox import Message

__all__ = ["Answer", "read_answer"]


@dataclass(frozen=True)
class Answer:
    """What an answer says.

    Attributes:
        decision: None while undecided.
        poll: address to ask later, "" where none was named.
        problem: why the answer is of no use, "" where it is.
    """

    decision: Decision | None = None
    poll: str = ""
    problem: str = ""


def read_answer(reply: Reply, message: Message, url: str) -> Answer:
    """The answer to a report that was accepted.

    Args:
        reply: of a 2xx status.
        message: the report it answers.
        url: the address asked; an address to poll must be on the same host.
    """
    if reply.body is None:
        return Answer(problem="its answer was too long or broke off")
    found: Any = {}
    if reply.body.strip():
        try:
            found = json.loads(reply.body.decode("utf-8"), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return Answer(problem="its answer is not JSON")
    if not isinstance(found, Mapping):
        return Answer(problem="its answer is not a JSON object")
    key = found.get("idempotency_key")
    if key is not None and key != message.key:
        return Answer(problem="its answer is about another report")
    given = found.get("status_url") or reply.headers.get("location") or ""
    poll = urljoin(url, given) if isinstance(given, str) and given else ""
    if poll and (not same_origin(poll, url) or len(poll) > 2000):
        return Answer(problem="it named an address to ask on another host, which is not asked")
    decided = found.get("decision")
    if decided is None:
        return Answer(poll=poll)
    fields = decided if isinstance(decided, Mapping) else {**found, "verdict": decided}
    verdict = fields.get("verdict")
    if verdict not in VERDICTS:
        shown = words.clean(verdict, 40) if isinstance(verdict, str) else type(verdict).__name__
        return Answer(poll=poll, problem=f"its decision must be one of {', '.join(VERDICTS)}, but is {shown}")
    texts: dict[str, str] = {}
    for name, limit in (("reviewer", 120), ("reason", 2000), ("decided_at", 40)):
        value = fields.get(name)
        if value is not None and not isinstance(value, str):
            return Answer(poll=poll, problem=f"its {name} must be text, but is {type(value).__name__}")
        texts[name] = words.clean(value or "", limit)
    said = Decision(
        str(verdict), texts["reviewer"], texts["reason"], texts["decided_at"], 0.0, message.trial, message.key
    )
    return Answer(said, poll)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
