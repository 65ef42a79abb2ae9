"""SHAP values: against brute force, for settings that are not active, and where there is nothing to say."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from autoglm_nb.surrogates import shapley
from autoglm_nb.surrogates.attribution import Attribution, _shap
from autoglm_nb.surrogates.forest import fit_forest
from tests.surrogates.synthetic import CONDITIONAL, space_of, trials_of


def _response(config: dict[str, Any]) -> float:
    value = 0.8 - 0.06 * (math.log10(config["learning_rate"]) + 2.9) ** 2
    return value + {"lora": 0.02, "dora": 0.03, "adapter": -0.04}[config["method"]]


@pytest.fixture(scope="module")
def found() -> Attribution:
    space = space_of(CONDITIONAL)
    return shapley(trials_of(space, _response, 63, noise=0.004), space, "maximize")


def _expected(tree: Any, x: np.ndarray, known: frozenset[int], node: int = 0) -> float:
    """E[f(x) | x_S] along the paths of a tree, as Algorithm 1 of Lundberg et al. (2020) defines it."""
    if tree.children_left[node] < 0:
        return float(tree.value[node].ravel()[0])
    left, right = int(tree.children_left[node]), int(tree.children_right[node])
    if tree.feature[node] in known:
        goes_left = np.float32(x[tree.feature[node]]) <= tree.threshold[node]
        return _expected(tree, x, known, left if goes_left else right)
    weights = tree.weighted_n_node_samples
    both = weights[left] * _expected(tree, x, known, left) + weights[right] * _expected(tree, x, known, right)
    return float(both / weights[node])


def test_values_are_shapleys_for_every_tree_averaged_over_the_forest() -> None:
    """Against the definition: all orders of four columns, seven trees, five rows."""
    rng = np.random.default_rng(3)
    x = rng.random((63, 4))
    y = x[:, 0] + x[:, 1] * x[:, 2] + 0.01 * rng.normal(size=63)
    forest = fit_forest(x, y, trees=7, seed=1)
    values, base = _shap(forest, x[:5])
    for row in range(5):
        for column in range(4):
            others = [c for c in range(4) if c != column]
            total = 0.0
            for size in range(4):
                weight = math.factorial(size) * math.factorial(3 - size) / math.factorial(4)
                for subset in combinations(others, size):
                    without = frozenset(subset)
                    total += weight * sum(
                        _expected(t, x[row], without | {column}) - _expected(t, x[row], without) for t in forest.trees
                    )
            assert values[row, column] == pytest.approx(total / 7, abs=1e-6)
    assert base == pytest.approx(np.mean([_expected(t, x[0], frozenset()) for t in forest.trees]), abs=1e-9)


def test_effects_add_up_to_the_prediction(found: Attribution) -> None:
    """Base, the effects of active settings and the rest give each trial's prediction; nothing is lost or doubled."""
    assert found.rest is not None and found.predicted is not None
    total = found.base + found.rest.copy()
    for effect in found.effects:
        total[effect.rows] += effect.values
    assert np.abs(total - found.predicted).max() < 1e-9
    assert np.abs(found.rest).max() < 0.02  # the column of noise alone


def test_what_acts_is_found_with_size_interval_and_direction(found: Attribution) -> None:
    """Learning rate and method act, rank does not; every interval holds its point."""
    effects = {e.name: e for e in found.effects}
    assert [e.name for e in found.effects][:2] == ["learning_rate", "method"]
    assert effects["learning_rate"].matters and effects["method"].matters and not effects["rank"].matters
    assert all(0 <= e.low <= e.size <= e.high for e in found.effects)
    assert effects["method"].rank_correlation is None
    assert effects["learning_rate"].size > 4 * effects["rank"].size


def test_a_setting_counts_only_where_it_is_active(found: Attribution) -> None:
    """Rank exists for two methods of three: its rows are those trials, and no other."""
    rank = next(e for e in found.effects if e.name == "rank")
    configs = found.observations.configs
    active = [i for i, c in enumerate(configs) if "rank" in c]
    assert rank.rows.tolist() == active and rank.trials == len(active) < len(configs)


def test_what_a_settings_absence_does_belongs_to_its_parent() -> None:
    """The response depends on the method alone: that rank is missing for `adapter` tells the forest just as much,
    and is the method's doing all the same."""
    space = space_of(CONDITIONAL)
    value = {"lora": 1.0, "dora": 1.0, "adapter": 0.0}
    result = shapley(trials_of(space, lambda c: value[c["method"]], 63, noise=0.02), space, "maximize")
    effects = {e.name: e for e in result.effects}
    configs = result.observations.configs
    mean = float(np.mean([value[c["method"]] for c in configs]))
    expected = np.array([value[c["method"]] - mean for c in configs])
    assert np.abs(effects["method"].values - expected).max() < 0.12
    assert effects["rank"].size < 0.05


def test_the_same_trials_give_the_same_figures() -> None:
    """Every draw is seeded."""
    space = space_of(CONDITIONAL)
    trials = trials_of(space, _response, 24, noise=0.004)
    one, two = (shapley(trials, space, "maximize") for _ in range(2))
    assert [(e.name, e.size, e.low, e.high) for e in one.effects] == [
        (e.name, e.size, e.low, e.high) for e in two.effects
    ]


@pytest.mark.parametrize("seed", range(8))
def test_shuffled_values_give_no_evidence(seed: int) -> None:
    """Real values in an order of their own: nothing is explained, and the reason names figure and threshold."""
    space = space_of(CONDITIONAL)
    trials = trials_of(space, _response, 40, noise=0.004, seed=seed)
    values = np.random.default_rng(seed).permutation([t["value"] for t in trials])
    for trial, value in zip(trials, values, strict=True):
        trial["value"], trial["values"] = float(value), [float(value)]
    result = shapley(trials, space, "maximize")
    assert not result.evidence and result.effects == ()
    if result.r2 < 0.15:
        assert result.because.startswith(f"the surrogate's cross-validated R² is {result.r2:.2f}, and at least 0.15 is")
    else:
        assert "shuffled values are predicted about as well" in result.because


def test_too_few_trials_are_a_result_not_an_exception() -> None:
    """Nine of ten."""
    space = space_of(CONDITIONAL)
    result = shapley(trials_of(space, _response, 9), space, "maximize")
    assert not result.evidence and result.because == "9 usable trials are fewer than 10"
