"""The whole way: a stored study in, a document out."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoglm_nb.errors import StudyNotFoundError, UsageError
from autoglm_nb.explain import Explanation, explain
from autoglm_nb.protocol import StudyState
from tests.explain.studies import Made, accuracy, make

HOSTILE = '<script>alert("$x$")</script> & \x1b[31m\u202e\'"'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("home"), 36)


@pytest.fixture(scope="module")
def page(made: Made) -> Explanation:
    return explain(made.home, made.name)


def _texts(explanation: Explanation, key: str) -> str:
    section = explanation.section(key)
    assert section is not None, key
    return " ".join(str(s) for s in section.sentences)


def test_the_page_has_its_parts_in_order(page: Explanation) -> None:
    """Answer first, provenance last; what the study never had (notes, several objectives) is left out."""
    assert [s.key for s in page.sections] == [
        "answer",
        "importance",
        "convergence",
        "evolution",
        "stopping",
        "sensitivity",
        "methods",
        "next",
        "provenance",
    ]


def test_the_answer_is_the_best_trial_and_its_gain(made: Made, page: Explanation) -> None:
    """The value, the trial and the gain are those of the stored rows, recomputed here."""
    rows = [r for r in made.store.runs("reviews", None) if r.trial is not None and r.value is not None]
    best = max(rows, key=lambda r: r.value or 0.0)
    text = _texts(page, "answer")
    assert f"The best trial reached {best.value:.3f} accuracy" in text
    assert f"(trial {best.trial} of 36 trials" in text
    assert "0.060 better than the default settings" in text


def test_how_sure_it_is_names_seeds_interval_rows_and_the_paired_test(page: Explanation) -> None:
    """The sentence about the test split carries what a sceptic asks for."""
    text = _texts(page, "answer")
    assert "1060 test rows that selection never saw (mean of 3 seeds, 95 % interval" in text
    assert "The gain over the default settings holds on these rows (paired over 3 seeds:" in text
    assert "p = 0.002" in text and "always answering the commonest class (which scores 0.520)" in text


@pytest.mark.slow
def test_an_interval_that_contains_zero_is_no_gain(home: Path) -> None:
    """The same mean difference with a wide interval claims nothing, and more seeds are suggested."""
    made = make(home, 14)
    final = made.store.final("reviews") or {}
    final["difference"] = {"mean": 0.05, "low": -0.02, "high": 0.12, "p": 0.11}
    made.store.set_final("reviews", final)
    explanation = explain(home, "reviews")
    assert "no clear difference from the default settings; chance may explain it" in _texts(explanation, "answer")
    assert "holds on these rows" not in explanation.text
    assert "--seeds 5" in _texts(explanation, "next")


def test_what_mattered_is_told_with_interval_and_trials(page: Explanation) -> None:
    """The response depends on the learning rate most and on dropout not at all."""
    text = _texts(page, "importance")
    assert "learning_rate explains" in text and "95 % interval" in text and "cross-validated R²" in text
    assert "dropout explains" not in text and "dropout" in text.split("No effect could be shown for")[1]
    assert "pruned trials, which enter with their last value plus the median gain" in text


def test_shuffled_values_are_told_to_be_no_evidence(home: Path) -> None:
    """With values drawn from noise the page says so, and draws no bars."""
    make(home, 30, objective=lambda c, rng: 0.8 + 0.02 * rng.normal(), prune=False)
    explanation = explain(home, "reviews")
    text = _texts(explanation, "importance")
    assert "There is no evidence about which settings mattered" in text and "explains" not in text
    assert "importance" not in {p.name for p in explanation.pictures}
    assert "no evidence about what small changes would do" in _texts(explanation, "sensitivity")
    assert "Run more trials before fixing or dropping a setting" in _texts(explanation, "next")


def test_a_clear_difference_between_methods_is_tested_and_an_unclear_one_is_not_claimed(page: Explanation) -> None:
    """Every comparison names its medians, its counts and its p-value."""
    text = _texts(page, "methods")
    assert "Mann-Whitney p =" in text and "not under equal conditions" in text
    table = page.section("methods").tables[0]  # type: ignore[union-attr]
    rows = {r[0]: r for r in table.rows}
    assert rows["lora"][4] == "0.40 %" and rows["adapter"][4] == "3.0 %"
    assert "lora trains the smallest part of the model" in text


@pytest.mark.slow
def test_a_winner_at_the_end_of_its_range_is_what_to_try_next(home: Path) -> None:
    """Accuracy rises with the learning rate up to the end of the range, so the range is to be widened."""
    make(
        home,
        40,
        cell="learning_rate = loguniform(1e-6, 1e-4)\ndropout = uniform(0, 0.5)\n",
        prune=False,
        objective=lambda c, rng: 0.5 + 0.1 * (math.log10(c["learning_rate"]) + 6) + 0.002 * rng.normal(),
    )
    text = _texts(explain(home, "reviews"), "next")
    assert "Widen learning_rate to above 1e-4 (the winner lies at the end of its range" in text
    assert "Widen dropout" not in text


def test_a_study_without_trials_says_so(home: Path) -> None:
    """No claim, no figure, no exception."""
    make(home, 0, state=StudyState.QUEUED)
    explanation = explain(home, "reviews")
    assert "no trial has started" in _texts(explanation, "answer")
    assert "0 usable trials are fewer than 10" in _texts(explanation, "importance")
    assert explanation.pictures == ()
    assert explanation.html and explanation.text and json.dumps(explanation.json(), allow_nan=False)


def test_one_trial_is_an_answer_but_no_evidence(home: Path) -> None:
    """Its value is told; nothing is concluded from it."""
    make(home, 1, final=False)
    explanation = explain(home, "reviews")
    assert "The best trial reached" in _texts(explanation, "answer")
    assert "How sure this is has not been measured" in _texts(explanation, "answer")
    assert "no evidence" in _texts(explanation, "importance")
    assert explanation.html


def test_only_failed_trials_are_explained_by_their_commonest_reason(home: Path) -> None:
    """Three of five ran out of memory."""
    make(home, 5, fail=lambda n: "The loss became NaN." if n < 2 else "Out of memory.", state=StudyState.FAILED)
    explanation = explain(home, "reviews")
    text = _texts(explanation, "answer")
    assert "no trial has completed with a usable value (5 failed)" in text
    assert "Out of memory (3 of 5 failed trials)" in text
    assert "Continue the study: start the same cell with --name reviews" in _texts(explanation, "next")
    assert explanation.html


@pytest.mark.slow
def test_values_that_are_not_finite_are_left_out_and_counted(home: Path) -> None:
    """Every fourth value is NaN; the best is the best of the others and the JSON stays valid."""
    count = iter(range(100))
    make(home, 20, prune=False, objective=lambda c, rng: math.nan if next(count) % 4 == 0 else accuracy(c, rng))
    explanation = explain(home, "reviews")
    assert not re.search(r"\b(nan|inf)\b", explanation.text.lower())
    assert "5 trials without a usable value were left out" in _texts(explanation, "importance")
    assert json.loads(json.dumps(explanation.json(), allow_nan=False))["study"] == "reviews"


@pytest.mark.slow
def test_several_objectives_have_a_front_and_no_single_winner(home: Path) -> None:
    """Accuracy against latency: rank raises both, so the front has more than one trial."""
    make(
        home,
        30,
        objectives=("accuracy", "latency_ms"),
        directions=("maximize", "minimize"),
        prune=False,
        final=False,
        objective=lambda c, rng: (accuracy(c, rng), 10 + c.get("rank", 2) + rng.random()),
    )
    explanation = explain(home, "reviews")
    assert "No single trial is best in accuracy and latency ms" in _texts(explanation, "answer")
    assert "The lowest latency ms on the front is 1" in _texts(explanation, "pareto")
    assert "For latency ms:" in _texts(explanation, "importance")
    assert "pareto" in {p.name for p in explanation.pictures}


@pytest.mark.slow
def test_minimised_metrics_are_told_the_right_way_round(home: Path) -> None:
    """A lower loss is better: the best is the smallest, its setting the one with the lowest marginal."""
    make(home, 30, direction="minimize", objective=lambda c, rng: 1.7 - accuracy(c, rng))
    explanation = explain(home, "reviews")
    facts = explanation.section("answer").facts  # type: ignore[union-attr]
    values = [v for _, v in explanation.section("convergence").facts["values"]]  # type: ignore[union-attr]
    assert facts["best_value"] == min(values)
    assert "better than the default settings" in _texts(explanation, "answer")
    text = _texts(explanation, "importance")
    assert "learning_rate explains" in text and ("best near 0.0015" in text or "best near 6.8e-4" in text)


@pytest.mark.slow
def test_hostile_names_notes_and_reasons_are_harmless_everywhere(home: Path) -> None:
    """Markup stays text, escapes vanish, and a dollar sign never starts mathematics in a figure."""
    cell = "method = choice('lora', '<img src=x onerror=alert(1)>')\nx = uniform(0, 1)\n"
    made = make(
        home,
        14,
        cell=cell,
        objective=lambda c, rng: c["x"],
        prune=False,
        model=HOSTILE,
        source=HOSTILE,
        fail=lambda n: HOSTILE if n == 13 else None,
    )
    made.store.add_note("reviews", HOSTILE, trial=1, author=HOSTILE)
    explanation = explain(home, "reviews")
    html = explanation.html
    for bad in ("<script", "<img src=x", "\x1b", "\u202e"):
        assert bad not in html
    assert "&lt;script&gt;" in html and "\x1b" not in explanation.text
    assert "\u202e" not in json.dumps(explanation.json(), ensure_ascii=False)
    assert explanation.section("notes") is not None


def test_a_trial_is_explained_against_the_winner(made: Made) -> None:
    """Its configuration, why it was proposed, why it ended, how it ranks."""
    rows = [r for r in made.store.runs("reviews") if r.trial is not None]
    pruned = next(r for r in rows if r.state == "pruned")
    explanation = explain(made.home, "reviews", trial=pruned.trial)
    text = _texts(explanation, "trial")
    assert "It ended early: Below the median of the others at evaluation 2 (40 of 80 steps, 20 s)." in text
    assert "It was proposed by" in text and "It differs from the winner in" in text
    assert [s.key for s in explanation.sections] == ["trial"]
    assert [p.name for p in explanation.pictures] == [f"learning-curve-trial-{pruned.trial}"]
    best = max((r for r in rows if r.value is not None), key=lambda r: r.value or 0.0)
    assert "It is the winner" in _texts(explain(made.home, "reviews", trial=best.trial), "trial")


@pytest.mark.parametrize("trial", [999, -1])
def test_a_trial_that_is_not_there_is_a_sentence(made: Made, trial: int) -> None:
    """What was asked for and which trials there are."""
    with pytest.raises(UsageError, match=f"has no trial {trial}. It has trials 0 to 35."):
        explain(made.home, "reviews", trial=trial)


def test_parts_that_do_not_exist_are_refused_with_a_sentence(made: Made) -> None:
    """All faults at once, with the nearest name; what this version lacks is said to be lacking."""
    with pytest.raises(UsageError) as caught:
        explain(made.home, "reviews", ("shape", "importence", "transfer"))
    assert len(caught.value.faults) == 3
    assert "Transfer between domains is not part of this version" in str(caught.value)
    assert "but got 'importence'. Did you mean 'importance'" in str(caught.value)
    with pytest.raises(UsageError, match="at least one part"):
        explain(made.home, "reviews", ())


def test_a_study_that_is_not_there_is_a_sentence_and_creates_nothing(made: Made, tmp_path: Path) -> None:
    """Reading never makes a store."""
    with pytest.raises(StudyNotFoundError, match="Did you mean 'reviews'"):
        explain(made.home, "review")
    with pytest.raises(StudyNotFoundError, match="no study store yet"):
        explain(tmp_path / "nowhere", "reviews")
    assert not (tmp_path / "nowhere").exists()


def test_a_narrow_request_gives_the_answer_and_the_part(made: Made) -> None:
    """`--what stopping` is not the whole page."""
    assert [s.key for s in explain(made.home, "reviews", ("stopping",)).sections] == ["answer", "stopping"]
    assert [s.key for s in explain(made.home, "reviews", "stopping,pareto").sections] == [
        "answer",
        "stopping",
        "pareto",
    ]


def test_early_stops_saved_what_the_rows_say(made: Made, page: Explanation) -> None:
    """Each pruned trial stopped at step 40 of 80 after 20 s, so each saved 40 steps and 20 s."""
    pruned = sum(r.state == "pruned" for r in made.store.runs("reviews"))
    facts: Any = page.section("stopping").facts  # type: ignore[union-attr]
    assert pruned > 0
    assert facts["steps"] == 40 * pruned and facts["planned"] == 80 * 36
    assert facts["seconds"] == pytest.approx(20.0 * pruned)
    assert f"{40 * pruned} of 2880 steps" in _texts(page, "stopping")


def test_an_early_stop_that_was_ahead_of_the_winner_is_admitted(home: Path) -> None:
    """A pruned trial with a better value than the winner at the same evaluation is named."""
    made = make(home, 12, prune=False, final=False)
    facts = explain(home, "reviews", ("stopping",))
    assert "No trial ended early" in _texts(facts, "stopping")
    study = made.store.optuna_study("reviews", ["maximize"])
    import optuna

    study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.PRUNED, intermediate_values={1: 0.99}))
    text = _texts(explain(home, "reviews", ("stopping",)), "stopping")
    assert "1 early stop may have been a mistake" in text and "trial 12 of 1 compared" in text


def test_the_band_over_seeds_is_students(made: Made) -> None:
    """Mean and 95 % half-width at one step, against SciPy's own interval."""
    from scipy import stats

    from autoglm_nb.explain.facts import Curve
    from autoglm_nb.explain.figures.history import student_band

    curves = [
        Curve("best configuration", i, ((1.0, v), (2.0, v)), "evaluation") for i, v in enumerate((0.8, 0.83, 0.81))
    ]
    _, mean, half = student_band(curves)
    low, high = stats.t.interval(0.95, 2, loc=np.mean([0.8, 0.83, 0.81]), scale=stats.sem([0.8, 0.83, 0.81]))
    assert [mean[0] - half[0], mean[0] + half[0]] == pytest.approx([low, high])


