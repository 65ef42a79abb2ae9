"""A real Jupyter server in a thread, with this extension alone, and a client that sends paths as they are written."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from jupyter_server.auth import Authorizer, IdentityProvider, User
from jupyter_server.serverapp import ServerApp
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from traitlets.config import Config

from autoglm_nb.protocol import RunRole, TrialState
from autoglm_nb.server.places import place_id
from autoglm_nb.store import Lease, Store, registry
from tests.store.conftest import make_spec

TOKEN = "a-token-of-the-tests"
BASE = "/user/a%40b/"


class Named(IdentityProvider):
    """Whoever has the token is Ada."""

    def generate_anonymous_user(self, handler: Any) -> User:
        return User(username="ada", name="Ada", display_name="Ada <b>Lovelace</b>")


class Guard(Authorizer):
    """Remembers what was asked, and refuses what a test tells it to."""

    asked: ClassVar[list[tuple[str, str]]] = []
    refused: ClassVar[set[tuple[str, str]]] = set()

    def is_authorized(self, handler: Any, user: User, action: str, resource: str) -> bool:
        Guard.asked.append((action, resource))
        return (action, resource) not in Guard.refused


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        """The data of a good answer."""
        assert self.json["code"] == 0, self.json
        assert self.json["message"] == "ok"
        return self.json["data"]

    @property
    def refusal(self) -> str:
        """The sentence of an answer that is none."""
        assert set(self.json) == {"code", "message", "data"}
        assert self.json["code"] == self.status >= 400
        assert self.json["data"] is None
        assert self.json["message"].strip()
        return str(self.json["message"])


@dataclass
class Client:
    """Asks one server. The token goes along unless `headers` says otherwise."""

    port: int
    base: str = BASE
    headers: dict[str, str] = field(default_factory=lambda: {"Authorization": f"token {TOKEN}"})

    def __call__(
        self, path: str, method: str = "GET", body: object = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """`path` below the address of the extension, escaped already; `headers` replace the client's."""
        return self.raw(f"{self.base}autoglm/api/{path}", method, body, headers)

    def raw(
        self, path: str, method: str = "GET", body: object = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, payload, dict(self.headers if headers is None else headers))
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()


@dataclass(frozen=True)
class Server:
    """The server and the folder it serves."""

    app: ServerApp
    root: Path
    client: Client


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests; stores are looked for anew with each request, so each test has its own."""
    root = tmp_path_factory.mktemp("served")
    own = tmp_path_factory.mktemp("jupyter")
    patch = pytest.MonkeyPatch()
    patch.setenv("JUPYTER_NO_CONFIG", "1")
    for variable in ("CONFIG", "DATA", "RUNTIME"):
        patch.setenv(f"JUPYTER_{variable}_DIR", str(own / variable.lower()))
    config = Config()
    config.ServerApp.jpserver_extensions = {"autoglm_nb": True}
    config.ServerApp.identity_provider_class = Named
    config.ServerApp.authorizer_class = Guard
    config.IdentityProvider.token = TOKEN
    config.Named.token = TOKEN
    config.ServerApp.log_level = "ERROR"
    ready, started = threading.Event(), {}

    def serve() -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)

        async def start() -> None:
            app = ServerApp(root_dir=str(root), base_url=BASE, open_browser=False, allow_root=True, config=config)
            app.init_signal = lambda: None  # signals belong to the main thread
            app.initialize(argv=[], new_httpserver=False)
            socket, port = bind_unused_port()
            server = HTTPServer(app.web_app)
            server.add_socket(socket)
            started.update(app=app, port=port, loop=loop)
            ready.set()

        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=serve, name="jupyter", daemon=True)
    thread.start()
    assert ready.wait(60), "the server did not start"
    patch.undo()  # other tests start servers with the configuration that is installed
    yield Server(started["app"], root, Client(started["port"]))
    started["loop"].call_soon_threadsafe(started["loop"].stop)
    thread.join(10)
    started["app"].web_app.settings["autoglm"].close()


@pytest.fixture
def ask(jupyter: Server) -> Iterator[Client]:
    """The client; what `Guard` was told is forgotten afterwards."""
    Guard.asked.clear()
    Guard.refused.clear()
    yield jupyter.client
    Guard.refused.clear()


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    """This test's store, known to the server."""
    with Store(home) as opened:
        registry.remember(home)
        yield opened


@dataclass(frozen=True)
class Study:
    """A stored study and its address."""

    store: Store
    name: str

    @property
    def home(self) -> str:
        return place_id(self.store.home)

    @property
    def path(self) -> str:
        return f"studies/{self.home}/{quote(self.name, safe='')}"

    def work(self, device: str = "cpu") -> Lease:
        """A living worker: this process."""
        lease = self.store.acquire(self.name, device)
        assert lease is not None
        return lease


@pytest.fixture
def study(store: Store) -> Study:
    """Five trials: 0.5, 0.6 (pruned), failed, 0.8, and one that runs."""
    return add_study(store, "reviews")


def add_study(store: Store, name: str, **fields: Any) -> Study:
    """A study with five trials and a baseline, as its worker leaves them."""
    store.create_study(make_spec(name, trials=20, **fields))
    outcomes: list[tuple[TrialState, float | None, str, int]] = [
        (TrialState.COMPLETED, 0.5, "random start", 8),
        (TrialState.PRUNED, 0.6, "random start", 16),
        (TrialState.FAILED, None, "expected improvement", 32),
        (TrialState.COMPLETED, 0.8, "expected improvement", 16),
        (TrialState.RUNNING, None, "expected improvement", 4),
    ]
    for number, (state, value, proposed_by, rank) in enumerate(outcomes):
        run = f"trial-{number:04d}"
        config = {"learning_rate": 10.0 ** -(number + 1), "rank": rank, "method": "lora" if number else "dora"}
        store.start_run(name, run, RunRole.TRIAL, trial=number, config=config, proposed_by=proposed_by, total_steps=60)
        if state is not TrialState.RUNNING:
            because = {"pruned": "below the median at rung 1", "failed": "the loss became NaN"}.get(state, "")
            store.end_run(name, run, state, value=value, because=because, metrics={"loss": 1.0 - (value or 0)})
    store.start_run(name, "baseline", RunRole.BASELINE, config={"learning_rate": 1e-3})
    store.end_run(name, "baseline", TrialState.COMPLETED, value=0.7)
    return Study(store, name)
