"""Notes and sharing in plain Python, and a shared study taken up on another machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import autoglm_nb
from autoglm_nb.errors import SharedFileError, StudyMismatchError, StudyNotFoundError, UsageError
from autoglm_nb.session import attach, launch, plan
from autoglm_nb.store import Store
from tests.sharing.conftest import fill

SPACE = "learning_rate = loguniform(1e-3, 1e-2)\nrank = choice(2, 4)\nepochs = 2\nbatch_size = 16"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with Store(home) as opened:
        fill(opened)
        yield opened


def test_notes_of_a_handle(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comment, tag and star; signed by the setting, or as given; removed by the beginning of an id."""
    monkeypatch.setenv("AUTOGLM_AUTHOR", "Mei")
    handle = attach("reviews")
    known = len(handle.notes())
    ids = handle.note("looks good", trial=1, tag="keep", star=True)
    (other,) = handle.note("hm", author="Jo")
    made = handle.notes()[known:]
    assert [n["id"] for n in made] == [*ids, other]
    assert [(n["kind"], n["trial"], n["author"]) for n in made] == [
        ("comment", 1, "Mei"), ("tag", 1, "Mei"), ("star", 1, "Mei"), ("comment", None, "Jo"),
    ]  # fmt: skip
    assert handle.snapshot()["trials"][1]["starred"]
    assert handle.unstar(1) == 1 and not handle.snapshot()["trials"][1]["starred"]
    assert handle.remove_note(other[:8])["text"] == "hm"
    assert len(handle.notes()) == known + 2


def test_faulty_notes_are_refused(store: Store) -> None:
    """Nothing to note, a trial that is not there."""
    handle = attach("reviews")
    with pytest.raises(UsageError, match="needs a text, a tag or a star"):
        handle.note("  ")
    for call in (lambda: handle.note("x", trial=99), lambda: handle.unstar(99)):
        with pytest.raises(UsageError, match="has no trial 99"):
            call()


def test_the_front_door_shares_and_opens(store: Store, tmp_path: Path) -> None:
    """By name; the kind of file follows its ending."""
    page = autoglm_nb.share("reviews", tmp_path / "r.html")
    assert page.read_text().startswith("<!doctype html>")
    file = autoglm_nb.share("reviews", tmp_path / "r.zip")
    opened = autoglm_nb.open_shared(file, home=tmp_path / "other")
    assert opened.name == "reviews" and opened.home == tmp_path / "other"
    assert opened.results().best_value == 0.9
    assert [s.name for s in autoglm_nb.studies(tmp_path / "other")] == ["reviews"]
    assert autoglm_nb.open_shared(file, "mine").name == "mine", "the store is the usual one without home"
    with pytest.raises(UsageError, match="A page holds no data rows"):
        autoglm_nb.share("reviews", tmp_path / "r.html", include_data=True)
    with pytest.raises(StudyNotFoundError):
        autoglm_nb.share("nothing", tmp_path / "x.zip")
    with pytest.raises(SharedFileError, match="Ask the owner"):
        autoglm_nb.open_shared(store.path)


def test_an_opened_study_is_not_resumed_without_its_data(store: Store, tmp_path: Path) -> None:
    """The sentence says how it goes on."""
    opened = autoglm_nb.open_shared(autoglm_nb.share("reviews", tmp_path / "r.zip"), home=tmp_path / "other")
    with pytest.raises(UsageError, match=r"without its data.*--name reviews.*--fork"):
        opened.resume()
    assert opened.status == "finished"


@pytest.mark.slow
def test_a_real_study_shared_opened_used_and_continued(
    tmp_path: Path, home: Path, tiny_encoder_path: Path, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter predicts the same there, PEFT alone loads it, the same data continues it, other data does not."""
    import numpy as np
    import peft
    import transformers

    from autoglm_nb.tuning.worker import run_worker

    options = {
        "space": SPACE, "target": "label", "strategy": "random", "seeds": 0, "trials": 2, "pruner": "none",
        "baseline": False, "device": "cpu", "name": "toy",
    }  # fmt: skip
    texts = ["the film was great", "the plot was dull and boring", "a charming story"]

    def planned(folder: Path, data: Path, **more: object) -> autoglm_nb.session.Plan:
        return plan(str(tiny_encoder_path), str(data), home=folder, **{**options, **more})

    first = planned(home, reviews_csv)
    Store(home).create_study(first.spec)
    run_worker(home, "toy")
    mine = attach("toy")
    assert mine.status == "finished", mine.reason
    file = mine.share(tmp_path / "toy.zip")
    expected = mine.best_model().predict_proba(texts)

    other = tmp_path / "other" / ".autoglm"
    opened = autoglm_nb.open_shared(file, home=other)
    shutil.rmtree(home)
    np.testing.assert_allclose(opened.best_model().predict_proba(texts), expected, atol=1e-6)

    folder = opened.results().adapter_path
    labels = json.loads((folder / "autoglm.json").read_text())["label_names"]
    base = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_encoder_path, num_labels=len(labels))
    model = peft.PeftModel.from_pretrained(base, str(folder)).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    found = model(**tokens).logits.softmax(-1).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)

    changed = tmp_path / "changed.csv"
    changed.write_text(reviews_csv.read_text() + "a great film,positive\n")
    with pytest.raises(StudyMismatchError, match="--fork"):
        launch(planned(other, changed, trials=3))
    spec = planned(other, reviews_csv, trials=3).spec
    Store(other).continue_study(spec)
    run_worker(other, "toy")
    shot = attach("toy", other).snapshot()
    assert (shot["study"]["state"], shot["trials_total"]) == ("finished", 3), shot["study"]["reason"]
    assert [t["state"] for t in shot["trials"]] == ["completed"] * 3
    assert shot["provenance"]["brought_in"]["file"] == "toy.zip", "where it came from stays known"
