"""Importance against functions whose variance shares are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from autoglm_nb.surrogates import importance
from autoglm_nb.surrogates.encoding import axes_of
from autoglm_nb.surrogates.forest import validate
from autoglm_nb.surrogates.population import Population
from tests.surrogates.synthetic import CONDITIONAL, space_of, trials_of

CUBE = space_of("a = uniform(0, 1)\nb = uniform(0, 1)\nc = uniform(0, 1)\n")


def test_shares_of_an_additive_function_are_its_squared_weights() -> None:
    """Var(2a + b) is 4/12 + 1/12, so a owns 0.8, b 0.2 and c nothing (Sobol 1993)."""
    found = importance(trials_of(CUBE, lambda c: 2 * c["a"] + c["b"], 150), CUBE, "maximize")
    share = {s.name: s for s in found.shares}
    assert found.evidence and found.r2 > 0.95
    assert share["a"].share == pytest.approx(0.8, abs=0.08)
    assert share["b"].share == pytest.approx(0.2, abs=0.08)
    assert share["c"].share < 0.02
    assert share["a"].matters and share["b"].matters and not share["c"].matters
    assert all(s.low <= s.share <= s.high for s in found.shares)


@pytest.mark.slow
def test_a_pure_interaction_is_found_as_one() -> None:
    """(a - 1/2)(b - 1/2) has no main effects: all of its variance is the interaction of a and b."""
    found = importance(trials_of(CUBE, lambda c: (c["a"] - 0.5) * (c["b"] - 0.5), 400), CUBE, "minimize")
    assert set(found.interactions[0].names) == {"a", "b"}
    assert found.interactions[0].share > 0.5
    assert max(s.share for s in found.shares) < 0.35


@pytest.mark.slow
def test_ishigami_first_order_indices() -> None:
    """Ishigami and Homma 1990 with a = 7, b = 0.1: S1 = 0.314, S2 = 0.442, S3 = 0 (Saltelli 2008, table 4.7)."""
    space = space_of(
        "x = uniform(-3.141592653589793, 3.141592653589793)\n"
        "y = uniform(-3.141592653589793, 3.141592653589793)\n"
        "z = uniform(-3.141592653589793, 3.141592653589793)\n"
    )
    found = importance(
        trials_of(space, lambda c: np.sin(c["x"]) + 7 * np.sin(c["y"]) ** 2 + 0.1 * c["z"] ** 4 * np.sin(c["x"]), 800),
        space,
        "maximize",
    )
    share = {s.name: s.share for s in found.shares}
    assert share["x"] == pytest.approx(0.314, abs=0.12)
    assert share["y"] == pytest.approx(0.442, abs=0.12)
    assert share["z"] < 0.08


@pytest.mark.slow
def test_the_average_is_over_the_space_and_not_over_where_trials_crowd() -> None:
    """Nine tenths of the trials have a < 0.2: weighted by trials, a would own little of 2a + b."""
    crowded = trials_of(CUBE, lambda c: 2 * c["a"] + c["b"], 600, seed=3)
    kept = [t for i, t in enumerate(crowded) if t["config"]["a"] < 0.2 or i % 9 == 0]
    by_trials = np.var([2 * t["config"]["a"] for t in kept]) / np.var([t["value"] for t in kept])
    found = importance(kept, CUBE, "maximize")
    assert {s.name: s.share for s in found.shares}["a"] == pytest.approx(0.8, abs=0.1)
    assert by_trials < 0.78


@pytest.mark.slow
def test_shuffled_values_give_no_evidence() -> None:
    """The same configurations with permuted values: at most one of ten shuffles may look like something."""
    space = space_of(CONDITIONAL)
    trials = trials_of(space, lambda c: -((np.log10(c["learning_rate"]) + 3) ** 2), 30, noise=0.02)
    assert importance(trials, space, "maximize").evidence
    claims = 0
    for seed in range(10):
        values = np.random.default_rng(seed).permutation([t["value"] for t in trials])
        shuffled = [{**t, "value": v, "values": [v]} for t, v in zip(trials, values.tolist(), strict=True)]
        found = importance(shuffled, space, "maximize")
        claims += found.evidence
        assert found.evidence or (found.because and not found.shares)
    assert claims <= 1


def test_a_conditional_setting_is_scored_where_it_is_active() -> None:
    """Only rank matters, and only under lora or dora: within those it owns the variance."""
    space = space_of(CONDITIONAL)
    trials = trials_of(space, lambda c: {4: 0.0, 8: 1.0, 16: 2.0, 32: 3.0}[c["rank"]] if "rank" in c else 1.5, 150)
    share = {s.name: s for s in importance(trials, space, "maximize").shares}
    assert share["rank"].conditional and share["rank"].share > 0.85
    assert share["rank"].trials == sum("rank" in t["config"] for t in trials)
    assert not share["method"].conditional and share["method"].trials == 150


def test_a_parent_and_its_child_do_not_interact_by_the_condition_alone() -> None:
    """Rank and method add up; that rank vanishes under the adapter is a condition, not an interaction."""
    space = space_of(CONDITIONAL)
    trials = trials_of(space, lambda c: c.get("rank", 20) / 16 + {"lora": 0.0, "dora": 1.0}.get(c["method"], 3.0), 150)
    pairs = {frozenset(i.names): i.share for i in importance(trials, space, "maximize").interactions}
    assert pairs[frozenset({"rank", "method"})] < 0.03


def test_a_setting_that_is_rarely_active_is_named_but_not_scored() -> None:
    """Three observations cannot carry a share."""
    space = space_of(CONDITIONAL)
    trials = [t for t in trials_of(space, lambda c: np.log10(c["learning_rate"]), 120) if "rank" not in t["config"]]
    others = [t for t in trials_of(space, lambda c: 0.0, 30) if "rank" in t["config"]][:3]
    trials += [{**t, "number": 900 + i} for i, t in enumerate(others)]
    found = importance(trials, space, "maximize")
    assert found.unscored == (("rank", 3),)
    assert "rank" not in {s.name for s in found.shares}


@pytest.mark.parametrize("n", [0, 1, 9])
def test_too_few_trials_are_no_evidence(n: int) -> None:
    """The reason says how many there are and how many are needed."""
    found = importance(trials_of(CUBE, lambda c: c["a"], n), CUBE, "maximize")
    assert not found.evidence and f"{n} usable trials are fewer than 10" in found.because


def test_equal_values_and_a_space_of_constants_are_no_evidence() -> None:
    """Nothing varies, so nothing can matter."""
    assert "all values are equal" in importance(trials_of(CUBE, lambda c: 0.5, 20), CUBE, "maximize").because
    trials = [{**t, "config": {"rank": 8}} for t in trials_of(CUBE, lambda c: c["a"], 20)]
    assert "no setting was varied" in importance(trials, space_of("rank = 8\n"), "maximize").because


@pytest.mark.slow
def test_the_same_seed_gives_the_same_shares() -> None:
    """Every draw is seeded."""
    trials = trials_of(CUBE, lambda c: c["a"], 40, noise=0.05)
    assert importance(trials, CUBE, "maximize").shares == importance(trials, CUBE, "maximize").shares


def test_a_pinned_parent_decides_which_children_are_active() -> None:
    """Pinning the method to adapter removes the rank from every configuration, lora gives it to all."""
    space = space_of(CONDITIONAL)
    population = Population(space, axes_of(space), [], size=32, seed=0)
    assert not any("rank" in c for c in population.pinned({"method": "adapter"}))
    assert all("rank" in c for c in population.pinned({"method": "lora"}))
    assert all(c["rank"] == 16 for c in population.pinned({"rank": 16}) if "rank" in c)


@pytest.mark.slow
def test_configurations_outside_the_space_are_scored_among_themselves() -> None:
    """A fixed list has no space to average over; the trials are the population."""
    trials = trials_of(CUBE, lambda c: 2 * c["a"], 80)
    found = importance(trials, None, "maximize")
    assert found.evidence and found.shares[0].name == "a"


def test_r2_agrees_with_scikit_learn() -> None:
    """The forest predicts held-out trials about as well as scikit-learn's own."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import cross_val_predict

    rng = np.random.default_rng(0)
    x = rng.random((63, 4))
    y = 2 * x[:, 0] + x[:, 1] + 0.1 * rng.normal(size=63)
    theirs = cross_val_predict(RandomForestRegressor(100, max_features=0.7, random_state=0), x, y, cv=5)
    reference = 1 - ((y - theirs) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert validate(x, y).r2 == pytest.approx(reference, abs=0.08)
