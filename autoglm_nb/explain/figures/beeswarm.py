"""SHAP values as a swarm: a point a trial, a row a setting, sideways by what the setting did there."""

from __future__ import annotations

from typing import Any

import numpy as np

from autoglm_nb.explain.facts import Facts
from autoglm_nb.explain.figures import style
from autoglm_nb.explain.figures.settings import ramp
from autoglm_nb.explain.figures.style import COLOURS, Picture
from autoglm_nb.record import words
from autoglm_nb.surrogates.attribution import Attribution, Effect
from autoglm_nb.surrogates.encoding import label as choice_text

__all__ = ["beeswarm_figure"]

_MOST_ROWS, _BINS, _REACH = 10, 60, 0.38


def beeswarm_figure(found: Attribution, facts: Facts, objective: str, name: str) -> Picture | None:
    """One row a setting, greatest first. Lightness is the setting's value; unordered choices get a mark each."""
    effects = list(found.effects[:_MOST_ROWS])
    if not effects:
        return None
    figure, axes = style.canvas(7.2, 0.9 + 0.5 * len(effects))
    axes.axvline(0.0, color=style.QUIET, linewidth=0.9, zorder=1)
    largest = max(float(np.abs(e.values).max()) for e in effects) or 1.0
    for row, effect in zip(range(len(effects), 0, -1), effects, strict=True):
        heights = row + _swarm(effect.values, largest)
        if effect.axis.kind == "choice":
            _marked(axes, found, effect, heights)
        else:
            units = [effect.axis.unit(_config(found, r)[effect.name]) for r in effect.rows]
            axes.scatter(
                effect.values, heights, c=units, cmap=ramp(), vmin=0, vmax=1, s=20, edgecolor=style.QUIET,
                linewidths=0.4, zorder=2,
            )  # fmt: skip
        if not effect.matters:
            axes.annotate(
                "no more than noise", (1.0, row), xycoords=("axes fraction", "data"), ha="right", va="center",
                fontsize=7.5, color=style.QUIET,
            )  # fmt: skip
    axes.set_yticks(range(len(effects), 0, -1), [style.label(e.name) for e in effects])
    axes.tick_params(axis="y", colors=style.INK)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(0.4, len(effects) + 0.6)
    axes.set_xlabel(f"SHAP value: what the setting adds to the predicted {style.label(objective)}")
    style.number_axis(axes.xaxis)
    parts = [f"{e.name} {words.score(e.size)} ({words.score(e.low)} to {words.score(e.high)})" for e in effects]
    caption = (
        "What each setting added to the predicted value, one point a trial in which it is active; the darker the "
        "greater its value. Unordered choices have a mark each, named in the table."
    )
    alt = f"Mean size of the SHAP values for {objective}: " + "; ".join(parts) + "."
    return Picture(name, caption, alt, figure)


def _config(found: Attribution, row: int) -> dict[str, Any]:
    explained = found.explained
    return found.observations.configs[int(explained[row]) if explained is not None else int(row)]


def _marked(axes: Any, found: Attribution, effect: Effect, heights: np.ndarray) -> None:
    """Choices differ by mark, and by the first letters beside their mean."""
    texts = [choice_text(c) for c in effect.axis.choices]
    here = [choice_text(_config(found, r)[effect.name]) for r in effect.rows]
    means = {t: float(np.mean([v for v, h in zip(effect.values, here, strict=True) if h == t] or [0.0])) for t in texts}
    order = sorted(texts, key=lambda t: means[t])
    for place, text in enumerate(texts):
        above = order.index(text) % 2 == 0  # neighbours on either side, so that their names do not meet
        at = np.array([h == text for h in here])
        if not at.any():
            continue
        axes.scatter(
            effect.values[at], heights[at], marker="osD^vP*X<>"[place % 10], s=22, facecolor=style.GROUND,
            edgecolor=COLOURS["completed"], linewidths=1.0, zorder=2,
        )  # fmt: skip
        axes.annotate(
            style.label(text, 12), (means[text], float(heights[at].max() if above else heights[at].min())),
            xytext=(0, 4 if above else -4), textcoords="offset points", ha="center", va="bottom" if above else "top",
            fontsize=7.5, color=style.INK, zorder=3,
        )  # fmt: skip


def _swarm(values: np.ndarray, largest: float) -> np.ndarray:
    """Offsets that stack the points of one bin symmetrically about the row."""
    bins = np.round(values / largest * _BINS / 2).astype(int)
    offsets = np.zeros(len(values))
    for one in np.unique(bins):
        at = np.flatnonzero(bins == one)
        steps = (np.arange(len(at)) + 1) // 2 * np.where(np.arange(len(at)) % 2, 1, -1)
        offsets[at] = steps * min(0.09, _REACH / max(len(at) / 2, 1))
    return offsets
