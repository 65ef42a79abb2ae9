"""The OpenAPI document of the routes, for other programs that want to read studies or ask for things.

Written by hand where it says what a route is for, and derived from the records
where it says what comes back. Addresses are relative to the document's own, so
that it is right below any base URL and behind any proxy.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from autoglm_nb import __version__
from autoglm_nb.protocol import Action, NoteSnapshot, Snapshot, StudyState
from autoglm_nb.server.places import ID_PATTERN
from autoglm_nb.server.schemas import schema
from autoglm_nb.store import Points, StudyLine, TrialPage
from autoglm_nb.store.notes import KINDS, LONGEST_NOTE
from autoglm_nb.store.trial_pages import MAX_PAGE, SORT_KEYS

__all__ = ["document"]

_STRING, _INTEGER, _NUMBER, _BOOLEAN = ({"type": t} for t in ("string", "integer", "number", "boolean"))
_STUDY = "/studies/{home}/{name}"


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The document, version 3.1.0."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "autoglm_nb",
            "version": __version__,
            "description": (
                "Studies of a Jupyter server: read them, ask their workers for something, and leave notes. "
                "Every answer but `metrics` and this document is `{code, message, data}`; `code` is 0, or the HTTP "
                "status beside a sentence. Lists and pictures carry an ETag and answer 304 while nothing has changed."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": ".", "description": "the folder that this document is in"}],
        "security": [{"token": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`token ...` with the Jupyter server's token. A browser's login cookie works too; "
                    "it needs the `X-XSRFToken` header for everything but GET.",
                }
            },
            "parameters": {
                "home": _parameter("home", "path", {**_STRING, "pattern": f"^{ID_PATTERN}$"}, "A store, as listed."),
                "name": _parameter("name", "path", _STRING, "A study's name, escaped as one segment."),
                "since": _parameter("since", "query", _STRING, "An ETag: 304 while it is still right."),
            },
            "responses": {
                "Refused": {
                    "description": "What was wrong, in a sentence.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
                },
                "NotModified": {"description": "Nothing has changed since that ETag."},
            },
            "schemas": _schemas(),
        },
    }


def _paths() -> dict[str, Any]:
    trial = {"anyOf": [{**_INTEGER, "minimum": 0}, {"type": "null"}]}
    control = _object({"action": {**_STRING, "enum": [str(a) for a in Action]}, "payload": {"type": "object"}})
    control["required"] = ["action"]
    note = _object(
        {"trial": trial, "kind": {**_STRING, "enum": list(KINDS)}, "text": {**_STRING, "maxLength": LONGEST_NOTE}}
    )
    note["required"] = []
    whole = [_ref("parameters", "home"), _ref("parameters", "name")]
    return {
        "/health": {"get": _get("health", "Whether every store can be read.", "Health")},
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Figures for Prometheus.",
                "responses": {"200": {"description": "Text.", "content": {"text/plain": {"schema": _STRING}}}},
            }
        },
        "/openapi.json": {
            "get": {
                "operationId": "openapi",
                "summary": "This document, without the envelope.",
                "responses": {
                    "200": {"description": "OpenAPI.", "content": {"application/json": {"schema": {"type": "object"}}}}
                },
            }
        },
        "/studies": {
            "get": _get(
                "studies",
                "Every study in one line: working ones first, then those that wait, then the latest changed.",
                "Studies",
                [
                    _query("state", _STRING, f"Comma-separated, of {', '.join(StudyState)}."),
                    _ref("parameters", "since"),
                ],
                kept=True,
            )
        },
        _STUDY: {
            "parameters": whole,
            "get": _get("study", "A study without its trials, or a page of them.", None, _page_query(), kept=True),
        },
        f"{_STUDY}/points": {
            "parameters": whole,
            "get": _get(
                "points",
                "Every trial as arrays, for plots.",
                "Points",
                [
                    _query("parameters", _BOOLEAN, "Add a column for each hyper-parameter."),
                    _query("objectives", _BOOLEAN, "Add every objective."),
                    _ref("parameters", "since"),
                ],
                kept=True,
            ),
        },
        f"{_STUDY}/control": {
            "parameters": whole,
            "post": _post("control", "Ask the study's worker; it looks twice a second.", control, "Request", "202"),
        },
        f"{_STUDY}/record": {
            "parameters": whole,
            "get": _get(
                "record",
                "The record as a notebook's output holds it.",
                "Record",
                [_ref("parameters", "since")],
                kept=True,
            ),
        },
        f"{_STUDY}/notes": {
            "parameters": whole,
            "get": _get("notes", "Its notes, oldest first.", "Notes", [_ref("parameters", "since")], kept=True),
            "post": _post(
                "add_note", "Leave a note. A star with an empty text takes the stars back.", note, "NewNote", "201"
            ),
        },
        f"{_STUDY}/notes/{{id}}": {
            "parameters": [*whole, _parameter("id", "path", _STRING, "The note's id.")],
            "delete": {**_get("remove_note", "Remove a note.", "Removed")},
        },
        f"{_STUDY}/events": {
            "parameters": whole,
            "get": _get(
                "events",
                "What moved after an event: at most the newest 500.",
                "Events",
                [_query("after", {**_INTEGER, "minimum": 0}, "The number of the last event seen.")],
            ),
        },
        "/queue": {"get": _get("queue", "Devices in use, and who waits for each.", "Queue", kept=True)},
        "/resources": {"get": _get("resources", "The machine and its workers now.", "Resources")},
    }


def _page_query() -> list[dict[str, Any]]:
    return [
        _query("trials", _BOOLEAN, "1: a page of trials instead of the picture."),
        _query("offset", {**_INTEGER, "minimum": 0}, "Matching trials before the page."),
        _query("limit", {**_INTEGER, "minimum": 0, "maximum": MAX_PAGE}, "Trials in the page."),
        _query("sort", _STRING, f"{', '.join(SORT_KEYS)}, config.NAME or metrics.NAME."),
        _query("order", {**_STRING, "enum": ["asc", "desc"]}, "Trials without that value come last in both."),
        _query("filter", _STRING, "Words and comparisons that must all hold: `pruned lora rank>=16 tag:keep`."),
        _ref("parameters", "since"),
    ]


def _schemas() -> dict[str, Any]:
    line = schema(StudyLine)
    nullable = {"anyOf": [_NUMBER, {"type": "null"}]}
    line["properties"] |= {"home": _STRING, "folder": _STRING, "notebook_here": _BOOLEAN}
    line["required"] += ["home", "folder", "notebook_here"]
    fault = _object({"home": _STRING, "folder": _STRING, "message": _STRING})
    usage = {"cpu_percent": _NUMBER, "memory_gb": _NUMBER, "gpu_percent": nullable, "gpu_memory_gb": nullable}
    machine = {**usage, "cpu_count": _INTEGER, "memory_percent": _NUMBER, "memory_total_gb": _NUMBER}
    worker = {**usage, "home": _STRING, "study": _STRING, "device": _STRING, "pid": _INTEGER}
    waiting = _object({"name": _STRING, "since": _NUMBER, "reason": _STRING})
    device = _object({"home": _STRING, "device": _STRING, "holder": _STRING, "waiting": _array(waiting)})
    event = _object({"n": _INTEGER, "t": _NUMBER, "type": _STRING, "data": {"type": "object"}})
    return {
        "Refusal": _object(
            {"code": {**_INTEGER, "minimum": 400}, "message": {**_STRING, "minLength": 1}, "data": {"type": "null"}}
        ),
        "Snapshot": schema(Snapshot),
        "TrialPage": schema(TrialPage),
        "Points": schema(Points),
        "Record": _object({"bundle": {"type": "object"}}),
        "StudyLine": line,
        "Studies": _object({"studies": _array(_ref("schemas", "StudyLine")), "faults": _array(fault), "etag": _STRING}),
        "Notes": _object({"notes": _array(schema(NoteSnapshot))}),
        "NewNote": _object({"id": {"anyOf": [_STRING, {"type": "null"}]}}),
        "Removed": _object({"removed": _BOOLEAN}),
        "Request": _object({"id": _INTEGER}),
        "Events": _object({"events": _array(event), "n": _INTEGER}),
        "Queue": _object({"devices": _array(device)}),
        "Resources": _object({"t": _NUMBER, "machine": _object(machine), "workers": _array(_object(worker))}),
        "Health": _object(
            {
                "status": {**_STRING, "enum": ["ok", "degraded"]},
                "version": _STRING,
                "stores": _INTEGER,
                "faults": _array(fault),
            }
        ),
    }


def _get(
    id: str, summary: str, data: str | None, parameters: list[dict[str, Any]] | None = None, *, kept: bool = False
) -> dict[str, Any]:
    content = _ref("schemas", data) if data else {"anyOf": [_ref("schemas", "Snapshot"), _ref("schemas", "TrialPage")]}
    answer: dict[str, Any] = {"description": summary, "content": {"application/json": {"schema": _enveloped(content)}}}
    found: dict[str, Any] = {"operationId": id, "summary": summary, "responses": {"200": answer}}
    if kept:
        answer["headers"] = {"ETag": {"schema": _STRING}}
        found["responses"]["304"] = _ref("responses", "NotModified")
    found["responses"]["default"] = _ref("responses", "Refused")
    if parameters:
        found["parameters"] = parameters
    return found


def _post(id: str, summary: str, body: dict[str, Any], data: str, status: str) -> dict[str, Any]:
    found = _get(id, summary, data)
    found["responses"][status] = found["responses"].pop("200")
    found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found


def _enveloped(data: dict[str, Any]) -> dict[str, Any]:
    return _object({"code": {"const": 0}, "message": _STRING, "data": data})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _ref(group: str, name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/{group}/{name}"}


def _query(name: str, kind: dict[str, Any], description: str) -> dict[str, Any]:
    return _parameter(name, "query", kind, description)


def _parameter(name: str, where: str, kind: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": kind, "description": description}
