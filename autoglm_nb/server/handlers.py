"""One class a route: what is asked, in a thread, and the answer. Nothing is decided here."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.web import HTTPError

from autoglm_nb.errors import UsageError
from autoglm_nb.protocol import StudyState
from autoglm_nb.server._base import BaseHandler
from autoglm_nb.server.metrics import CONTENT_TYPE
from autoglm_nb.server.openapi import document
from autoglm_nb.store.trial_pages import MAX_PAGE

__all__ = [
    "ControlHandler",
    "EventsHandler",
    "HealthHandler",
    "MetricsHandler",
    "NoteHandler",
    "NotesHandler",
    "OpenApiHandler",
    "PointsHandler",
    "QueueHandler",
    "RecordHandler",
    "ResourcesHandler",
    "StudiesHandler",
    "StudyHandler",
    "UnknownHandler",
]

_MAX_FILTER = 500


class HealthHandler(BaseHandler):
    """`GET health`: 200 with `status` ok or degraded, as long as the server answers at all."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.reply(await self.call(self.desk.health))


class MetricsHandler(BaseHandler):
    """`GET metrics`: Prometheus' text format."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        text = await self.call(self.metrics.text)
        self.finish(text, set_content_type=CONTENT_TYPE)


class OpenApiHandler(BaseHandler):
    """`GET openapi.json`: the document as OpenAPI readers expect it, without the envelope."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.finish(document())


class StudiesHandler(BaseHandler):
    """`GET studies?state=running,paused`: one line a study."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        given = {s for text in self.get_query_arguments("state") for s in text.split(",") if s}
        unknown = sorted(given - {str(s) for s in StudyState})
        if unknown:
            raise UsageError(f"`state` must be among {', '.join(StudyState)}, but got {unknown[0][:40]!r}.")
        self.reply_answer(await self.call(self.desk.studies, frozenset(given)))


class StudyHandler(BaseHandler):
    """`GET studies/<home>/<name>`: the snapshot without trials, or with `?trials=1` a page of them."""

    @web.authenticated
    @authorized
    async def get(self, home: str, name: str) -> None:
        if not self.flag("trials"):
            self.reply_answer(await self.call(self.desk.head, home, name))
            return
        asked = {
            "offset": self.integer("offset", 0, 0, 2**31),
            "limit": self.integer("limit", 100, 0, MAX_PAGE),
            "sort": self.get_query_argument("sort", "number"),
            "order": self.get_query_argument("order", "asc"),
            "filter": self.get_query_argument("filter", "")[:_MAX_FILTER],
        }
        self.reply_answer(await self.call(self.desk.page, home, name, **asked))


class PointsHandler(BaseHandler):
    """`GET studies/<home>/<name>/points`: every trial as arrays."""

    @web.authenticated
    @authorized
    async def get(self, home: str, name: str) -> None:
        parameters, objectives = self.flag("parameters"), self.flag("objectives")
        answer = await self.call(self.desk.points, home, name, parameters=parameters, objectives=objectives)
        self.reply_answer(answer)


class RecordHandler(BaseHandler):
    """`GET studies/<home>/<name>/record`: the record as a notebook's output holds it, by MIME type."""

    @web.authenticated
    @authorized
    async def get(self, home: str, name: str) -> None:
        self.reply_answer(await self.call(self.desk.record, home, name))


class ControlHandler(BaseHandler):
    """`POST studies/<home>/<name>/control`: a request for the study's worker."""

    @web.authenticated
    @authorized
    async def post(self, home: str, name: str) -> None:
        self.reply(await self.call(self.desk.control, home, name, self.body()), 202)


class NotesHandler(BaseHandler):
    """`GET` and `POST studies/<home>/<name>/notes`."""

    @web.authenticated
    @authorized
    async def get(self, home: str, name: str) -> None:
        self.reply_answer(await self.call(self.desk.notes, home, name))

    @web.authenticated
    @authorized
    async def post(self, home: str, name: str) -> None:
        self.reply(await self.call(self.desk.add_note, home, name, self.body(), self.author()), 201)


class NoteHandler(BaseHandler):
    """`DELETE studies/<home>/<name>/notes/<id>`."""

    @web.authenticated
    @authorized
    async def delete(self, home: str, name: str, id: str) -> None:
        self.reply(await self.call(self.desk.remove_note, home, name, id))


class EventsHandler(BaseHandler):
    """`GET studies/<home>/<name>/events?after=n`: what moved since event n."""

    @web.authenticated
    @authorized
    async def get(self, home: str, name: str) -> None:
        self.reply(await self.call(self.desk.events, home, name, self.integer("after", 0, 0, 2**53)))


class QueueHandler(BaseHandler):
    """`GET queue`: devices in use, and who waits for each."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.reply_answer(await self.call(self.desk.queue))


class ResourcesHandler(BaseHandler):
    """`GET resources`: the machine and its workers now."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.reply(await self.call(self.desk.resources))


class UnknownHandler(BaseHandler):
    """Everything else below our address: an envelope, not a page."""

    @web.authenticated
    @authorized
    async def get(self, path: str) -> None:
        raise HTTPError(404)

    post = put = patch = delete = get
