"""`logs`, `rename`, `clean` and `delete` as a person uses them, on a real store with a card below a cell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autoglm_nb.store import Store
from tests.notebook.conftest import Notebook
from tests.notebook.test_team_commands import real, store
from tests.sharing.conftest import adapter

__all__ = ["real", "store"]


def test_a_renamed_study_is_found_under_its_new_name(real: Notebook, store: Store) -> None:
    """With notes, adapter and log; the old card stands still, the old name is gone, the cell is warned of."""
    (store.study_dir("reviews") / "worker.log").write_text("first\nsecond\n")
    real.run("%autotune attach reviews --view record")
    outcome = real.run("%autotune rename reviews 'film reviews'")
    assert outcome.ok and "A cell that says `--name reviews` would start a new study" in outcome.shown[0]
    assert "trial 2" in real.run("%autotune best").shown[0], "it is the study used last"
    assert real.run("%autotune logs 'film reviews' --lines 1").shown == ["second"]
    assert len(store.notes("film reviews")) == 2
    assert (store.run_dir("film reviews", "trial-0002") / "adapter").is_dir()
    assert not store.study_dir("reviews").exists()
    assert "There is no study named 'reviews'" in real.run("%autotune status reviews").error
    sent = len(real.recorder.sent)
    real.run("%autotune note 'film reviews' x")
    assert not [m for m in real.recorder.sent[sent:] if m["update"]], "the card of the old name is closed"


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        ("reviews", "exists already"),
        ("../x", "must begin with a letter"),
        ("con", "must begin with"),
        ("other", "exists"),
    ],
)
def test_a_name_that_cannot_be_given_changes_nothing(real: Notebook, store: Store, new: str, sentence: str) -> None:
    """Its own, a path, a device of Windows, a taken one."""
    from tests.store.conftest import make_spec

    store.create_study(make_spec("other", identity="x"))
    outcome = real.run(f"%autotune rename reviews {new}")
    assert sentence in outcome.error and store.has_study("reviews")


def test_clean_says_what_it_kept(real: Notebook, store: Store) -> None:
    """Best and starred ones stay, and the last where asked; a negative number is refused."""
    adapter(store.run_dir("reviews", "trial-0000") / "adapter")
    adapter(store.run_dir("reviews", "trial-0001") / "adapter")
    assert "must be 0 or more" in real.run("%autotune clean reviews --keep -1").error
    shown = real.run("%autotune clean reviews --keep 1").shown[0]
    assert re.search(r"[\d.]+ MB freed", shown) and "the last 1" in shown
    kept = {p.parent.name for p in store.study_dir("reviews").glob("*/adapter")}
    assert kept == {"trial-0001", "trial-0002"}
    real.run("%autotune clean reviews")
    assert {p.parent.name for p in store.study_dir("reviews").glob("*/adapter")} == {"trial-0002"}
    assert "Adapter:" in real.run("%autotune best reviews").shown[0]


def test_delete_asks_once_and_leaves_nothing(real: Notebook, store: Store, home: Path) -> None:
    """Without --yes a sentence; with it neither rows nor folder, and the name is free."""
    real.run("%autotune attach reviews --view record")
    assert "removes 4 trials and their adapters for good. Add --yes" in real.run("%autotune delete reviews").error
    assert real.run("%autotune delete reviews --yes").shown == ["Study 'reviews' is deleted."]
    assert list((home / "runs").iterdir()) == []
    assert "No study" in real.run("%autotune list").shown[0] or "reviews" not in real.run("%autotune list").shown[0]
    assert "A study's name is needed" in real.run("%autotune best").error


def test_a_study_without_a_log_says_so(real: Notebook) -> None:
    """One that was brought in never had a worker here."""
    assert real.run("%autotune logs reviews").shown == ["No worker has written anything about study 'reviews' here."]
