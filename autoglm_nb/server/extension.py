"""Hangs the routes into a Jupyter server, and lets go of threads and stores when it stops."""

from __future__ import annotations

import asyncio
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
    _close_at_the_end(serverapp, desk, threads)
    serverapp.log.info("autoglm_nb: studies of this server at %s", url_path_join(serverapp.base_url, PREFIX))


def _close_at_the_end(serverapp: ServerApp, desk: Desk, threads: ThreadPoolExecutor) -> None:
    """Ends what was begun here together with Jupyter's extensions.

    Jupyter has a hook for that in extensions that are applications of their own; this one is not,
    so it takes its place beside theirs.
    """
    theirs = serverapp.cleanup_extensions

    def close() -> None:
        threads.shutdown(wait=True, cancel_futures=True)  # a request that is being answered has its connection
        desk.close()

    async def cleanup_extensions() -> None:
        try:
            await theirs()
        finally:
            await asyncio.get_running_loop().run_in_executor(None, close)

    serverapp.cleanup_extensions = cleanup_extensions  # type: ignore[method-assign]


def _root(serverapp: ServerApp) -> Path | None:
    """The folder the server serves, None where it serves something else than files."""
    root = getattr(serverapp.contents_manager, "root_dir", None) or serverapp.root_dir
    path = Path(str(root)).expanduser() if root else None
    return path if path is not None and path.is_dir() else None
