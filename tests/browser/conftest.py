"""A real JupyterLab on a free local port, driven in a headless Chromium.

`lab` is one server for the whole session with a root folder, settings and
runtime of its own; `browser` one Chromium; `open_notebook` gives a
`NotebookPage`, `open_lab` a `LabPage` with the sidebars around it; `act` plays
studies. Pictures are taken where `AUTOGLM_SCREENSHOTS` names a folder for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.acting import Actor
from tests.browser.pages import LabPage, NotebookPage
from tests.browser.server import CHROMIUM, FLAGS, Lab, start_lab, stop_lab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder, and skip it with the reason where it cannot run."""
    reason = None
    if CHROMIUM is None:
        reason = "no Chromium on this machine (set AUTOGLM_CHROMIUM to its path, or install the package chromium)"
    else:
        try:
            import jupyterlab  # noqa: F401
            import playwright  # noqa: F401
        except ImportError as error:
            reason = f"{error.name} is not installed"
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One JupyterLab for the whole session."""
    server = start_lab(tmp_path_factory.mktemp("lab"))
    yield server
    stop_lab(server)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One headless Chromium for the whole session."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def shots() -> Path | None:
    """Where pictures go, if anybody wants some."""
    given = os.environ.get("AUTOGLM_SCREENSHOTS")
    if not given:
        return None
    folder = Path(given)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def open_notebook(lab: Lab, browser: Any, shots: Path | None) -> Iterator[Callable[..., NotebookPage]]:
    """`open_notebook(name)` opens a notebook of the lab's folder in a page of its own."""
    contexts: list[Any] = []

    def open_one(name: str, *, width: int = 1100, height: int = 900) -> NotebookPage:
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{lab.url}/doc/tree/{name}?reset")
        opened = NotebookPage(page, lab, name, shots).ready()
        if page.locator("body").get_attribute("data-jp-theme-light") == "false":
            opened.theme(dark=False)  # the server remembers what an earlier test chose
        return opened

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def open_lab(lab: Lab, browser: Any, shots: Path | None) -> Iterator[Callable[..., LabPage]]:
    """`open_lab(name)` opens a notebook in JupyterLab, in a browser context of its own.

    The layout is a fresh one, or that of a named `workspace`, which a reload brings back.
    """
    contexts: list[Any] = []

    def open_one(name: str, *cells: str, width: int = 1280, workspace: str | None = None) -> LabPage:
        context = browser.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        page = context.new_page()
        tree = f"tree/{lab.write(name, list(cells) or ['1 + 1'])}"
        page.goto(f"{lab.url}/lab/" + (f"workspaces/{workspace}/{tree}" if workspace else f"{tree}?reset"))
        opened = LabPage(page, lab, name, shots)
        opened.ready()
        return opened

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def act(lab: Lab) -> Iterator[Callable[..., Actor]]:
    """`act(name)` plays a study in this process; all are let go and deleted in the end."""
    actors: list[Actor] = []

    def start(name: str, **fields: Any) -> Actor:
        actors.append(Actor(lab.folder / ".autoglm", name, device=f"cuda:{len(actors)}", **fields))
        return actors[-1]

    yield start
    for actor in actors:
        actor.leave()
        actor.store.delete_study(actor.name)
        actor.store.close()
