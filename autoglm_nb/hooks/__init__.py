"""A study's course told to an experiment tracker: MLflow, Weights & Biases, TensorBoard.

Contract: each tracker is one small file with one `Hook` (`_base.py`). A process of its own
(`python -m autoglm_nb.hooks`) follows `events.jsonl` and the store and calls the hooks, so
that neither the worker nor the kernel knows of them: the worker is not slowed down, the
kernel imports no tracker, and a kernel that restarts changes nothing.

Data flow: events, rows -> `HookFollower` -> `Hook`; how far each hook is stands in
`runs/<study>/hooks/<hook>.json`, so that whoever follows next goes on without telling
anything twice. Only one process follows a study, by a file lock.

Failure modes: an unknown name or a library that is not installed is a fault of the request,
before anything starts. A hook that raises is told about once, in the messages of the study,
and stops; the study and the other hooks go on, and the next `attach` lets it try again from
where it stood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoglm_nb.lazy import front_door

if TYPE_CHECKING:
    from autoglm_nb.hooks._base import Hook, RunInfo, RunOutcome, StudyInfo, StudyOutcome
    from autoglm_nb.hooks.follower import HookFollower
    from autoglm_nb.hooks.names import HOOKS, check, make
    from autoglm_nb.hooks.process import start

__all__ = [
    "HOOKS",
    "Hook",
    "HookFollower",
    "RunInfo",
    "RunOutcome",
    "StudyInfo",
    "StudyOutcome",
    "check",
    "make",
    "start",
]

_HOMES = {
    "HOOKS": "names",
    "Hook": "_base",
    "HookFollower": "follower",
    "RunInfo": "_base",
    "RunOutcome": "_base",
    "StudyInfo": "_base",
    "StudyOutcome": "_base",
    "check": "names",
    "make": "names",
    "start": "process",
}

__getattr__ = front_door(__name__, _HOMES)
