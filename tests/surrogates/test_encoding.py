"""Configurations as rows of the unit cube."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autoglm_nb.surrogates import Encoder, axes_of
from tests.surrogates.synthetic import CONDITIONAL, space_of


def test_numbers_are_scaled_and_choices_of_numbers_keep_their_order() -> None:
    """The logarithmic middle of 1e-5 to 1e-2 is at 0.5; ranks 4, 8, 16, 32 at 0, 1/3, 2/3, 1."""
    axes = {a.name: a for a in axes_of(space_of(CONDITIONAL))}
    assert axes["learning_rate"].unit(10**-3.5) == pytest.approx(0.5)
    assert [axes["rank"].unit(r) for r in (4, 8, 16, 32)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert axes["rank"].kind == "ordered" and axes["method"].kind == "choice"


def test_value_inverts_unit() -> None:
    """Going to the unit interval and back gives the value again."""
    for axis in axes_of(space_of(CONDITIONAL + "epochs = randint(1, 9)\ndropout = quniform(0, 0.3, 0.05)\n")):
        if axis.kind == "number":
            for unit in np.linspace(0, 1, 9):
                assert axis.unit(axis.value(unit)) == pytest.approx(unit, abs=1e-9)


def test_an_inactive_setting_is_neutral_and_marked() -> None:
    """`rank` under the method adapter: 0.5 with the indicator at 0, so it differs from an active middle."""
    encoder = Encoder(axes_of(space_of(CONDITIONAL)))
    rows = encoder.matrix(
        [
            {"learning_rate": 1e-3, "method": "adapter"},
            {"learning_rate": 1e-3, "method": "lora", "rank": 32},
        ]
    )
    columns = encoder.columns
    rank, active = columns.index(("rank", "value")), columns.index(("rank", "active"))
    assert rows[0, [rank, active]].tolist() == [0.5, 0.0]
    assert rows[1, [rank, active]].tolist() == [1.0, 1.0]
    assert rows.shape[1] == len(columns) and rows.min() >= 0 and rows.max() <= 1


def test_definitions_in_exclusive_branches_share_one_axis() -> None:
    """A rank of 4 to 8 in one branch and of 16 to 64 in another is one rank from 4 to 64, always active."""
    cell = "method = choice('lora', 'dora')\nif method == 'lora':\n    rank = choice(4, 8)\n"
    cell += "else:\n    rank = choice(16, 64)\n"
    configs = [{"method": "lora", "rank": 4}, {"method": "dora", "rank": 64}]
    axes = axes_of(space_of(cell), configs)
    assert [a.name for a in axes] == ["method", "rank"]
    assert axes[1].choices == (4, 8, 16, 64) and not axes[1].conditional


def test_settings_outside_the_space_become_axes_when_they_vary() -> None:
    """A fixed list of configurations has no dimensions; what varies in it is found, the seed is not a setting."""
    configs = [{"learning_rate": 1e-5, "rank": 8, "seed": 1}, {"learning_rate": 1e-2, "rank": 8, "seed": 2}]
    axes = axes_of(None, configs)
    assert [a.name for a in axes] == ["learning_rate"] and axes[0].log


@pytest.mark.parametrize("value", [["q", "v"], ("q", "v"), True, 8.0, "<b>$x$</b>", None])
def test_any_choice_can_be_encoded(value: object) -> None:
    """Lists, booleans and hostile texts are choices like others."""
    axes = axes_of(None, [{"x": value}, {"x": "other"}])
    row = Encoder(axes).matrix([{"x": value}])
    assert row.shape == (1, 1) and math.isfinite(row[0, 0])
