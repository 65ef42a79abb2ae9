"""What the lab widget asks of a study, answered from the store: pages, points, control and notes.

Called from threads of the view, never from the one that runs cells. A handle
whose study has no store (it may be acted in a test) is answered from its
snapshot, by a simpler rule.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoglm_nb import settings
from autoglm_nb.errors import AutoGLMError, UsageError
from autoglm_nb.notebook.lab_parts import plain, slim
from autoglm_nb.record import words
from autoglm_nb.record.story import trial_value
from autoglm_nb.store import Store, points, trial_page
from autoglm_nb.store.points import STATE_LETTERS

__all__ = ["MAX_LINES", "MAX_ROWS", "Answers"]

MAX_ROWS = 120
"""Trials in one answer."""

MAX_LINES = 600
"""Trials in an answer that holds configurations: the best ones, since more lines cannot be told apart."""

Reply = tuple[dict[str, Any], list[bytes]]


class Answers:
    """Answers to the requests of one study's views; thread-safe.

    Args:
        handle: the study.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        home = Path(getattr(handle, "home", "."))
        self._store = Store(home, create=False) if (home / "studies.db").is_file() else None

    def reply(self, content: Mapping[str, Any]) -> Reply:
        """The message that answers a request, and its buffers; a failure is a sentence in it."""
        reply: dict[str, Any] = {"kind": "reply", "id": content.get("id")}
        try:
            data, buffers = self._answer(str(content.get("kind")), content)
        except AutoGLMError as error:
            return {**reply, "error": str(error)}, []
        except (KeyError, TypeError, ValueError):
            return {**reply, "error": "The request was not understood. Reload the page."}, []
        return {**reply, "data": data}, buffers

    def _answer(self, kind: str, content: Mapping[str, Any]) -> tuple[Any, list[bytes]]:
        match kind:
            case "page":
                return self._page(content), []
            case "points":
                return self._points(content)
            case "pause" | "resume" | "stop":
                getattr(self._handle, kind)()
            case "stop_trial":
                self._handle.stop_trial(int(content["payload"]["trial"]))
            case "enqueue":
                self._handle.enqueue([dict(content["payload"]["config"])])
            case "note":
                self._note(content)
            case "remove_note":
                self._stored().remove_note(str(content["note"]), self._handle.name)
            case _:
                raise UsageError(f"A view can ask for pages, points, control and notes, but not for {kind[:40]!r}.")
        return None, []

    def _page(self, content: Mapping[str, Any]) -> dict[str, Any]:
        offset = max(0, int(content.get("offset") or 0))
        limit = min(MAX_ROWS, max(0, int(content.get("limit") or 0)))
        sort, order = str(content.get("sort") or "number"), str(content.get("order") or "asc")
        given = words.clean(content.get("filter") or "", 500)
        if self._store is None:
            return _page_of(self._handle.snapshot(), offset, limit, order, given)
        page = trial_page(
            self._store, self._handle.name, offset=offset, limit=limit, sort=sort, order=order, filter=given
        )
        return {"trials": [slim(t) for t in page["trials"]], "total": page["total"]}

    def _points(self, content: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        parameters, objectives = bool(content.get("parameters")), bool(content.get("objectives"))
        if self._store is None:
            trials = sorted(self._handle.snapshot().get("trials") or [], key=lambda t: int(t["number"]))
            found: dict[str, Any] = {
                "numbers": [t["number"] for t in trials],
                "values": [None if t["state"] == "running" else trial_value(t) for t in trials],
                "states": "".join(STATE_LETTERS[t["state"]] for t in trials),
            }
        else:
            found = dict(points(self._store, self._handle.name, parameters=parameters, objectives=objectives))
        if parameters:
            maximize = (self._handle.snapshot().get("study") or {}).get("direction") != "minimize"
            found = _thinned(found, maximize)
        return _packed(found)

    def _note(self, content: Mapping[str, Any]) -> None:
        store, name = self._stored(), self._handle.name
        trial = None if content.get("trial") is None else int(content["trial"])
        kind, text = str(content.get("note_kind") or "comment"), str(content.get("text") or "")
        if kind == "star" and not text:
            store.unstar(name, trial)
        else:
            store.add_note(name, "" if kind == "star" else text, trial=trial, kind=kind, author=settings.author())

    def _stored(self) -> Store:
        if self._store is None:
            raise UsageError("Notes need a stored study, but this one has no store.")
        return self._store


def _packed(found: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """Numbers as a range where they have no gaps, values as 32-bit floats in a buffer (NaN: none)."""
    numbers, values = found.pop("numbers"), found.pop("values")
    count = len(numbers)
    whole = count > 0 and numbers[-1] - numbers[0] == count - 1
    floats = struct.pack(f"<{count}f", *[math.nan if v is None else _single(v) for v in values])
    rest = plain({key: column for key, column in found.items() if key != "states"})
    where = {"first": numbers[0], "numbers": None} if whole else {"first": None, "numbers": numbers}
    return {**rest, **where, "count": count, "states": found["states"]}, [floats]


def _single(value: float) -> float:
    """Kept within what a 32-bit float holds."""
    return max(-3.4e38, min(3.4e38, value))


def _thinned(found: dict[str, Any], maximize: bool) -> dict[str, Any]:
    """The best completed trials and the newest ones, when there are more than `MAX_LINES`."""
    count = len(found["numbers"])
    if count <= MAX_LINES:
        return found
    values = found["values"]
    done = [i for i in range(count) if found["states"][i] == "c" and values[i] is not None]
    best = sorted(done, key=lambda i: -values[i] if maximize else values[i])[: MAX_LINES // 2]
    stride = math.ceil(count / (MAX_LINES // 2))
    kept = sorted({*best, *range(0, count, stride), count - 1})

    def cut(column: Any) -> Any:
        return "".join(column[i] for i in kept) if isinstance(column, str) else [column[i] for i in kept]

    out = {key: cut(found[key]) for key in ("numbers", "values", "states")}
    if "parameters" in found:
        out["parameters"] = {
            name: {"choices": c["choices"], "values": cut(c["values"])} for name, c in found["parameters"].items()
        }
    if "proposed_by" in found:
        out["proposed_by"] = {**found["proposed_by"], "values": cut(found["proposed_by"]["values"])}
    if "objectives" in found:
        out["objectives"] = [cut(c) for c in found["objectives"]]
    return out


def _page_of(snapshot: Mapping[str, Any], offset: int, limit: int, order: str, given: str) -> dict[str, Any]:
    """A page by number of the trials at hand whose state holds the filter."""
    trials = [t for t in snapshot.get("trials") or [] if given.lower() in str(t.get("state"))]
    trials.sort(key=lambda t: int(t["number"]), reverse=order == "desc")
    return {"trials": [slim(t) for t in trials[offset : offset + limit]], "total": len(trials)}
