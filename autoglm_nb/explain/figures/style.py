"""The look of every figure, and how it becomes a file.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which people with any
of the common forms of colour blindness tell apart. Blue, green, orange-red, purple and grey
mean the same as in the card: completed, best so far, failed, default settings, pruned.
Texts that come from a study are drawn as they are: a dollar sign never starts mathematics.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoglm_nb.errors import UsageError
from autoglm_nb.record import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "FORMATS",
    "SERIES",
    "Picture",
    "canvas",
    "ground",
    "halo",
    "headroom",
    "label",
    "legend",
    "number_axis",
    "save",
    "show_range",
]

GROUND = "#fdfdfb"
INK = "#22262b"
QUIET = "#5d646c"
GRID = "#dcdfe2"
COLOURS = {
    "completed": "#0072b2",
    "best": "#00795a",
    "failed": "#c44900",
    "pruned": "#6f767d",
    "default": "#a2528a",
    "running": "#6f767d",
}
SERIES = ("#0072b2", "#d55e00", "#009e73", "#a2528a", "#e69f00", "#56b4e9", "#5d646c")
FORMATS = ("svg", "png", "pdf")
_DPI = 150


@dataclass(frozen=True)
class Picture:
    """A drawn figure with what a screen reader and a caption say.

    Attributes:
        name: file name without ending, letters and hyphens.
        caption: what is drawn, how to read it.
        alt: what it shows, with its figures.
        figure: the matplotlib figure; owned by this record, drawn once.
    """

    name: str
    caption: str
    alt: str
    figure: Figure

    @cached_property
    def png(self) -> bytes:
        """The figure as PNG, without a date or a path inside; rendered once."""
        return _render(self, "png")


def canvas(width: float = 7.2, height: float = 3.4, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """An empty figure in the house style and its axes (one, or an array of them)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor=GROUND)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, **options)
    for one in [axes] if columns == 1 else axes.ravel():
        ground(one)
    return figure, axes


def ground(axes: Axes) -> None:
    """Quiet axes: a grid behind, two spines, small type."""
    axes.set_facecolor(GROUND)
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(colors=QUIET, labelsize=8.5, length=0)
    for part in (axes.xaxis.label, axes.yaxis.label):
        part.set_color(INK)
        part.set_fontsize(9)
    axes.title.set_color(INK)
    axes.title.set_fontsize(9.5)


def legend(axes: Axes, columns: int = 4) -> None:
    """A legend above the drawing, so that it never hides a point."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=columns,
            frameon=False,
            fontsize=8.5,
            labelcolor=INK,
            handletextpad=0.5,
            columnspacing=1.4,
            borderaxespad=0.2,
        )


def label(text: object, limit: int = 28) -> str:
    """A text of the study as a figure may draw it: cleaned, short, without mathematics."""
    return words.clean(text, limit).replace("$", r"\$")


def halo(width: float = 5.0) -> list[Any]:
    """A pale outline that lifts a line or marker off a crowd of others."""
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=width, foreground=GROUND), Normal()]


def number_axis(axis: Any, *, log: bool = False) -> None:
    """Tick labels in the words of the card: 8e-4, 0.85, 12."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    def short(value: float, _position: int) -> str:
        return words.number(int(value) if float(value).is_integer() and abs(value) < 1e6 else float(value))

    if log:
        axis.set_major_locator(LogLocator(numticks=7))
        axis.set_minor_formatter(NullFormatter())
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(short))


def headroom(axes: Axes, share: float = 0.06) -> None:
    """A little space above and below the values."""
    low, high = axes.get_ylim()
    axes.set_ylim(low - share * (high - low), high + share * (high - low))


def show_range(axes: Axes, values: Sequence[float], maximize: bool, always: Sequence[float] = ()) -> bool:
    """Limit the y axis to the bulk of the values; True when something lies outside and is drawn at the edge."""
    import numpy as np

    if not len(values):
        return False
    data = np.asarray(values, dtype=float)
    low, high = np.quantile(data, [0.25, 0.75])
    reach = 3.0 * (high - low) or max(abs(float(np.median(data))), 1e-9)
    kept = np.concatenate([data[(data >= low - reach) & (data <= high + reach)], np.asarray(always, dtype=float)])
    best = data.max() if maximize else data.min()
    bottom, top = min(float(kept.min()), float(best)), max(float(kept.max()), float(best))
    pad = 0.08 * (top - bottom) or max(abs(top), 1e-9) * 0.05
    axes.set_ylim(bottom - pad, top + pad)
    return bool((data < bottom).any() or (data > top).any())


def save(picture: Picture, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write the figure once per format.

    Raises:
        UsageError: a format that is not svg, png or pdf.
    """
    unknown = [f for f in formats if f not in FORMATS]
    if unknown:
        raise UsageError(f"Figures are saved as svg, png or pdf, but got {unknown[0]!r}. Choose one of the three.")
    paths = []
    for kind in formats:
        path = folder / f"{picture.name}.{kind}"
        path.write_bytes(picture.png if kind == "png" else _render(picture, kind))
        paths.append(path)
    return paths


def _render(picture: Picture, kind: str) -> bytes:
    import matplotlib

    metadata: dict[str, Any] = {
        "png": {"Software": None, "Description": picture.alt},
        "svg": {"Date": None, "Creator": None, "Title": picture.alt},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None, "Title": picture.caption},
    }[kind]
    _settle(picture.figure)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": picture.name, "svg.fonttype": "path"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph the font lacks is drawn as a box; the table has the text
        picture.figure.savefig(buffer, format=kind, metadata=metadata, facecolor=GROUND)
    return _small(buffer.getvalue(), picture.alt) if kind == "png" else buffer.getvalue()


def _settle(figure: Figure) -> None:
    """Lay out once: another pass would move things by a hair and cost as much as drawing."""
    if figure.get_layout_engine() is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            figure.draw_without_rendering()
        figure.set_layout_engine("none")


def _small(data: bytes, alt: str) -> bytes:
    """The PNG with a palette: a third of the size, which a saved notebook carries for good."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    described = PngInfo()
    described.add_itxt("Description", alt)
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(data)).convert("RGB").quantize(96, dither=Image.Dither.NONE)
    image.save(buffer, format="PNG", optimize=True, pnginfo=described)
    return buffer.getvalue()
