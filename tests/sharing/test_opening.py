"""What comes in: the same study, beside what is there, never twice, never over anything."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoglm_nb.errors import DiskFullError, RejectedError, SharedFileError, StoreError, UsageError
from autoglm_nb.explain import explain
from autoglm_nb.protocol import StudyState
from autoglm_nb.sharing import content, open_shared, share_zip, values
from autoglm_nb.store import (
    Decision,
    Store,
    add_decision,
    decisions,
    refuse_if_rejected,
    registry,
    snapshot,
)
from autoglm_nb.store.importance import put_importance, save_importance
from autoglm_nb.store.portable import portable
from tests.sharing.conftest import fill, large


def test_a_shared_study_arrives_whole(shared: Path, store: Store, elsewhere: Path) -> None:
    """Trials, runs, notes, final comparison and adapter; the pictures of both sides agree."""
    opened = open_shared(shared, elsewhere)
    assert (opened.name, opened.merged) == ("reviews", False)
    assert "4 trials, with its best adapter, 2 notes" in opened.sentence
    with Store(elsewhere) as there:
        mine, theirs = snapshot(store, "reviews"), snapshot(there, "reviews")
        assert [s.name for s in there.studies()] == ["reviews"]
        for key in ("trials", "curve", "space", "final", "front"):
            left = json.dumps(mine[key]).replace("/home/mei/secret/", "").replace("mei-laptop", "…")  # type: ignore[literal-required]
            assert json.dumps(theirs[key], ensure_ascii=False) == json.dumps(json.loads(left), ensure_ascii=False), key  # type: ignore[literal-required]
        assert theirs["headline"]["best_value"] == 0.9 and theirs["headline"]["baseline_value"] == 0.65
        assert theirs["headline"]["next"].startswith("Adapter: .autoglm/runs/reviews/trial-0002/adapter.")
        assert theirs["study"]["state"] == "finished"
        assert theirs["provenance"]["brought_in"]["file"] == "reviews.zip"
        folder = there.run_dir("reviews", "trial-0002") / "adapter"
        assert {p.name for p in folder.iterdir()} == {
            "README.md", "adapter_config.json", "adapter_model.safetensors", "autoglm.json", "tokenizer.json",
            "tokenizer_config.json",
        }  # fmt: skip
        assert [p.name for p in (elsewhere / "runs").iterdir()] == ["reviews"], "no draft is left"


def test_a_shared_study_can_be_explained_where_it_was_opened(shared: Path, elsewhere: Path) -> None:
    """The explanation names its origin."""
    open_shared(shared, elsewhere)
    text = explain(elsewhere, "reviews").text
    assert "0.900" in text and "brought_in.file" in text


def test_opening_remembers_the_store_for_the_server(shared: Path, elsewhere: Path) -> None:
    """The sidebar finds studies by the registry."""
    open_shared(shared, elsewhere)
    assert registry.homes() == [elsewhere]


def test_opening_twice_merges_and_says_so(shared: Path, elsewhere: Path) -> None:
    """No second study, no note twice."""
    open_shared(shared, elsewhere)
    again = open_shared(shared, elsewhere)
    assert again.merged and again.sentence.endswith("its notes are merged: nothing new.")
    with Store(elsewhere) as there:
        assert len(there.studies()) == 1 and len(there.notes("reviews")) == 2


def _rejected(store: Store, **fields: object) -> None:
    given: dict[str, object] = {"reviewer": "Ada", "reason": "Unfair to short reviews.", "trial": 2, "key": "k"}
    add_decision(store, "reviews", Decision(**({"verdict": "reject", "decided_at": "2026-01-02"} | given | fields)))  # type: ignore[arg-type]


def test_a_rejection_travels_with_the_study(
    store: Store, study: str, home: Path, elsewhere: Path, tmp_path: Path
) -> None:
    """Forced out of one store, the model is not handed out of the next without force either."""
    _rejected(store)
    opened = open_shared(share_zip(home, study, tmp_path / "no.zip", force=True), elsewhere)
    assert opened.sentence.endswith("Its best model was rejected: Unfair to short reviews.")
    with Store(elsewhere) as there:
        decision = snapshot(there, study)["decision"]
        assert (decision["verdict"], decision["current"], decision["trial"]) == ("reject", True, 2)
        assert decision["reviewer"] == "Ada (as the shared file says)"
        with pytest.raises(RejectedError, match="Unfair"):
            refuse_if_rejected(there, study)
    with pytest.raises(RejectedError):
        share_zip(elsewhere, study, tmp_path / "on.zip")
    third = tmp_path / "third" / ".autoglm"
    open_shared(share_zip(elsewhere, study, tmp_path / "on.zip", force=True), third)
    with Store(third) as there:
        assert snapshot(there, study)["decision"]["reviewer"] == "Ada (as the shared file says)", "said once"


def test_a_rejection_reaches_a_copy_that_is_there_already(
    shared: Path, store: Store, study: str, home: Path, elsewhere: Path, tmp_path: Path
) -> None:
    """Decided after the first sharing; opened twice it is still one decision."""
    open_shared(shared, elsewhere)
    _rejected(store)
    later = share_zip(home, study, tmp_path / "later.zip", force=True)
    assert open_shared(later, elsewhere).sentence.endswith("Its best model was rejected: Unfair to short reviews.")
    assert "rejected" not in open_shared(later, elsewhere).sentence
    with Store(elsewhere) as there:
        assert [d.verdict for d in decisions(there, study)] == ["reject"]
        with pytest.raises(RejectedError):
            refuse_if_rejected(there, study)


def test_no_file_lifts_a_rejection(store: Store, study: str, home: Path, elsewhere: Path, tmp_path: Path) -> None:
    """Anybody can write a file; only the decision system may decide anew."""
    approved = tmp_path / "approved.zip"
    _rejected(store, verdict="approve", reason="Fine", decided_at="2026-01-09")
    share_zip(home, study, approved)
    _rejected(store)
    open_shared(share_zip(home, study, tmp_path / "no.zip", force=True), elsewhere)
    open_shared(approved, elsewhere)
    with Store(elsewhere) as there, pytest.raises(RejectedError):
        refuse_if_rejected(there, study)


def test_what_mattered_comes_along(store: Store, study: str, home: Path, elsewhere: Path, tmp_path: Path) -> None:
    """The card is the same there, without a computation; a forged entry is left out."""
    found = [{"parameter": "rank", "value": 0.5, "low": 0.25, "high": 0.75, "matters": True}]
    save_importance(store, study, found, 4)  # type: ignore[arg-type]
    open_shared(share_zip(home, study, tmp_path / "x.zip"), elsewhere)
    with Store(elsewhere) as there:
        assert snapshot(there, study)["importance"] == found
        put_importance(
            there.study_dir(study), {"trials": 4, "importance": ["forged", {"parameter": "x", "value": "1"}]}
        )
        assert snapshot(there, study)["importance"] == found


def test_a_long_name_does_not_push_the_mark_of_a_file_out(
    store: Store, study: str, home: Path, elsewhere: Path, tmp_path: Path
) -> None:
    """Anybody can write a file; without the mark a reviewer of 120 letters would be one of a decision system."""
    _rejected(store, reviewer="Model Risk Board " + "x" * 103)
    open_shared(share_zip(home, study, tmp_path / "no.zip", force=True), elsewhere)
    with Store(elsewhere) as there:
        reviewer = snapshot(there, study)["decision"]["reviewer"]
    assert reviewer.startswith("Model Risk Board x") and reviewer.endswith(content.SAID_SO)


@pytest.mark.parametrize(
    "decision",
    [
        {"verdict": "maybe"},
        {"verdict": "reject", "reviewer": 3},
        {"verdict": "reject", "trial": "2"},
        {"verdict": "reject", "reason": None},
        "reject",
    ],
)
def test_a_decision_of_another_form_is_refused(decision: object) -> None:
    """As every other field of a file."""
    whole = {"verdict": "reject", "reviewer": "", "reason": "", "decided_at": "", "trial": None}
    forged = whole | decision if isinstance(decision, dict) else decision
    with pytest.raises(SharedFileError, match="a decision"):
        values.listed([forged], "a decision", content._decision)


@pytest.mark.slow
def test_ten_thousand_trials_come_in_within_half_a_minute(
    home: Path, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long study is as shareable as a short one. Its page is left out: opening does not look at it."""
    monkeypatch.setattr("autoglm_nb.sharing.pack.shared_page", lambda *_: "<!doctype html>")
    with Store(home) as store:
        large(store, "long", 10_000)
    path = share_zip(home, "long", tmp_path / "long.zip")
    since = time.process_time()
    opened = open_shared(path, elsewhere)
    assert "10000 trials" in opened.sentence
    assert time.process_time() - since < 30
    with Store(elsewhere) as there:
        assert snapshot(there, "long", limit=1)["trials_total"] == 10_000


