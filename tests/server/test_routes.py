"""Every route against a real server: the envelope, and the OpenAPI document as the contract of what comes back."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator import validate as validate_document

from autoglm_nb.server.openapi import document
from autoglm_nb.server.routes import PREFIX, ROUTES
from autoglm_nb.store import EventWriter, snapshot
from tests.server.conftest import BASE, Client, Server, Study

BODIES = {
    "control": {"action": "enqueue", "payload": {"config": {"learning_rate": 1e-3}}},
    "add_note": {"trial": 3, "kind": "comment", "text": "worth a look"},
}


def _operations() -> list[tuple[str, str, str]]:
    return [
        (path, method, operation["operationId"])
        for path, item in document()["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "delete")
    ]


def _resolved(node: Any) -> Any:
    """The document's schema with references into `$defs` of its own."""
    return json.loads(json.dumps(node).replace("#/components/schemas/", "#/$defs/"))


def _address(path: str, study: Study) -> str:
    note = study.store.add_note(study.name, "for the route") if "{id}" in path else ""
    return path.lstrip("/").replace("studies/{home}/{name}", study.path).replace("{id}", note)


def test_the_document_is_openapi(ask: Client) -> None:
    """Served without the envelope, as readers expect it, and right by OpenAPI's own schema."""
    reply = ask("openapi.json")
    assert reply.status == 200 and reply.headers["Content-Type"].startswith("application/json")
    validate_document(reply.json, cls=OpenAPIV31SpecValidator)
    assert reply.json == json.loads(json.dumps(document()))
    assert reply.json["servers"] == [{"url": ".", "description": "the folder that this document is in"}]


def test_the_document_and_the_table_name_the_same_routes() -> None:
    """Paths, and the methods that each handler has."""
    served = {
        (path, method)
        for _, path, handler in ROUTES
        for method in ("get", "post", "put", "patch", "delete")
        if method in vars(handler)
    }
    assert served == {(path, method) for path, method, _ in _operations()}


@pytest.mark.parametrize(("path", "method", "operation"), _operations())
def test_an_answer_is_what_the_document_says(ask: Client, study: Study, path: str, method: str, operation: str) -> None:
    """Status, content type and every field, by the document's schema."""
    with EventWriter(study.store.study_dir(study.name) / "events.jsonl") as events:
        events.emit("message", level="info", text="hello")
    reply = ask(_address(path, study), method.upper(), BODIES.get(operation))
    described = document()["paths"][path][method]["responses"]
    assert str(reply.status) in described, reply.body
    [kind] = described[str(reply.status)]["content"]
    assert reply.headers["Content-Type"].startswith(kind)
    if operation in ("metrics", "openapi"):
        return
    schema = _resolved(described[str(reply.status)]["content"][kind]["schema"])
    schema["$defs"] = _resolved(document()["components"]["schemas"])
    jsonschema.Draft202012Validator(schema).validate(reply.json)
    assert reply.data is not None and set(reply.json) == {"code", "message", "data"}


@pytest.mark.parametrize("query", ["?trials=1", "/points?parameters=1&objectives=1", "?trials=1&limit=0"])
def test_the_other_forms_of_an_answer_are_in_the_document_too(ask: Client, study: Study, query: str) -> None:
    """A page instead of the picture, and columns beside the points."""
    name = "Points" if "points" in query else "TrialPage"
    schema = {"$ref": f"#/$defs/{name}", "$defs": _resolved(document()["components"]["schemas"])}
    jsonschema.Draft202012Validator(schema).validate(ask(study.path + query).data)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("", "GET", 404),
        ("nothing", "GET", 404),
        ("nothing", "POST", 404),
        ("studies/", "GET", 404),
        ("studies/0123456789ab", "GET", 404),
        ("studies/0123456789AB/name", "GET", 404),
        ("studies/0123456789ab/name", "GET", 404),
        ("studies/0123456789ab/name/points/more", "GET", 404),
        ("studies?state=dancing", "GET", 400),
        ("health", "POST", 405),
        ("studies", "DELETE", 405),
    ],
)
def test_a_refusal_is_an_envelope_with_a_sentence(ask: Client, path: str, method: str, status: int) -> None:
    """Also where there is no route: a client never has to read a page."""
    reply = ask(path, method, b"{}" if method == "POST" else None)
    assert reply.status == status
    assert reply.headers["Content-Type"].startswith("application/json")
    assert len(reply.refusal.split()) > 3


