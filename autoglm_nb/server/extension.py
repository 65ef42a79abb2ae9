"""Hangs the routes into a Jupyter server."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_server.utils import url_path_join

from autoglm_nb.server.desk import Desk
from autoglm_nb.server.metrics import Metrics
from autoglm_nb.server.routes import PREFIX, ROUTES, UNKNOWN

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

__all__ = ["add_routes"]

_THREADS = 4


def add_routes(serverapp: ServerApp) -> None:
    """Adds every route below the server's base URL."""
    desk = Desk(_root(serverapp))
    threads = ThreadPoolExecutor(_THREADS, "autoglm-server")
    shared = {"desk": desk, "threads": threads, "metrics": Metrics(desk.overview, desk.resources)}
    base = re.escape(url_path_join(serverapp.web_app.settings["base_url"], PREFIX))
    rules = [(base + pattern, handler, {**shared, "route": name}) for pattern, name, handler in (*ROUTES, UNKNOWN)]
    serverapp.web_app.add_handlers(".*$", rules)
    serverapp.web_app.settings["autoglm"] = desk
    serverapp.log.info("autoglm_nb: studies of this server at %s", url_path_join(serverapp.base_url, PREFIX))


def _root(serverapp: ServerApp) -> Path | None:
    """The folder the server serves, None where it serves something else than files."""
    root = getattr(serverapp.contents_manager, "root_dir", None) or serverapp.root_dir
    path = Path(str(root)).expanduser() if root else None
    return path if path is not None and path.is_dir() else None
