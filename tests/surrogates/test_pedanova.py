"""The second opinion."""

from __future__ import annotations

import pytest

from autoglm_nb.surrogates import observe, ped_anova
from tests.surrogates.synthetic import CONDITIONAL, space_of, trials_of


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_what_sets_the_best_apart_leads_in_either_direction(direction: str) -> None:
    """x alone decides, so it leads; shares add up to one and lie within their intervals."""
    space = space_of("x = uniform(0, 1)\ny = uniform(0, 1)\n")
    found = ped_anova(observe(trials_of(space, lambda c: c["x"], 80), direction), space)
    assert next(iter(found)) == "x" and found["x"][0] > 0.7
    assert sum(v[0] for v in found.values()) == pytest.approx(1.0)
    assert all(low <= share <= high for share, low, high in found.values())


def test_conditions_lists_and_too_few_trials_do_not_break_it() -> None:
    """Conditional settings and lists as choices are evaluated; nine trials give nothing."""
    space = space_of(CONDITIONAL + "target_modules = choice('qv', ['q_proj', 'k_proj'])\n")
    assert ped_anova(observe(trials_of(space, lambda c: c["learning_rate"], 60), "maximize"), space)
    assert ped_anova(observe(trials_of(space, lambda c: c["learning_rate"], 9), "maximize"), space) == {}