def test_confirmation_runs_of_an_earlier_winner_are_not_drawn(made: Made) -> None:
    """The study went on and has another winner; the old one's seeds do not belong to the band."""
    from autoglm_nb.explain.facts import load

    assert len(load(made.home, "reviews").curves) == 6
    best = explain(made.home, "reviews", ("stopping",)).section("answer").facts["best_trial"]  # type: ignore[union-attr]
    from autoglm_nb.explain.facts import _current

    assert _current(f"winner-{best}-seed-1", best) and not _current(f"winner-{best + 1}-seed-1", best)
    assert _current("baseline-seed-1", best)


@pytest.mark.slow
def test_five_hundred_trials_take_reasonable_time(home: Path) -> None:
    """The whole page with its pictures within a minute of this process's own time."""
    import time

    make(home, 500)
    begun = time.process_time()
    explanation = explain(home, "reviews")
    assert len(explanation.html) < 1_500_000
    assert time.process_time() - begun < 60
    assert "of 500 trials" in _texts(explanation, "answer")


def test_a_figure_in_a_sentence_comes_with_its_evidence(page: Explanation) -> None:
    """Every sentence of the whole page that holds a number says what it rests on."""
    bare = [s for section in page.sections for s in section.sentences if not s.evidence]
    with_figures = [s.text for s in bare if re.search(r"(?<![\w_])\d", s.text)]
    assert [t for t in with_figures if not t.startswith(("Based on ", "To reproduce"))] == []
    claims = [s for section in page.sections for s in section.sentences if s.evidence]
    assert len(claims) > 2 * len(bare)
