"""What arrives in the store: control requests and notes, and nothing of what is not understood."""

from __future__ import annotations

import json

import pytest

from autoglm_nb.errors import AutoGLMError
from autoglm_nb.protocol import Action, StudyState
from autoglm_nb.server.changes import Refused
from tests.server.conftest import Client, Study, add_study


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"action": "pause"}, (Action.PAUSE, {})),
        ({"action": "resume", "payload": {}}, (Action.RESUME, {})),
        ({"action": "stop", "payload": None}, (Action.STOP, {})),
        ({"action": "stop", "payload": {"anything": 1}}, (Action.STOP, {})),
        ({"action": "stop_trial", "payload": {"trial": 4}}, (Action.STOP_TRIAL, {"trial": 4})),
        (
            {"action": "enqueue", "payload": {"config": {"learning_rate": 0.001}}},
            (Action.ENQUEUE, {"config": {"learning_rate": 0.001}}),
        ),
    ],
)
def test_a_request_arrives_as_a_row(
    ask: Client, study: Study, body: dict[str, object], expected: tuple[Action, dict[str, object]]
) -> None:
    """With the id that the answer gave."""
    with study.work():
        study.store.set_state(study.name, StudyState.RUNNING)
        reply = ask(f"{study.path}/control", "POST", body)
        assert reply.status == 202
        [request] = study.store.pending(study.name)
    assert (request.action, request.payload) == expected
    assert reply.data == {"id": request.id}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"pause"',
        b'{"action": NaN}',
        b"[" * 50_000,
        json.dumps({"action": "pause", "payload": {"x": "y" * 70_000}}).encode(),
        b"\xff\xfe",
        {},
        {"action": None},
        {"action": "delete"},
        {"action": ["pause"]},
        {"action": "pause", "payload": [1]},
        {"action": "stop_trial"},
        {"action": "stop_trial", "payload": {"trial": "4"}},
        {"action": "stop_trial", "payload": {"trial": True}},
        {"action": "stop_trial", "payload": {"trial": -1}},
        {"action": "stop_trial", "payload": {"trial": 10**30}},
        {"action": "stop_trial", "payload": {"trial": 0}},
        {"action": "stop_trial", "payload": {"trial": 99}},
        {"action": "enqueue"},
        {"action": "enqueue", "payload": {"config": []}},
        {"action": "enqueue", "payload": {"config": {"learning_rate": [1]}}},
        {"action": "enqueue", "payload": {"config": {"learning_rate": 5.0}}},
        {"action": "enqueue", "payload": {"config": {"nothing": 1}}},
        {"action": "enqueue", "payload": {"config": {"learning_rate": "x" * 20_000}}},
    ],
)
def test_what_is_not_understood_leaves_no_row(ask: Client, study: Study, body: object) -> None:
    """Refused with a sentence, whatever it is."""
    with study.work():
        study.store.set_state(study.name, StudyState.RUNNING)
        reply = ask(f"{study.path}/control", "POST", body)
    assert reply.status == 400 and reply.refusal
    assert study.store.pending(study.name) == []


@pytest.mark.parametrize("action", ["pause", "resume", "stop"])
def test_without_a_worker_nothing_is_promised(ask: Client, study: Study, action: str) -> None:
    """The server starts no workers: it says how to go on. A row would wait for a worker that was meant otherwise."""
    study.store.set_state(study.name, StudyState.RUNNING)  # interrupted: no lease
    reply = ask(f"{study.path}/control", "POST", {"action": action})
    assert reply.status == 409 and "%autotune resume reviews" in reply.refusal
    study.store.set_state(study.name, StudyState.FINISHED)
    reply = ask(f"{study.path}/control", "POST", {"action": action})
    assert reply.status == 409 and "is finished" in reply.refusal
    assert study.store.pending(study.name) == []


def test_a_waiting_study_can_be_stopped_and_a_configuration_waits_for_the_next_worker(
    ask: Client, study: Study
) -> None:
    """Its worker looks at requests while it waits; it has no lease."""
    assert ask(f"{study.path}/control", "POST", {"action": "stop"}).status == 202
    assert ask(f"{study.path}/control", "POST", {"action": "resume"}).status == 409
    study.store.set_state(study.name, StudyState.STOPPED)
    body = {"action": "enqueue", "payload": {"config": {"learning_rate": 0.001}}}
    assert ask(f"{study.path}/control", "POST", body).status == 202
    assert [r.action for r in study.store.pending(study.name)] == [Action.STOP, Action.ENQUEUE]


