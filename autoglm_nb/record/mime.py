"""The MIME bundle of a record: a small dictionary for the lab extension, HTML and text for everyone else.

What moves without new data (readings, progress, time left, messages, packs) is
left out, so that saving a notebook twice gives the same bytes and a diff in git
shows results only. Times are whole seconds, and how fast this machine was is
left out unless it is what the study optimises: run anew, a study differs in
what it found. The dictionary stays below `MAX_BYTES`: trials beyond that
are dropped, worst first, and `trials_total` says how many there are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from autoglm_nb.protocol import STUDY_MIME
from autoglm_nb.record import words
from autoglm_nb.record.page import folded, html
from autoglm_nb.record.plain import text
from autoglm_nb.record.story import Story

__all__ = ["MAX_BYTES", "bundle", "trimmed"]

MAX_BYTES = 60_000
_LIMITS = ((200, 1000), (100, 600), (50, 300), (20, 200), (5, 100), (0, 60))
"""Trials and characters of a note, tried in turn until the dictionary is small enough."""

_NOTES = 50
_TRIAL_KEYS = (
    "number", "state", "value", "values", "config", "proposed_by", "because", "reports", "seconds", "attempts",
    "metrics", "starred",
)  # fmt: skip
_REPORTS = 40
_OF_THE_MACHINE = ("train_seconds", "latency_ms_p50", "latency_ms_p95")
"""Metrics that differ whenever they are measured."""


def bundle(snapshot: Mapping[str, Any], *, fold: bool = False) -> dict[str, Any]:
    """The record of a snapshot, ready for `display(..., raw=True)`.

    Args:
        snapshot: a `protocol.Snapshot`.
        fold: one line that opens into the card, while a live view stands below it.
    """
    story = Story(snapshot)
    page = folded(story) if fold else html(story)
    data = {**trimmed(snapshot), "folded": True} if fold else trimmed(snapshot)
    return {STUDY_MIME: data, "text/html": page, "text/plain": text(story)}


def trimmed(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """A snapshot as valid JSON below `MAX_BYTES`, without anything that moves by itself."""
    story = Story(snapshot)
    small: dict[str, Any] = {key: value for key, value in snapshot.items() if key not in ("readings", "messages")}
    small["readings"], small["messages"], small["packs"] = [], [], None
    small["headline"] = {**(snapshot.get("headline") or {}), "seconds_left": None}
    small["study"] = {
        **(snapshot.get("study") or {}),
        "cell": words.clean(story.study.get("cell") or "", 4000, lines=True),
        **{key: _seconds(story.study[key]) for key in ("created_at", "active_seconds") if key in story.study},
    }
    sought = {story.study.get("metric"), *(story.study.get("objectives") or ())}
    noise = {name for name in _OF_THE_MACHINE if name not in sought}
    ranked = story.ranked
    for limit, characters in _LIMITS:
        small["notes"] = [
            {
                **note,
                "text": words.clean(note.get("text") or "", characters, lines=True),
                "created_at": _seconds(note.get("created_at")),
            }
            for note in story.notes[:_NOTES]
        ]
        kept = sorted(ranked[:limit], key=lambda t: int(t.get("number", 0)))
        small["trials"] = [_trial(t, noise) for t in kept]
        plain: dict[str, Any] = _plain(small)
        if len(json.dumps(plain)) < MAX_BYTES:
            return plain
    plain["provenance"], plain["space"], plain["notes"] = {}, {}, []
    return plain


def _trial(trial: Mapping[str, Any], noise: Collection[str]) -> dict[str, Any]:
    out = {key: trial[key] for key in _TRIAL_KEYS if key in trial}
    out["metrics"] = {name: value for name, value in (out.get("metrics") or {}).items() if name not in noise}
    if trial.get("state") == "running":
        out.update(value=None, values=[], reports=[], seconds=0.0, metrics={})
    out["reports"] = _decimated(list(out.get("reports") or []))
    out["because"] = words.clean(out.get("because") or "", 300)
    if isinstance(out.get("seconds"), float):
        out["seconds"] = round(out["seconds"], 1)
    return out


def _seconds(value: object) -> int | None:
    """Whole seconds, which is what is drawn."""
    given = words.finite(value)
    return None if given is None else round(given)


def _decimated(reports: list[Any]) -> list[Any]:
    if len(reports) <= _REPORTS:
        return reports
    stride = math.ceil(len(reports) / _REPORTS)
    return reports[:-1:stride] + reports[-1:]


def _plain(value: Any) -> Any:
    """JSON without NaN and infinity (not valid JSON), strings without control characters."""
    if isinstance(value, Mapping):
        return {words.clean(key, 200): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return words.clean(value, 4000, lines=True)
