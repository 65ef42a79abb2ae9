"""Search-space evolution: where the proposals of each setting lay, trial by trial."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoglm_nb.explain.facts import Facts
from autoglm_nb.explain.figures import style
from autoglm_nb.explain.figures.settings import height_of, marks_of
from autoglm_nb.explain.figures.style import COLOURS, Picture
from autoglm_nb.surrogates.encoding import Axis

__all__ = ["evolution_figure"]

_MOST_AXES, _WINDOW = 6, 12


def evolution_figure(facts: Facts, axes_found: Sequence[Axis]) -> Picture | None:
    """A strip a setting: each proposal's place in the range, the middle half of the last dozen as a band."""
    shown = [a for a in axes_found if sum(a.name in (t.get("config") or {}) for t in facts.trials) >= _WINDOW]
    shown = shown[:_MOST_AXES]
    if not shown:
        return None
    figure, first = style.canvas(7.2, 0.7 + 1.05 * len(shown))
    first.remove()
    strips = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, axis in zip(strips, shown, strict=True):
        style.ground(axes)
        points = [
            (int(t["number"]), h, str(t.get("state")))
            for t in facts.trials
            if (h := height_of(axis, t.get("config") or {})) is not None
        ]
        if axis.kind == "number":
            at, low, high = _band(points)
            axes.fill_between(at, low, high, color=COLOURS["best"], alpha=0.18, linewidth=0, zorder=1)
        for state, mark in (("completed", "o"), ("pruned", "o"), ("failed", "x")):
            xs = [n for n, _, s in points if s == state]
            ys = [h for _, h, s in points if s == state]
            face = {} if mark == "x" else {"facecolor": COLOURS[state] if state == "completed" else style.GROUND}
            edge = {"color": COLOURS[state]} if mark == "x" else {"edgecolor": COLOURS[state]}
            axes.scatter(xs, ys, s=14, marker=mark, linewidths=0.9, zorder=2, **face, **edge)
        ticks = marks_of(axis, ends_only=axis.kind == "number")
        axes.set_yticks([m[0] for m in ticks], [m[1] for m in ticks])
        axes.set_ylim(-0.12, 1.12)
        axes.set_title(style.label(axis.name), loc="left", pad=3, fontsize=9.5, color=style.INK)
    strips[-1].set_xlabel("trial")
    names = ", ".join(a.name for a in shown)
    caption = (
        "Each proposal's place in the range of its setting. The band is the middle half of the last dozen proposals; "
        "rings were pruned, crosses failed."
    )
    return Picture("evolution", caption, f"Proposals of {len(facts.trials)} trials in the range of {names}.", figure)


def _band(points: Sequence[tuple[int, float, str]]) -> tuple[list[int], list[float], list[float]]:
    at, low, high = [], [], []
    for end in range(_WINDOW, len(points) + 1):
        quartiles = np.quantile([h for _, h, _ in points[end - _WINDOW : end]], [0.25, 0.75])
        at.append(points[end - 1][0])
        low.append(float(quartiles[0]))
        high.append(float(quartiles[1]))
    return at, low, high
