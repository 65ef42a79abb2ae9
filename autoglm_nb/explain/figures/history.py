"""Every trial in order with the best so far, and learning curves of trials and of seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from autoglm_nb.explain.facts import Curve, Facts, plural
from autoglm_nb.explain.figures import style
from autoglm_nb.explain.figures.style import COLOURS, Picture
from autoglm_nb.record import words
from autoglm_nb.record.story import trial_value

__all__ = ["band_figure", "curves_figure", "history_figure", "student_band"]

_SHAPES = {"completed": ("o", True), "pruned": ("o", False), "failed": ("x", True)}
_MOST_CURVES = 60


def history_figure(facts: Facts) -> Picture | None:
    """Values by trial; shape tells how a trial ended."""
    if not facts.completed:
        return None
    figure, axes = style.canvas()
    values = [float(t["value"]) for t in facts.completed]
    baseline = words.finite(facts.story.headline.get("baseline_value"))
    outside = style.show_range(axes, values, facts.maximize, [] if baseline is None else [baseline])
    low, high = axes.get_ylim()
    size = 30 if len(facts.trials) <= 120 else 12
    for state, (marker, filled) in _SHAPES.items():
        drawn = [(t["number"], trial_value(t)) for t in facts.in_state(state)]
        points = [(n, low if v is None else min(max(v, low), high)) for n, v in drawn]
        if points:
            face = COLOURS[state] if filled else style.GROUND
            colours = {"color": COLOURS[state]} if marker == "x" else {"facecolor": face, "edgecolor": COLOURS[state]}
            axes.scatter(
                *zip(*points, strict=True),
                s=size,
                marker=marker,
                linewidths=1.3,
                label=state,
                zorder=3,
                clip_on=False,
                **colours,
            )
    steps = _best_so_far(facts)
    last = max(int(t["number"]) for t in facts.trials)
    axes.step(
        [n for n, _ in steps] + [last],
        [v for _, v in steps] + [steps[-1][1]],
        where="post",
        color=COLOURS["best"],
        linewidth=1.8,
        label="best so far",
        zorder=2,
    )
    if baseline is not None:
        axes.axhline(baseline, color=COLOURS["default"], linewidth=1.4, linestyle=(0, (5, 3)), label="default settings")
    axes.set_xlabel("trial")
    axes.set_ylabel(style.label(facts.metric))
    style.number_axis(axes.yaxis)
    axes.xaxis.get_major_locator().set_params(integer=True)
    style.legend(axes, 5)
    aside = " Values far outside are drawn at the edge." if outside else ""
    best = steps[-1]
    alt = (
        f"{facts.metric} of {plural(len(facts.trials), 'trial')}; the best so far reaches {words.score(best[1])} "
        f"at trial {best[0]}"
    )
    if baseline is not None:
        alt += f", the default settings reach {words.score(baseline)}"
    caption = f"Each trial's {facts.metric} and the best so far; a pruned trial shows its last evaluation.{aside}"
    return Picture("history", caption, alt + ".", figure)


def curves_figure(facts: Facts, highlight: Mapping[str, Any] | None = None) -> Picture | None:
    """Evaluations during training, one line a trial; winner and `highlight` stand out."""
    drawn = [(t, _points(t)) for t in facts.trials]
    drawn = [(t, p) for t, p in drawn if len(p) > 1 or (highlight is not None and p and t is highlight)]
    if not drawn or not any(len(p) > 1 for _, p in drawn):
        return None
    figure, axes = style.canvas()
    special = {
        id(facts.best): ("winner", COLOURS["best"], "-"),
        id(highlight): ("this trial", COLOURS["failed"], (0, (4, 2))),
    }
    others = [d for d in drawn if id(d[0]) not in special][-_MOST_CURVES:]
    named = set()
    for trial, points in others:
        state = str(trial.get("state"))
        name = state if state not in named else None
        named.add(state)
        ended = state != "completed"
        axes.plot(
            *zip(*points, strict=True),
            color=COLOURS.get(state, COLOURS["pruned"]),
            linewidth=0.9,
            alpha=0.55,
            linestyle=":" if ended else "-",
            marker="o" if ended else None,
            markevery=[-1],
            markersize=4,
            markerfacecolor=style.GROUND,
            label=name,
        )
    for trial, points in drawn:
        if id(trial) in special and trial is not None:
            name, colour, line = special[id(trial)]
            axes.plot(
                *zip(*points, strict=True),
                color=colour,
                linewidth=2.2,
                linestyle=line,
                marker="o",
                markersize=4.5,
                label=f"{name} (trial {trial['number']})",
                zorder=4,
            )
    values = [v for _, p in drawn for _, v in p]
    style.show_range(axes, values, facts.maximize)
    axes.set_xlabel("evaluation")
    axes.set_ylabel(style.label(facts.metric))
    axes.xaxis.get_major_locator().set_params(integer=True)
    style.number_axis(axes.yaxis)
    style.legend(axes, 4)
    alt = f"{facts.metric} over evaluations of {plural(len(drawn), 'trial')}; dotted lines ended early."
    name = "learning-curves" if highlight is None else f"learning-curve-trial-{highlight['number']}"
    return Picture(name, "Evaluations during training. A dotted line ended early.", alt, figure)


def band_figure(facts: Facts) -> Picture | None:
    """Mean course over the seeds with a 95 % band, winner against default settings."""
    groups: dict[str, list[Curve]] = {}
    for curve in facts.curves:
        groups.setdefault(curve.group, []).append(curve)
    groups = {name: curves for name, curves in groups.items() if len(curves) > 1}
    if not groups:
        return None
    figure, axes = style.canvas()
    looks = {"best configuration": (COLOURS["best"], "-"), "default settings": (COLOURS["default"], (0, (5, 3)))}
    what = facts.curves[0].what
    for name, curves in groups.items():
        xs, means, halves = student_band(curves)
        colour, line = looks[name]
        axes.plot(xs, means, color=colour, linestyle=line, linewidth=2, label=f"{name} ({len(curves)} seeds)")
        low = [m - h for m, h in zip(means, halves, strict=True)]
        high = [m + h for m, h in zip(means, halves, strict=True)]
        axes.fill_between(xs, low, high, color=colour, alpha=0.16, linewidth=0)
        for curve in curves:
            axes.plot(*zip(*curve.points, strict=True), color=colour, linewidth=0.7, alpha=0.5, linestyle=line)
    everything = [v for curves in groups.values() for c in curves for _, v in c.points]
    style.show_range(axes, everything, facts.maximize)
    style.headroom(axes)
    axes.set_xlabel("step" if what == "training loss" else "evaluation")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel(what if what == "training loss" else style.label(facts.metric))
    style.number_axis(axes.yaxis)
    style.legend(axes, 3)
    alt = f"Course of {what} over the confirmation seeds, mean and 95 % band: {', '.join(groups)}."
    return Picture("convergence", f"Confirmation runs: mean {what} over seeds with a 95 % band.", alt, figure)


def student_band(curves: Sequence[Curve]) -> tuple[list[float], list[float], list[float]]:
    """Positions all curves share, their mean, and half the width of a 95 % Student interval."""
    import numpy as np
    from scipy import stats

    n = min(len(c.points) for c in curves)
    table = np.array([[v for _, v in c.points[:n]] for c in curves])
    half = stats.t.ppf(0.975, len(curves) - 1) * table.std(axis=0, ddof=1) / math.sqrt(len(curves))
    xs = [x for x, _ in curves[0].points[:n]]
    return xs, table.mean(axis=0).tolist(), half.tolist()


def _points(trial: Mapping[str, Any]) -> list[tuple[float, float]]:
    pairs = [(words.finite(p[0]), words.finite(p[1])) for p in trial.get("reports") or [] if len(p) == 2]
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _best_so_far(facts: Facts) -> list[tuple[int, float]]:
    best: list[tuple[int, float]] = []
    for trial in facts.completed:
        value = float(trial["value"])
        if not best or facts.better(value, best[-1][1]):
            best.append((int(trial["number"]), value))
    return best
