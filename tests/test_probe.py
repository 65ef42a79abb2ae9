"""The hub probe: one short question, whatever the network does."""

from __future__ import annotations

import http.server
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from autoglm_nb import probe

LIMIT = 0.5
PATIENCE = 20.0
"""The limit where it is not what is tested; as long as this a server that hangs holds out."""


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a user's machine: nothing forbids asking, and no proxy is in between."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "AUTOGLM_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AUTOGLM_HUB_PROBE", str(LIMIT))
    probe.forget()
    yield
    probe.forget()


@contextmanager
def server(status: int, *, asked: list[str] | None = None, wait: float = 0.0) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if asked is not None:
                asked.append(self.path)
            over.wait(wait)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    over = threading.Event()
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        over.set()
        httpd.shutdown()
        httpd.server_close()


def timed(call: Callable[[], bool]) -> tuple[bool, float]:
    start = time.monotonic()
    return call(), time.monotonic() - start


@pytest.mark.parametrize(("status", "reachable"), [(200, True), (404, True), (401, True), (503, False), (407, False)])
def test_any_answer_but_a_servers_or_proxys_failure_counts(
    monkeypatch: pytest.MonkeyPatch, status: int, reachable: bool
) -> None:
    monkeypatch.setenv("AUTOGLM_HUB_PROBE", str(PATIENCE))
    with server(status) as address:
        monkeypatch.setenv("HF_ENDPOINT", address + "/")
        assert probe.hub_reachable() is reachable


def test_the_answer_is_remembered_and_a_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGLM_HUB_PROBE", str(PATIENCE))
    asked: list[str] = []
    with server(200, asked=asked) as address:
        monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
        monkeypatch.setenv("http_proxy", address)
        assert probe.hub_reachable() and probe.hub_reachable()
    assert asked == ["http://hub.invalid"] or asked == ["http://hub.invalid/"]


@pytest.mark.alone
def test_a_server_that_never_answers_costs_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(200, wait=PATIENCE) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        reachable, seconds = timed(probe.hub_reachable)
    assert not reachable
    assert seconds < LIMIT + 2.0
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.alone
def test_a_hanging_name_resolution_costs_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hang(*_: object, **__: object) -> None:
        over.wait(PATIENCE)
        raise OSError("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    reachable, seconds = timed(probe.hub_reachable)
    over.set()
    assert not reachable
    assert seconds < LIMIT + 2.0


@pytest.mark.alone
def test_a_refused_connection_is_an_immediate_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGLM_HUB_PROBE", str(PATIENCE))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        reachable, seconds = timed(probe.hub_reachable)
    assert not reachable
    assert seconds < PATIENCE / 4


@pytest.mark.parametrize("variable", ["AUTOGLM_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_by_wish_asks_nobody(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    asked: list[str] = []
    with server(200, asked=asked) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv(variable, "1")
        assert not probe.hub_reachable()
    assert asked == []
