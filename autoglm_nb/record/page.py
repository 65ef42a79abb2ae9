"""The record as HTML: the card of a study standing still.

It must read in an untrusted notebook, on GitHub, in an nbconvert page and in a
mail: so no `<svg>`, `<style>`, `<script>`, class or id; inline styles carry the
looks only (a viewer that drops them loses nothing but looks), real tables with
captions carry the facts, and text takes the viewer's own colour. Every string
is cleaned and escaped here, once, by `_e`. The same snapshot always gives the
same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

from autoglm_nb.protocol import StudyState, TrialState
from autoglm_nb.record import words
from autoglm_nb.record.curve import curve_img
from autoglm_nb.record.story import TABLE_ROWS, Story

__all__ = ["folded", "html", "trials_table"]

_LINE = "1px solid rgba(128,128,128,.35)"
_CARD = f"border:{_LINE};border-radius:6px;padding:12px 16px;max-width:780px;line-height:1.45;box-sizing:border-box"
_ROW = "display:flex;flex-wrap:wrap;justify-content:space-between;align-items:baseline;gap:2px 16px"
_QUIET = "opacity:.78"
_CELL = "text-align:left;padding:3px 12px 3px 0;vertical-align:top;border:none"
_NUMBER = "text-align:right;padding:3px 12px 3px 0;vertical-align:top;border:none;white-space:nowrap"
_CAPTION = "text-align:left;caption-side:top;padding:0 0 4px 0;color:inherit"
_SUMMARY = "cursor:pointer;padding:3px 0"
_CODE = "white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0;padding:6px 8px;font-size:.92em;" + f"border:{_LINE}"
_SIGNAL = {
    StudyState.FAILED: "#d64545",
    StudyState.INTERRUPTED: "#d64545",
    StudyState.PAUSED: "#a8722a",
    StudyState.FINISHED: "#2d8659",
}


def html(story: Story) -> str:
    """The card as one `<div>`."""
    parts = [
        _head(story),
        _answer(story),
        _decision(story),
        _reason(story),
        _final(story),
        _curve(story),
        _running(story),
        _details("Trials", trials_table(story), _trials_count(story), opened=True) if story.ranked else "",
        _details("Search space", _space(story), _plural(len(story.space_rows()), "hyper-parameter")),
        _details("Notes", _notes(story), str(len(story.notes)), opened=True) if story.notes else "",
        _details("Provenance", _provenance(story)),
    ]
    return f'<div style="{_CARD}">' + "\n".join(part for part in parts if part) + "</div>"


def folded(story: Story) -> str:
    """The card behind its own first line, for the time in which a live view stands below it."""
    line = " ".join(part for part in (story.best, story.gain) if part)
    return (
        f'<details style="max-width:780px"><summary style="{_SUMMARY}"><strong>{_e(story.name)}</strong> '
        f"{_e(words.state_words(story.state))} · {_e(line)} · {_e(story.count)}</summary>{html(story)}</details>"
    )


def trials_table(story: Story, rows: int = TABLE_ROWS) -> str:
    """The best trials as a real table with a caption, and how many more there are."""
    shown = story.ranked[:rows]
    searched = [name for name in story.searched if any(name in (t.get("config") or {}) for t in shown)]
    columns = searched or sorted({name for t in shown for name in t.get("config") or {}})
    columns = columns[:8]
    heads = ["Trial", "State", *[o[:1].upper() + o[1:] for o in story.objectives], *columns, "Proposed by", "Why"]
    numeric = {0, *range(2, 2 + len(story.objectives))}
    why = any(t.get("because") for t in shown)
    if not why:
        heads.pop()
    body = []
    for trial in shown:
        config = trial.get("config") or {}
        cells = [
            ("★ " if trial.get("starred") else "") + f"#{words.number(trial.get('number'))}",
            f"{words.TRIAL_MARKS.get(trial.get('state', ''), '·')} {words.clean(trial.get('state', ''), 20)}",
            *story.values(trial),
            *[words.number(config[name]) if name in config else "·" for name in columns],
            words.clean(trial.get("proposed_by") or "", 60),
        ]
        if why:
            cells.append(words.clean(trial.get("because") or "", 200))
        strong = trial.get("number") == story.headline.get("best_trial") or trial.get("number") in story.front
        body.append(_tr(cells, numeric, strong=strong, unbroken={1, 2 + len(story.objectives)}))
    left = story.beyond + len(story.ranked) - len(shown)
    more = f'<p style="margin:4px 0;{_QUIET}">… {left} more</p>' if left else ""
    caption = f"The latest {len(story.trials)} trials, best first." if story.beyond else "Trials, best first."
    if any(t.get("state") == TrialState.PRUNED for t in shown):
        caption += " A value in brackets is the last one before the trial ended early."
    return f'<div style="overflow-x:auto">{_table(caption, heads, body, numeric)}</div>{more}'


def _head(story: Story) -> str:
    colour = _SIGNAL.get(StudyState(story.state)) if story.state in set(StudyState) else None
    # No colour keeps 4.5:1 on white and on black, so the word has the page's own and the line below it the signal's.
    signal = f"font-weight:600;white-space:nowrap{f';border-bottom:2px solid {colour}' if colour else ''}"
    return (
        f'<div style="{_ROW};padding-bottom:6px;border-bottom:{_LINE}">'
        f"<span><strong>{_e(story.name)}</strong> "
        f'<span style="{_QUIET}">· {_e(story.subject)}</span></span> '
        f'<span style="{signal}">{_e(words.state_words(story.state))}</span></div>'
    )


def _answer(story: Story) -> str:
    best = f'<strong style="font-size:1.25em">{_e(story.best)}</strong> {_e(story.gain)}'
    lines = [
        f'<div style="{_ROW};padding-top:8px"><span>{best}</span> '
        f'<span style="white-space:nowrap">{_e(story.count)}</span></div>'
    ]
    if story.config:
        lines.append(f'<div style="padding:2px 0">{_e(story.config)}</div>')
    if story.advice:
        lines.append(f'<div style="padding:2px 0 8px 0;overflow-wrap:anywhere">{_e(story.advice)}</div>')
    return "\n".join(lines)


def _decision(story: Story) -> str:
    if not story.decision:
        return ""
    colour = {"approve": "#2d8659", "reject": "#d64545"}.get(str(story.decided.get("verdict")), "#a8722a")
    return f'<p style="margin:4px 0 8px 0;padding:4px 10px;border-left:3px solid {colour}">{_e(story.decision)}</p>'


def _reason(story: Story) -> str:
    if not story.reason:
        return ""
    colour = "#d64545" if story.state in (StudyState.FAILED, StudyState.INTERRUPTED) else "#808080"
    return f'<p style="margin:4px 0 8px 0;padding:4px 10px;border-left:3px solid {colour}">{_e(story.reason)}</p>'


def _final(story: Story) -> str:
    if not story.has_final:
        return ""
    rows = [_tr(list(row), {1, 2}, strong=i == 0) for i, row in enumerate(story.final_rows())]
    table = _table(story.final_caption, ["", "Mean", "95 % interval"], rows, {1, 2})
    sentence = f'<p style="margin:4px 0 8px 0">{_e(story.final_sentence)}</p>' if story.final_sentence else ""
    return f'<div style="overflow-x:auto;padding:2px 0">{table}</div>{sentence}'


def _curve(story: Story) -> str:
    image = curve_img(story)
    return f'<div style="overflow-x:auto">{image}</div>' if image else ""


def _running(story: Story) -> str:
    if not story.running or not story.active:
        return ""
    names = ", ".join(f"#{words.number(t.get('number'))}" for t in story.running[:12])
    return f'<p style="margin:4px 0;{_QUIET}">Running when this was saved: {_e(names)}</p>'


def _trials_count(story: Story) -> str:
    return story.counts() if story.total_trials <= len(story.trials) else f"{story.total_trials} in all"


def _space(story: Story) -> str:
    rows = [_tr(list(row), set()) for row in story.space_rows()]
    return _table("What was searched", ["Name", "Values", "Only if"], rows, set()) if rows else ""


def _notes(story: Story) -> str:
    rows = [_tr(list(row), set(), lines=True) for row in story.note_rows()]
    return _table("Notes of the team", ["On", "Note", "By"], rows, set())


def _provenance(story: Story) -> str:
    rows = [_tr(list(row), set()) for row in story.provenance_rows()]
    cell = words.clean(story.study.get("cell") or "", 4000, lines=True)
    code = f'<pre style="{_CODE}">{_e(cell, lines=True)}</pre>' if cell else ""
    notebook = story.study.get("notebook")
    source = f"The cell that started it, in {words.clean(notebook, 100)}:" if notebook else "The cell that started it:"
    lead = f'<p style="margin:4px 0">{_e(source)}</p>' if cell else ""
    return lead + code + (_table("Where this result comes from", ["What", "Value"], rows, set()) if rows else "")


def _details(title: str, content: str, aside: str = "", *, opened: bool = False) -> str:
    if not content:
        return ""
    note = f' <span style="{_QUIET}">{_e(aside)}</span>' if aside else ""
    return (
        f'<details{" open" if opened else ""} style="border-top:{_LINE};margin-top:6px;padding-top:2px">'
        f'<summary style="{_SUMMARY}"><strong>{_e(title)}</strong>{note}</summary>\n{content}</details>'
    )


def _table(caption: str, heads: Sequence[str], rows: Sequence[str], numeric: set[int]) -> str:
    head = "".join(
        f'<th scope="col" style="{_NUMBER if i in numeric else _CELL};border-bottom:{_LINE}">{_e(h)}</th>'
        for i, h in enumerate(heads)
    )
    return (
        f'<table style="border-collapse:collapse;margin:4px 0;font-size:.95em;color:inherit">'
        f'<caption style="{_CAPTION};{_QUIET}">{_e(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>" + "\n".join(rows) + "</tbody></table>"
    )


def _tr(
    cells: Sequence[str],
    numeric: set[int],
    *,
    strong: bool = False,
    lines: bool = False,
    unbroken: Collection[int] = (),
) -> str:
    out = []
    for i, cell in enumerate(cells):
        text = _e(cell, lines=lines)
        text = text.replace("\n", "<br>") if lines else text
        text = f"<strong>{text}</strong>" if strong else text
        style = _NUMBER if i in numeric else f"{_CELL};white-space:nowrap" if i in unbroken else _CELL
        out.append(f'<td style="{style}">{text}</td>')
    return f"<tr>{''.join(out)}</tr>"


def _e(text: object, *, lines: bool = False) -> str:
    return escape(words.clean(text, 5000, lines=lines), quote=True)


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
