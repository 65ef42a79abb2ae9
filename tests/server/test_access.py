"""Who may ask: Jupyter's own authentication, authorisation and protection against cross-site requests."""

from __future__ import annotations

import http.client
from http.cookies import SimpleCookie

import pytest

from autoglm_nb.server.routes import ROUTES
from tests.server.conftest import BASE, TOKEN, Client, Guard, Server, Study
from tests.server.test_routes import BODIES, _address, _operations


@pytest.mark.parametrize(("path", "method", "operation"), _operations())
@pytest.mark.parametrize("headers", [{}, {"Authorization": "token wrong"}], ids=["none", "wrong"])
def test_without_the_token_every_route_is_refused(
    ask: Client, study: Study, path: str, method: str, operation: str, headers: dict[str, str]
) -> None:
    """With an envelope, not a login page, and nothing was changed."""
    notes, pending = study.store.notes(study.name), study.store.pending(study.name)
    address = _address(path, study) if "{id}" not in path else f"{study.path}/notes/abc"
    reply = ask(address, method.upper(), BODIES.get(operation), headers)
    assert reply.status == 403 and reply.refusal
    assert (study.store.notes(study.name), study.store.pending(study.name)) == (notes, pending)


def test_an_unknown_route_tells_a_stranger_nothing(ask: Client) -> None:
    """The same answer as a known one."""
    assert ask("nothing", headers={}).status == 403


@pytest.mark.parametrize(("path", "method", "operation"), _operations())
def test_an_authoriser_is_asked_about_a_resource_of_our_own(
    ask: Client, study: Study, path: str, method: str, operation: str
) -> None:
    """Looking is `read`, changing is `write`; a refusal is a refusal."""
    action = "read" if method == "get" else "write"
    address = _address(path, study)
    Guard.asked.clear()
    Guard.refused.add((action, "autoglm"))
    reply = ask(address, method.upper(), BODIES.get(operation))
    assert reply.status == 403 and reply.refusal
    assert Guard.asked == [(action, "autoglm")]


def test_who_may_read_need_not_be_able_to_write(ask: Client, study: Study) -> None:
    """A colleague who looks on."""
    Guard.refused.add(("write", "autoglm"))
    assert ask(study.path).status == 200
    assert ask(f"{study.path}/notes", "POST", {"text": "no"}).status == 403
    assert study.store.notes(study.name) == []


@pytest.fixture
def browser(jupyter: Server, study: Study) -> dict[str, str]:
    """A browser's cookies: logged in, with a value against cross-site requests."""
    connection = http.client.HTTPConnection("127.0.0.1", jupyter.client.port, timeout=120)
    connection.request("GET", f"{BASE}?token={TOKEN}")
    answer = connection.getresponse()
    answer.read()
    cookies: dict[str, str] = {}
    for header in answer.headers.get_all("Set-Cookie") or []:
        cookies |= {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    connection.close()
    assert "_xsrf" in cookies and len(cookies) > 1
    return cookies


def _headers(cookies: dict[str, str], **more: str) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items()), **more}


def test_a_browser_needs_more_than_its_cookies_to_change_something(
    ask: Client, study: Study, browser: dict[str, str]
) -> None:
    """Another site can make a browser send its cookies, but it cannot read the value that belongs in the header."""
    body = {"text": "from a browser"}
    address = f"{study.path}/notes"
    assert ask(address, "POST", body, _headers(browser)).status == 403
    assert ask(address, "POST", body, _headers(browser, **{"X-XSRFToken": "guess"})).status == 403
    assert study.store.notes(study.name) == []
    assert ask(address, "POST", body, _headers(browser, **{"X-XSRFToken": browser["_xsrf"]})).status == 201
    [note] = study.store.notes(study.name)
    assert note["text"] == "from a browser"
    delete = f"{address}/{note['id']}"
    assert ask(delete, "DELETE", None, _headers(browser)).status == 403
    assert ask(delete, "DELETE", None, _headers(browser, **{"X-XSRFToken": browser["_xsrf"]})).status == 200


def test_a_page_of_another_site_reads_nothing(ask: Client, study: Study, browser: dict[str, str]) -> None:
    """A script of another origin with the user's cookies; the server's own pages may."""
    foreign = _headers(browser, Origin="http://elsewhere.example", Referer="http://elsewhere.example/")
    assert ask("studies", headers=foreign).status in (403, 404)
    own = _headers(browser, **{"X-XSRFToken": browser["_xsrf"], "Referer": f"http://127.0.0.1:{ask.port}{BASE}lab"})
    assert ask("studies", headers=own).status == 200


def test_looking_on_does_not_keep_an_idle_server_alive(jupyter: Server, ask: Client, study: Study) -> None:
    """A sidebar polls for ever; what a person does counts."""
    settings = jupyter.app.web_app.settings
    before = settings["api_last_activity"]
    for path in ("studies", study.path, "resources"):
        assert ask(path).status == 200
    assert settings["api_last_activity"] == before
    ask(f"{study.path}/notes", "POST", {"text": "I am here"})
    assert settings["api_last_activity"] > before


def test_answers_cannot_become_pages(ask: Client, study: Study) -> None:
    """A note with a script in it, opened as an address: no sniffing, and a policy that runs nothing."""
    study.store.add_note(study.name, "<script>alert(1)</script>")
    for path in (f"{study.path}/notes", "studies", "metrics", "nothing"):
        headers = ask(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "html" not in headers["Content-Type"]


def test_every_route_has_its_own_name_in_the_table() -> None:
    """The name is a label of the metrics, so it must not hold what a client sent."""
    names = [name for _, name, _ in ROUTES]
    assert len(set(names)) == len(names)
