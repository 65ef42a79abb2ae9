"""Sorting, filtering and paging by SQL agree with the same done in Python over the whole snapshot."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import optuna
import pytest

from autoglm_nb.errors import StudyNotFoundError, UsageError
from autoglm_nb.protocol import RunRole, TrialSnapshot, TrialState
from autoglm_nb.store import LiveState, Store, snapshot, trial_page
from autoglm_nb.store.trial_pages import MAX_PAGE, SORT_KEYS
from tests.store.conftest import make_spec
from tests.store.test_trials import _foreign_study

optuna.logging.set_verbosity(optuna.logging.WARNING)
STUDY = "reviews"
STATES = (TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED, TrialState.RUNNING)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """63 trials with every state, ties among the values, and missing parameters."""
    store, study = Store(tmp_path_factory.mktemp("large") / ".autoglm"), STUDY
    store.create_study(make_spec(study))
    draw = random.Random(7)
    with store._write():  # one transaction for all
        for number in range(63):
            run, state = f"trial-{number:04d}", STATES[draw.choice([0, 0, 0, 1, 2, 3])]
            config: dict[str, Any] = {
                "learning_rate": draw.choice([1e-4, 1e-3, 1e-2]),
                "method": draw.choice(["lora", "DoRA"]),
            }
            if draw.random() < 0.7:
                config["rank"] = draw.choice([4, 8, 16])
            config["packed"] = draw.random() < 0.5
            store.start_run(study, run, RunRole.TRIAL, trial=number, config=config, proposed_by=draw.choice(["random start", "expected improvement"]))  # fmt: skip  # noqa: E501
            if state.final:
                value = None if state is TrialState.FAILED else draw.choice([0.25, 0.5, 0.75])
                because = "the loss became NaN" if state is TrialState.FAILED else ""
                store.end_run(study, run, state, value=value, because=because, metrics={"loss": draw.random()})
            store.update_run(study, run, seconds=draw.choice([1.0, 2.0, 3.0]))
        for number in (3, 30, 31):
            store.add_note(study, "", trial=number, kind="star")
        store.add_note(study, "Keep me", trial=5, kind="tag")
    yield store
    store.close()


def _all(store: Store, study: str) -> list[TrialSnapshot]:
    return snapshot(store, study, limit=None)["trials"]


def _numbers(store: Store, study: str, **asked: Any) -> list[int]:
    return [t["number"] for t in trial_page(store, study, **{"limit": 1000, **asked})["trials"]]


def _sorted(trials: list[TrialSnapshot], key: Any, *, descending: bool) -> list[int]:
    given = [t for t in trials if key(t) is not None]
    return [t["number"] for t in sorted(given, key=key, reverse=False)] if not descending else [
        t["number"] for value in sorted({key(t) for t in given}, reverse=True) for t in given if key(t) == value
    ]  # fmt: skip


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("number", lambda t: t["number"]),
        ("state", lambda t: t["state"]),
        ("value", lambda t: t["value"]),
        ("seconds", lambda t: t["seconds"]),
        ("starred", lambda t: t["starred"]),
        ("proposed_by", lambda t: t["proposed_by"]),
        ("config.learning_rate", lambda t: t["config"].get("learning_rate")),
        ("config.rank", lambda t: t["config"].get("rank")),
        ("metrics.loss", lambda t: t["metrics"].get("loss")),
    ],
)
def test_a_sorted_table_is_pythons_sorted_table(large: Store, sort: str, order: str, key: Any) -> None:
    """Equals in the order of their numbers, and trials without the value last, in both directions."""
    trials = _all(large, STUDY)
    expected = _sorted(trials, key, descending=order == "desc")
    expected += [t["number"] for t in trials if key(t) is None]
    assert _numbers(large, STUDY, sort=sort, order=order) == expected


@pytest.mark.parametrize(
    ("filter", "holds"),
    [
        ("pruned", lambda t: t["state"] == "pruned"),
        ("state:failed", lambda t: t["state"] == "failed"),
        ("state!=failed", lambda t: t["state"] != "failed"),
        ("NaN", lambda t: "NaN" in t["because"]),
        ("LORA", lambda t: t["config"]["method"] == "lora"),
        ("method=dora", lambda t: t["config"]["method"] == "DoRA"),
        ("method!=dora", lambda t: t["config"]["method"] != "DoRA"),
        ('"random start"', lambda t: t["proposed_by"] == "random start"),
        ("rank>=8", lambda t: t["config"].get("rank", 0) >= 8),
        ("rank=8", lambda t: t["config"].get("rank") == 8),
        ("config.rank<8", lambda t: t["config"].get("rank", 99) < 8),
        ("value>0.25 value<0.75", lambda t: t["value"] == 0.5),
        ("learning_rate<=1e-3", lambda t: t["config"]["learning_rate"] <= 1e-3),
        ("metrics.loss>0.5", lambda t: t["metrics"].get("loss", 0) > 0.5),
        ("packed=true", lambda t: t["config"]["packed"] is True),
        ("packed=false", lambda t: t["config"]["packed"] is False),
        ("#30", lambda t: t["number"] == 30),
        ("is:starred", lambda t: t["number"] in (3, 30, 31)),
        ("starred=no completed", lambda t: t["number"] not in (3, 30, 31) and t["state"] == "completed"),
        ('tag:"keep me"', lambda t: t["number"] == 5),
        ("16", lambda t: t["number"] == 16 or t["config"].get("rank") == 16),
        ("0.75", lambda t: t["value"] == 0.75),
        ("completed lora rank>4", lambda t: t["state"] == "completed" and t["config"]["method"] == "lora" and t["config"].get("rank", 0) > 4),  # noqa: E501
        ("nothing-like-this", lambda t: False),
        ("", lambda t: True),
    ],
)  # fmt: skip
def test_a_filter_keeps_what_it_says(large: Store, filter: str, holds: Any) -> None:
    """Words, numbers and comparisons, all of which must hold."""
    expected = [t["number"] for t in _all(large, STUDY) if holds(t)]
    page = trial_page(large, STUDY, filter=filter, limit=1000)
    assert [t["number"] for t in page["trials"]] == expected
    assert page["total"] == len(expected)


def test_pages_put_together_are_the_whole(large: Store) -> None:
    """An odd size of page, sorted by a column full of ties; a trial is described as the snapshot describes it."""
    pages = [
        trial_page(large, STUDY, sort="config.rank", order="desc", offset=offset, limit=10)
        for offset in range(0, 70, 10)
    ]
    found = [trial for page in pages for trial in page["trials"]]
    assert {page["total"] for page in pages} == {63}
    assert len(found) == 63 and sorted(t["number"] for t in found) == list(range(63))
    whole = {t["number"]: t for t in _all(large, STUDY)}
    assert all(trial == whole[trial["number"]] for trial in found)


def test_a_page_behind_the_end_is_empty_and_still_counts(large: Store) -> None:
    """A table that was scrolled down while a filter narrowed it."""
    assert trial_page(large, STUDY, offset=1000) == {"trials": [], "total": 63}
    assert trial_page(large, STUDY, limit=0)["total"] == 63
    assert len(trial_page(large, STUDY, limit=10**9)["trials"]) == 63 <= MAX_PAGE


def test_trials_of_another_program_are_in_the_table(store: Store, study: str) -> None:
    """They have no run row; number, state and value sort as Optuna has them."""
    foreign = _foreign_study(store, study, ["maximize"])
    assert _numbers(store, study) == [t.number for t in foreign.get_trials()]
    assert trial_page(store, study, filter="failed")["total"] == sum(
        t.state.name == "FAIL" for t in foreign.get_trials()
    )
    page = trial_page(store, study, sort="value", order="desc", limit=1)["trials"][0]
    finite = [t for t in foreign.get_trials() if t.state.name == "COMPLETE" and abs(t.value or 0) != float("inf")]
    assert page["number"] == max(finite, key=lambda t: t.value or 0.0).number


@pytest.mark.parametrize(
    "key", ["", "f.number", "number; DROP TABLE trials", "config.", 'config."a', "config.x'--", "spec"]
)
def test_what_cannot_be_sorted_by_is_refused(large: Store, key: str) -> None:
    """The sentence lists what can, and nothing of the key reaches the query."""
    with pytest.raises(UsageError, match=r"can be sorted by number, .*config\.NAME"):
        trial_page(large, STUDY, sort=key)


@pytest.mark.parametrize("word", ["'", "x' OR 1=1 --", "%", "_", "*", "a:b:c", "\x00", "\ud800", '"', "=", ">=3", "value>", "9" * 400, "1e999", "inf", "tag:'", "({[", "rank>8;DELETE"])  # fmt: skip  # noqa: E501
def test_a_hostile_filter_finds_nothing_or_is_refused(large: Store, word: str) -> None:
    """Whatever is typed: no SQL error, and every row is still there."""
    try:
        page = trial_page(large, STUDY, filter=word)
    except UsageError:
        page = None
    assert page is None or page["total"] in (0, 63)
    assert len(_numbers(large, STUDY)) == 63


@pytest.mark.parametrize("asked", [{"order": "up"}, {"filter": "method>lora"}, {"filter": "rank<many"}])
def test_a_request_that_is_not_understood_is_refused(large: Store, asked: dict[str, str]) -> None:
    """An order, and a comparison that means nothing."""
    with pytest.raises(UsageError):
        trial_page(large, STUDY, **asked)  # type: ignore[arg-type]


def test_a_study_that_is_not_there(store: Store) -> None:
    """An error of ours, as everywhere."""
    with pytest.raises(StudyNotFoundError):
        trial_page(store, "nothing")


def test_every_key_that_is_offered_works(large: Store) -> None:
    """With a fold of events given by the caller too."""
    for key in SORT_KEYS:
        assert trial_page(large, STUDY, sort=key, live=LiveState())["total"] == 63
