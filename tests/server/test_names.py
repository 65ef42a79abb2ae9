"""Names are untrusted: one segment of an address, whatever is in them, and never a way to another folder."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.server.conftest import Client, Study, add_study


@pytest.mark.parametrize(
    "name",
    [
        "reviews 2",
        "a+b",
        "a=b,c",
        "x(1)@y",
        "ünïcode",
        "研究",
        "1.5e-3",
        "points",
        "control",
        "a" * 100,
        "re-views_2.x",
    ],
)
def test_every_name_that_a_study_can_have_is_reached(ask: Client, study: Study, name: str) -> None:
    """Escaped as `encodeURIComponent` does it."""
    other = add_study(study.store, name)
    for suffix in ("", "?trials=1", "/points", "/notes", "/events"):
        assert ask(other.path + suffix).status == 200, suffix
    assert ask(other.path).data["study"]["name"] == name
    assert ask(f"{other.path}/notes", "POST", {"text": "hello"}).status == 201
    assert [n["text"] for n in study.store.notes(name)] == ["hello"]
    assert name in [line["name"] for line in ask("studies").data["studies"]]


@pytest.mark.parametrize(
    "name",
    ["..", ".", "../reviews", "../../etc/passwd", "a/b", "a\\b", "/", "%2e%2e", "reviews\x00", "reviews\n", "-", "~",
     "<script>", "a?b", "a#b", "con", "..%2f..", "reviews/", "a" * 101, "\u202ereviews", "*", "'; DROP TABLE trials--"],
)  # fmt: skip
def test_a_name_that_no_study_can_have_is_refused(ask: Client, study: Study, name: str) -> None:
    """With the rule; nothing outside the store is touched."""
    for suffix, method, body in (
        ("", "GET", None),
        ("/events", "GET", None),
        ("/notes", "POST", {"text": "x"}),
        ("/control", "POST", {"action": "pause"}),
    ):
        reply = ask(f"studies/{study.home}/{quote(name, safe='')}{suffix}", method, body)
        assert reply.status == 400 and "name must begin with a letter or digit" in reply.refusal
    assert study.store.notes(study.name) == [] and study.store.pending(study.name) == []


@pytest.mark.parametrize(
    "path", ["../../../etc/passwd", "%2e%2e/%2e%2e/x", "..%2f..%2fx", "reviews/../../x", "//x", "reviews%ff", "%"]
)
def test_dots_and_broken_escapes_in_an_address_lead_nowhere(ask: Client, study: Study, path: str) -> None:
    """Sent as they are, without a client's tidying."""
    reply = ask(f"studies/{study.home}/{path}")
    assert reply.status in (400, 404) and reply.refusal


@pytest.mark.parametrize("given", ["0" * 12, "..", "%2e%2e", "f" * 64, "' OR 1=1", "../../x"])
def test_a_store_that_was_not_listed_cannot_be_named(ask: Client, study: Study, given: str) -> None:
    """A hash is looked up, never followed."""
    reply = ask(f"studies/{quote(given, safe='%')}/{study.name}")
    assert reply.status == 404 and reply.refusal


def test_a_study_that_is_gone_is_not_found_and_others_are_not_named(ask: Client, study: Study) -> None:
    """Neither other studies' names nor the store's path are told."""
    add_study(study.store, "secret-project")
    reply = ask(f"studies/{study.home}/secret-projekt")
    assert reply.status == 404
    assert "'secret-project'" not in reply.refusal and str(study.store.home) not in reply.refusal


def test_hostile_text_comes_back_as_text(ask: Client, study: Study) -> None:
    """Model, data and reason of a study that somebody shared."""
    from autoglm_nb.protocol import DataSpec, StudyState

    hostile = '"><script>alert(1)</script>'
    other = add_study(study.store, "hostile", model=hostile, data=DataSpec(hostile, target="label"), notebook=hostile)
    study.store.set_state("hostile", StudyState.FAILED, hostile)
    line = next(x for x in ask("studies").data["studies"] if x["name"] == "hostile")
    assert line["model"] == line["data"] == line["reason"] == hostile
    assert line["notebook"] == "script>" and line["notebook_here"] is False
    assert ask(other.path).data["study"]["model"] == hostile