def test_notes_travel_both_ways_without_loss(
    shared: Path, store: Store, home: Path, elsewhere: Path, tmp_path: Path
) -> None:
    """Both sides write and remove; after sharing back both have the union, without what either removed."""
    open_shared(shared, elsewhere)
    star = next(n["id"] for n in store.notes("reviews") if n["kind"] == "star")
    store.add_note("reviews", "from home")
    with Store(elsewhere) as there:
        there.remove_note(star, "reviews")
        there.add_note("reviews", "from there", author="Jo")
    back = share_zip(elsewhere, "reviews", tmp_path / "back.zip")
    opened = open_shared(back, home)
    assert (opened.merged, opened.notes_added, opened.notes_removed) == (True, 1, 1)
    assert sorted(n["text"] for n in store.notes("reviews"))[1:] == ["from home", "from there"]
    assert all(n["id"] != star for n in store.notes("reviews"))
    assert open_shared(shared, elsewhere).notes_added == 0, "a removed note does not come back"


def test_sharing_on_gives_the_same_content(shared: Path, elsewhere: Path, tmp_path: Path) -> None:
    """Opened, shared and opened again: still the same study."""
    open_shared(shared, elsewhere)
    on = share_zip(elsewhere, "reviews", tmp_path / "on.zip")
    third = tmp_path / "third" / ".autoglm"
    open_shared(on, third)
    assert open_shared(shared, third).merged
    with Store(third) as there, Store(elsewhere) as before:
        assert portable(there, "reviews")["trials"] == portable(before, "reviews")["trials"]


