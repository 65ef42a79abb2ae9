"""What is left of the extension when its server stops: no thread, no open store."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_server.serverapp import ServerApp
from tornado.web import Application

from autoglm_nb.server.extension import add_routes
from tests.server.conftest import Study


class _Server:
    """As much of a server as the extension uses."""

    def __init__(self, root: Any) -> None:
        self.web_app = Application(base_url="/")
        self.web_app.settings["base_url"] = self.base_url = "/"
        self.contents_manager = SimpleNamespace(root_dir=str(root))
        self.log = SimpleNamespace(info=lambda *_: None)
        self.cleaned = 0
        self.broken = False

    async def cleanup_extensions(self) -> None:
        self.cleaned += 1
        if self.broken:
            raise RuntimeError("another extension")


def _ours(before: set[threading.Thread]) -> list[str]:
    names = ("autoglm-server", "autoglm-machine")
    return [t.name for t in threading.enumerate() if t not in before and t.name.startswith(names)]


@pytest.mark.parametrize("broken", [False, True])
def test_threads_and_stores_end_with_the_server(study: Study, broken: bool) -> None:
    """With Jupyter's other extensions, also where one of them fails."""
    before = set(threading.enumerate())
    server = _Server(study.store.home.parent)
    add_routes(server)  # type: ignore[arg-type]
    desk = server.web_app.settings["autoglm"]

    async def use() -> None:
        threads = next(
            rule.target_kwargs["threads"]
            for group in server.web_app.default_router.rules
            for rule in getattr(group.target, "rules", [])
            if "threads" in getattr(rule, "target_kwargs", {})
        )
        await asyncio.get_running_loop().run_in_executor(threads, desk.head, study.home, study.name)
        desk.resources()
        assert len(_ours(before)) == 2
        server.broken = broken
        await server.cleanup_extensions()

    with ThreadPoolExecutor(1, "a loop") as loop:  # the main thread may have one: that of the tests in a browser
        ran = loop.submit(asyncio.run, use())
        if broken:
            with pytest.raises(RuntimeError, match="another extension"):
                ran.result()
        else:
            ran.result()
    assert server.cleaned == 1
    assert _ours(before) == []
    with pytest.raises(RuntimeError, match="shutdown"):
        desk.machine._thread.submit(print)


def test_jupyter_calls_what_we_stand_beside() -> None:
    """The name is Jupyter's own, and it awaits it when it stops."""
    assert inspect.iscoroutinefunction(ServerApp.cleanup_extensions)
    assert "cleanup_extensions" in inspect.getsource(ServerApp._cleanup)
