"""Notes: nobody overwrites anybody."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from autoglm_nb.errors import StudyNotFoundError, UsageError
from autoglm_nb.store import Store
from autoglm_nb.store.notes import origin_of
from tests.store.conftest import Python, heard, make_spec, tell


def test_notes_come_back_oldest_first_with_author_and_trial(store: Store, study: str) -> None:
    """On the study or on one of its trials."""
    first = store.add_note(study, "promising", trial=3, author="mei")
    second = store.add_note(study, "", kind="star", trial=3)
    third = store.add_note(study, "baseline is weak")
    notes = store.notes(study)
    assert [n["id"] for n in notes] == [first, second, third]
    assert [(n["kind"], n["trial"], n["author"]) for n in notes] == [
        ("comment", 3, "mei"),
        ("star", 3, ""),
        ("comment", None, ""),
    ]


def test_a_removed_note_is_gone_and_removing_it_twice_is_no_error(store: Store, study: str) -> None:
    """Two people may remove the same note."""
    note = store.add_note(study, "x")
    assert store.remove_note(note)
    assert not store.remove_note(note)
    assert store.notes(study) == []


def test_faulty_notes_are_refused(store: Store, study: str) -> None:
    """Unknown kinds, empty comments and missing studies."""
    with pytest.raises(UsageError, match="must be one of comment, star, tag"):
        store.add_note(study, "x", kind="like")
    with pytest.raises(UsageError, match="needs some text"):
        store.add_note(study, "  ")
    with pytest.raises(StudyNotFoundError):
        store.add_note("other", "x")


def test_two_writers_never_lose_a_note(store: Store, study: str, home: Path, python: Python) -> None:
    """A kernel and the server write at the same time."""
    code = """
        store = Store(home); say("ready"); listen()
        for i in range(50):
            store.add_note("reviews", f"{sys.argv[2]} {i}", author=sys.argv[2])
        say("done")
    """
    processes = [python(code, name) for name in ("kernel", "server")]
    assert [heard(p) for p in processes] == ["ready", "ready"]
    for process in processes:
        tell(process)
    assert [heard(p) for p in processes] == ["done", "done"]
    texts = [n["text"] for n in store.notes(study)]
    assert sorted(texts) == sorted(f"{name} {i}" for name in ("kernel", "server") for i in range(50))
    for name in ("kernel", "server"):
        assert [t for t in texts if t.startswith(name)] == [f"{name} {i}" for i in range(50)]


def test_a_note_is_written_once_by_each_person(store: Store, study: str) -> None:
    """Clicking twice, or running a cell again, does not double it; another person's star is another one."""
    assert store.add_note(study, "", kind="star", trial=1) == store.add_note(study, "", kind="star", trial=1)
    store.add_note(study, "", kind="star", trial=1, author="jo")
    store.add_note(study, "", kind="star", trial=2)
    store.add_note(study, "", kind="star")
    store.add_note(study, "keep", kind="tag")
    store.add_note(study, "keep ", kind="tag")
    store.add_note(study, "same")
    store.add_note(study, "same")
    assert [n["kind"] for n in store.notes(study)] == ["star", "star", "star", "star", "tag", "comment"]
    assert store.unstar(study, 1) == 2
    assert store.unstar(study, 1) == 0
    assert [n["trial"] for n in store.notes(study) if n["kind"] == "star"] == [2, None]
    assert store.add_note(study, "", kind="star", trial=1) in {n["id"] for n in store.notes(study)}


def test_texts_are_cleaned_and_bounded(store: Store, study: str) -> None:
    """Terminal codes, direction overrides and lone surrogates never reach a row; too long a note is refused."""
    store.add_note(study, "a\x1b[31m\u202eb\ud800\r\nc", author="m\x00ei\n")
    assert [(n["text"], n["author"]) for n in store.notes(study)] == [("a[31mb\nc", "mei")]
    with pytest.raises(UsageError, match="at most 10000 characters"):
        store.add_note(study, "x" * 10_001)


def test_a_note_is_found_by_the_beginning_of_its_id(store: Store, study: str) -> None:
    """Four digits at least, and only one note may begin so."""
    id = store.add_note(study, "x")
    assert store.find_note(study, id[:8])["id"] == id
    for wrong in ("", id[:3], "zzzz"):
        with pytest.raises(UsageError, match="none does"):
            store.find_note(study, wrong)


