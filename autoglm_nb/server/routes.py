"""The table of routes: address, name, handler. The OpenAPI document is checked against it."""

from __future__ import annotations

from autoglm_nb.server import handlers
from autoglm_nb.server._base import BaseHandler
from autoglm_nb.server.places import ID_PATTERN

__all__ = ["PREFIX", "ROUTES", "UNKNOWN"]

PREFIX = "autoglm/api/"
"""Below the server's base URL."""

# A name is one segment: Tornado splits before it decodes, so an escaped slash stays inside.
_STUDY = rf"studies/({ID_PATTERN})/([^/]+)"

ROUTES: tuple[tuple[str, str, type[BaseHandler]], ...] = (
    ("health", "/health", handlers.HealthHandler),
    ("metrics", "/metrics", handlers.MetricsHandler),
    (r"openapi\.json", "/openapi.json", handlers.OpenApiHandler),
    ("studies", "/studies", handlers.StudiesHandler),
    (_STUDY, "/studies/{home}/{name}", handlers.StudyHandler),
    (rf"{_STUDY}/points", "/studies/{home}/{name}/points", handlers.PointsHandler),
    (rf"{_STUDY}/record", "/studies/{home}/{name}/record", handlers.RecordHandler),
    (rf"{_STUDY}/control", "/studies/{home}/{name}/control", handlers.ControlHandler),
    (rf"{_STUDY}/notes", "/studies/{home}/{name}/notes", handlers.NotesHandler),
    (rf"{_STUDY}/notes/([0-9a-zA-Z_-]{{1,64}})", "/studies/{home}/{name}/notes/{id}", handlers.NoteHandler),
    (rf"{_STUDY}/events", "/studies/{home}/{name}/events", handlers.EventsHandler),
    ("queue", "/queue", handlers.QueueHandler),
    ("resources", "/resources", handlers.ResourcesHandler),
)
"""Pattern, path in the OpenAPI document, handler."""

UNKNOWN = ("(.*)", "unknown", handlers.UnknownHandler)
"""The last one, for everything else."""
