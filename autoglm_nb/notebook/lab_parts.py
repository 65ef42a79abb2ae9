"""A snapshot cut into the parts that the lab widget keeps: small ones that move, larger ones that seldom do.

The widget's state is what a page gets when it is reloaded, so it must hold the
whole picture; but each update sends only the parts that differ. Trials are not
part of it, except those that run: the table asks for pages.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from autoglm_nb.protocol import TrialState
from autoglm_nb.record import words

__all__ = ["PARTS", "Change", "changed_trials", "marks", "parts", "plain", "slim"]

PARTS = ("head", "facts", "curve", "notes", "readings")
"""Names of the parts, which are also the names of the widget's traits."""

Change = tuple[str, float | None, bool, str]
"""What a change of a trial is told by: state, value, star, origin."""

_RUNNING = 12
_NOTES, _NOTE_LENGTH = 100, 1000
_MESSAGES = 5
_FRONT = 400
_REPORTS = 40
_FACTS = ("space", "provenance", "final", "front", "packs", "importance", "importance_after", "decision")
_READINGS = (
    "t", "cpu_percent", "memory_gb", "machine_cpu_percent", "machine_memory_percent", "gpu_percent", "gpu_memory_gb",
)  # fmt: skip


def parts(snapshot: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The parts of a snapshot, by name; plain JSON."""
    study = dict(snapshot.get("study") or {})
    cell = study.pop("cell", "")
    running = [t for t in snapshot.get("trials") or [] if t.get("state") == TrialState.RUNNING]
    head = {
        "version": snapshot.get("version"),
        "study": study,
        "headline": snapshot.get("headline") or {},
        "trials_total": snapshot.get("trials_total") or 0,
        "trials": [slim(t) for t in running[:_RUNNING]],
        "messages": list(snapshot.get("messages") or [])[-_MESSAGES:],
    }
    facts = {key: snapshot[key] for key in _FACTS if snapshot.get(key) is not None}
    facts["front"] = list(facts.get("front") or [])[:_FRONT]
    given = list(snapshot.get("notes") or [])
    notes = [
        {**n, "text": words.clean(n.get("text") or "", _NOTE_LENGTH, lines=True)}
        for n in [n for n in given if n.get("kind") != "star"][-_NOTES:]
    ]
    return {
        "head": plain(head),
        "facts": plain({**facts, "cell": cell}),
        "curve": {"points": plain(snapshot.get("curve") or [])},
        "notes": {"notes": plain(notes), "total": len(given)},
        "readings": _columns(snapshot.get("readings") or []),
    }


def slim(trial: Mapping[str, Any]) -> dict[str, Any]:
    """A trial with at most forty reports and, but for its configuration, no more digits than a view shows."""
    out = dict(trial)
    reports = list(trial.get("reports") or [])
    if len(reports) > _REPORTS:
        stride = math.ceil(len(reports) / _REPORTS)
        reports = reports[:-1:stride] + reports[-1:]
    out["reports"] = reports
    out["because"] = words.clean(trial.get("because") or "", 300)
    out["metrics"] = dict(list((trial.get("metrics") or {}).items())[:12])
    small = dict(plain(out))
    small["config"] = {  # to the last digit: a copy of it may be tried again
        words.clean(name, 200): value if isinstance(value, (bool, int, float)) else plain(value)
        for name, value in (trial.get("config") or {}).items()
    }
    return small


def marks(trials: Iterable[Mapping[str, Any]]) -> dict[int, Change]:
    """What each trial's change would be told by, by number."""
    return {
        int(t["number"]): (str(t["state"]), t.get("value"), bool(t.get("starred")), str(t.get("proposed_by") or ""))
        for t in trials
    }


def changed_trials(before: Mapping[int, Change], snapshot: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The trials of a snapshot that are new or ended, were valued or starred since `before`."""
    trials = snapshot.get("trials") or []
    found = marks(trials)
    return [t for t in trials if before.get(int(t["number"])) != found[int(t["number"])]]


def plain(value: Any) -> Any:
    """JSON without NaN and infinity, numbers to six significant digits, strings without control characters."""
    if isinstance(value, Mapping):
        return {words.clean(key, 200): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if abs(value) >= 1e6 else float(f"{value:.6g}")
    return words.clean(value, 4000, lines=True)


def _columns(readings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Readings by column, to a tenth: a fifth of what a list of dictionaries takes."""
    rows = list(readings)
    columns: dict[str, Any] = {key: [_tenth(row.get(key)) for row in rows] for key in _READINGS}
    if any(row.get("processes") for row in rows):
        columns["processes"] = [
            [{key: _tenth(value) for key, value in process.items()} for process in row.get("processes") or ()]
            for row in rows
        ]
    return columns


def _tenth(value: Any) -> float | int | None:
    given = words.finite(value)
    if given is None:
        return None
    rounded = round(given, 1)
    return int(rounded) if rounded == int(rounded) else rounded
