"""Figures that compare: values by method, two objectives with their Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoglm_nb.explain.facts import Facts, plural
from autoglm_nb.explain.figures import style
from autoglm_nb.explain.figures.style import COLOURS, SERIES, Picture
from autoglm_nb.record import words

__all__ = ["methods_figure", "pareto_figure"]

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def methods_figure(facts: Facts, groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> Picture | None:
    """Each method's completed trials and their median."""
    drawn = {name: [float(t["value"]) for t in trials] for name, trials in groups.items() if trials}
    if len(drawn) < 2:
        return None
    figure, axes = style.canvas(7.2, 0.9 + 0.42 * len(drawn))
    rng = np.random.default_rng(3)
    for row, values in enumerate(reversed(list(drawn.values()))):
        colour = SERIES[(len(drawn) - 1 - row) % len(SERIES)]
        spread = rng.uniform(-0.16, 0.16, len(values)) + row
        axes.scatter(
            values,
            spread,
            s=26,
            color=colour,
            marker=_MARKERS[(len(drawn) - 1 - row) % len(_MARKERS)],
            alpha=0.8,
            linewidths=0,
            zorder=3,
        )
        middle = float(np.median(values))
        axes.plot(
            [middle, middle],
            [row - 0.3, row + 0.3],
            color=style.INK,
            linewidth=2,
            zorder=4,
            label="median" if row == 0 else None,
        )
    axes.set_yticks(range(len(drawn)), [f"{style.label(n)}  ({len(drawn[n])})" for n in reversed(list(drawn))])
    axes.tick_params(axis="y", colors=style.INK)
    axes.set_ylim(-0.6, len(drawn) - 0.4)
    axes.set_xlabel(style.label(facts.metric))
    everything = np.array([v for values in drawn.values() for v in values])
    low, high = np.quantile(everything, [0.25, 0.75])
    reach = 3 * (high - low)
    if reach > 0:
        bulk = everything[(everything >= low - reach) & (everything <= high + reach)]
        pad = 0.06 * float(np.ptp(bulk)) or 1e-9
        axes.set_xlim(float(bulk.min()) - pad, float(bulk.max()) + pad)
    style.number_axis(axes.xaxis)
    style.legend(axes, 1)
    parts = [f"{n}: median {words.score(float(np.median(v)))} of {plural(len(v), 'trial')}" for n, v in drawn.items()]
    return Picture("methods", "Completed trials by method.", "Values by method. " + "; ".join(parts) + ".", figure)


def pareto_figure(facts: Facts) -> Picture | None:
    """The first two objectives of every completed trial; the front is joined by a line."""
    points = [
        (int(t["number"]), float(t["values"][0]), float(t["values"][1]))
        for t in facts.in_state("completed")
        if len(t.get("values") or []) > 1 and all(words.finite(v) is not None for v in t["values"][:2])
    ]
    if not points:
        return None
    figure, axes = style.canvas(7.2, 3.9)
    front = [p for p in points if p[0] in facts.story.front]
    others = [p for p in points if p[0] not in facts.story.front]
    if others:
        axes.scatter(
            [p[2] for p in others],
            [p[1] for p in others],
            s=26,
            facecolor=style.GROUND,
            edgecolor=COLOURS["pruned"],
            linewidths=1.1,
            label="dominated",
            zorder=2,
        )
    if front:
        front.sort(key=lambda p: p[2])
        if len(facts.objectives) == 2:
            lower = [*facts.directions[1:], "maximize"][0] == "minimize"
            axes.step(
                [p[2] for p in front],
                [p[1] for p in front],
                where="post" if lower else "pre",
                color=COLOURS["completed"],
                linewidth=1.2,
                zorder=2,
            )
        axes.scatter(
            [p[2] for p in front],
            [p[1] for p in front],
            s=48,
            color=COLOURS["completed"],
            zorder=3,
            label="Pareto front",
        )
        for number, y, x in front[:20]:
            axes.annotate(f"{number}", (x, y), xytext=(5, 5), textcoords="offset points", fontsize=8, color=style.INK)
    axes.set_xlabel(style.label(facts.objectives[1]))
    axes.set_ylabel(style.label(facts.objectives[0]))
    style.number_axis(axes.xaxis)
    style.number_axis(axes.yaxis)
    style.legend(axes, 2)
    ends = f"{facts.objectives[0]} against {facts.objectives[1]}"
    alt = f"{ends} of {plural(len(points), 'completed trial')}; {len(front)} on the Pareto front."
    return Picture("pareto", f"Pareto front: {ends}. Numbers are trials.", alt, figure)
