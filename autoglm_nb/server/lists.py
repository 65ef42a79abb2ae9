"""How a study and a queue are told to the front end: fields that it draws, paths as its users know them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from autoglm_nb.protocol import StudyState
from autoglm_nb.server.places import Place, Places
from autoglm_nb.store import DeviceQueue, StudyLine

__all__ = ["in_order", "queue_entries", "study_entry"]

_ACTIVE = frozenset({StudyState.PREPARING, StudyState.RUNNING, StudyState.CONFIRMING})
_WAITING = frozenset({StudyState.QUEUED, StudyState.PAUSED})


def study_entry(places: Places, place: Place, line: StudyLine) -> dict[str, Any]:
    """One study of the list: the fields of `StudyLine`, its store, and its notebook as far as it can be told."""
    notebook, openable = places.notebook(place, line.notebook)
    return {
        "home": place.id,
        "folder": place.folder,
        **dataclasses.asdict(line),
        "state": str(line.state),
        "reason": place.told(line.reason),
        "spark": list(line.spark),
        "notebook": notebook,
        "notebook_here": openable,
    }


def in_order(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At work first, then waiting or paused, then the rest; the latest changed first in each."""
    return sorted(entries, key=lambda e: (_rank(e["state"]), -e["updated_at"], e["name"], e["home"]))


def queue_entries(place: Place, queues: Sequence[DeviceQueue]) -> list[dict[str, Any]]:
    """The devices of one store that are in use. The host's name stays here."""
    return [
        {
            "home": place.id,
            "device": queue.device,
            "holder": queue.holder,
            "waiting": [{"name": w.study, "since": w.since, "reason": w.reason} for w in queue.waiting],
        }
        for queue in queues
    ]


def _rank(state: str) -> int:
    return 0 if state in _ACTIVE else 1 if state in _WAITING else 2
