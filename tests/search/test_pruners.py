"""Early stopping: the decision, its figures, and when there is none."""

from __future__ import annotations

import random

import optuna
import pytest

from autoglm_nb.errors import StrategyError
from autoglm_nb.search import make_pruner
from autoglm_nb.search.pruners import AshaPruner, MedianPruner


def study_of(curves: list[list[float]], *, finished: int, direction: str = "maximize") -> optuna.Study:
    """A study whose first `finished` trials are complete; the others are running."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction=direction)
    for i, curve in enumerate(curves):
        trial = study.ask()
        for rung, value in enumerate(curve, 1):
            trial.report(value, rung)
        if i < finished:
            study.tell(trial, curve[-1])
    return study


def test_the_median_pruner_gives_its_figures() -> None:
    """The sentence a person reads in the card."""
    known = [[0.7, 0.75 + 0.01 * i, 0.8, 0.9] for i in range(6)]
    study = study_of([*known, [0.70, 0.712]], finished=6)
    decision = make_pruner("median", rungs=4, direction="maximize").decide(study, 6, 2)
    assert decision.prune
    assert decision.because == "0.712 at evaluation 2 of 4, below the median 0.775 of 6 trials"


def test_the_sentence_says_when_the_best_value_came_earlier() -> None:
    """As in Optuna the best value so far is judged; the sentence must not place it at the present evaluation."""
    known = [[0.7, 0.75, 0.8, 0.9] for _ in range(6)]
    study = study_of([*known, [0.712, 0.60]], finished=6)
    decision = make_pruner("median", rungs=4, direction="maximize").decide(study, 6, 2)
    assert decision.because == "0.712 at best by evaluation 2 of 4, below the median 0.750 of 6 trials"


def test_when_minimising_above_is_worse() -> None:
    """A loss above the median ends; one below goes on."""
    study = study_of([[1.0 + 0.1 * i, 1.0] for i in range(5)] + [[1.3], [1.1]], finished=5, direction="minimize")
    pruner = make_pruner("median", rungs=4, direction="minimize")
    assert pruner.decide(study, 5, 1).because == "1.300 at evaluation 1 of 4, above the median 1.200 of 5 trials"
    assert not pruner.decide(study, 6, 1).prune


def test_the_median_needs_five_completed_trials() -> None:
    """With four nobody is judged, however bad; running trials do not count."""
    study = study_of([[0.9, 0.9]] * 4 + [[0.9]] * 6 + [[0.0]], finished=4)
    decision = make_pruner("median", rungs=4, direction="maximize").decide(study, 10, 1)
    assert (decision.prune, decision.because) == (False, "4 of 5 completed trials to compare with")


def test_the_best_value_so_far_counts() -> None:
    """One bad evaluation after a good one does not end a trial."""
    study = study_of([[0.5, 0.6, 0.7]] * 5 + [[0.8, 0.1]], finished=5)
    assert not make_pruner("median", rungs=3, direction="maximize").decide(study, 5, 2).prune


@pytest.mark.parametrize("name", ["median", "asha"])
def test_nobody_is_pruned_at_the_last_evaluation(name: str) -> None:
    """There is nothing left to save."""
    study = study_of([[0.9, 0.9]] * 8 + [[0.1, 0.1]], finished=8)
    assert make_pruner(name, rungs=2, direction="maximize").decide(study, 8, 2).because == "its last evaluation"
    before = make_pruner(name, rungs=2, direction="maximize").decide(study, 8, 1)
    assert before.prune or before.pause


@pytest.mark.parametrize("name", ["median", "asha"])
def test_a_nan_ends_a_trial_and_never_counts_as_a_peer(name: str) -> None:
    """Not a number is not a value to compare with."""
    study = study_of([[float("nan"), 0.5]] * 8 + [[float("nan")], [0.1]], finished=8)
    pruner = make_pruner(name, rungs=4, direction="maximize")
    assert pruner.decide(study, 8, 1).because == "not a number at evaluation 1 of 4"
    assert not pruner.decide(study, 9, 1).prune


def test_asha_gives_place_and_cut() -> None:
    """Of seven at the rung three go on."""
    study = study_of([[0.1 * i] for i in range(1, 7)] + [[0.35]], finished=0)
    pruner = make_pruner("asha", rungs=4, direction="maximize")
    decision = pruner.decide(study, 6, 1)
    assert decision.pause and not decision.prune
    assert decision.because == "0.350 at evaluation 1 of 4, place 4 of 7; the best 3 go on, from 0.400"
    assert pruner.decide(study, 5, 1).because == "0.600 at evaluation 1 of 4, place 1 of 7; the best 3 go on"


def test_asha_judges_at_its_rungs_only() -> None:
    """1, 2, 4, 8: an evaluation between two rungs ends nobody."""
    study = study_of([[0.9, 0.9, 0.9]] * 8 + [[0.1, 0.1, 0.1]], finished=0)
    pruner = make_pruner("asha", rungs=8, direction="maximize")
    assert [pruner.decide(study, 8, rung).pause for rung in (1, 2, 3)] == [True, True, False]


def test_asha_needs_three_others() -> None:
    """Before that a trial goes on provisionally, however bad; once it is judged, the answer stands."""
    pruner = make_pruner("asha", rungs=4, direction="maximize")
    early = pruner.decide(study_of([[0.9], [0.9], [0.1]], finished=0), 2, 1)
    assert early.because.startswith("2 of 3") and early.provisional and not early.pause
    field = study_of([[0.9], [0.8], [0.7], [0.1]], finished=0)
    assert pruner.decide(field, 3, 1).pause
    assert not any(pruner.decide(field, number, 1).provisional for number in range(4))


def test_without_a_report_there_is_no_decision() -> None:
    """Asked at another evaluation than the one reported."""
    study = study_of([[0.5]], finished=0)
    assert not make_pruner("median", rungs=4, direction="maximize").decide(study, 0, 2).prune


def test_an_unknown_number_of_evaluations() -> None:
    """A custom objective reports as often as it likes; the sentence then says no total."""
    study = study_of([[0.9] * 9] * 6 + [[0.1] * 7], finished=6)
    for rungs in (None, 4):
        decision = make_pruner("median", rungs=rungs, direction="maximize").decide(study, 6, 7)
        assert decision.prune and decision.because.startswith("0.100 at evaluation 7, below")


def test_none_prunes_nobody_and_unknown_names_are_refused() -> None:
    """`none` leaves even a NaN to the training loop."""
    study = study_of([[float("nan")]], finished=0)
    assert not make_pruner("none", rungs=4).decide(study, 0, 1).prune
    with pytest.raises(StrategyError, match="Did you mean"):
        make_pruner("mediann", rungs=4)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_median_rule_is_optunas(direction: str) -> None:
    """The same verdicts as `optuna.pruners.MedianPruner` on random curves."""
    rng = random.Random(0)
    ours = MedianPruner(rungs=None, direction=direction, peers=5)
    theirs = optuna.pruners.MedianPruner(n_startup_trials=5)
    verdicts = set()
    for _ in range(40):
        curves = [[round(rng.random(), 1) for _ in range(3)] for _ in range(rng.randint(4, 9))]
        study = study_of(curves, finished=len(curves) - 1, direction=direction)
        number = len(curves) - 1
        expected = theirs.prune(study, study.trials[number])
        assert ours.decide(study, number, 3).prune == expected
        verdicts.add(expected)
    assert verdicts == {True, False}


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_halving_rule_is_optunas(direction: str, factor: int) -> None:
    """The same verdicts as `optuna.pruners.SuccessiveHalvingPruner`, trial after trial."""
    rng = random.Random(1)
    ours = AshaPruner(rungs=None, direction=direction, factor=factor, peers=1)
    theirs = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=factor)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction=direction)
    verdicts = set()
    for _ in range(40):
        trial = study.ask()
        for rung in range(1, 10):
            trial.report(rng.random(), rung)
            expected = theirs.prune(study, study.trials[trial.number])
            decision = ours.decide(study, trial.number, rung)
            assert decision.pause == expected, (trial.number, rung, decision)
            verdicts.add(expected)
            if expected:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, 0.0)
    assert verdicts == {True, False}
