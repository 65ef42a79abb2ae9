"""From a study to a message in the outbox, and what a person is told about the course of things."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoglm_nb.decisions.delivery import drain, poll
from autoglm_nb.decisions.transport import address
from autoglm_nb.errors import UsageError
from autoglm_nb.explain import Explanation, explain
from autoglm_nb.explain.facts import load
from autoglm_nb.explain.sections.decision import decided
from autoglm_nb.record import words
from autoglm_nb.store import Store, outbox
from autoglm_nb.store.outbox import Message

__all__ = ["REPORT_SCHEMA", "ask", "push", "report_section"]

REPORT_SCHEMA = "autoglm.report.v1"


def push(home: Path | str, study: str, *, seconds: float = 0.0) -> Message:
    """Put a study's report into the outbox and send it; returns the message as it stands after that.

    The same report twice is one message: a second push sends nothing that is delivered, and
    tries again at once what waits or was refused.

    Args:
        home: the `.autoglm` folder.
        study: the study's name.
        seconds: how long to go on trying; what is not delivered by then stays in the outbox.

    Raises:
        UsageError: no usable address is set, or there is no result to decide about.
        StudyNotFoundError: no such study.
    """
    address()
    explanation = explain(home, study)
    body = _body(explanation, Path(home))
    if body["trial"] is None:
        raise UsageError(
            f"A report is pushed once there is a result, but no trial of study {study!r} has completed. "
            f"Wait for one with `%autotune wait {words.quoted(study)}`."
        )
    store = Store(home, create=False)
    key = _key(body)
    known = outbox.message(store, study, key)
    if known is None or known.state == "refused":
        fresh = Message(key, study, body["trial"], {**body, "idempotency_key": key}, created_at=time.time())
        with outbox.claimed(store, study, key) as free:  # another process may have taken it up meanwhile
            if free is None or free.state == "refused":
                outbox.put(store, fresh)
    elif known.state == "waiting":
        with outbox.claimed(store, study, key) as mine:
            if mine is not None and mine.state == "waiting":
                outbox.put(store, replace(mine, next_at=0.0))
    drain(store, study, seconds=seconds)
    return outbox.message(store, study, key) or Message(key, study, body["trial"], body)


def ask(home: Path | str, study: str, *, seconds: float = 0.0) -> None:
    """Send what still waits and ask once what was decided.

    Raises:
        UsageError: no usable address is set.
        StudyNotFoundError: no such study.
    """
    store = Store(home, create=False)
    store.spec(study)
    drain(store, study, seconds=seconds)
    poll(store, study)


def report_section(home: Path | str, study: str) -> Explanation:
    """Reports and decisions of a study as a document of one section."""
    facts = load(home, study)
    return Explanation(facts.name, facts.story.subject, None, (decided(facts, always=True),))


def _body(explanation: Explanation, home: Path) -> dict[str, Any]:
    """What is sent. An earlier decision is no part of the report that the next one is about."""
    report = explanation.json()
    report["sections"] = [s for s in report["sections"] if s["key"] != "decision"]
    facts: dict[str, Any] = next((s["facts"] for s in report["sections"] if s["key"] == "answer"), {})
    store = Store(home, create=False)
    return {
        "schema": REPORT_SCHEMA,
        "study": explanation.study,
        "identity": store.spec(explanation.study).identity,
        "trial": facts.get("best_trial"),
        "value": facts.get("best_value"),
        "report": report,
    }


def _key(body: dict[str, Any]) -> str:
    """The same for the same report, whenever it was made."""
    report = {k: v for k, v in body["report"].items() if k != "made_at"}
    text = json.dumps({**body, "report": report}, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:40]
