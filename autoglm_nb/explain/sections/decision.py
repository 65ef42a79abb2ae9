"""What a decision system said about the model, and which reports are still on their way to it."""

from __future__ import annotations

from datetime import UTC, datetime

from autoglm_nb.explain.document import Section, Sentence, Table
from autoglm_nb.explain.facts import Facts, plural
from autoglm_nb.record import words
from autoglm_nb.store.decisions import Decision

__all__ = ["decided"]

_STATES = {"waiting": "waits to be delivered", "refused": "refused", "sent": "delivered, undecided"}


def decided(facts: Facts, *, always: bool = False) -> Section:
    """The section; without any report it says so, and the page leaves it out.

    Args:
        facts: the study.
        always: say how to push where nothing was.
    """
    sentences = _verdict(facts) + _on_the_way(facts)
    if not sentences:
        how = f"%explain {words.quoted(facts.name)} --push sends the report" if always else "no report was pushed"
        sentences = [Sentence("Nobody has decided about this study", how)]
    tables = []
    if facts.decisions:
        rows = tuple(
            (
                words.clean(d.verdict, 20),
                "–" if d.trial is None else f"{d.trial}",
                words.clean(d.reviewer, 60) or "–",
                words.clean(d.reason, 400) or "–",
                words.clean(d.decided_at, 40) or _date(d.received_at),
            )
            for d in reversed(facts.decisions)
        )
        heads = ("Decision", "Trial", "Reviewer", "Reason", "When")
        tables.append(Table("Decisions, newest first", heads, rows[:20], frozenset({1}), frozenset({0})))
    return Section(
        "decision",
        "Decisions",
        tuple(sentences),
        tuple(tables),
        facts={
            "decisions": [{**d.__dict__} for d in facts.decisions],
            "reports": [
                {"key": m.key, "state": m.state, "trial": m.trial, "attempts": m.attempts, "problem": m.problem}
                for m in facts.reports
            ],
        },
    )


def _verdict(facts: Facts) -> list[Sentence]:
    if not facts.decisions:
        return []
    winner = facts.best["number"] if facts.best is not None else None
    last = next((d for d in reversed(facts.decisions) if d.trial == winner), facts.decisions[-1])
    verb = {"approve": "was approved", "hold": "was put on hold", "reject": "was rejected"}[last.verdict]
    which = f"The model of trial {last.trial}" if last.trial is not None else "The study"
    sentences = [Sentence(f"{which} {verb}" + _reviewed(last), _reasons(last))]
    if last.trial != winner:
        sentences.append(
            Sentence("About the present winner nothing was decided", f"trial {winner}; the decision is older than it")
        )
    elif last.verdict == "reject":
        sentences.append(
            Sentence("It is not handed out without force", "best_model(force=True), %autotune share --force")
        )
    return sentences


def _reviewed(decision: Decision) -> str:
    return f" by {words.clean(decision.reviewer, 60)}" if decision.reviewer else ""


def _reasons(decision: Decision) -> str:
    when = words.clean(decision.decided_at, 40) or _date(decision.received_at)
    reason = words.clean(decision.reason, 400).rstrip(".")
    return f"{when}; {reason}" if reason else f"{when}; no reason was given"


def _on_the_way(facts: Facts) -> list[Sentence]:
    sentences = []
    for state, meaning in _STATES.items():
        found = [m for m in facts.reports if m.state == state]
        if not found:
            continue
        last = found[-1]
        evidence = f"report {last.key[:8]} on trial {last.trial}, {plural(last.attempts, 'attempt')}"
        if last.problem:
            evidence += f"; {words.clean(last.problem, 300).rstrip('.')}"
        lead = f"{plural(len(found), 'report')}: {meaning}"
        if state == "waiting":
            lead += ", kept until it is" if len(found) == 1 else ", kept until they are"
        elif state == "refused":
            lead += f"; %explain {words.quoted(facts.name)} --push tries again"
        sentences.append(Sentence(lead, evidence))
    return sentences


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC") if seconds > 0 else "date unknown"
