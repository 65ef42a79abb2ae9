"""The pieces of the live card as HTML: pure functions of a snapshot, in the words of the record.

They go into ipywidgets' `HTML`, which is not sanitized, so everything is
escaped here. What moves (progress, loss, time left, readings) appears only in
these pieces, never in the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from autoglm_nb.protocol import StudyState
from autoglm_nb.record import Story, words
from autoglm_nb.record.curve import curve_img
from autoglm_nb.record.packs import pack_rows
from autoglm_nb.record.page import trials_table

__all__ = [
    "answer",
    "curve",
    "messages",
    "notes",
    "resources",
    "resources_line",
    "row",
    "rows_title",
    "space",
    "title",
    "trials",
]

_LINE = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap;line-height:1.5"
_QUIET = "opacity:.78"
_CELL = "text-align:left;padding:2px 12px 2px 0;vertical-align:top"


def title(story: Story) -> str:
    """Name, subject and state."""
    return (
        f'<div style="{_LINE}"><b>{_e(story.name)}</b> <span style="{_QUIET}">· {_e(story.subject)}</span>'
        f" &nbsp; <b>{_e(words.state_words(story.state))}</b></div>"
    )


def answer(story: Story) -> str:
    """The best so far, its gain, how far it is, the winning configuration, about how long it will take."""
    left = words.finite(story.headline.get("seconds_left"))
    remaining = f"about {words.duration(left)} left" if left is not None and story.active else ""
    pair = "display:flex;justify-content:space-between;gap:16px"
    return (
        f'<div style="{pair}"><div style="{_LINE}"><b style="font-size:1.25em">{_e(story.best)}</b> '
        f'{_e(story.gain)}</div><div style="{_LINE}">{_e(story.count)}</div></div>'
        f'<div style="{pair}"><div style="{_LINE}">{_e(story.config or story.reason) or "&nbsp;"}</div>'
        f'<div style="{_LINE};{_QUIET}">{_e(remaining)}</div></div>'
    )


def curve(story: Story) -> str:
    """The curve, or a line that says what it waits for."""
    return curve_img(story) or f'<p style="{_QUIET};padding:40px 0;text-align:center">No trial has a value yet.</p>'


def rows_title(story: Story, more: int) -> str:
    """The heading of the running trials; while there are none, what is being done instead."""
    if story.running:
        return f"<b>Running now</b>{f' and {more} more' if more > 0 else ''}"
    doing = {
        StudyState.QUEUED: "Waiting for a worker or for the device",
        StudyState.PREPARING: "Preparing model and data",
        StudyState.CONFIRMING: "Training winner and default settings again on other seeds, for the test split",
    }.get(StudyState(story.state) if story.state in set(StudyState) else StudyState.RUNNING)
    if doing is None and story.state == StudyState.RUNNING:
        measured = words.finite(story.headline.get("baseline_value")) is not None
        doing = "Between two trials" if measured or story.ranked else "Measuring the default settings"
    return f'<b>Running now</b> <span style="{_QUIET}">{_e(doing or "no trial")}</span>'


def row(story: Story, trial: Mapping[str, Any]) -> str:
    """One running trial: number, configuration, progress, value so far, why it was proposed."""
    progress = words.finite(trial.get("progress")) or 0.0
    progress = min(1.0, max(0.0, progress))
    name = f"#{words.number(trial.get('number'))}"
    label = words.config_line(trial.get("config") or {}, story.searched)
    proposed = words.clean(trial.get("proposed_by") or "", 60)
    cell = f"{_LINE};flex:0 0 auto"
    return (
        '<div style="display:flex;gap:10px;align-items:center">'
        f'<b style="{cell};min-width:2.6em">{_e(name)}</b>'
        f'<span style="{_LINE};flex:3 1 15em" title="{_e(label)}">{_e(label)}</span>'
        f'<progress max="1" value="{progress:.3f}" aria-label="{_e(f"progress of trial {name}")}" '
        'style="flex:0 1 90px;min-width:40px"></progress>'
        f'<span style="{cell};min-width:3.2em;text-align:right">{words.share(progress)}</span>'
        f'<span style="{cell};min-width:5.4em;text-align:right">{_e(_so_far(story, trial))}</span>'
        f'<span style="{_LINE};{_QUIET};flex:2 1 8em" title="{_e(proposed)}">{_e(proposed)}</span></div>'
    )


def trials(story: Story) -> str:
    """The table of the record."""
    if not story.ranked:
        return f'<p style="{_QUIET}">No trial has ended yet.</p>'
    return f'<div style="line-height:1.35">{trials_table(story)}</div>'


def space(story: Story) -> str:
    """What is searched, and under which condition."""
    return _table(("Name", "Values", "Only if"), story.space_rows())


def notes(story: Story) -> str:
    """Notes of the team."""
    if not story.notes:
        return f'<p style="{_QUIET}">No notes.</p>'
    return _table(("On", "Note", "By"), story.note_rows())


def messages(snapshot: Mapping[str, Any]) -> str:
    """What the worker had to say last, newest first."""
    found = [m for m in snapshot.get("messages") or [] if m.get("level") in ("warning", "error")]
    if not found:
        return ""
    text = words.clean(found[-1].get("text") or "", 400)
    colour = "#d64545" if found[-1].get("level") == "error" else "#a8722a"
    return f'<div style="{_LINE};border-left:3px solid {colour};padding-left:8px" title="{_e(text)}">{_e(text)}</div>'


def resources_line(snapshot: Mapping[str, Any]) -> str:
    """The last reading in a line: "CPU 91 % · 3.1 GB · GPU –"."""
    reading = (snapshot.get("readings") or [None])[-1]
    text = " · ".join(f"{name} {value}" if name else value for name, value in _reading(reading))
    return f'<div style="{_LINE};{_QUIET};text-align:right">{_e(text)}</div>'


def resources(snapshot: Mapping[str, Any]) -> str:
    """Readings of the worker and of the machine."""
    reading = (snapshot.get("readings") or [None])[-1]
    if not reading:
        return f'<p style="{_QUIET}">No reading yet.</p>'
    gpu, gpu_memory = (words.finite(reading.get(key)) for key in ("gpu_percent", "gpu_memory_gb"))
    rows = [
        ("CPU of the worker", f"{_whole(reading.get('cpu_percent'))} % (100 = one core)"),
        ("Memory of the worker", f"{_tenth(reading.get('memory_gb'))} GB"),
        ("CPU of the machine", f"{_whole(reading.get('machine_cpu_percent'))} %"),
        ("Memory of the machine", f"{_whole(reading.get('machine_memory_percent'))} %"),
        ("GPU", "none" if gpu is None else f"{_whole(gpu)} %, {_tenth(gpu_memory)} GB"),
        *pack_rows(snapshot),
    ]
    return _table(("Resource", "Now"), rows)


def _reading(reading: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if not reading:
        return [("CPU", "–"), ("GPU", "–")]
    gpu = words.finite(reading.get("gpu_percent"))
    return [
        ("CPU", f"{_whole(reading.get('machine_cpu_percent'))} %"),
        ("", f"{_tenth(reading.get('memory_gb'))} GB"),
        ("GPU", "–" if gpu is None else f"{_whole(gpu)} %"),
    ]


def _so_far(story: Story, trial: Mapping[str, Any]) -> str:
    """The last evaluation and whether it is better than the one before; else the training loss."""
    values = [words.finite(report[1]) for report in trial.get("reports") or [] if len(report) > 1]
    known = [value for value in values if value is not None]
    if not known:
        loss = words.finite(trial.get("loss"))
        return "" if loss is None else f"loss {words.score(loss)}"
    if len(known) < 2 or known[-1] == known[-2]:
        return words.score(known[-1])
    return f"{words.score(known[-1])} {'↑' if known[-1] > known[-2] else '↓'}"


def _whole(value: object) -> str:
    given = words.finite(value)
    return "–" if given is None else f"{given:.0f}"


def _tenth(value: object) -> str:
    given = words.finite(value)
    return "–" if given is None else f"{given:.1f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col" style="{_CELL}">{_e(h)}</th>' for h in heads)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL};white-space:pre-wrap">{_e(c, lines=True)}</td>' for c in r) + "</tr>"
        for r in rows
    )
    looks = "border-collapse:collapse;line-height:1.35"
    return f'<table style="{looks}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _e(text: object, *, lines: bool = False) -> str:
    return escape(words.clean(text, 2000, lines=lines), quote=True)