def test_another_study_of_that_name_is_left_alone(shared: Path, elsewhere: Path) -> None:
    """The next free name is used; opening again finds it under that name."""
    with Store(elsewhere) as there:
        fill(there, values=(0.1, 0.2), identity="fedcba9876543210")
        before = portable(there, "reviews")
        opened = open_shared(shared, elsewhere)
        assert opened.name == "reviews-2" and "a name that is taken here" in opened.sentence
        assert portable(there, "reviews") == before
        assert open_shared(shared, elsewhere).name == "reviews-2"
        assert {s.name for s in there.studies()} == {"reviews", "reviews-2"}


def test_a_name_may_be_given(shared: Path, elsewhere: Path) -> None:
    """A free one is used, also for a second copy with notes of its own; a taken one is refused; a bad one too."""
    assert open_shared(shared, elsewhere, "theirs").name == "theirs"
    assert open_shared(shared, elsewhere, "again").name == "again"
    with Store(elsewhere) as there:
        assert len(there.notes("again")) == len(there.notes("theirs")) == 2
        fill(there, "mine", values=(0.3,), identity="fedcba9876543210")
        assert open_shared(shared, elsewhere, "again").notes_added == 0
        with pytest.raises(UsageError, match=r"'mine' is taken by another study.*--name mine-2"):
            open_shared(shared, elsewhere, "mine")
    with pytest.raises(UsageError, match="must begin with a letter"):
        open_shared(shared, elsewhere, "../x")


@pytest.mark.parametrize("state", [StudyState.PAUSED, StudyState.RUNNING])
def test_a_study_shared_while_it_runs_arrives_as_stopped(
    store: Store, home: Path, elsewhere: Path, tmp_path: Path, state: StudyState
) -> None:
    """Nobody works on it here; a trial that was asked for and never told is left out."""
    fill(store)
    store.set_state("reviews", state)
    store.optuna_study("reviews", ["maximize"]).ask()
    opened = open_shared(share_zip(home, "reviews", tmp_path / "x.zip"), elsewhere)
    with Store(elsewhere) as there:
        found, reason = there.state(opened.name)
        assert found is StudyState.STOPPED and "when it was shared" in reason
        assert snapshot(there, opened.name)["trials_total"] == 4


def test_an_opened_study_asks_optuna_as_the_first_one_did(shared: Path, store: Store, elsewhere: Path) -> None:
    """Values, distributions, reports and attributes are those of the original, read by Optuna itself."""
    open_shared(shared, elsewhere)
    with Store(elsewhere) as there:
        ours = store.optuna_study("reviews", ["maximize"]).trials
        theirs = there.optuna_study("reviews", ["maximize"]).trials
    for one, other in zip(ours, theirs, strict=True):
        assert (one.number, one.state, one.values, one.params) == (
            other.number,
            other.state,
            other.values,
            other.params,
        )
        assert (one.distributions, one.intermediate_values) == (other.distributions, other.intermediate_values)
        assert one.user_attrs == other.user_attrs and other.system_attrs == {}


