"""The parts that are asked for by name: SHAP values, evolution of the search, why trials were proposed."""

from __future__ import annotations

import html
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoglm_nb.errors import UsageError
from autoglm_nb.explain import Explanation, explain
from autoglm_nb.explain.facts import Facts
from autoglm_nb.explain.sections import attributed, proposals
from autoglm_nb.explain.sections.proposals import evolved
from autoglm_nb.space import Space
from tests.explain.studies import CELL, Made, accuracy, make
from tests.explain.test_explain import HOSTILE
from tests.surrogates.synthetic import space_of, trials_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("home"), 40)


@pytest.fixture(scope="module")
def told(made: Made) -> Explanation:
    return explain(made.home, "reviews", ("shap", "evolution", "proposals"))


def _text(explanation: Explanation, key: str) -> str:
    section = explanation.section(key)
    assert section is not None, key
    return " ".join(str(s) for s in section.sentences)


def test_shap_tells_size_interval_trials_and_direction(told: Explanation) -> None:
    """What acts is told with its evidence; what does not is not claimed; the limits of the method are said."""
    text = _text(told, "shap")
    assert "learning_rate moves the predicted accuracy by 0.0" in text and "95 % interval" in text
    assert "dropout moves" not in text and "dropout" in text.split("No effect beyond noise could be shown for")[1]
    assert "of a random forest fitted to the trials, not of the models trained (cross-validated R²" in text
    assert "A setting counts in the trials in which it is active" in text


def test_shap_has_a_figure_a_table_and_numbers(told: Explanation) -> None:
    """A swarm with a description; the table and the JSON carry the same sizes."""
    section = told.section("shap")
    assert section is not None
    (picture,) = section.pictures
    assert picture.name == "shap" and picture.png.startswith(b"\x89PNG") and "learning_rate" in picture.alt
    numbers = section.facts["objectives"][0]
    assert [e["name"] for e in numbers["effects"]] == [r[0] for r in section.tables[0].rows]
    first = numbers["effects"][0]
    assert np.mean([abs(v) for _, v in first["values"]]) == pytest.approx(first["size"])
    assert json.dumps(told.json(), allow_nan=False)


@pytest.mark.parametrize("seed", range(4))
def test_on_noise_shap_is_refused_with_figure_and_threshold(home: Path, seed: int) -> None:
    """Values drawn from noise: one sentence, no picture, no table."""
    make(home, 30, objective=lambda c, rng: 0.8 + 0.02 * rng.normal(), prune=False, seed=seed)
    section = explain(home, "reviews", ("shap",)).section("shap")
    assert section is not None and section.pictures == section.tables == ()
    text = str(section.sentences[0])
    assert text.startswith("There is no evidence that the settings move accuracy, so SHAP values are not shown (")
    assert (("R² is −" in text or "R² is -" in text or "R² is 0." in text) and "at least 0.15 is needed" in text) or (
        "shuffled values are predicted about as well" in text
    )


def test_several_objectives_are_attributed_one_by_one(home: Path) -> None:
    """Each has its sentences, table and figure."""
    make(
        home, 30, objectives=("accuracy", "latency_ms_p50"), directions=("maximize", "minimize"), prune=False,
        objective=lambda c, rng: (accuracy(c, rng), 5.0 + 0.2 * c.get("rank", 2) + 0.05 * rng.normal()), final=False,
    )  # fmt: skip
    section = explain(home, "reviews", ("shap",)).section("shap")
    assert section is not None
    text = " ".join(str(s) for s in section.sentences)
    assert "For accuracy: learning_rate moves" in text and "For latency ms p50: " in text
    assert [p.name for p in section.pictures] == ["shap", "shap-2"]


