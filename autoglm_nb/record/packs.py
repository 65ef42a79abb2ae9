"""Who shares passes with whom, in words: rows for a table or a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from autoglm_nb.record import words

__all__ = ["pack_rows"]


def pack_rows(snapshot: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, sentence) for each pack, each run alone, and the prediction; empty while nothing is trained."""
    packs = snapshot.get("packs")
    if not isinstance(packs, Mapping):
        return []
    rows = [("Sharing passes", _pack(pack)) for pack in _mappings(packs.get("now"))]
    rows += [
        (f"{_label(entry.get('trial'))} alone", words.clean(entry.get("because"), 300))
        for entry in _mappings(packs.get("alone"))
    ]
    times = [_seconds(packs.get(key)) for key in ("predicted", "measured")]
    if times[0] is not None and times[1] is not None:
        rows.append(("A step", f"{times[1]:.3g} s measured, {times[0]:.3g} s predicted"))
    memory = [_memory(packs.get(key)) for key in ("predicted", "measured")]
    if memory[0] is not None and memory[1] is not None:
        rows.append(("Memory of a pass", f"{memory[1]:.2g} GB measured, {memory[0]:.2g} GB predicted"))
    return rows


def _pack(pack: Mapping[str, Any]) -> str:
    trials = ", ".join(_label(trial) for trial in pack.get("trials") or ())
    parts = [f"{trials} ({words.clean(pack.get('method'), 60)})"]
    tokens, passes = words.finite(pack.get("tokens_per_step")), words.finite(pack.get("passes_per_step"))
    occupancy = words.finite(pack.get("occupancy"))
    if tokens is not None and passes is not None:
        parts.append(f"{tokens:.0f} tokens a step in {passes:.1f} passes")
    if occupancy is not None:
        parts.append(f"{occupancy:.0%} of the computed tokens are real")
    return " · ".join(parts)


def _label(trial: object) -> str:
    return f"#{trial}" if isinstance(trial, int) else words.clean(trial, 60)


def _seconds(side: object) -> float | None:
    return words.finite(side.get("seconds_per_step")) if isinstance(side, Mapping) else None


def _memory(side: object) -> float | None:
    return words.finite(side.get("pass_memory_gb")) if isinstance(side, Mapping) else None


def _mappings(entries: object) -> Iterable[Mapping[str, Any]]:
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