def test_data_that_came_along_is_put_where_the_study_finds_it(
    store: Store, home: Path, elsewhere: Path, tmp_path: Path
) -> None:
    """As a file of the store, read by the data room."""
    from autoglm_nb.data.sources import read_table
    from autoglm_nb.protocol import DataSpec

    path = tmp_path / "rows.csv"
    path.write_text("text,label\nfine,positive\npoor,negative\n")
    fill(store, data=DataSpec(str(path), path=str(path), text=("text",), target="label"))
    open_shared(share_zip(home, "reviews", tmp_path / "x.zip", include_data=True), elsewhere)
    with Store(elsewhere) as there:
        data = there.spec("reviews").data
    assert data.path is not None and Path(data.path).parent == elsewhere / "data"
    assert read_table(data.path).columns == {"text": ["fine", "poor"], "label": ["positive", "negative"]}


def test_a_store_that_cannot_take_it_is_left_as_it_was(
    shared: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure in the middle leaves neither rows nor files."""

    def fail(*_: object, **__: object) -> None:
        raise StoreError("no more")

    with Store(elsewhere) as there:
        monkeypatch.setattr(Store, "merge_notes", fail)
        with pytest.raises(StoreError, match="no more"):
            open_shared(shared, elsewhere)
        assert there.studies() == []
        with sqlite3.connect(there.path) as connection:
            assert connection.execute("SELECT COUNT(*) FROM studies").fetchone()[0] == 0
            assert connection.execute("SELECT COUNT(*) FROM trials").fetchone()[0] == 0
    assert list((elsewhere / "runs").iterdir()) == []


def test_files_whose_rows_could_not_be_committed_do_not_stay(
    shared: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk may show at the commit, when the folder has its name already; the name stays free."""
    real, target = Store._write, elsewhere / "runs" / "reviews"

    @contextlib.contextmanager
    def full(self: Store) -> Iterator[sqlite3.Connection]:
        with real(self) as connection:
            yield connection
            if target.exists():
                raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "_write", full)
        with pytest.raises(DiskFullError):
            open_shared(shared, elsewhere)
    assert list((elsewhere / "runs").iterdir()) == []
    assert open_shared(shared, elsewhere).name == "reviews"


def test_what_a_killed_opening_left_is_swept_a_day_later(shared: Path, elsewhere: Path) -> None:
    """Rows under a name that no study can have, and a hidden folder."""
    with Store(elsewhere) as there:
        there.optuna_study("opening:1:" + "0" * 32, ["maximize"])
        there.optuna_study(f"opening:{2e9:.0f}:" + "0" * 32, ["maximize"])
        there.optuna_study("opening:night", ["maximize"])  # somebody's own, made with Optuna
        left = elsewhere / "runs" / ".opening-1-00000000"
        left.mkdir(parents=True)
        os.utime(left, (1, 1))
        open_shared(shared, elsewhere)
        with sqlite3.connect(there.path) as connection:
            names = {r[0] for r in connection.execute("SELECT study_name FROM studies")}
    assert names == {"reviews", "opening:night", f"opening:{2e9:.0f}:" + "0" * 32}
    assert [p.name for p in (elsewhere / "runs").iterdir()] == ["reviews"]


def test_other_files_are_told_apart(tmp_path: Path, elsewhere: Path, home: Path, store: Store) -> None:
    """Missing, a page, a folder, a store: each with what to do, and no store is made."""
    page = tmp_path / "page.html"
    page.write_text("<html>")
    for path, sentence in (
        (tmp_path / "none.zip", "There is no file 'none.zip'"),
        (page, "cannot be read as one"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(SharedFileError, match=sentence):
            open_shared(path, elsewhere)
    copied = tmp_path / "renamed.zip"
    copied.write_bytes(store.path.read_bytes())
    for path in (store.path, home, copied):
        with pytest.raises(SharedFileError, match=r"is a study store.*Ask the owner for `%autotune share NAME --zip"):
            open_shared(path, elsewhere)
    assert not elsewhere.exists()
