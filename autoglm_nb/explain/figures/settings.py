"""Figures about the settings: importance bars, parallel co-ordinates, the two most important, the ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoglm_nb.explain.facts import Facts
from autoglm_nb.explain.figures import style
from autoglm_nb.explain.figures.style import COLOURS, Picture
from autoglm_nb.record import words
from autoglm_nb.surrogates.encoding import Axis, axes_of
from autoglm_nb.surrogates.encoding import label as choice_text
from autoglm_nb.surrogates.fanova import Importance

__all__ = ["height_of", "importance_figure", "marks_of", "parallel_figure", "ramp", "ranges_figure", "two_figure"]

_MOST_AXES = 9
_MOST_LINES = 300
_JITTER = 0.035
_BELOW = -0.12


def importance_figure(importance: Importance, facts: Facts) -> Picture | None:
    """Horizontal bars with intervals; hollow where a column of noise does as well."""
    shares = list(importance.shares[:12])
    if not shares:
        return None
    figure, axes = style.canvas(7.2, 0.75 + 0.36 * len(shares))
    ys = range(len(shares), 0, -1)
    for y, share in zip(ys, shares, strict=True):
        face = COLOURS["completed"] if share.matters else style.GROUND
        axes.barh(y, share.share, height=0.58, facecolor=face, edgecolor=COLOURS["completed"], linewidth=1.1)
        axes.plot([share.low, share.high], [y, y], color=style.INK, linewidth=1.4, solid_capstyle="butt", zorder=3)
        for end in (share.low, share.high):
            axes.plot([end, end], [y - 0.13, y + 0.13], color=style.INK, linewidth=1.4, zorder=3)
        aside = f"{100 * share.share:.0f} %" + (f", {share.trials} trials" if share.conditional else "")
        axes.annotate(
            aside,
            (share.high, y),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=style.QUIET,
        )
    axes.set_yticks(list(ys), [style.label(s.name) for s in shares])
    axes.tick_params(axis="y", colors=style.INK)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, min(1.28, max(s.high for s in shares) * 1.22))
    axes.set_xticks([t for t in (0, 0.2, 0.4, 0.6, 0.8, 1.0) if t <= axes.get_xlim()[1]])
    axes.xaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
    axes.set_xlabel(f"share of the variation in {style.label(facts.metric)}, with 95 % interval")
    parts = [f"{s.name} {100 * s.share:.0f} % ({100 * s.low:.0f} to {100 * s.high:.0f})" for s in shares]
    caption = "How much of the variation each setting explains. A hollow bar does no better than a column of noise."
    return Picture("importance", caption, "Importance: " + "; ".join(parts) + ".", figure)


def parallel_figure(facts: Facts, order: Sequence[str] = ()) -> Picture | None:
    """One line a completed trial over all searched settings, coloured by value; the winner is thick."""
    trials = facts.completed[-_MOST_LINES:]
    axes_found = _varied(facts, order)[:_MOST_AXES]
    if len(trials) < 3 or len(axes_found) < 2:
        return None
    figure, axes = style.canvas(7.2, 3.7)
    values = np.array([float(t["value"]) for t in trials])
    ranks = values.argsort().argsort() / max(len(values) - 1, 1)
    goodness = ranks if facts.maximize else 1 - ranks
    rng = np.random.default_rng(0)
    colours = ramp()
    for i in np.argsort(goodness):
        heights = [height_of(a, trials[i].get("config") or {}) for a in axes_found]
        heights = [
            None if h is None else h + (rng.uniform(-_JITTER, _JITTER) if a.kind != "number" else 0.0)
            for a, h in zip(axes_found, heights, strict=True)
        ]
        winner = facts.best is not None and trials[i]["number"] == facts.best["number"]
        look: dict[str, Any] = {"color": colours(float(goodness[i])), "linewidth": 1.0, "alpha": 0.65, "zorder": 2}
        if winner:
            look = {"color": COLOURS["best"], "linewidth": 2.6, "zorder": 4, "path_effects": style.halo()}
        _polyline(axes, heights, **look)
    for x, axis in enumerate(axes_found):
        axes.axvline(x, color=style.QUIET, linewidth=0.8, zorder=1)
        for place, text in marks_of(axis):
            axes.annotate(
                text,
                (x, place),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=7.5,
                va="center",
                color=style.INK,
                zorder=5,
                bbox={"facecolor": style.GROUND, "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
            )
    axes.set_xticks(range(len(axes_found)), [style.label(a.name, 16) for a in axes_found])
    axes.tick_params(axis="x", colors=style.INK)
    axes.set_xlim(-0.1, len(axes_found) - 1 + 0.45)
    axes.set_ylim(-0.15, 1.07)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    if any(a.name not in (t.get("config") or {}) for a in axes_found for t in trials):
        axes.axhline(_BELOW, color=style.QUIET, linewidth=0.7, linestyle=":", zorder=1)
        axes.text(
            1.0,
            _BELOW,
            "not active",
            transform=axes.get_yaxis_transform(),
            fontsize=7.5,
            color=style.QUIET,
            va="bottom",
            ha="right",
        )
    alt = f"{len(trials)} completed trials over {', '.join(a.name for a in axes_found)}; darker lines are better."
    caption = f"Completed trials: the darker the better in {facts.metric}; the winner is the thick green line."
    return Picture("parallel-coordinates", caption, alt, figure)


def two_figure(facts: Facts, names: tuple[str, str]) -> Picture | None:
    """Trials over the two most important settings; a contour of their values where both are numbers."""
    found = {a.name: a for a in _varied(facts)}
    if any(n not in found for n in names):
        return None
    first, second = (found[n] for n in names)
    trials = [t for t in facts.completed if all(n in (t.get("config") or {}) for n in names)]
    if len(trials) < 4:
        return None
    figure, axes = style.canvas(7.2, 4.0)
    rng = np.random.default_rng(1)
    xs = np.array([height_of(first, t["config"]) for t in trials], dtype=float)
    ys = np.array([height_of(second, t["config"]) for t in trials], dtype=float)
    values = np.array([float(t["value"]) for t in trials])
    low, high = np.quantile(values, [0.02, 0.98])
    shown = np.clip(values, low, high)
    smooth = first.kind == second.kind == "number" and len(trials) >= 12 and high > low
    if smooth:
        _contour(axes, xs, ys, shown)
    jitter = [0.0 if a.kind == "number" else _JITTER for a in (first, second)]
    drawn_x = xs + rng.uniform(-1, 1, len(xs)) * jitter[0]
    drawn_y = ys + rng.uniform(-1, 1, len(ys)) * jitter[1]
    points = axes.scatter(
        drawn_x,
        drawn_y,
        c=shown,
        cmap=ramp() if facts.maximize else ramp().reversed(),
        s=42,
        edgecolor=style.GROUND,
        linewidths=0.8,
        zorder=3,
    )
    for i, trial in enumerate(trials):
        if facts.best is not None and trial["number"] == facts.best["number"]:
            axes.scatter(
                drawn_x[i],
                drawn_y[i],
                s=150,
                marker="D",
                facecolor="none",
                edgecolor=COLOURS["best"],
                linewidths=2,
                zorder=4,
                label=f"winner (trial {trial['number']})",
            )
    for axis, ticks in ((first, axes.xaxis), (second, axes.yaxis)):
        marks = marks_of(axis)
        ticks.set_ticks([m[0] for m in marks], [m[1] for m in marks])
    axes.set_xlabel(style.label(first.name) + (" (log scale)" if first.log else ""))
    axes.set_ylabel(style.label(second.name) + (" (log scale)" if second.log else ""))
    axes.set_xlim(-0.06, 1.06)
    axes.set_ylim(-0.06, 1.06)
    style.legend(axes, 1)
    bar = figure.colorbar(points, ax=axes, pad=0.02)
    bar.set_label(style.label(facts.metric), color=style.INK, fontsize=9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=style.QUIET, labelsize=8.5, length=0)
    style.number_axis(bar.ax.yaxis)
    kind = "Lines are a smoothed height map of the completed trials." if smooth else "Choices are spread out a little."
    alt = f"{len(trials)} completed trials over {names[0]} and {names[1]}, coloured by {facts.metric}."
    return Picture("two-settings", f"The two settings that explain most. {kind}", alt, figure)


def ranges_figure(facts: Facts) -> Picture | None:
    """For each searched setting, where trials lay in its range and how they ended."""
    axes_found = _varied(facts)[:14]
    if not axes_found or not facts.trials:
        return None
    figure, axes = style.canvas(7.2, 0.8 + 0.42 * len(axes_found))
    rng = np.random.default_rng(2)
    for row, axis in enumerate(reversed(axes_found)):
        axes.plot([0, 1], [row, row], color=style.GRID, linewidth=6, solid_capstyle="round", zorder=1)
        for state, marker in (("failed", "x"), ("pruned", "o"), ("completed", "o")):
            heights = [height_of(axis, t.get("config") or {}) for t in facts.in_state(state)]
            points = [
                h + (0.0 if axis.kind == "number" else float(rng.uniform(-0.02, 0.02)))
                for h in heights
                if h is not None
            ]
            if points:
                colours = (
                    {"color": COLOURS[state]}
                    if marker == "x"
                    else {
                        "facecolor": style.GROUND if state == "pruned" else COLOURS[state],
                        "edgecolor": COLOURS[state],
                    }
                )
                axes.scatter(
                    points,
                    rng.uniform(-0.14, 0.14, len(points)) + row,
                    s=17,
                    marker=marker,
                    linewidths=0.9,
                    alpha=0.75,
                    zorder=2,
                    label=state if row == 0 else None,
                    **colours,
                )
        if facts.best is not None and (height := height_of(axis, facts.best_config)) is not None:
            axes.scatter(
                [height],
                [row],
                s=95,
                marker="D",
                facecolor="none",
                edgecolor=COLOURS["best"],
                linewidths=2,
                zorder=4,
                label="winner" if row == 0 else None,
            )
        for height, text in marks_of(axis, ends_only=axis.kind == "number"):
            axes.annotate(
                text,
                (height, row),
                xytext=(0, -10),
                textcoords="offset points",
                fontsize=7.5,
                ha="center",
                va="top",
                color=style.QUIET,
            )
    axes.set_yticks(range(len(axes_found)), [style.label(a.name) for a in reversed(axes_found)])
    axes.tick_params(axis="y", colors=style.INK)
    axes.set_xticks([])
    axes.set_xlim(-0.05, 1.05)
    axes.set_ylim(-0.75, len(axes_found) - 0.6)
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    style.legend(axes, 4)
    alt = "Where trials lay in the range of " + ", ".join(a.name for a in axes_found) + "."
    return Picture("search-space", "The search space: each trial's place in each range.", alt, figure)


def _varied(facts: Facts, order: Sequence[str] = ()) -> list[Axis]:
    configs = [dict(t.get("config") or {}) for t in facts.trials]
    rank = {name: i for i, name in enumerate(order)}
    return sorted(axes_of(facts.space, configs), key=lambda a: rank.get(a.name, len(rank)))


def height_of(axis: Axis, config: Mapping[str, Any]) -> float | None:
    """Place of a configuration's value on an axis, 0 to 1; None where it is not active."""
    if axis.name not in config:
        return None
    unit = axis.unit(config[axis.name])
    return unit / max(len(axis.choices) - 1, 1) if axis.kind == "choice" else unit