@pytest.mark.parametrize(
    "query", ["limit=many", "offset=1.5", "sort=spec", "order=up", "filter=method%3Elora", "sort=number%3B--"]
)
def test_a_page_that_is_not_understood_is_refused(ask: Client, study: Study, query: str) -> None:
    """With the rule and what was given."""
    reply = ask(f"{study.path}?trials=1&{query}")
    assert reply.status == 400 and reply.refusal


def test_the_head_is_the_snapshot_without_trials(ask: Client, study: Study) -> None:
    """The same picture that every other view draws."""
    assert ask(study.path).data == json.loads(json.dumps(snapshot(study.store, study.name, limit=0)))


def test_a_page_is_sorted_and_filtered(ask: Client, study: Study) -> None:
    """The best first, and only those that were completed."""
    data = ask(f"{study.path}?trials=1&sort=value&order=desc&filter=completed&limit=1").data
    assert (data["total"], [t["number"] for t in data["trials"]]) == (2, [3])
    data = ask(f"{study.path}?trials=1&sort=config.rank&order=asc&offset=1&limit=2").data
    assert [t["number"] for t in data["trials"]] == [0, 1]
    assert len(ask(f"{study.path}?trials=1&offset=-5&limit=99999").data["trials"]) == 5


def test_points_are_small(ask: Client, study: Study) -> None:
    """One letter a state."""
    assert ask(f"{study.path}/points").data == {
        "numbers": [0, 1, 2, 3, 4],
        "values": [0.5, 0.6, None, 0.8, None],
        "states": "cpfcr",
    }


def test_events_come_after_the_one_that_was_seen(ask: Client, study: Study) -> None:
    """At most the newest five hundred, and none where there is no file."""
    assert ask(f"{study.path}/events").data == {"events": [], "n": 0}
    with EventWriter(study.store.study_dir(study.name) / "events.jsonl") as events:
        for index in range(600):
            events.emit("message", level="info", text=f"<i>{index}</i>")
    data = ask(f"{study.path}/events?after=598").data
    assert [e["n"] for e in data["events"]] == [599, 600] and data["n"] == 600
    assert data["events"][0]["data"] == {"level": "info", "text": "<i>598</i>"}
    assert [e["n"] for e in ask(f"{study.path}/events").data["events"]] == list(range(101, 601))
    assert ask(f"{study.path}/events?after=600").data == {"events": [], "n": 600}
    assert ask(f"{study.path}/events?after=-3").status == 200
    assert ask(f"{study.path}/events?after=x").status == 400


def test_the_routes_lie_below_the_base_url_alone(jupyter: Server) -> None:
    """A server behind a proxy or on JupyterHub sees its own prefix, escaped as it was given."""
    assert BASE != "/"
    assert jupyter.client.raw(f"{BASE}{PREFIX}health").status == 200
    assert jupyter.client.raw(f"/{PREFIX}health").status == 404


def test_no_answer_names_a_folder_of_this_machine_or_the_host(ask: Client, study: Study) -> None:
    """Neither in good answers nor in sentences: a hash stands for the store."""
    paths = ["health", "metrics", "openapi.json", "studies", "queue", "resources", study.path]
    paths += [f"{study.path}{suffix}" for suffix in ("?trials=1", "/points", "/notes", "/events", "/record", "-other")]
    with study.work():
        answers = [ask(path).body.decode() for path in paths]
    for answer in answers:
        assert str(study.store.home) not in answer and str(study.store.home.parent) not in answer