def test_notes_go_there_and_back_with_their_author(ask: Client, study: Study) -> None:
    """The author is who Jupyter says it is, never what the body says; text stays as it was typed."""
    text = '<img src=x onerror="alert(1)"> 好 \U0001f600 %s'
    body = {"trial": 3, "kind": "comment", "text": text, "author": "somebody else", "id": "mine", "created_at": 0}
    made = ask(f"{study.path}/notes", "POST", body)
    assert made.status == 201
    [note] = ask(f"{study.path}/notes").data["notes"]
    assert note == study.store.notes(study.name)[0]
    assert (note["id"], note["trial"], note["kind"], note["text"]) == (made.data["id"], 3, "comment", text)
    assert note["author"] == "Ada <b>Lovelace</b>" and note["created_at"] > 1e9
    assert ask(study.path).data["notes"] == [note]
    assert ask(f"{study.path}/notes/{note['id']}", "DELETE").data == {"removed": True}
    assert ask(f"{study.path}/notes").data["notes"] == []
    assert ask(f"{study.path}/notes/{note['id']}", "DELETE").data == {"removed": False}


def test_a_star_is_set_and_taken_back(ask: Client, study: Study) -> None:
    """As the front end does it: text `1` sets, an empty text takes back."""
    page = f"{study.path}?trials=1&filter=is:starred"
    for _ in range(2):
        ask(f"{study.path}/notes", "POST", {"trial": 3, "kind": "star", "text": "1"})
    assert [t["number"] for t in ask(page).data["trials"]] == [3]
    assert ask(f"{study.path}/notes", "POST", {"trial": 3, "kind": "star", "text": ""}).data == {"id": None}
    assert ask(page).data["trials"] == []
    assert study.store.notes(study.name) == []


def test_notes_on_the_study_and_tags(ask: Client, study: Study) -> None:
    """`trial` null or left out means the study."""
    for body in ({"text": "all"}, {"trial": None, "kind": "tag", "text": "paper"}):
        assert ask(f"{study.path}/notes", "POST", body).status == 201
    notes = ask(f"{study.path}/notes").data["notes"]
    assert [(n["trial"], n["kind"], n["text"]) for n in notes] == [(None, "comment", "all"), (None, "tag", "paper")]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"text": "  "},
        {"text": None},
        {"text": 5},
        {"text": "x" * 10_001},
        {"text": "x", "kind": "blog"},
        {"text": "x", "kind": None},
        {"text": "x", "kind": ["star"]},
        {"text": "x", "trial": "3"},
        {"text": "x", "trial": 3.0},
        {"text": "x", "trial": True},
        {"text": "x", "trial": 99},
        {"kind": "star", "text": "1", "trial": 99},
        [],
        b"{",
    ],
)
def test_a_note_that_is_not_understood_is_not_kept(ask: Client, study: Study, body: object) -> None:
    """Refused with a sentence."""
    reply = ask(f"{study.path}/notes", "POST", body)
    assert reply.status == 400 and reply.refusal
    assert study.store.notes(study.name) == []


def test_a_note_of_another_study_is_left_alone(ask: Client, study: Study) -> None:
    """The address names the study, and the id must be its own."""
    other = add_study(study.store, "other")
    id = study.store.add_note("other", "theirs")
    assert ask(f"{study.path}/notes/{id}", "DELETE").data == {"removed": False}
    assert [n["id"] for n in study.store.notes("other")] == [id]
    assert ask(f"{other.path}/notes/{id}", "DELETE").data == {"removed": True}


def test_nothing_else_of_the_store_changes(ask: Client, study: Study) -> None:
    """Every row of every other table is as it was, whatever is asked."""

    def rest() -> list[object]:
        with study.store._read() as connection:
            return [
                [tuple(row) for row in connection.execute(f"SELECT * FROM {table}").fetchall()]
                for table in ("autoglm_runs", "autoglm_leases", "autoglm_meta")
            ]

    before = rest()
    for path in ("studies", "queue", "metrics", study.path, f"{study.path}?trials=1", f"{study.path}/points"):
        ask(path)
    ask(f"{study.path}/control", "POST", {"action": "stop"})
    ask(f"{study.path}/notes", "POST", {"text": "x"})
    assert rest() == before
    assert study.store.state(study.name)[0] is StudyState.QUEUED


def test_a_full_disk_is_a_sentence(ask: Client, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note that could not be kept must not look kept, and the store's path stays here."""
    from autoglm_nb.store import Store
    from autoglm_nb.store._database import disk_full_error

    def full(self: Store, *_: object, **__: object) -> str:
        raise disk_full_error(self.path)

    monkeypatch.setattr(Store, "add_note", full)
    reply = ask(f"{study.path}/notes", "POST", {"text": "x"})
    assert reply.status == 507 and "no room left" in reply.refusal
    assert str(study.store.home.parent) not in reply.refusal


def test_what_goes_wrong_inside_is_for_the_log_alone(
    ask: Client, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback and no inner words in the answer."""
    from autoglm_nb.server import desk

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret inner words")

    monkeypatch.setattr(desk, "snapshot", broken)
    reply = ask(study.path)
    assert reply.status == 500 and "secret" not in reply.refusal


def test_a_refusal_is_an_error_of_ours() -> None:
    """So that it leaves as a sentence."""
    assert issubclass(Refused, AutoGLMError)
