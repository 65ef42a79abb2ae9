"""Reports sent to a decision system over HTTP, and the decisions that come back.

Contract: `push` puts a report into the outbox of the store (on disk before anything is sent)
and returns; `drain` sends what is due and may be called by any process at any time; `poll`
asks about reports that are delivered and undecided. A report is delivered at least once and
carries an idempotency key, the same for the same report, so that the other side can drop a
repetition. What comes back is checked, cleaned and stored by `store.decisions`.

Data flow: `explain` -> `message` -> `store.outbox` -> `transport` -> `answers` ->
`store.decisions` -> the headline of every view; `refuse_if_rejected` in the store is what
serving, exporting and sharing ask.

Failure modes: no connection, a timeout, 408, 425, 429 and 5xx are tried again, ever more
rarely; another 4xx is kept with the answer's words until a person pushes again; an answer
that cannot be read counts as delivered and undecided. A missing or unfit
`AUTOGLM_DECISION_URL` raises `UsageError`. The token goes to that address alone and is never
stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoglm_nb.lazy import front_door

if TYPE_CHECKING:
    from autoglm_nb.decisions.delivery import drain, poll, waiting
    from autoglm_nb.decisions.pushing import push, report_section
    from autoglm_nb.decisions.resuming import resume

__all__ = ["drain", "poll", "push", "report_section", "resume", "waiting"]

_HOMES = {
    "drain": "delivery",
    "poll": "delivery",
    "waiting": "delivery",
    "push": "pushing",
    "report_section": "pushing",
    "resume": "resuming",
}

__getattr__ = front_door(__name__, _HOMES)
