"""Which trials count, and with which value."""

from __future__ import annotations

import math

import pytest

from autoglm_nb.errors import UsageError
from autoglm_nb.surrogates import observe


def _trial(number: int, state: str, value: float | None, reports: list[list[float]] | None = None) -> dict[str, object]:
    return {
        "number": number,
        "state": state,
        "value": value,
        "values": [] if value is None else [value],
        "config": {"x": number},
        "reports": reports or [],
    }


def test_a_pruned_trial_enters_with_its_last_report_plus_the_median_later_gain() -> None:
    """Gains after evaluation 2 are 0.1, 0.2 and 0.6: the median 0.2 is added to 0.5."""
    trials = [
        _trial(0, "completed", 0.7, [[1, 0.3], [2, 0.6]]),
        _trial(1, "completed", 0.7, [[1, 0.3], [2, 0.5]]),
        _trial(2, "completed", 0.8, [[1, 0.1], [2, 0.2]]),
        _trial(3, "pruned", None, [[1, 0.2], [2, 0.5]]),
    ]
    found = observe(trials, "maximize")
    assert found.numbers == (0, 1, 2, 3)
    assert found.values[3] == pytest.approx(0.7)
    assert found.pruned.tolist() == [False, False, False, True]
    assert "1 pruned trial, which enters" in found.sentence


def test_a_pruned_trial_without_a_comparison_is_left_out_and_counted() -> None:
    """No completed trial reported at that evaluation, so nothing is known about what was to come."""
    found = observe([_trial(0, "completed", 0.7), _trial(1, "pruned", None, [[1, 0.5]])], "maximize")
    assert found.numbers == (0,) and found.left_out == 1


def test_failed_running_and_not_finite_values_never_count() -> None:
    """Of six trials one has a usable value; waiting and running ones are not yet left out."""
    trials = [
        _trial(0, "completed", 0.7),
        _trial(1, "completed", math.nan),
        _trial(2, "completed", math.inf),
        _trial(3, "failed", None),
        _trial(4, "running", None),
        _trial(5, "completed", -1e308),  # whose square is infinite
    ]
    found = observe(trials, "maximize")
    assert found.numbers == (0,) and found.left_out == 4


@pytest.mark.parametrize(("direction", "ruin"), [("minimize", 1e6), ("maximize", -1e6)])
def test_a_ruinous_value_is_drawn_in_on_the_bad_side_only(direction: str, ruin: float) -> None:
    """One diverged loss must not own the variance; an extremely good value is never touched."""
    trials = [_trial(i, "completed", 0.5 + 0.01 * i) for i in range(20)] + [_trial(20, "completed", ruin)]
    found = observe(trials, direction)
    assert abs(found.values[20]) < 2 and found.drawn_in == 1
    other = observe(trials, "maximize" if direction == "minimize" else "minimize")
    assert other.values[20] == ruin and other.drawn_in == 0


def test_an_unknown_direction_is_refused() -> None:
    """The rule, what was given, the remedy."""
    with pytest.raises(UsageError, match="'maximize' or 'minimize', but got 'up'"):
        observe([], "up")
