"""Decisions on a study's model, as a decision system (or a person in front of one) gave them.

They lie in `runs/<study>/decisions.json`, beside the adapters they are about, so that renaming
or deleting a study takes them along. A decision is about one trial: where a later trial wins,
it speaks of the model before and says nothing about the new one. Every text in it comes from
outside and is cleaned on the way in.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from autoglm_nb.errors import RejectedError
from autoglm_nb.protocol import DecisionSnapshot
from autoglm_nb.record import words
from autoglm_nb.store._files import read_json, write_json

if TYPE_CHECKING:
    from autoglm_nb.store.store import Store

__all__ = [
    "VERDICTS",
    "Decision",
    "add_decision",
    "decisions",
    "put_decisions",
    "refuse_if_rejected",
    "shown_decision",
]

VERDICTS = ("approve", "hold", "reject")

_FILE = "decisions.json"
_KEPT = 50
_LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        verdict: one of `VERDICTS`.
        reviewer: who decided, as the system calls them; "" when it does not say.
        reason: why.
        decided_at: when, as the system wrote it; "" when it does not say.
        received_at: Unix seconds.
        trial: the trial whose model it is about; None where the study had no winner.
        key: idempotency key of the report it answers.
    """

    verdict: str
    reviewer: str = ""
    reason: str = ""
    decided_at: str = ""
    received_at: float = 0.0
    trial: int | None = None
    key: str = ""


def add_decision(store: Store, study: str, decision: Decision) -> bool:
    """Stores a decision; False when the last one for the same report already says the same.

    Raises:
        StudyNotFoundError: no study of that name.
        ValueError: an unknown verdict.
    """
    if decision.verdict not in VERDICTS:
        raise ValueError(f"A verdict must be one of {', '.join(VERDICTS)}, but got {decision.verdict!r}.")
    store.spec(study)
    path = _path(store, study)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
        known = decisions(store, study)
        last = next((d for d in reversed(known) if d.key == decision.key), None)
        if last is not None and _said(last) == _said(decision):
            return False
        stamped = asdict(decision) | {"received_at": decision.received_at or time.time()}
        kept = [*(asdict(d) for d in known), stamped][-_KEPT:]
        write_json(path, {"version": 1, "decisions": kept}, durable=True)
    return True


def put_decisions(folder: Path, known: Sequence[Decision]) -> None:
    """Writes the decisions of a study that is yet to come, into the folder that becomes its own.

    Raises:
        DiskFullError: there is no room.
    """
    if known:
        write_json(folder / _FILE, {"version": 1, "decisions": [asdict(d) for d in known[-_KEPT:]]})


def decisions(store: Store, study: str) -> list[Decision]:
    """Every decision on a study, oldest first; what cannot be read as one is passed over."""
    given = read_json(_path(store, study)).get("decisions")
    found = [_read(d) for d in given] if isinstance(given, list) else []
    return [d for d in found if d is not None]


def shown_decision(store: Store, study: str, winner: int | None) -> DecisionSnapshot | None:
    """What a view shows: the newest decision on the present winner, else the newest of all."""
    known = decisions(store, study)
    if not known:
        return None
    chosen = next((d for d in reversed(known) if d.trial == winner), known[-1])
    return DecisionSnapshot(
        verdict=chosen.verdict,
        reviewer=chosen.reviewer,
        reason=chosen.reason,
        decided_at=chosen.decided_at,
        trial=chosen.trial,
        current=chosen.trial == winner,
    )


def refuse_if_rejected(store: Store, study: str, *, force: bool = False) -> None:
    """Raises unless the best model may be handed out: served, exported, shared.

    Only a rejection of the present winner counts. A model on hold, or one that nobody has
    decided about, is let through.

    Args:
        store: where the study is.
        study: its name.
        force: hand it out all the same.

    Raises:
        RejectedError: the newest decision on the winner is a rejection.
        StudyNotFoundError: no study of that name.
    """
    if force or not _path(store, study).exists():
        return
    from autoglm_nb.store.snapshot import snapshot

    found = snapshot(store, study, limit=1).get("decision")
    if found is None or not found["current"] or found["verdict"] != "reject":
        return
    by = f" by {found['reviewer']}" if found["reviewer"] else ""
    why = f": {found['reason'].rstrip('.')}" if found["reason"] else ""
    raise RejectedError(
        f"The model of trial {found['trial']} of study {study!r} was rejected{by}{why}. "
        "Ask the reviewer to decide anew, or hand it out all the same with force (--force, force=True)."
    )


def _path(store: Store, study: str) -> Path:
    return store.study_dir(study) / _FILE


def _said(decision: Decision) -> tuple[str, str, str]:
    return decision.verdict, decision.reviewer, decision.reason


def _read(raw: Any) -> Decision | None:
    if not isinstance(raw, Mapping) or raw.get("verdict") not in VERDICTS:
        return None
    trial, received = raw.get("trial"), raw.get("received_at")
    number = isinstance(trial, int) and not isinstance(trial, bool)
    return Decision(
        verdict=str(raw["verdict"]),
        reviewer=words.clean(raw.get("reviewer") or "", 120),
        reason=words.clean(raw.get("reason") or "", 2000),
        decided_at=words.clean(raw.get("decided_at") or "", 40),
        received_at=words.finite(received) or 0.0,
        trial=trial if number else None,
        key=words.clean(raw.get("key") or "", 80),
    )
