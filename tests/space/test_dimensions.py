"""One dimension: its values, its raster, its text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoglm_nb.space import Dimension
from autoglm_nb.space.dimensions import dimension_faults
from tests.space.spaces import dimensions

relaxed = settings(max_examples=150, deadline=None, derandomize=True)


@relaxed
@given(dimensions("x"))
def test_values_of_a_finite_dimension_are_its_own(dimension: Dimension) -> None:
    """`at` and `normalise` agree on every value, and `count` on how many there are."""
    count = dimension.count()
    if count is None or count > 200:
        return
    values = [dimension.at(i) for i in range(count)]
    assert [dimension.normalise(v) for v in values] == values
    assert values == dimension.points(count)


@relaxed
@given(dimensions("x"), st.integers(2, 6))
def test_grid_points_lie_inside_and_reach_both_ends(dimension: Dimension, levels: int) -> None:
    """A grid never leaves the range and never repeats a value."""
    points = dimension.points(levels)
    assert [dimension.normalise(p) for p in points] == points
    assert len(points) == len(set(map(repr, points)))
    if dimension.kind != "categorical":
        assert (points[0], points[-1]) == (dimension.low, dimension.high) or len(points) == 1
        assert len(points) <= levels


def test_log_points_are_a_geometric_series() -> None:
    """Against NumPy's `geomspace`."""
    points = Dimension.real("x", 1e-5, 1e-1, log=True).points(5)
    np.testing.assert_allclose(points, np.geomspace(1e-5, 1e-1, 5))


def test_linear_points_are_evenly_spaced() -> None:
    """Against NumPy's `linspace`; integers are rounded to the raster."""
    np.testing.assert_allclose(Dimension.real("x", -1, 2).points(7), np.linspace(-1, 2, 7))
    points = Dimension.integer("x", 1, 100).points(5)
    assert np.abs(np.array(points) - np.linspace(1, 100, 5)).max() <= 0.5


@relaxed
@given(dimensions("x"), st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 1)), max_size=4))
def test_classes_cover_every_answer_a_comparison_can_give(dimension: Dimension, thresholds: list[float]) -> None:
    """Whatever value one takes, some representative compares alike with all thresholds; weights add up."""
    if dimension.kind == "categorical":
        return
    classes = list(dimension.classes(thresholds))
    count = dimension.count()
    if count is not None:
        assert sum(weight or 0 for _, weight in classes) == count

    def answers(value: Any) -> tuple[Any, ...]:
        return tuple((value > t) - (value < t) for t in thresholds)

    covered = {answers(value) for value, _ in classes}
    samples = range(min(count, 300)) if count is not None else range(0)
    assert all(answers(dimension.at(i)) in covered for i in samples)
    if count is None:
        assert dimension.low is not None and dimension.high is not None
        inside = [t for t in thresholds if dimension.low <= t <= dimension.high]
        probes = [*np.linspace(dimension.low, dimension.high, 101), *inside]
        assert all(answers(float(p)) in covered for p in probes)


@pytest.mark.parametrize(
    ("low", "high", "step", "last"),
    [(0, 1, 0.3, 0.9), (0, 0.3, 0.1, 0.3), (0.1, 0.7, 0.2, 0.7), (-1, 1, 0.7, 0.4), (0, 1, 2, 0)],
)
def test_a_raster_ends_at_its_last_value(low: float, high: float, step: float, last: float) -> None:
    """Decimal arithmetic: 0.3 is three times 0.1."""
    assert Dimension.real("x", low, high, step=step).high == last


def test_true_is_not_one() -> None:
    """A choice between True and False does not take 1 for True."""
    with pytest.raises(ValueError, match="True, False"):
        Dimension.choice("x", (True, False)).normalise(1)
    assert Dimension.choice("x", (1, True)).normalise(True) is True


@pytest.mark.parametrize(
    "dimension",
    [
        Dimension.real("x", math.nan, 1),
        Dimension.real("x", 0, math.inf),
        Dimension("x", "float"),
        Dimension.integer("x", 0, 2**60),
        Dimension.choice("x", (1, 1.0)),
        Dimension.real("x", -1, 1, log=True),
        Dimension.real("x", 0, 1, step=-0.1),
    ],
)
def test_a_broken_dimension_has_a_fault(dimension: Dimension) -> None:
    """Not finite, no ends, beyond exact arithmetic, a value twice, a log of a negative, a step backwards."""
    assert dimension_faults(dimension)


@pytest.mark.parametrize(
    ("dimension", "text"),
    [
        (Dimension.real("x", 1e-5, 1e-2, log=True), "1e-5 … 0.01 (log)"),
        (Dimension.integer("x", 1, 8), "1 … 8"),
        (Dimension.integer("x", 8, 64, step=8), "8 … 64 in steps of 8"),
        (Dimension.choice("x", ("a", 1e-4, None, ("q", "v"))), "a, 0.0001, None, [q, v]"),
    ],
)
def test_range_texts(dimension: Dimension, text: str) -> None:
    """As shown in tables."""
    assert dimension.range_text() == text
