"""Nothing has changed: 304, and nothing is read for it."""

from __future__ import annotations

import pytest

from autoglm_nb.protocol import RunRole, StudyState, TrialState
from autoglm_nb.server.answers import Answers
from autoglm_nb.store import EventWriter
from tests.server.conftest import Client, Server, Study, add_study

KEPT = ("", "?trials=1", "/points", "/notes")


def _etag(ask: Client, path: str) -> str:
    reply = ask(path)
    assert reply.status == 200
    return reply.headers["Etag"]


def _again(ask: Client, path: str, etag: str) -> int:
    return ask(path, headers={**ask.headers, "If-None-Match": etag}).status


@pytest.mark.parametrize("suffix", KEPT)
def test_an_unchanged_answer_is_304(ask: Client, study: Study, suffix: str) -> None:
    """By the header, by a weak form of it, among others, and by the query; without a body."""
    etag = _etag(ask, study.path + suffix)
    assert etag.startswith('"')
    for given in (etag, f"W/{etag}", f'"other", {etag}'):
        reply = ask(study.path + suffix, headers={**ask.headers, "If-None-Match": given})
        assert (reply.status, reply.body) == (304, b"")
    assert _again(ask, study.path + suffix, '"other"') == 200
    sign = "&" if "?" in suffix else "?"
    since = ask(f"{study.path}{suffix}{sign}since={etag.strip(chr(34))}")
    assert (since.status, since.body, since.headers["Etag"]) == (304, b"", etag)
    assert ask(f"{study.path}{suffix}{sign}since=other").status == 200


def test_the_list_says_its_own_etag(ask: Client, study: Study) -> None:
    """For a client that polls by the query."""
    data = ask("studies").data
    assert ask(f"studies?since={data['etag']}").status == 304
    study.store.set_state(study.name, StudyState.STOPPED)
    changed = ask(f"studies?since={data['etag']}")
    assert changed.status == 200 and changed.data["studies"][0]["state"] == "stopped"
    assert changed.headers["Etag"] == f'"{changed.data["etag"]}"'


def test_what_changes_is_sent_and_the_rest_is_not(ask: Client, study: Study) -> None:
    """A note is no point; an event changes the picture alone."""
    paths = {suffix: study.path + suffix for suffix in KEPT}
    etags = {suffix: _etag(ask, path) for suffix, path in paths.items()}
    study.store.add_note(study.name, "look")
    statuses = {suffix: _again(ask, path, etags[suffix]) for suffix, path in paths.items()}
    assert statuses == {"": 200, "?trials=1": 304, "/points": 304, "/notes": 200}
    etags = {suffix: _etag(ask, path) for suffix, path in paths.items()}
    with EventWriter(study.store.study_dir(study.name) / "events.jsonl") as events:
        events.emit("message", level="info", text="hello")
    statuses = {suffix: _again(ask, path, etags[suffix]) for suffix, path in paths.items()}
    assert statuses == {"": 200, "?trials=1": 304, "/points": 304, "/notes": 304}
    study.store.end_run(study.name, "trial-0004", TrialState.COMPLETED, value=0.9)
    assert _again(ask, paths["/points"], etags["/points"]) == 200
    assert ask(paths["/points"]).data["values"][4] == 0.9


def test_a_study_that_is_left_alone_is_not_read_again(
    jupyter: Server, ask: Client, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another study of the same store goes on, and its worker's heart beats."""
    from autoglm_nb.server import desk

    read: list[str] = []
    original = desk.points

    def counted(store: object, name: str, **asked: bool) -> object:
        read.append(name)
        return original(store, name, **asked)  # type: ignore[arg-type]

    monkeypatch.setattr(desk, "points", counted)
    other = add_study(study.store, "other")
    with other.work() as lease:
        ask(f"{study.path}/points")
        for number in range(3):
            lease.heartbeat()
            study.store.start_run("other", f"more-{number}", RunRole.TRIAL, config={}, trial=10 + number)
            ask(f"{study.path}/points")
    assert read == [study.name]


def test_a_store_that_was_made_anew_is_another(ask: Client, study: Study) -> None:
    """The folder was deleted and a study of the same name begun."""
    import shutil

    from autoglm_nb.store import Store

    etag = _etag(ask, study.path)
    home = study.store.home
    study.store.close()
    shutil.rmtree(home)
    assert ask(study.path).status == 404
    with Store(home) as store:
        add_study(store, study.name, model="another")
        reply = ask(study.path)
        assert reply.status == 200 and reply.headers["Etag"] != etag
        assert reply.data["study"]["model"] == "another"


def test_answers_are_kept_by_what_was_asked_and_forgotten_when_there_are_too_many() -> None:
    """The least recently asked goes first; one answer is kept however large."""
    answers, made = Answers(limit=1000), []

    def make(name: str) -> dict[str, str]:
        made.append(name)
        return {"name": name, "text": "x" * 300}

    for name in ("a", "b", "a", "c", "a", "b"):  # c pushes b out
        answers.get(name, 1, lambda name=name: make(name))
    assert made == ["a", "b", "c", "b"]
    first = answers.get("a", 2, lambda: make("a"))
    assert answers.get("a", 2, lambda: {}) is first and made[-1] == "a"
    assert answers.get("large", 1, lambda: {"text": "x" * 5000}) is answers.get("large", 1, lambda: {})


def test_an_etag_follows_the_content_and_not_the_moment() -> None:
    """It is the same in another server, and after a change that shows nothing."""
    one, two = Answers(), Answers()
    assert one.get("a", 1, lambda: {"x": 1}).etag == two.get("b", 2, lambda: {"x": 1}).etag
    assert one.get("a", 2, lambda: {"x": 1}).etag == one.get("a", 3, lambda: {"x": 1}).etag
    assert one.get("a", 4, lambda: {"x": 2}).etag != two.get("b", 2, lambda: {}).etag


def test_half_a_character_does_not_break_an_answer() -> None:
    """Untrusted text may hold a lone surrogate, which has no UTF-8."""
    body = Answers().get("a", 1, lambda: {"text": "\ud800 ü <b>"}).body
    assert b"\\ud800" in body and body.isascii()
