"""A real JupyterLab on a free local port, whose files all lie in one folder.

Also used by `docs/screenshots.py`, which is no test.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from autoglm_nb.protocol import Action
from autoglm_nb.store import Store

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "autoglm_nb" / "labextension" / "package.json"
CHROMIUM = os.environ.get("AUTOGLM_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
START_SECONDS = 180


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
        with urllib.request.urlopen(f"{self.url}/api/kernels", timeout=60) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def shut_kernels(self) -> None:
        """End every kernel of this server."""
        for kernel in self.kernels():
            request = urllib.request.Request(f"{self.url}/api/kernels/{kernel['id']}", method="DELETE")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(request, timeout=60).close()


def _free_port() -> int:
    """A free port below those that the system hands out, so that no other program is given it meanwhile.

    Not drawn from the generator that tests seed: two processes would try the same ports.
    """
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 20000 and 30000")


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


def _configure(folder: Path) -> None:
    """The server extension on, also where the package was installed before it had one; no questions to the network."""
    (folder / "labconfig").mkdir(parents=True, exist_ok=True)
    given = {"ServerApp": {"jpserver_extensions": {"autoglm_nb": True}}}
    (folder / "jupyter_server_config.json").write_text(json.dumps(given))
    # A server answers one question at a time, and whether JupyterLab should be built anew takes it a second.
    off = ["@jupyterlab/apputils-extension:announcements", "@jupyterlab/extensionmanager-extension"]
    page = {"buildAvailable": False, "buildCheck": False, "disabledExtensions": dict.fromkeys(off, True)}
    (folder / "labconfig" / "page_config.json").write_text(json.dumps(page))


def start_lab(base: Path, extra_env: dict[str, str] | None = None, *, app: str = "lab") -> Lab:
    """Start a JupyterLab whose files all lie under `base`.

    Args:
        base: a folder, which is made.
        extra_env: environment variables of the server and its kernels.
        app: `lab`, or `notebook` for Notebook 7.

    Raises:
        RuntimeError: it did not answer in time; the message holds the end of its log.
    """
    folder, port = base / "root", _free_port()
    folder.mkdir(parents=True)
    _settings(base / "settings")
    _configure(base / "config")
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
    module, name = {"lab": ("jupyterlab", "LabApp"), "notebook": ("notebook", "JupyterNotebookApp")}[app]
    log = (base / "lab.log").open("wb")
    process = subprocess.Popen(
        [
            sys.executable, "-m", module, "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
            "--ServerApp.password=", "--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={folder}",
            f"--{name}.expose_app_in_browser=True",
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
    """End the kernels, the server, and the studies that a failed test has left behind."""
    with contextlib.suppress(OSError):
        lab.shut_kernels()
    lab.process.terminate()
    try:
        lab.process.wait(15)
    except subprocess.TimeoutExpired:
        lab.process.kill()
    _stop_studies(Path(lab.env["AUTOGLM_HOME"]))


def _stop_studies(home: Path) -> None:
    """Ask the workers of a store to stop, as a person does; they hear it within half a second."""
    if not (home / "studies.db").exists():
        return
    with Store(home) as store:
        for study in store.studies():
            if not study.state.final:
                store.request(study.name, Action.STOP)
