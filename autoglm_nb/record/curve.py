"""The curve of a study as a self-contained SVG picture.

JupyterLab strips inline `<svg>` from untrusted notebooks, so the picture goes
into an `<img>` with a data URI. Such an image cannot see the theme: its ground
is transparent and every colour is a mid-tone with a contrast of at least 3.8:1
on white and on the usual dark grounds (a test computes it). Trials differ by
shape as well: completed ●, pruned ○, failed ×.
"""

from __future__ import annotations

import base64
import itertools
from html import escape

from autoglm_nb.protocol import TrialState
from autoglm_nb.record import words
from autoglm_nb.record.series import Series, series, ticks
from autoglm_nb.record.story import Story

__all__ = ["COLOURS", "curve_alt", "curve_img", "curve_svg"]

COLOURS = {
    "text": "#787878",
    "grid": "#808080",
    "completed": "#2f7ec4",
    "pruned": "#787878",
    "failed": "#d64545",
    "best": "#1f8a70",
    "default": "#9061c9",
}
"""Mid-tones that read on light and on dark."""

_WIDTH, _HEIGHT = 720, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 34, 40


def curve_svg(story: Story) -> str:
    """The picture, or "" while no trial has a value."""
    data = series(story)
    if data.empty:
        return ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" font-family="system-ui,-apple-system,Segoe UI,Roboto,sans-serif" font-size="13">',
        f"<title>{escape(curve_alt(story))}</title>",
        *_axes(data, story),
        *_default_line(data),
        *_best_line(data),
        *_markers(data),
        *_legend(data),
        "</svg>",
    ]
    return "".join(parts)


def curve_alt(story: Story) -> str:
    """The picture in a sentence, for a screen reader and for a viewer without pictures."""
    data = series(story)
    if data.empty:
        return "No trial has a value yet."
    text = f"Validation {story.metric} by trial: {story.counts() or 'no trial has ended'}."
    if data.best:
        first, last = data.best[0], data.best[-1]
        text += f" Best so far goes from {words.score(first[1])} (trial {first[0]})"
        text += f" to {words.score(last[1])} (trial {last[0]})." if len(data.best) > 1 else "."
    if data.baseline is not None:
        text += f" Default settings: {words.score(data.baseline)}."
    return text


def curve_img(story: Story) -> str:
    """An `<img>` with the picture inside, or "" while there is none."""
    svg = curve_svg(story)
    if not svg:
        return ""
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(curve_alt(story), quote=True)}" '
        f'width="{_WIDTH}" style="max-width:100%;min-width:520px;height:auto;display:block">'
    )


def _x(data: Series, trial: float) -> float:
    inset = 10.0
    return round(_LEFT + inset + data.across(trial) * (_WIDTH - _LEFT - _RIGHT - 2 * inset), 1)


def _y(data: Series, value: float) -> float:
    return round(_HEIGHT - _BOTTOM - data.up(value) * (_HEIGHT - _TOP - _BOTTOM), 1)


def _axes(data: Series, story: Story) -> list[str]:
    text, grid = COLOURS["text"], COLOURS["grid"]
    out = [f'<g fill="{text}" stroke="none">']
    levels = ticks(data.low, data.high)
    for level in levels:
        y = _y(data, level)
        out.append(f'<text x="{_LEFT - 8}" y="{y + 4.5:g}" text-anchor="end">{_label(level, levels)}</text>')
    bottom = _HEIGHT - _BOTTOM
    for tick in _trial_ticks(data.last):
        out.append(f'<text x="{_x(data, tick):g}" y="{bottom + 18}" text-anchor="middle">{tick}</text>')
    out.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 5}" text-anchor="end">trial</text>')
    out.append(f'<text x="4" y="15">{escape(words.clean(story.metric, 24))}</text></g>')
    lines = "".join(f"M{_LEFT} {_y(data, level):g}H{_WIDTH - _RIGHT}" for level in levels)
    out.append(f'<path d="{lines}" stroke="{grid}" stroke-opacity=".28" fill="none"/>')
    out.append(f'<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - _RIGHT}" stroke="{grid}" fill="none"/>')
    return out


