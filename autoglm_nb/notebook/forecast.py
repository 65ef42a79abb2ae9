"""`--dry-run` shown: what would run, and about how much time, memory and disk it would take."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from autoglm_nb.record import words

__all__ = ["forecast_bundle"]


def forecast_bundle(forecast: Mapping[str, Any]) -> dict[str, str]:
    """The forecast as text and as a table; figures that are not known are left out."""
    rows = [(label, text) for label, text in _rows(forecast) if text]
    wide = max(len(label) for label, _ in rows)
    title = "A dry run: nothing was started."
    cell = 'style="text-align:left;padding:2px 14px 2px 0;vertical-align:top;white-space:pre-wrap"'
    body = "".join(f"<tr><th scope='row' {cell}>{escape(k)}</th><td {cell}>{escape(v)}</td></tr>" for k, v in rows)
    plain = [f"{label:<{wide}}  " + text.replace("\n", "\n" + " " * (wide + 2)) for label, text in rows]
    return {
        "text/plain": "\n".join([title, *plain]),
        "text/html": f'<table style="border-collapse:collapse"><caption style="text-align:left;caption-side:top">'
        f"{title}</caption><tbody>{body}</tbody></table>",
    }


def _rows(forecast: Mapping[str, Any]) -> list[tuple[str, str]]:
    def text(key: str) -> str:
        value = forecast.get(key)
        if isinstance(value, (list, tuple)):
            return words.clean(", ".join(str(v) for v in value), 300)
        return "" if value is None else words.clean(value, 300)

    seconds, memory, disk = (words.finite(forecast.get(key)) for key in ("seconds", "memory_gb", "disk_mb"))
    free = words.finite(forecast.get("disk_free_mb"))
    free_memory = words.finite(forecast.get("memory_free_gb"))
    beside = f" of {free_memory:.1f} GB free" if free_memory is not None else ""
    rows = f", {forecast['training_rows']} training rows" if forecast.get("training_rows") else ""
    room = f" of {free / 1024:.0f} GB free" if free else ""
    budget = words.finite(forecast.get("budget_seconds"))
    configurations = forecast.get("configurations")
    return [
        ("Study", text("study")),
        ("Task", text("task")),
        ("Model", text("model")),
        ("Data", text("data") + rows),
        ("Metric", text("metric")),
        ("Strategy", text("strategy")),
        ("Trials", text("trials")),
        ("Budget", words.duration(budget) if budget is not None else ""),
        ("Search space", _space(forecast.get("space"))),
        ("Configurations", words.number(configurations) if configurations is not None else ""),
        ("Time", f"about {words.duration(seconds)}" if seconds is not None else ""),
        ("Memory", f"about {memory:.1f} GB{beside}" if memory is not None else ""),
        ("Disk", f"about {disk:.0f} MB{room}" if disk is not None else ""),
    ]


def _space(space: object) -> str:
    if isinstance(space, str):
        return words.clean(space, 2000, lines=True)
    if isinstance(space, (list, tuple)):
        lines = []
        for row in space:
            parts = [getattr(row, key, "") for key in ("name", "range", "condition")]
            if isinstance(row, Mapping):
                parts = [row.get(key, "") for key in ("name", "range", "condition")]
            if not any(parts):
                parts = [str(row), "", ""]
            lines.append(f"{parts[0]}  {parts[1]}" + (f"  if {parts[2]}" if parts[2] else ""))
        return words.clean("\n".join(lines), 2000, lines=True)
    return ""
