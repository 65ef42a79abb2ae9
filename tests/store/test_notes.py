"""Notes: nobody overwrites anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoglm_nb.errors import StudyNotFoundError, UsageError
from autoglm_nb.store import Store
from tests.store.conftest import Python, heard, tell


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
