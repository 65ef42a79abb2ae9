"""The smallest of the three sizes: one line per study, for `%autotune list` and `status`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from autoglm_nb.record import words
from autoglm_nb.record.story import ACTIVE

__all__ = ["studies_html", "studies_text", "study_line"]

_HEADS = ("Study", "State", "Best", "Trials", "Model", "Data", "Notebook")


def study_line(summary: Any) -> str:
    """One study in a line: "reviews  ● running  0.847 accuracy  11 of 24  minilm · movies"."""
    name, state, best, trials, model, data, _ = _cells(summary)
    return f"{name}  {state}  {best}  {trials}  {model} · {data}"


def studies_text(summaries: Iterable[Any]) -> str:
    """All studies as aligned columns, active ones first."""
    rows = [_cells(s)[:-1] for s in _ordered(summaries)]
    if not rows:
        return "No study is stored here."
    table = [_HEADS[:-1], *rows]
    wide = [max(words.width(row[i]) for row in table) for i in range(len(_HEADS) - 1)]
    return "\n".join(
        "  ".join(cell + " " * (w - words.width(cell)) for cell, w in zip(row, wide)).rstrip() for row in table
    )


def studies_html(summaries: Iterable[Any]) -> str:
    """All studies as a table, active ones first."""
    rows = [_cells(s) for s in _ordered(summaries)]
    if not rows:
        return "<p>No study is stored here.</p>"
    cell = "text-align:left;padding:3px 14px 3px 0;vertical-align:top"
    head = "".join(f'<th scope="col" style="{cell}">{escape(h)}</th>' for h in _HEADS)
    body = "".join(
        "<tr>" + "".join(f'<td style="{cell}">{escape(value, quote=True)}</td>' for value in row) + "</tr>"
        for row in rows
    )
    return (
        '<table style="border-collapse:collapse"><caption style="text-align:left;caption-side:top">Studies</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _ordered(summaries: Iterable[Any]) -> list[Any]:
    return sorted(summaries, key=lambda s: (str(s.state) not in ACTIVE, -(getattr(s, "updated_at", 0) or 0)))


def _cells(summary: Any) -> tuple[str, ...]:
    best = words.finite(getattr(summary, "best_value", None))
    total = getattr(summary, "total", None)
    finished = getattr(summary, "finished", 0) or 0
    return (
        words.clean(summary.name, 60),
        words.state_words(summary.state),
        "–" if best is None else f"{words.score(best)} {words.metric_name(getattr(summary, 'metric', None))}",
        f"{finished} of {total}" if total else str(finished),
        words.clean(getattr(summary, "model", "") or "–", 40),
        words.clean(getattr(summary, "data", "") or "–", 40),
        words.clean(getattr(summary, "notebook", "") or "–", 60),
    )
