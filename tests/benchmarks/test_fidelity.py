"""The check before every speed: it passes what two seeds could explain, and nothing else."""

from __future__ import annotations

import math

import pytest

from benchmarks.fidelity import MARGIN, MOST, doubtful, judge

SELF = [0.01, -0.012, 0.008, -0.009] * 4  # the peer against itself: about a point


def test_equal_accuracies_pass() -> None:
    """The same results on both sides are the same work."""
    verdict = judge([0.8] * 16, [0.8] * 16, SELF)
    assert verdict.passed
    assert verdict.mean_difference == 0


def test_a_mean_one_point_worse_is_refused_though_each_trial_is_near() -> None:
    """A point on every trial is within the scatter of one trial, but not of sixteen."""
    verdict = judge([0.79] * 16, [0.8] * 16, SELF)
    assert not verdict.passed
    assert abs(verdict.worst) < verdict.limit
    assert "-1.00 points" in verdict.because


def test_a_mean_one_point_better_is_refused_as_well() -> None:
    """Better is other work too, so the check has two sides."""
    assert not judge([0.81] * 16, [0.8] * 16, SELF).passed


def test_one_trial_far_off_is_refused_though_the_mean_is_near() -> None:
    """Seven points in one trial of sixteen move the mean by less than half a point."""
    ours = [0.8] * 15 + [0.73]
    verdict = judge(ours, [0.8] * 16, SELF)
    assert abs(verdict.mean_difference) < MARGIN
    assert not verdict.passed


def test_the_limit_of_a_trial_is_students() -> None:
    """For 16 comparisons and 16 differences the two-sided quantile at 1 - 0.05/32 is 3.5 (table: t(16), 0.9984)."""
    verdict = judge([0.8] * 16, [0.8] * 16, [0.01] * 16)
    assert verdict.limit == pytest.approx(0.0346, abs=0.0006)


def test_a_peer_that_repeats_itself_exactly_leaves_half_a_point() -> None:
    """No scatter at all is no reason to ask for equality to the last row."""
    assert judge([0.804] * 16, [0.8] * 16, [0.0] * 16).passed
    assert not judge([0.806] * 16, [0.8] * 16, [0.0] * 16).passed


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_what_is_not_a_number_is_refused(odd: float) -> None:
    """A diverged trial has no accuracy to compare."""
    assert not judge([0.8, odd], [0.8, 0.8], [0.01, 0.01], reduced=True).passed
    assert not judge([0.8, 0.8], [0.8, 0.8], [0.01, odd]).passed


def test_a_reduced_run_has_a_wider_margin_and_says_so() -> None:
    """Two trials whose peer scatters by two points know the mean to two points or so."""
    strict, reduced = (judge([0.79, 0.79], [0.8, 0.8], [0.02, -0.02], reduced=wide) for wide in (False, True))
    assert not strict.passed
    assert reduced.passed and reduced.reduced
    assert reduced.margin == pytest.approx(2 * 0.02 / math.sqrt(2))


def test_two_seeds_that_agree_by_chance_on_few_rows_are_no_certainty() -> None:
    """Two counts on 200 rows differ by sqrt(2 / 4 / 200), five points, whatever two seeds say."""
    arguments = ([0.77, 0.79], [0.8, 0.8], [0.0, 0.0])
    assert not judge(*arguments, reduced=True).passed
    assert judge(*arguments, reduced=True, rows=200).margin == pytest.approx(2 * 0.05 / math.sqrt(2))
    assert judge(*arguments, reduced=True, rows=200).passed
    assert not judge(*arguments, rows=200).passed  # a complete run is held to half a point


def test_no_scatter_allows_more_than_ten_points() -> None:
    """A peer that says nothing about itself must not let everything through."""
    verdict = judge([0.6, 0.6], [0.8, 0.8], [0.3, -0.3], reduced=True)
    assert not verdict.passed
    assert verdict.margin == verdict.limit == MOST


def test_lists_that_do_not_belong_together_are_an_error() -> None:
    """A verdict about nothing would look like one."""
    for arguments in (([0.8], [0.8, 0.8], SELF), ([], [], SELF), ([0.8], [0.8], [])):
        with pytest.raises(ValueError, match="trials"):
            judge(*arguments)


SCATTERED = [0.70, 0.76, 0.73, 0.74, 0.71, 0.75]


@pytest.mark.parametrize(("shift", "passes"), [(0.0, True), (0.01, True), (-0.06, False), (0.06, False)])
def test_a_doubtful_trial_is_judged_by_further_seeds(shift: float, passes: bool) -> None:
    """The run that raised the doubt no longer counts; six points between the means of six seeds are no accident."""
    ours, peer = [0.8] * 15 + [0.73], [0.8] * 16
    assert doubtful(ours, peer, SELF) == [15]
    again = [value + shift for value in SCATTERED[::-1]]
    verdict = judge(ours, peer, SELF, looks={15: (again, SCATTERED)})
    assert verdict.passed == passes
    (look,) = verdict.looks
    assert look["place"] == 15
    assert look["ours"] - look["peer"] == pytest.approx(shift)
    assert (look["chance"] < 0.05) != passes
    assert "further seeds" in verdict.because


def test_a_second_look_clears_no_other_trial() -> None:
    """What was seen of one trial says nothing about another that differs as much."""
    ours, peer = [0.8] * 14 + [0.87, 0.73], [0.8] * 16
    assert doubtful(ours, peer, SELF) == [14, 15]
    assert not judge(ours, peer, SELF, looks={15: (SCATTERED, SCATTERED)}).passed
    assert judge(ours, peer, SELF, looks=dict.fromkeys((14, 15), (SCATTERED, SCATTERED))).passed


@pytest.mark.parametrize("ours", [[0.79] * 15 + [0.73], [0.8] * 15 + [0.69], [0.8] * 15 + [0.799], [math.nan] * 16])
def test_no_second_look_where_it_could_change_nothing(ours: list[float]) -> None:
    """A mean too far off, a trial beyond ten points, no doubt at all, no number."""
    assert doubtful(ours, [0.8] * 16, SELF) == []


def test_a_look_without_scatter_tells_equal_from_different() -> None:
    """Welch's statistic does not exist there."""
    ours, peer = [0.8] * 15 + [0.73], [0.8] * 16
    assert judge(ours, peer, SELF, looks={15: ([0.7] * 3, [0.7] * 3)}).passed
    assert not judge(ours, peer, SELF, looks={15: ([0.7] * 3, [0.71] * 3)}).passed
