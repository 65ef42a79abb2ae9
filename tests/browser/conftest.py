"""A real JupyterLab on a free local port, driven in a headless Chromium.

`lab` is one server for the whole session with a root folder, settings and
runtime of its own; `browser` one Chromium; `open_notebook` gives a
`NotebookPage` with the few actions that a test needs. Screenshots go to the
folder of `AUTOGLM_SCREENSHOTS` when set, else to the test's own folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("AUTOGLM_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
START_SECONDS = 90


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


@dataclass
class Lab:
    """A running JupyterLab: where it listens and where its notebooks lie."""

    url: str
    folder: Path
    env: dict[str, str]
    process: subprocess.Popen[bytes] = field(repr=False)

    def write(self, name: str, cells: list[Any], *, trust: bool = False) -> str:
        """Write a notebook of code cells: strings, or (source, outputs) pairs. Unsigned unless `trust`."""
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
        for cell in cells:
            source, outputs = (cell, []) if isinstance(cell, str) else cell
            made = nbformat.v4.new_code_cell(source)
            made.outputs = [
                nbformat.v4.new_output("display_data", data=data) if "output_type" not in data else data
                for data in outputs
            ]
            notebook.cells.append(made)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
        if trust:
            subprocess.run(
                [sys.executable, "-m", "jupyter", "trust", str(path)], env=self.env, check=True, capture_output=True
            )
        return name

    def read(self, name: str) -> Any:
        """The notebook as it lies on disk."""
        return nbformat.read(self.folder / name, as_version=4)

    def kernels(self) -> list[dict[str, Any]]:
        """The kernels that this server runs."""
        with urllib.request.urlopen(f"{self.url}/api/kernels", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def shut_kernels(self) -> None:
        """End every kernel of this server."""
        for kernel in self.kernels():
            request = urllib.request.Request(f"{self.url}/api/kernels/{kernel['id']}", method="DELETE")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(request, timeout=30).close()


class NotebookPage:
    """One notebook in one browser page."""

    def __init__(self, page: Any, lab: Lab, name: str, shots: Path) -> None:
        self.page, self.lab, self.name, self.shots = page, lab, name, shots

    def command(self, name: str, **arguments: Any) -> None:
        """Run a command of JupyterLab, such as `notebook:run-all-cells`, without waiting for what it starts."""
        self.page.evaluate("([n, a]) => { window.jupyterapp.commands.execute(n, a); }", [name, arguments])

    def ready(self) -> NotebookPage:
        """Wait until the notebook is shown."""
        self.page.wait_for_function("() => window.jupyterapp !== undefined", timeout=60_000)
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
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

    def theme(self, *, dark: bool) -> NotebookPage:
        """Switch to JupyterLab's light or dark theme and wait until it is drawn."""
        self.command("apputils:change-theme", theme="JupyterLab Dark" if dark else "JupyterLab Light")
        wanted = f"body[data-jp-theme-light='{'false' if dark else 'true'}']"
        self.page.wait_for_selector(wanted, state="attached", timeout=30_000)
        self.page.wait_for_timeout(500)
        return self

    def resize(self, width: int, height: int = 900) -> NotebookPage:
        """Set the size of the window."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.wait_for_timeout(500)
        return self

    def save(self) -> NotebookPage:
        """Save and wait until the notebook is no longer marked as changed."""
        self.command("docmanager:save")
        self.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget.context.model.dirty === false", timeout=30_000
        )
        return self

    def refresh(self) -> NotebookPage:
        """Reload the page as F5 does; kernels go on."""
        self.page.reload()
        return self.ready()

    def screenshot(self, name: str, index: int | None = None) -> Path:
        """A picture of the page, or of one cell."""
        self.shots.mkdir(parents=True, exist_ok=True)
        path = self.shots / f"{name}.png"
        if index is None:
            self.page.screenshot(path=str(path))
            return path
        before = self.page.viewport_size
        needed = int((self.cell(index).bounding_box() or {"height": 0})["height"]) + 220
        if needed > before["height"]:  # a cell that does not fit would be cut off by its scrolling parent
            self.resize(before["width"], needed)
        self.cell(index).screenshot(path=str(path))
        self.resize(before["width"], before["height"])
        return path

    def close(self) -> None:
        """Close the page; the kernel goes on."""
        self.page.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _settings(folder: Path) -> None:
    """Settings that keep pictures still: no windowing, no news, no autosave."""
    given = {
        "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none", "recordTiming": False},
        "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
    }
    for name, values in given.items():
        path = folder / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))


def _enable_server(folder: Path) -> None:
    """The server extension, also where the package was installed before it had one."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {"ServerApp": {"jpserver_extensions": {"autoglm_nb": True}}}
    (folder / "jupyter_server_config.json").write_text(json.dumps(given))


def start_lab(base: Path, extra_env: dict[str, str] | None = None) -> Lab:
    """Start a JupyterLab whose files all lie under `base`.

    Raises:
        RuntimeError: it did not answer in time; the message holds the end of its log.
    """
    folder, port = base / "root", _free_port()
    folder.mkdir(parents=True)
    _settings(base / "settings")
    _enable_server(base / "config")
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "JUPYTERLAB_SETTINGS_DIR": str(base / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(base / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(base / "config"),
        "JUPYTER_DATA_DIR": str(base / "data"),
        "JUPYTER_RUNTIME_DIR": str(base / "runtime"),
        "IPYTHONDIR": str(base / "ipython"),
        "AUTOGLM_HOME": str(folder / ".autoglm"),
        **(extra_env or {}),
    }
    log = (base / "lab.log").open("wb")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
            "--ServerApp.password=", "--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={folder}",
            "--LabApp.expose_app_in_browser=True", "--LabApp.collaborative=False",
        ],
        env=env, stdout=log, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True,
    )  # fmt: skip
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/api/status", timeout=2).close()
            return Lab(url, folder, env, process)
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise RuntimeError("JupyterLab did not start: " + (base / "lab.log").read_text()[-2000:])
        time.sleep(0.3)


def stop_lab(lab: Lab) -> None:
    """End the kernels, then the server."""
    with contextlib.suppress(OSError):
        lab.shut_kernels()
    lab.process.terminate()
    try:
        lab.process.wait(15)
    except subprocess.TimeoutExpired:
        lab.process.kill()


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


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where this test's screenshots go."""
    given = os.environ.get("AUTOGLM_SCREENSHOTS")
    return Path(given) if given else tmp_path / "screenshots"


@pytest.fixture
def open_notebook(lab: Lab, browser: Any, shots: Path) -> Iterator[Callable[..., NotebookPage]]:
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
