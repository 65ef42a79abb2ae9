"""The extension as pip installs it: found by Jupyter, light, and never in the way of the event loop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.server.conftest import Client, Study

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "torch",
    "optuna",
    "transformers",
    "pandas",
    "sqlalchemy",
    "matplotlib",
    "datasets",
    "peft",
    "scipy",
    "sklearn",
)
CONFIG = ROOT / "autoglm_nb/server/jupyter_server_config.d/autoglm_nb.json"

SCRIPT = """
import asyncio, json, sys
import jupyter_core.paths
jupyter_core.paths.ENV_CONFIG_PATH = jupyter_core.paths.SYSTEM_CONFIG_PATH = []  # what else is installed here
from jupyter_server.serverapp import ServerApp
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

async def main():
    app = ServerApp(open_browser=False, allow_root=True, root_dir=sys.argv[1])
    app.log_level = "ERROR"
    app.init_signal = lambda: None
    app.initialize(argv=["--IdentityProvider.token=t"], new_httpserver=False)
    socket, port = bind_unused_port()
    HTTPServer(app.web_app).add_socket(socket)
    client = AsyncHTTPClient()
    replies = {}
    for path in sys.argv[2:]:
        url = f"http://127.0.0.1:{port}/autoglm/api/{path}"
        reply = await client.fetch(url, headers={"Authorization": "token t"}, raise_error=False)
        replies[path] = reply.code
    print(json.dumps([replies, sorted(sys.modules)]))

asyncio.run(main())
"""


@pytest.mark.slow
def test_jupyter_finds_it_by_its_config_file_and_it_imports_nothing_heavy(study: Study, tmp_path: Path) -> None:
    """A server of its own with nothing but the file that pip puts into place, asked for everything it has."""
    folder = tmp_path / "config" / "jupyter_server_config.d"
    folder.mkdir(parents=True)
    shutil.copy(CONFIG, folder)
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(folder.parent),
        "PYTHONPATH": str(ROOT),
    }
    paths = ["health", "studies", "metrics", "openapi.json", "queue", "resources", study.path]
    paths += [f"{study.path}?trials=1&sort=value", f"{study.path}/points?parameters=1", f"{study.path}/record"]
    with tempfile.TemporaryDirectory() as served:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, served, *paths], env=environment, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr
    replies, modules = json.loads(done.stdout.splitlines()[-1])
    assert replies == dict.fromkeys(paths, 200)
    assert sorted(set(HEAVY) & set(modules)) == []
    assert not [name for name in modules if name.startswith(("autoglm_nb.tuning", "autoglm_nb.training"))]


def test_the_package_says_where_the_extension_is_without_importing_it() -> None:
    """Jupyter asks every package of its configuration at start."""
    script = (
        "import autoglm_nb, json, sys; points = autoglm_nb._jupyter_server_extension_points();"
        "ours = [m for m in sys.modules if m.startswith(('autoglm_nb.', 'jupyter', 'tornado'))];"
        "print(json.dumps([points, ours]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert json.loads(done.stdout) == [[{"module": "autoglm_nb.server"}], []]


def test_pip_puts_the_config_file_where_jupyter_looks() -> None:
    """As shared data of the wheel, an editable one too; the file enables what the package points to."""
    import tomllib

    with (ROOT / "pyproject.toml").open("rb") as file:
        wheel = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]
    shared = wheel["shared-data"]
    assert shared[CONFIG.parent.relative_to(ROOT).as_posix()] == "etc/jupyter/jupyter_server_config.d"
    assert json.loads(CONFIG.read_text()) == {"ServerApp": {"jpserver_extensions": {"autoglm_nb": True}}}


def test_the_event_loop_answers_while_a_store_is_read(
    ask: Client, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs holds up its own request, and no other."""
    from autoglm_nb.server import desk

    entered, release = threading.Event(), threading.Event()
    original = desk.snapshot

    def slow(*given: object, **asked: object) -> object:
        entered.set()
        assert release.wait(60)
        return original(*given, **asked)  # type: ignore[arg-type]

    monkeypatch.setattr(desk, "snapshot", slow)
    replies: list[int] = []
    thread = threading.Thread(target=lambda: replies.append(ask(study.path).status))
    thread.start()
    assert entered.wait(60)
    started = time.monotonic()
    assert ask("studies").status == 200 and ask("openapi.json").status == 200
    assert time.monotonic() - started < 5 and replies == []
    release.set()
    thread.join(60)
    assert replies == [200]
