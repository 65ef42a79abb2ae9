"""The study store: the truth about studies, in `studies.db` and the event files beside it.

Contract: finished facts (requests, states, runs, control requests, leases,
notes) are rows of `autoglm_*` tables, changed one transaction per fact, beside
Optuna's own tables in one SQLite file. What only moves (steps, readings) is a
line of `runs/<study>/events.jsonl`. Any number of processes and threads may
read and write; a study has one worker at a time, by its lease.

Data flow: the notebook stores a `StudySpec`; the worker acquires the lease,
stores runs and emits events; people leave requests and notes; every view draws
`snapshot`, which reads rows with plain SQL and folds the events over them.

Failure modes: a name that is not there, taken or unfit, a store of a newer
version, a damaged file, a file locked for half a minute and a full disk each
raise their own error with a remedy. A killed process leaves whole
transactions; half a line at the end of an event file is cut off by the next
writer. Optuna is imported by `optuna_study` and `optuna_storage` alone.
"""

from autoglm_nb.store import registry
from autoglm_nb.store._database import is_disk_full
from autoglm_nb.store._spec import directions_of, metric_of
from autoglm_nb.store.decisions import Decision, add_decision, decisions, refuse_if_rejected
from autoglm_nb.store.events import EventTail, EventWriter
from autoglm_nb.store.lease import Lease, LeaseRow
from autoglm_nb.store.live import LiveRun, LiveState
from autoglm_nb.store.overview import Overview, StudyLine
from autoglm_nb.store.points import Points, points
from autoglm_nb.store.queue import DeviceQueue, device_queues
from autoglm_nb.store.runs import RunRow
from autoglm_nb.store.snapshot import live_state, snapshot
from autoglm_nb.store.store import Store
from autoglm_nb.store.studies import StudySummary
from autoglm_nb.store.trial_pages import TrialPage, trial_page
from autoglm_nb.store.watch import Watch

__all__ = [
    "Decision",
    "DeviceQueue",
    "EventTail",
    "EventWriter",
    "Lease",
    "LeaseRow",
    "LiveRun",
    "LiveState",
    "Overview",
    "Points",
    "RunRow",
    "Store",
    "StudyLine",
    "StudySummary",
    "TrialPage",
    "Watch",
    "add_decision",
    "decisions",
    "device_queues",
    "directions_of",
    "is_disk_full",
    "live_state",
    "metric_of",
    "points",
    "refuse_if_rejected",
    "registry",
    "snapshot",
    "trial_page",
]