def test_a_note_of_another_study_is_not_removed(store: Store, study: str) -> None:
    """The server names the study with the note."""
    note = store.add_note(study, "x")
    assert not store.remove_note(note, "other")
    assert store.remove_note(note, study)


def test_copies_merge_to_the_union_without_what_either_removed(store: Store, study: str, tmp_path: Path) -> None:
    """Whichever way round and however often: an observed-remove set."""
    common = [store.add_note(study, text) for text in ("kept", "removed here", "removed there")]
    with Store(tmp_path / "copy") as copy:
        copy.create_study(make_spec())
        copy.merge_notes(study, store.notes(study), store.removed_notes(study))
        store.remove_note(common[1])
        copy.remove_note(common[2])
        store.add_note(study, "new here")
        copy.add_note(study, "new there")
        for _ in range(2):
            store.merge_notes(study, copy.notes(study), copy.removed_notes(study))
            copy.merge_notes(study, store.notes(study), store.removed_notes(study))
        for side in (store, copy):
            assert [n["text"] for n in side.notes(study)] == ["kept", "new here", "new there"]
        assert store.removed_notes(study) == copy.removed_notes(study) == sorted(common[1:])


def test_one_note_may_be_on_two_studies_of_a_store(store: Store, study: str) -> None:
    """As when a shared study is opened twice under two names; each goes its own way, neither is doubled."""
    store.create_study(make_spec("second"))
    store.add_note(study, "x")
    notes = store.notes(study)
    assert store.merge_notes("second", notes).added == 1
    assert store.merge_notes("second", notes).added == 0
    (other,) = store.notes("second")
    assert other["id"] != notes[0]["id"] and origin_of(other["id"]) == notes[0]["id"]
    assert store.remove_note(other["id"])
    assert store.notes(study) == notes
    assert store.merge_notes("second", notes).added == 0, "what was removed does not come back"


def test_two_processes_merge_and_remove_at_once(store: Store, study: str, home: Path, python: Python) -> None:
    """Both merge the same notes while each removes half of its own: nothing is doubled, lost or brought back."""
    code = """
        store = Store(home); say("ready"); listen()
        me, other = sys.argv[2], sys.argv[3]
        for i in range(20):
            note = store.add_note("reviews", f"{me} {i}", author=me)
            shared = dict(id=f"{i:032x}", trial=None, kind="comment", text=f"shared {i}", author="", created_at=1.0 + i)
            store.merge_notes("reviews", [shared])
            if i % 2:
                store.remove_note(note)
            if i % 4 == 0:
                store.remove_note(f"{i:032x}")
        say("done")
    """
    processes = [python(code, *names) for names in (("a", "b"), ("b", "a"))]
    assert [heard(p) for p in processes] == ["ready", "ready"]
    for process in processes:
        tell(process)
    assert [heard(p) for p in processes] == ["done", "done"]
    texts = sorted(n["text"] for n in store.notes(study))
    kept = [f"{name} {i}" for name in ("a", "b") for i in range(0, 20, 2)]
    assert texts == sorted(kept + [f"shared {i}" for i in range(20) if i % 4])


def test_a_store_of_an_earlier_program_gets_the_table_for_removals(home: Path) -> None:
    """It was added within the version; without it a store that cannot be written still reads."""
    with Store(home) as store:
        store.create_study(make_spec())
        store.add_note("reviews", "x")
    with sqlite3.connect(home / "studies.db") as connection:
        connection.execute("DROP TABLE autoglm_note_removals")
    with Store(home) as store:
        assert store.remove_note(store.notes("reviews")[0]["id"])
        assert len(store.removed_notes("reviews")) == 1


def test_notes_follow_a_study_that_is_renamed_and_go_with_it(store: Store, study: str) -> None:
    """The removals too."""
    store.remove_note(store.add_note(study, "x"))
    store.add_note(study, "y")
    store.rename_study(study, "new")
    assert len(store.notes("new")) == len(store.removed_notes("new")) == 1
    store.delete_study("new")
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM autoglm_note_removals").fetchone()[0] == 0