def marks_of(axis: Axis, *, ends_only: bool = False) -> list[tuple[float, str]]:
    """(height, text) of labels along an axis."""
    if axis.kind == "number":
        units = (0.0, 1.0) if ends_only else (0.0, 0.5, 1.0)
        return [(u, style.label(words.number(axis.value(u)))) for u in units]
    last = max(len(axis.choices) - 1, 1)
    kept = range(len(axis.choices)) if last < 8 else range(0, last + 1, -(-last // 7))
    texts = {i: c if isinstance(c, str) else choice_text(c) for i, c in enumerate(axis.choices)}
    return [(i / last, style.label(texts[i], 14)) for i in kept]


def _polyline(axes: Any, heights: Sequence[float | None], **look: Any) -> None:
    """A line through active settings; it dives below the axis where a setting is not active."""
    ys = [_BELOW if h is None else h for h in heights]
    axes.plot(range(len(ys)), ys, solid_joinstyle="round", **look)


def _contour(axes: Any, xs: np.ndarray, ys: np.ndarray, values: np.ndarray) -> None:
    """Gaussian-weighted means on a grid: a picture of the points, not a model."""
    ticks = np.linspace(0, 1, 60)
    gx, gy = np.meshgrid(ticks, ticks)
    width = max(0.08, 0.5 * len(xs) ** (-1 / 6))
    weights = np.exp(-((gx[..., None] - xs) ** 2 + (gy[..., None] - ys) ** 2) / (2 * width**2))
    heights = (weights * values).sum(-1) / np.maximum(weights.sum(-1), 1e-12)
    near = weights.max(-1) > 0.15
    axes.contour(gx, gy, np.where(near, heights, np.nan), levels=7, colors=style.QUIET, linewidths=0.7, alpha=0.7)


def ramp() -> Any:
    """Light to dark blue: lightness alone carries the order."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("autoglm", ["#c9d9e6", "#79add1", "#2b7fb8", "#08457e"])
