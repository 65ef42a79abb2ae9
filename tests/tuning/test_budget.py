"""The search ends early enough to leave confirmation its part of the budget."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from autoglm_nb.protocol import TrialState
from autoglm_nb.tuning.budget import CONFIRMATION_SHARE, spent


def context(
    active: float, *, budget: float | None = 100.0, seeds: int = 2, runs: tuple[float, ...] = (5.0, 7.0)
) -> Any:
    """A study with these completed runs, and one still running."""
    rows = [SimpleNamespace(state=TrialState.COMPLETED, seconds=s) for s in runs]
    rows.append(SimpleNamespace(state=TrialState.RUNNING, seconds=1000.0))
    spec = SimpleNamespace(budget_seconds=budget, seeds=seeds, baseline=True)
    store = SimpleNamespace(spec=lambda study: spec, runs=lambda study: rows)
    return SimpleNamespace(store=store, study="toy", spec=spec, active_seconds=lambda: active)


@pytest.mark.parametrize(("active", "expected"), [(75.0, False), (76.0, True)])
def test_two_runs_for_each_seed_are_kept_back(active: float, expected: bool) -> None:
    """Two seeds of winner and default settings, six seconds each: 24 of 100 seconds."""
    assert spent(context(active), confirms=True) == expected


def test_confirmation_takes_no_more_than_its_share() -> None:
    """Long runs must not end the search before it began."""
    assert not spent(context(59.0, runs=(50.0,)), confirms=True)
    assert spent(context(100 * (1 - CONFIRMATION_SHARE), runs=(50.0,)), confirms=True)


@pytest.mark.parametrize("given", [{"seeds": 0}, {"runs": ()}])
def test_nothing_is_kept_back_where_nothing_is_known_or_wanted(given: dict[str, Any]) -> None:
    """No seeds, or no completed run to go by; the same for a study without confirmation."""
    assert not spent(context(99.0, **given), confirms=True)
    assert spent(context(100.0, **given), confirms=True)
    assert not spent(context(99.0), confirms=False)


def test_without_a_budget_it_is_never_spent() -> None:
    """Trials alone end such a study."""
    assert not spent(context(1e9, budget=None), confirms=True)
