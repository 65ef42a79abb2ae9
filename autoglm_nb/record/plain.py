"""The record as plain text: the same card for a terminal, a log and a screen reader.

At most `COLUMNS` wide, with the curve drawn in characters. Control characters
are gone (a note cannot send an escape sequence to a terminal).
"""

from __future__ import annotations

import textwrap

from autoglm_nb.protocol import TrialState
from autoglm_nb.record import words
from autoglm_nb.record.series import Series, series
from autoglm_nb.record.story import Story

__all__ = ["COLUMNS", "text"]

COLUMNS = 88
_PLOT_ROWS = 6
_PLOT_COLUMNS = 62
_LISTED = 5


def text(story: Story) -> str:
    """The card, without a newline at the end."""
    lines = [
        _ends(f"{story.name} · {story.subject}", words.state_words(story.state)),
        "─" * COLUMNS,
        _ends(" ".join(part for part in (story.best, story.gain) if part), story.count),
    ]
    lines += _wrapped(story.config) + _wrapped(story.decision) + _wrapped(story.reason)
    if story.advice:
        lines += _wrapped(story.advice)
    if story.has_final:
        lines += ["", *_final(story)]
    plot = _plot(series(story))
    if plot:
        lines += ["", *plot]
    if story.ranked:
        lines += ["", *_trials(story)]
    if story.notes:
        lines += ["", "Notes"]
        for where, note, author in story.note_rows()[:_LISTED]:
            lines += _wrapped(f"{where}: {note.splitlines()[0] if note else ''}" + (f" ({author})" if author else ""))
        lines += [f"  … {len(story.notes) - _LISTED} more"] if len(story.notes) > _LISTED else []
    return "\n".join(line.rstrip() for line in lines)


def _final(story: Story) -> list[str]:
    rows = story.final_rows()
    wide = max(len(who) for who, _, _ in rows)
    out = _wrapped(story.final_caption, indent=0)
    for who, mean, interval in rows:
        out.append(f"  {who:<{wide}}  {mean:>8}" + (f"  ({interval})" if interval != "–" else ""))
    return out + _wrapped(story.final_sentence)


def _trials(story: Story) -> list[str]:
    out = [f"Trials: {story.counts()}" if story.counts() else "Trials"]
    for trial in story.ranked[:_LISTED]:
        mark = words.TRIAL_MARKS.get(trial.get("state", ""), "·")
        value = " / ".join(story.values(trial))
        config = words.config_line(trial.get("config") or {}, story.searched)
        line = f"  {mark} #{words.number(trial.get('number')):<4} {value:>8}  {config}"
        out.append(_cut(line))
        if trial.get("because"):
            out.append(_cut(f"{'':18} {words.clean(trial['because'], 120)}"))
    left = story.beyond + len(story.ranked) - _LISTED
    return out + ([f"  … {left} more"] if left > 0 else [])


def _plot(data: Series) -> list[str]:
    if data.empty:
        return []
    grid = [[" "] * _PLOT_COLUMNS for _ in range(_PLOT_ROWS)]

    def column(trial: float) -> int:
        return round(data.across(trial) * (_PLOT_COLUMNS - 1))

    def row(value: float) -> int:
        return _PLOT_ROWS - 1 - min(_PLOT_ROWS - 1, int(data.up(value) * _PLOT_ROWS))

    ends = [trial for trial, _ in data.best[1:]] + [data.last]
    for (trial, value), end in zip(data.best, ends):
        for x in range(column(trial), column(end) + 1):
            grid[row(value)][x] = "─"
    signs = {TrialState.COMPLETED: "●", TrialState.PRUNED: "○"}
    for kind in (TrialState.FAILED, TrialState.PRUNED, TrialState.COMPLETED):
        for point in data.points:
            if point.kind == kind:
                y = _PLOT_ROWS - 1 if point.value is None else row(point.value)
                grid[y][column(point.trial)] = signs.get(kind, "×") if point.value is not None else "×"
    step = (data.high - data.low) / _PLOT_ROWS
    labels = [words.score(data.high - (i + 0.5) * step) for i in range(_PLOT_ROWS)]
    wide = max(len(label) for label in labels)
    out = [f"  {label:>{wide}} ┤{''.join(line)}" for label, line in zip(labels, grid)]
    out.append(f"  {'':{wide}} └{'─' * (_PLOT_COLUMNS - 7)} trials")
    out.append(f"  {'':{wide}}  ● completed  ○ pruned  × failed  ─ best so far")
    return out


def _ends(left: str, right: str) -> str:
    room = COLUMNS - words.width(right) - 2
    left = _cut(left, room)
    return left + " " * (room - words.width(left) + 2) + right


def _cut(line: str, columns: int = COLUMNS) -> str:
    if words.width(line) <= columns:
        return line
    while line and words.width(line) > columns - 1:
        line = line[:-1]
    return line + "…"


def _wrapped(line: str, indent: int = 0) -> list[str]:
    if not line:
        return []
    return textwrap.wrap(line, COLUMNS, initial_indent=" " * indent, subsequent_indent="  ", break_long_words=True)
