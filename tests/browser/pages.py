"""Pages of JupyterLab in a browser, with the few actions that a test needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.server import Lab


class NotebookPage:
    """One notebook in one browser page."""

    def __init__(self, page: Any, lab: Lab, name: str, shots: Path | None = None) -> None:
        self.page, self.lab, self.name, self.shots = page, lab, name, shots

    def command(self, name: str, **arguments: Any) -> None:
        """Run a command of JupyterLab, such as `notebook:run-all-cells`, without waiting for what it starts."""
        self.page.evaluate("([n, a]) => { window.jupyterapp.commands.execute(n, a); }", [name, arguments])

    def ready(self) -> NotebookPage:
        """Wait until the notebook is shown, in front of what a saved layout brought back before it."""
        self.in_front(Path(self.name).name)
        self.page.wait_for_selector(".jp-Notebook:visible .jp-CodeCell", timeout=60_000)
        return self

    def in_front(self, label: str, timeout: float = 60) -> NotebookPage:
        """Wait until the current tab is the one labelled so."""
        self.page.wait_for_function(
            "label => window.jupyterapp?.shell?.currentWidget?.title.label === label", arg=label, timeout=timeout * 1000
        )
        return self

    def kernel_idle(self, timeout: float = 60) -> NotebookPage:
        """Wait until the notebook's kernel has started and is idle."""
        self.page.wait_for_function(
            "() => { const s = window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel;"
            " return s && s.status === 'idle' && s.connectionStatus === 'connected'; }",
            timeout=timeout * 1000,
        )
        return self

    def cell(self, index: int) -> Any:
        """The code cell of that index, as a locator."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(index)

    def output(self, index: int) -> Any:
        """The output area of a cell, as a locator."""
        return self.cell(index).locator(".jp-Cell-outputArea")

    def text(self, index: int) -> str:
        """What a cell's outputs say."""
        return str(self.output(index).inner_text())

    def run(self, index: int, timeout: float = 60, *, wait: bool = True) -> NotebookPage:
        """Run one cell; with `wait`, until it has an execution count."""
        self.page.evaluate(
            "i => { const n = window.jupyterapp.shell.currentWidget.content; n.activeCellIndex = i;"
            " n.deselectAll(); n.model.cells.get(i).executionCount = null; }",
            index,
        )
        self.command("notebook:run-cell")
        if wait:
            self.page.wait_for_function(
                "i => window.jupyterapp.shell.currentWidget.content.model.cells.get(i).executionCount !== null",
                arg=index,
                timeout=timeout * 1000,
            )
        return self

    def wait_text(self, index: int, needle: str, timeout: float = 60) -> NotebookPage:
        """Wait until a cell's outputs contain `needle`."""
        end = time.monotonic() + timeout
        while needle not in self.text(index):
            if time.monotonic() > end:
                raise AssertionError(f"{needle!r} did not appear in cell {index}: {self.text(index)!r}")
            self.page.wait_for_timeout(200)
        return self

    def until(self, holds: Callable[[], Any], timeout: float = 60) -> NotebookPage:
        """Wait until something holds that no selector tells, while the page goes on."""
        end = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f"waited {timeout:g} seconds in vain")
            self.page.wait_for_timeout(200)
        return self

    def drawn(self) -> NotebookPage:
        """Wait until the page has drawn what it was told, in the frame after the next one; a hidden one draws none."""
        self.page.evaluate(
            "() => new Promise(r => { requestAnimationFrame(() => requestAnimationFrame(r)); setTimeout(r, 10000); })"
        )
        return self

    def theme(self, *, dark: bool, contrast: bool = False) -> NotebookPage:
        """Switch to one of JupyterLab's themes (high contrast: of the dark ones) and wait until it is drawn."""
        name = f"JupyterLab {'Dark' if dark else 'Light'}{' High Contrast' if contrast else ''}"
        self.command("apputils:change-theme", theme=name)
        self.page.wait_for_selector(f"body[data-jp-theme-name='{name}']", state="attached", timeout=60_000)
        self.page.wait_for_timeout(300)
        return self.drawn()

    def resize(self, width: int, height: int = 900) -> NotebookPage:
        """Set the size of the window."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.wait_for_timeout(300)
        return self.drawn()

    def save(self) -> NotebookPage:
        """Save and wait until the notebook is no longer marked as changed."""
        self.command("docmanager:save")
        self.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget.context.model.dirty === false", timeout=60_000
        )
        return self

    def refresh(self) -> NotebookPage:
        """Reload the page as F5 does; kernels go on."""
        self.page.reload()
        return self.ready()

    def screenshot(self, name: str, index: int | None = None) -> None:
        """A picture of the page, or of one cell; none where nobody asked for pictures, since each takes a second."""
        if self.shots is None:
            return
        path = str(self.shots / f"{name}.png")
        if index is None:
            self.page.screenshot(path=path)
            return
        before = self.page.viewport_size
        needed = int((self.cell(index).bounding_box() or {"height": 0})["height"]) + 220
        if needed > before["height"]:  # a cell that does not fit would be cut off by its scrolling parent
            self.resize(before["width"], needed)
        self.cell(index).screenshot(path=path)
        if needed > before["height"]:
            self.resize(before["width"], before["height"])

    def close(self) -> None:
        """Close the page; the kernel goes on."""
        self.page.close()


class LabPage(NotebookPage):
    """A page of the whole JupyterLab, sidebars included."""

    @property
    def sidebar(self) -> Any:
        return self.page.get_by_test_id("autoglm-sidebar")

    @property
    def status(self) -> Any:
        return self.page.get_by_test_id("autoglm-status-item")

    def row(self, name: str) -> Any:
        """The row of a study."""
        heading = self.page.get_by_role("heading", name=name, exact=True)
        return self.page.get_by_test_id("autoglm-study-row").filter(has=heading)

    def studies(self) -> LabPage:
        """Open the sidebar as the status bar and the palette do."""
        self.command("autoglm:show-studies")
        self.sidebar.wait_for(timeout=60_000)
        return self

    def sources(self) -> list[str]:
        """The text of every cell of the active notebook."""
        found: list[str] = self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.map(c => c.model.sharedModel.getSource())"
        )
        return found

    def shows(self, name: str, text: str, timeout: float = 60) -> None:
        """Wait until a study's row says `text`."""
        self.row(name).filter(has_text=text).wait_for(timeout=timeout * 1000)
