"""Names, constraints and the Pareto front: all that needs no Optuna."""

from __future__ import annotations

import math
import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.study._multi_objective import _is_pareto_front

from autoglm_nb.errors import StrategyError, UsageError
from autoglm_nb.search import check_pruner, check_strategy, names, pareto_front, parse_constraint
from autoglm_nb.space import Space, parse_cell

NUMERIC = parse_cell("x = uniform(0, 1)\ny = uniform(0, 1)", strict_names=False)
ONE_NUMBER = parse_cell("x = uniform(0, 1)\ny = choice(1, 2)", strict_names=False)
FIXED = parse_cell("x = 1", strict_names=False)


@pytest.mark.parametrize("strategy", list(names.STRATEGIES))
def test_every_strategy_fits_a_plain_space(strategy: str) -> None:
    """Two real dimensions and one objective suit them all."""
    check_strategy(strategy, NUMERIC, ["accuracy"])


@pytest.mark.parametrize(
    ("strategy", "space", "objectives", "message"),
    [
        ("bayesain", NUMERIC, ["a"], "Did you mean 'bayesian'"),
        (3, NUMERIC, ["a"], "must be a name or an Optuna sampler, but got int"),
        (optuna.samplers.TPESampler, NUMERIC, ["a"], "but got type|but got ABCMeta"),
        ("tpe", FIXED, ["a"], "has no dimension"),
        ("tpe", Space(), ["a"], "has no dimension"),
        ("cmaes", NUMERIC, ["a", "b"], "CMA-ES follows one objective, but got 2"),
        ("cmaes", ONE_NUMBER, ["a"], "at least two numeric dimensions"),
    ],
)
def test_a_strategy_that_does_not_fit_is_refused(
    strategy: object, space: Space, objectives: list[str], message: str
) -> None:
    """Before anything is started, with what to choose instead."""
    with pytest.raises(StrategyError, match=message):
        check_strategy(strategy, space, objectives)


def test_objects_and_offered_names_are_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any Optuna sampler, and any name of the entry-point group."""
    check_strategy(optuna.samplers.RandomSampler(), NUMERIC, ["a"])
    point = EntryPoint("quasi", "optuna.samplers:QMCSampler", names.SAMPLER_GROUP)
    monkeypatch.setattr(names, "entry_points", lambda group: (point,))
    check_strategy("quasi", NUMERIC, ["a"])


def test_pruners() -> None:
    """Known ones pass; several objectives need none."""
    check_pruner("median", ["a"])
    check_pruner("none", ["a", "b"])
    with pytest.raises(StrategyError, match="Did you mean 'median'"):
        check_pruner("medain")
    with pytest.raises(StrategyError, match="judges one objective, but got 2"):
        check_pruner("asha", ["a", "b"])


@pytest.mark.parametrize(
    ("text", "metrics", "violation"),
    [
        ("memory_gb <= 10", {"memory_gb": 12.5}, 2.5),
        ("memory_gb<=10", {"memory_gb": 8}, -2.0),
        ("accuracy >= 0.8", {"accuracy": 0.75}, 0.05),
        ("latency_ms_p95 <= 1e2", {"latency_ms_p95": 100}, 0.0),
        ("accuracy >= 0.8", {}, math.inf),
        ("accuracy >= 0.8", {"accuracy": math.nan}, math.inf),
    ],
)
def test_constraints_measure_how_far_beyond_the_bound(text: str, metrics: dict[str, float], violation: float) -> None:
    """Positive is violated; what was not measured is not kept."""
    assert parse_constraint(text).violation(metrics) == pytest.approx(violation)


@pytest.mark.parametrize(
    "text", ["memory", "memory < 10", "memory == 10", "memory <= ten", "10 >= memory", "<= 3", "a <= nan"]
)
def test_other_forms_of_a_constraint_are_refused(text: str) -> None:
    """With an example of the form."""
    with pytest.raises(UsageError, match="memory_gb <= 10"):
        parse_constraint(text)


grids = st.integers(1, 3).flatmap(
    lambda k: st.tuples(
        st.lists(st.lists(st.integers(0, 5).map(float), min_size=k, max_size=k), min_size=1, max_size=25),
        st.lists(st.sampled_from(["minimize", "maximize"]), min_size=k, max_size=k),
    )
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(grids)
def test_the_front_is_optunas(case: tuple[list[list[float]], list[str]]) -> None:
    """Against Optuna's own routine, ties and duplicates included."""
    values, directions = case
    signs = np.array([1.0 if d == "minimize" else -1.0 for d in directions])
    expected = _is_pareto_front(np.array(values) * signs, assume_unique_lexsorted=False)
    assert pareto_front(values, directions) == np.flatnonzero(expected).tolist()


def test_a_nan_is_never_on_the_front() -> None:
    """A trial without a value beats nobody."""
    assert pareto_front([[math.nan, 0.0], [1.0, 1.0]], ["minimize", "minimize"]) == [1]
    assert pareto_front([], ["minimize"]) == []


def test_names_load_without_optuna() -> None:
    """The kernel checks a strategy without paying for Optuna."""
    code = "import sys, autoglm_nb.search.names, autoglm_nb.search; assert not {'optuna', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
