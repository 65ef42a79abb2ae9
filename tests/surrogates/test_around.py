"""Central differences against derivatives that are known."""

from __future__ import annotations

import numpy as np
import pytest

from autoglm_nb.surrogates import sensitivity
from tests.surrogates.synthetic import CONDITIONAL, space_of, trials_of

SQUARE = space_of("x = uniform(0, 2)\ny = uniform(0, 1)\nkind = choice('plain', 'better')\n")
HERE = {"x": 0.5, "y": 0.5, "kind": "plain"}


def _value(config: dict[str, object]) -> float:
    return 3 * float(config["x"]) - float(config["x"]) ** 2 + (0.5 if config["kind"] == "better" else 0.0)  # type: ignore[arg-type]


def test_the_elasticity_is_the_derivative_per_whole_range() -> None:
    """d/dx (3x - x²) at 0.5 is 2 per unit, 4 per range of width 2; y has none."""
    found = sensitivity(trials_of(SQUARE, _value, 90, noise=0.01), SQUARE, "maximize", HERE)
    slopes = {name: (slope, low, high) for name, slope, low, high in found.elasticity}
    assert found.evidence and found.r2 > 0.95
    assert slopes["x"][0] == pytest.approx(4.0, abs=0.4)
    assert abs(slopes["y"][0]) < 0.15


def test_switching_a_choice_gives_its_effect_within_the_interval() -> None:
    """The other kind is better by 0.5."""
    found = sensitivity(trials_of(SQUARE, _value, 90, noise=0.01), SQUARE, "maximize", HERE)
    move = next(m for m in found.moves if m.name == "kind")
    assert move.to == "better" and move.change == pytest.approx(0.5, abs=0.05) and move.low > 0


def test_no_evidence_on_noise_and_on_few_trials() -> None:
    """A process that does not predict held-out trials predicts no changes."""
    noise = sensitivity(trials_of(SQUARE, lambda c: 0.0, 40, noise=1.0), SQUARE, "maximize", HERE)
    assert not noise.evidence and "held-out" in noise.because and noise.moves == ()
    assert "fewer than 10" in sensitivity(trials_of(SQUARE, _value, 5), SQUARE, "maximize", HERE).because


def test_a_parent_is_not_switched_alone() -> None:
    """Changing the method would leave a rank without its condition, so it is named as skipped."""
    space = space_of(CONDITIONAL)
    trials = trials_of(space, lambda c: -((np.log10(c["learning_rate"]) + 3) ** 2), 60)
    found = sensitivity(trials, space, "maximize", {"learning_rate": 1e-3, "method": "lora", "rank": 8})
    assert found.skipped == ("method",) and "method" not in {m.name for m in found.moves}
    assert [m.to for m in found.moves if m.name == "rank"] == [4, 16]
