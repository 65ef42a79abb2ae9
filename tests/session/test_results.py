"""The adapter of the best trial: handed out where it is whole and nobody rejected it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from autoglm_nb.errors import RejectedError, StoreError
from autoglm_nb.protocol import RunRole, TrialState
from autoglm_nb.session.results import Results
from autoglm_nb.store import Decision, Store, add_decision
from tests.sharing.conftest import adapter
from tests.store.conftest import make_spec


@pytest.fixture
def store(home: Path) -> Store:
    store = Store(home)
    store.create_study(make_spec())
    store.start_run("reviews", "trial-0000", RunRole.TRIAL, config={}, trial=0)
    store.end_run("reviews", "trial-0000", TrialState.COMPLETED, value=0.5)
    adapter(store.run_dir("reviews", "trial-0000") / "adapter")
    return store


def test_the_folder_of_a_whole_adapter_is_given(store: Store) -> None:
    """What PEFT loads."""
    assert Results(store.home, "reviews").adapter_path == store.run_dir("reviews", "trial-0000") / "adapter"


@pytest.mark.parametrize("left", [False, True])
def test_an_adapter_that_was_cleaned_away_is_told(store: Store, left: bool) -> None:
    """Also where a file of it could not be removed: half a folder is no adapter."""
    folder = store.run_dir("reviews", "trial-0000") / "adapter"
    (folder / "autoglm.json").unlink() if left else shutil.rmtree(folder)
    with pytest.raises(StoreError, match=r"trial 0 of study 'reviews' is not stored here: it was cleaned away"):
        Results(store.home, "reviews").adapter_path  # noqa: B018
    with pytest.raises(StoreError, match="cleaned away"):
        Results(store.home, "reviews").best_model()


def test_an_objective_of_ones_own_leaves_no_adapter(home: Path) -> None:
    """There was nothing to clean away."""
    store = Store(home)
    store.create_study(make_spec(objective="mine"))
    store.start_run("reviews", "trial-0000", RunRole.TRIAL, config={}, trial=0)
    store.end_run("reviews", "trial-0000", TrialState.COMPLETED, value=0.5)
    with pytest.raises(StoreError, match="objective of its own"):
        Results(home, "reviews").adapter()


def test_a_rejected_adapter_needs_force(store: Store) -> None:
    """The folder is the model as much as `best_model()` is."""
    add_decision(store, "reviews", Decision("reject", reason="Unfair.", trial=0, key="k"))
    results = Results(store.home, "reviews")
    with pytest.raises(RejectedError, match="Unfair"):
        results.adapter_path  # noqa: B018
    assert results.adapter(force=True).is_dir()