def _default_line(data: Series) -> list[str]:
    if data.baseline is None:
        return []
    y = _y(data, data.baseline)
    return [
        f'<path d="M{_LEFT} {y:g}H{_WIDTH - _RIGHT}" stroke="{COLOURS["default"]}" stroke-width="1.5" '
        'stroke-dasharray="7 5" fill="none"/>'
    ]


def _best_line(data: Series) -> list[str]:
    if not data.best:
        return []
    path = f"M{_x(data, data.best[0][0]):g} {_y(data, data.best[0][1]):g}"
    for trial, value in data.best[1:]:
        path += f"H{_x(data, trial):g}V{_y(data, value):g}"
    path += f"H{_x(data, data.last):g}"
    return [f'<path d="{path}" stroke="{COLOURS["best"]}" stroke-width="2.5" stroke-linejoin="round" fill="none"/>']


def _markers(data: Series) -> list[str]:
    dots = rings = crosses = ""
    bottom = _HEIGHT - _BOTTOM
    for point in data.points:
        x = _x(data, point.trial)
        y = bottom - 6 if point.value is None else _y(data, point.value)
        if point.kind == TrialState.COMPLETED and point.value is not None:
            dots += _dot(x, y)
        elif point.kind == TrialState.PRUNED:
            rings += _ring(x, y)
        else:
            crosses += _cross(x, y)
    return [*_drawn(dots, "completed", 9), *_drawn(rings, "pruned", 1.8), *_drawn(crosses, "failed", 2.2)]


def _drawn(path: str, kind: str, stroke: float) -> list[str]:
    if not path:
        return []
    return [f'<path d="{path}" stroke="{COLOURS[kind]}" stroke-width="{stroke:g}" stroke-linecap="round" fill="none"/>']


def _dot(x: float, y: float) -> str:
    return f"M{x:g} {y:g}h0"  # a line of no length with round ends: a disc


def _ring(x: float, y: float) -> str:
    return f"M{x - 4:g} {y:g}a4 4 0 1 0 8 0a4 4 0 1 0-8 0"


def _cross(x: float, y: float) -> str:
    return f"M{x - 4:g} {y - 4:g}l8 8m0-8l-8 8"


def _legend(data: Series) -> list[str]:
    kinds = {p.kind for p in data.points}
    entries: list[tuple[str, str, str]] = []
    if TrialState.COMPLETED in kinds:
        entries.append(("completed", _dot(6, 0), "completed"))
    if TrialState.PRUNED in kinds:
        entries.append(("pruned", _ring(6, 0), "pruned"))
    if TrialState.FAILED in kinds:
        entries.append(("failed", _cross(6, 0), "failed"))
    if data.best:
        entries.append(("best", "M0 0h14", "best so far"))
    if data.baseline is not None:
        entries.append(("default", "M0 0h14", "default settings"))
    strokes = {"completed": 9, "pruned": 1.8, "failed": 2.2, "best": 2.5, "default": 1.5}
    x = _WIDTH - _RIGHT - sum(_entry_width(e[2]) for e in entries)
    out = []
    for kind, path, label in entries:
        dash = ' stroke-dasharray="5 4"' if kind == "default" else ""
        out.append(
            f'<g transform="translate({x:g} 11)"><path d="{path}" stroke="{COLOURS[kind]}" '
            f'stroke-width="{strokes[kind]:g}" stroke-linecap="round"{dash} fill="none"/>'
            f'<text x="19" y="4.5" fill="{COLOURS["text"]}">{label}</text></g>'
        )
        x += _entry_width(label)
    return out


def _entry_width(label: str) -> float:
    return 19 + 7.3 * len(label) + 14


def _label(level: float, levels: list[float]) -> str:
    """A tick's text with as many decimals as the ticks need to differ."""
    if abs(level) >= 1e5 or (level and abs(level) < 1e-4):
        return words.number(float(level))
    step = min((b - a for a, b in itertools.pairwise(levels)), default=1.0)
    decimals = max(0, min(6, next((d for d in range(7) if abs(step * 10**d - round(step * 10**d)) < 1e-6), 6)))
    return f"{level:.{decimals}f}".replace("-", "−")


def _trial_ticks(last: int) -> list[int]:
    return sorted({round(t) for t in ticks(0, last, 8)})
