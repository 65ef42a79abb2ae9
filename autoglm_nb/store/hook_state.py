"""How far each hook has told its tracker about a study: `runs/<study>/hooks/<hook>.json`.

The number of the last event it was told, which trials it began and ended, and what it needs
to find its own runs again. Whoever follows next goes on from there, so that nothing is told
twice. A hook that fails leaves its sentence here, and `snapshot` shows it among the messages.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from autoglm_nb.record import words
from autoglm_nb.store._files import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from autoglm_nb.store.store import Store

__all__ = ["HookState", "hook_folder", "hook_messages", "hook_state", "save_hook_state"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass
class HookState:
    """What one hook has done.

    Attributes:
        n: number of the last event it was told, 0 before one.
        begun: whether it knows of the study.
        over: state of the study that it was told as the end, "" while it is under way.
        rungs: last reported evaluation by run name.
        started, ended: names of the runs it was told of.
        memory: the hook's own notes, texts alone: identifiers of the runs it made.
        failure: why it gave up, "" where it did not.
        failed_at: when, Unix seconds.
    """

    n: int = 0
    begun: bool = False
    over: str = ""
    rungs: dict[str, int] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    memory: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    failed_at: float = 0.0


def hook_folder(store: Store, study: str) -> Path:
    """Where the states of a study's hooks lie; not created here."""
    return store.study_dir(study) / "hooks"


def hook_state(store: Store, study: str, hook: str) -> HookState:
    """How far a hook is; a fresh state where there is none."""
    raw = read_json(hook_folder(store, study) / f"{hook}.json")
    kinds: dict[str, Any] = {
        "n": int, "begun": bool, "over": str, "rungs": dict, "started": list, "ended": list, "memory": dict,
        "failure": str, "failed_at": int | float,
    }  # fmt: skip
    return HookState(**{k: raw[k] for k, kind in kinds.items() if isinstance(raw.get(k), kind)})


def save_hook_state(store: Store, study: str, hook: str, state: HookState) -> None:
    """Stores how far a hook is.

    Raises:
        ValueError: the hook's name could not be a file's.
        DiskFullError: there is no room.
    """
    if not _NAME.fullmatch(hook):
        raise ValueError(f"A hook's name must be lower-case letters, but got {hook!r}.")
    write_json(hook_folder(store, study) / f"{hook}.json", asdict(state))


def hook_messages(store: Store, study: str) -> list[dict[str, Any]]:
    """A message for each hook that gave up, as `snapshot` shows them."""
    folder = hook_folder(store, study)
    if not folder.is_dir():
        return []
    names = sorted(p.stem for p in folder.glob("*.json") if _NAME.fullmatch(p.stem))
    states = [hook_state(store, study, name) for name in names]
    return [
        {"t": float(s.failed_at), "level": "warning", "text": words.clean(s.failure, 400)} for s in states if s.failure
    ]
