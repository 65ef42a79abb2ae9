"""A decision system on this machine: a real HTTP server whose behaviour a test sets."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from autoglm_nb.space import Space
from autoglm_nb.store import Store
from tests.explain.studies import Made, make

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class System:
    """The server, what it was asked, and what it answers next.

    Attributes:
        requests: (method, path, headers in lower case, body) of every request, in order.
        reports: bodies by idempotency key; a repetition of a key does not make another one.
        answer: called for each POST, gives status, headers, body.
        status: the same for each GET.
    """

    server: ThreadingHTTPServer | None = None
    port: int = 0
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    answer: Callable[[], Answer] = lambda: (202, {}, b'{"decision": null}')
    status: Callable[[str], Answer] = lambda path: (404, {}, b"")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/reports"

    @property
    def posts(self) -> list[tuple[str, str, dict[str, str], bytes]]:
        return [r for r in self.requests if r[0] == "POST"]

    def start(self) -> None:
        """Listen, on the port of before where there was one."""
        system = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {k.lower(): v for k, v in self.headers.items()}
                system.requests.append(("POST", self.path, headers, body))
                status, extra, text = system.answer()
                if 200 <= status < 300:
                    system.reports.setdefault(headers.get("idempotency-key", ""), json.loads(body))
                self._send(status, extra, text)

            def do_GET(self) -> None:
                system.requests.append(("GET", self.path, {k.lower(): v for k, v in self.headers.items()}, b""))
                self._send(*system.status(self.path))

            def _send(self, status: int, extra: dict[str, str], text: bytes) -> None:
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Be gone: connections are refused."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


def decision(verdict: Any = "approve", **fields: Any) -> bytes:
    """An answer that decides."""
    return json.dumps({"decision": verdict, **fields}).encode()


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    found = System()
    found.start()
    monkeypatch.setenv("AUTOGLM_DECISION_URL", found.url)
    monkeypatch.setenv("AUTOGLM_DECISION_TOKEN", "open-sesame")
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow each other in hundredths of a second."""
    from autoglm_nb.decisions import delivery

    monkeypatch.setattr(delivery, "FIRST_SECONDS", 0.02)
    monkeypatch.setattr(delivery, "LONGEST_SECONDS", 0.1)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a finished study of twelve trials, made once."""
    folder = tmp_path_factory.mktemp("template") / ".autoglm"
    make(folder, 12).store.close()
    return folder


@pytest.fixture
def made(home: Path, template: Path) -> Made:
    """That study in a store of its own."""
    shutil.copytree(template, home)
    store = Store(home)
    return Made(home, "reviews", store, Space.from_json(store.spec("reviews").space))


@pytest.fixture(autouse=True)
def short_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report of the answer alone: what is sent is not what these tests are about, and figures take time."""
    from autoglm_nb.decisions import pushing
    from autoglm_nb.explain import explain

    monkeypatch.setattr(pushing, "explain", lambda home, study: explain(home, study, ("stopping",)))