def test_a_missing_library_is_a_remedy(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named; nothing else of the page depends on it."""
    monkeypatch.setattr(attributed, "installed", lambda: False)
    with pytest.raises(UsageError, match=r'pip install "autoglm-nb\[shap\]"'):
        explain(made.home, "reviews", ("shap",))
    assert importlib.util.find_spec("shap") is not None


def _facts(space: Space, trials: list[dict[str, Any]]) -> Facts:
    """A study known by its space and its proposals alone."""
    study = {"name": "reviews", "metric": "accuracy", "direction": "maximize", "state": "finished"}
    return Facts({"study": study, "space": space.to_json(), "trials": trials, "trials_total": len(trials)})


def test_a_search_that_narrows_is_told_with_both_ranges() -> None:
    """Proposals of the learning rate close in on 1e-3; dropout stays as it was."""
    space = space_of("learning_rate = loguniform(1e-5, 1e-1)\ndropout = uniform(0, 0.5)")
    trials = trials_of(space, lambda c: 0.8, 36, seed=4)
    rng = np.random.default_rng(5)
    for trial in trials:
        width = 1.0 if trial["number"] < 12 else 0.1
        trial["config"]["learning_rate"] = float(10 ** (-3 + np.clip(rng.normal(), -2, 2) * width))
    section = evolved(_facts(space, trials))
    text = " ".join(str(s) for s in section.sentences)
    assert "Proposals for learning_rate changed in the course of the study (" in text
    assert "in the first third" in text and "after 2 comparisons" in text
    assert "No clear change for dropout" in text
    assert [p.name for p in section.pictures] == ["evolution"] and section.pictures[0].png


def test_a_search_that_does_not_move_is_hardly_ever_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random draws over 40 seeds: a change is claimed in at most five of them (5 % each, over all settings)."""
    monkeypatch.setattr(proposals, "evolution_figure", lambda *_: None)
    space = space_of(CELL)
    claimed = 0
    for seed in range(40):
        section = evolved(_facts(space, trials_of(space, lambda c: 0.8, 36, seed=100 + seed)))
        claimed += any(c["p"] < 0.05 for c in section.facts["changes"])
    assert claimed <= 5


def test_too_few_trials_have_no_beginning_and_end(home: Path) -> None:
    """Eleven of twelve; the page leaves the part out."""
    make(home, 11)
    assert "too few trials to say how the search moved (11 trials, and 12 are needed)" in _text(
        explain(home, "reviews", ("evolution",)), "evolution"
    )
    assert explain(home, "reviews").section("evolution") is None


def test_every_trial_says_why_it_was_proposed(made: Made, told: Explanation) -> None:
    """The sampler's own words, grouped and trial by trial, beside the best known by then."""
    section = told.section("proposals")
    assert section is not None
    text = " ".join(str(s) for s in section.sentences)
    assert "8 trials: random start (" in text and "32 trials: expected improvement (" in text
    rows = {int(r[0]): r for r in section.tables[0].rows}
    assert len(rows) == 40 and rows[0][2] == "–" and rows[9][1] == "expected improvement"
    values = {r.trial: r.value for r in made.store.runs("reviews") if r.trial is not None and r.value is not None}
    best = max((t for t in values if t < 20), key=lambda t: values[t])
    assert rows[20][2] == f"{values[best]:.3f} (trial {best})"


def test_one_trial_is_set_beside_the_best_known_when_it_was_proposed(made: Made) -> None:
    """Not beside the winner alone, which nobody knew then."""
    text = _text(explain(made.home, "reviews", trial=3), "trial")
    assert "It was proposed by random start." in text and "The best trial before it was trial " in text
    assert "before it" not in _text(explain(made.home, "reviews", trial=0), "trial")


def test_hostile_names_stay_text_in_every_part(home: Path) -> None:
    """Choices and reasons of a study nobody checked."""
    made = make(home, 24, cell='x = uniform(0, 1)\nmethod = choice("a", "b")', prune=False,
                objective=lambda c, rng: c["x"] + 0.01 * rng.normal())  # fmt: skip
    for row in made.store.runs("reviews"):
        if row.trial is not None:
            config = {**row.config, "method": HOSTILE if row.config["method"] == "a" else "b"}
            made.store.update_run("reviews", row.run, config=config, proposed_by=HOSTILE)
    page = explain(home, "reviews", ("shap", "evolution", "proposals"))
    assert "<script>" not in page.html and html.escape("<script>") in page.html
    assert "\x1b" not in page.text and "\u202e" not in page.text
    assert all(p.png for p in page.pictures)


def test_interactions_are_listed_with_intervals(made: Made) -> None:
    """Every pair that was scored stands in a table; additive settings are not said to depend on each other."""
    section = explain(made.home, "reviews", ("importance",)).section("importance")
    assert section is not None
    pairs = section.tables[1]
    assert pairs.heads == ("Pair", "Share", "Interval", "Depend on each other") and len(pairs.rows) >= 3
    assert "depend on each other: the best value" not in " ".join(str(s) for s in section.sentences)


def test_settings_that_depend_on_each_other_are_told(home: Path) -> None:
    """The best x is low for one choice and high for the other."""
    make(
        home, 60, cell='x = uniform(0, 1)\nmethod = choice("a", "b")\nz = uniform(0, 1)', prune=False, final=False,
        objective=lambda c, rng: (c["x"] if c["method"] == "a" else 1 - c["x"]) + 0.02 * rng.normal(),
    )  # fmt: skip
    text = _text(explain(home, "reviews", ("importance",)), "importance")
    assert "depend on each other: the best value of one changes with the other (together" in text
    assert "z and" not in text and "and z depend" not in text
