"""What every route shares: who may ask, the envelope, ETags, and threads for everything that blocks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import responses
from typing import Any, TypeVar

from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError

from autoglm_nb.errors import AutoGLMError, DiskFullError, StoreError, StoreVersionError, StudyNotFoundError, UsageError
from autoglm_nb.server.answers import Answer, envelope
from autoglm_nb.server.changes import Refused
from autoglm_nb.server.desk import Desk
from autoglm_nb.server.metrics import Metrics

__all__ = ["RESOURCE", "BaseHandler"]

RESOURCE = "autoglm"
"""What an authoriser of Jupyter is asked about: may this user read or write it?"""

T = TypeVar("T")

MAX_BODY = 64 * 1024
"""Bytes in the body of a request."""

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (StudyNotFoundError, 404),
    (UsageError, 400),
    (Refused, 409),
    (StoreVersionError, 409),
    (DiskFullError, 507),
    (StoreError, 503),
)

_SENTENCES = {
    403: "This needs a login to the Jupyter server or its token, and a user who may do it.",
    404: "There is no such route; openapi.json lists them.",
    405: "This route has no such method; openapi.json lists what each has.",
}


class BaseHandler(APIHandler):
    """A route of this extension. Methods of subclasses stand under `@web.authenticated` and `@authorized`.

    Args:
        desk: answers every question.
        threads: where blocking calls run.
        metrics: counts requests.
        route: the route's name in the document and in the metrics.
    """

    auth_resource = RESOURCE

    def initialize(self, desk: Desk, threads: ThreadPoolExecutor, metrics: Metrics, route: str) -> None:
        self.desk = desk
        self.threads = threads
        self.metrics = metrics
        self.route = route
        self.started = time.perf_counter()
        self._etag: str | None = None

    @property
    def _track_activity(self) -> bool:  # type: ignore[override]
        """Looking is no activity: a sidebar left open must not keep an idle server from being culled."""
        return self.request.method not in ("GET", "HEAD")

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Runs a blocking call in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, lambda: function(*args, **kwargs))

    def reply(self, data: object, status: int = 200) -> None:
        """Sends data in the envelope."""
        self.set_status(status)
        self.finish(envelope(0, "ok", data))

    def reply_answer(self, answer: Answer) -> None:
        """Sends a kept answer, or 304 where the client has it: by `If-None-Match`, or by `?since=ETAG`."""
        self._etag = f'"{answer.etag}"'
        self.set_header("Cache-Control", "private, no-cache")
        if self.get_query_argument("since", "").strip('"') == answer.etag:
            self.set_header("Etag", self._etag)
            self.set_status(304)
            self.finish()
            return
        self.finish(answer.body)

    def compute_etag(self) -> str | None:
        """The answer's own ETag; Tornado compares it with `If-None-Match`."""
        return self._etag

    def body(self) -> Any:
        """The request's body as JSON.

        Raises:
            UsageError: it is none, or too long.
        """
        if len(self.request.body) > MAX_BODY:
            raise UsageError(f"A request may have {MAX_BODY:,} bytes at most, but got {len(self.request.body):,}.")
        try:
            return json.loads(self.request.body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise UsageError("The request's body must be JSON, but it cannot be read as such.") from None

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number of the query, kept within its bounds.

        Raises:
            UsageError: it is none.
        """
        given = self.get_query_argument(name, "")
        if not given:
            return default
        try:
            return max(low, min(int(given[:20]), high))
        except ValueError:
            raise UsageError(f"`{name}` must be a whole number, but got {given[:40]!r}.") from None

    def flag(self, name: str) -> bool:
        """Whether the query has `name=1` (or `true`)."""
        return self.get_query_argument(name, "").lower() in ("1", "true", "yes")

    def author(self) -> str:
        """The name under which Jupyter knows the user."""
        user = self.current_user
        for field in ("display_name", "name", "username"):
            found = getattr(user, field, None)
            if found:
                return str(found)
        return user if isinstance(user, str) else ""

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """An error that is a sentence needs no traceback in the log."""
        if not isinstance(value, AutoGLMError):
            super().log_exception(typ, value, tb)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Ours have a status of their own."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        super().send_error(_status_of(error) or status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """The envelope, with a sentence; what went wrong inside is for the log alone."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        if isinstance(error, AutoGLMError):
            message = str(error)
        elif isinstance(error, HTTPError) and status_code < 500:
            message = _sentence(error) or _SENTENCES.get(status_code) or responses.get(status_code, "Refused")
        else:
            message = "Something went wrong in the server; its log has the details."
        self._etag = None
        self.finish(envelope(status_code, message))

    def on_finish(self) -> None:
        self.metrics.count(self.route, str(self.request.method), self.get_status(), time.perf_counter() - self.started)
        super().on_finish()


def _status_of(error: object) -> int | None:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), None)


def _sentence(error: HTTPError) -> str:
    message = error.log_message or ""
    try:
        return message % error.args if error.args else message
    except (TypeError, ValueError):
        return message


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
