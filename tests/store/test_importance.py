"""Importance kept for the card: what is shown, when it is called old, and what a damaged file does."""

from __future__ import annotations

import json

import pytest

from autoglm_nb.errors import StudyNotFoundError
from autoglm_nb.protocol import ImportanceSnapshot, RunRole, TrialState
from autoglm_nb.record import trimmed
from autoglm_nb.store import Store, Watch, snapshot
from autoglm_nb.store.importance import save_importance, shown_importance

FOUND = [
    ImportanceSnapshot(parameter="rank", value=0.125, low=0.0, high=0.25, matters=False),
    ImportanceSnapshot(parameter="learning_rate", value=0.75, low=0.5, high=0.9, matters=True),
]


def _ended(store: Store, study: str, numbers: range) -> None:
    for number in numbers:
        run = f"trial-{number:04d}"
        store.start_run(study, run, RunRole.TRIAL, config={}, trial=number)
        store.end_run(study, run, TrialState.COMPLETED, value=0.5)


def test_a_snapshot_shows_what_was_stored_greatest_first(store: Store, study: str) -> None:
    """And a record that is saved keeps it."""
    _ended(store, study, range(10))
    assert "importance" not in snapshot(store, study)
    save_importance(store, study, FOUND, 10)
    picture = snapshot(store, study)
    assert picture["importance"] == FOUND[::-1]
    assert "importance_after" not in picture
    assert trimmed(picture)["importance"] == FOUND[::-1]


def test_it_is_called_old_when_a_fifth_more_trials_have_ended(store: Store, study: str) -> None:
    """Twelve of ten are still the same study, thirteen are not."""
    save_importance(store, study, FOUND, 10)
    _ended(store, study, range(12))
    assert "importance_after" not in snapshot(store, study)
    _ended(store, study, range(12, 13))
    assert snapshot(store, study)["importance_after"] == 10
    save_importance(store, study, FOUND, 13)
    assert "importance_after" not in snapshot(store, study)


def test_without_evidence_an_older_one_goes(store: Store, study: str) -> None:
    """What more trials took back must not stay on the card."""
    save_importance(store, study, FOUND, 10)
    save_importance(store, study, [], 30)
    assert "importance" not in snapshot(store, study)
    save_importance(store, study, [], 30)


def test_a_study_that_is_gone_is_not_brought_back(store: Store, study: str) -> None:
    """The worker may still compute when its study is deleted."""
    store.delete_study(study)
    with pytest.raises(StudyNotFoundError):
        save_importance(store, study, FOUND, 10)
    assert not store.study_dir(study).exists()


def test_it_follows_a_renamed_study(store: Store, study: str) -> None:
    """It lies in the study's folder."""
    save_importance(store, study, FOUND, 10)
    store.rename_study(study, "films")
    assert shown_importance(store, "films", 10)[0] == FOUND[::-1]


def test_a_watch_sees_it(store: Store, study: str) -> None:
    """`%explain` changes no table, and the server must still tell the page."""
    watch = Watch(store)
    before = watch.study_stamp(study)
    save_importance(store, study, FOUND, 10)
    assert watch.study_stamp(study) != before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"trials": 3}',
        '{"trials": "x", "importance": []}',
        '{"trials": 3, "importance": [1, {}, {"parameter": 3, "value": 1, "low": 0, "high": 1}]}',
        '{"trials": 3, "importance": [{"parameter": "rank", "value": "1", "low": 0, "high": 1}]}',
        '{"trials": 3, "importance": [{"parameter": "rank", "value": NaN, "low": 0, "high": 1}]}',
        f'{{"trials": 3, "importance": [{{"parameter": "rank", "value": {10**400}, "low": 0, "high": 1}}]}}',
        f'{{"trials": {10**400}, "importance": [{{"parameter": "rank", "value": 1, "low": 0, "high": 1}}]}}',
    ],
)
def test_a_damaged_file_shows_nothing(store: Store, study: str, text: str) -> None:
    """Half a file, another program's file."""
    store.study_dir(study).mkdir(parents=True)
    (store.study_dir(study) / "importance.json").write_text(text)
    assert shown_importance(store, study, 5) == ([], None)


def test_figures_of_a_file_are_kept_within_bounds(store: Store, study: str) -> None:
    """Shares are shares, names hold no control characters, and the list has an end."""
    entry = {"parameter": "ra\x1bnk", "value": 7, "low": -3, "high": 2, "matters": "yes"}
    store.study_dir(study).mkdir(parents=True)
    (store.study_dir(study) / "importance.json").write_text(json.dumps({"trials": 3, "importance": [entry] * 500}))
    found, _ = shown_importance(store, study, 3)
    assert len(found) == 40
    assert "\x1b" not in found[0]["parameter"]
    assert (found[0]["value"], found[0]["low"], found[0]["high"], found[0]["matters"]) == (1.0, 0.0, 1.0, False)
