"""The picture: well-formed, legible on light and dark, telling states apart by shape."""

from __future__ import annotations

import base64
import math
import xml.etree.ElementTree as ElementTree

import pytest

from autoglm_nb import record
from autoglm_nb.record.curve import COLOURS
from autoglm_nb.record.series import MAX_POINTS, series, ticks
from tests.record import samples


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("ground", ["#ffffff", "#111111", "#0d1117", "#1e1e1e"], ids=["white", "lab", "github", "code"])
@pytest.mark.parametrize("name", COLOURS)
def test_every_colour_has_contrast_on_light_and_on_dark(name: str, ground: str) -> None:
    """At least 3:1 for graphics (WCAG 1.4.11), and 3.7:1 for the axis text, on each usual ground."""
    light, dark = sorted((_luminance(COLOURS[name]), _luminance(ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= (3.7 if name == "text" else 3.0)


def test_svg_is_well_formed_and_has_one_path_per_state() -> None:
    """Completed, pruned and failed trials are drawn as discs, rings and crosses."""
    root = ElementTree.fromstring(record.curve_svg(samples.running_snapshot()))
    paths = {p.get("stroke"): p.get("d") or "" for p in root.findall("{http://www.w3.org/2000/svg}path")}
    completed = paths[COLOURS["completed"]]
    assert completed.count("M") == completed.count("h0") == 7
    assert paths[COLOURS["pruned"]].count("a4 4") == 3 * 2
    assert paths[COLOURS["failed"]].count("l8 8") == 1
    assert all(word in record.curve_svg(samples.running_snapshot()) for word in ("best so far", "default settings"))


def test_image_carries_the_svg_and_says_it_in_words() -> None:
    """The data URI decodes to the SVG; the alternative text has counts, best and default."""
    image = ElementTree.fromstring(record.curve_img(samples.running_snapshot()).replace('">', '"/>'))
    data = (image.get("src") or "").removeprefix("data:image/svg+xml;base64,")
    assert base64.b64decode(data).decode() == record.curve_svg(samples.running_snapshot())
    alt = image.get("alt") or ""
    assert "7 completed, 3 pruned, 1 failed" in alt
    assert "0.847 (trial 8)" in alt
    assert "Default settings: 0.785" in alt


def test_no_picture_without_a_value() -> None:
    """A study that has just begun has no curve, and no trial at all is no error."""
    snapshot = samples.running_snapshot()
    snapshot.update(trials=[], trials_total=0, curve=[])
    assert record.curve_svg(snapshot) == ""
    assert record.curve_img(snapshot) == ""


def test_a_diverged_trial_does_not_flatten_the_others() -> None:
    """With losses about 2 and one of a million, the range stays near 2."""
    snapshot = samples.running_snapshot()
    snapshot["study"].update(metric="loss", direction="minimize")
    losses = [2.4, 2.2, 1e6, 2.1, 2.3, 2.05, 1.99]
    snapshot["trials"] = [samples.trial(i, value=v) for i, v in enumerate(losses)]
    snapshot["curve"] = []
    snapshot["headline"]["baseline_value"] = None
    drawn = series(record.Story(snapshot))
    assert drawn.high < 5
    assert drawn.up(1e6) == 1.0
    assert [n for n, _ in drawn.best] == [0, 1, 3, 5, 6]


@pytest.mark.parametrize("values", [[1e308, -1e308], [-1.7e308, 1.7e308, 0.5], [1.7e308, 1.7e308]])
def test_values_at_the_end_of_what_a_float_holds_are_drawn(values: list[float]) -> None:
    """Their distance is infinite; the picture ends before."""
    snapshot = samples.running_snapshot()
    snapshot["trials"] = [samples.trial(i, value=v) for i, v in enumerate(values)]
    snapshot["curve"] = []
    snapshot["headline"]["baseline_value"] = None
    svg = record.curve_svg(snapshot)
    ElementTree.fromstring(svg)
    assert not any(word in svg for word in ("nan", "inf"))


def test_many_trials_are_thinned_but_every_step_of_the_best_is_kept() -> None:
    """2,000 trials draw at most about `MAX_POINTS`, in a picture of moderate size."""
    snapshot = samples.finished_snapshot(2000)
    drawn = series(record.Story(snapshot))
    assert len(drawn.points) <= MAX_POINTS + len(drawn.best)
    assert {n for n, _ in drawn.best} <= {p.trial for p in drawn.points}
    assert len(record.curve_svg(snapshot)) < 20_000


@pytest.mark.parametrize(("low", "high"), [(0.7, 0.85), (0, 10), (-3.2, 1e-3), (1e-9, 2e-9), (99.0, 100.0), (0, 1e7)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    """Two to eight multiples of 1, 2, 2.5 or 5 times a power of ten."""
    found = ticks(low, high)
    assert 2 <= len(found) <= 8
    assert all(low - 1e-12 <= t <= high + 1e-12 for t in found)
    step = found[1] - found[0]
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 2.5, 5, 10)) < 1e-6
