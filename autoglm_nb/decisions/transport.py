"""One HTTP exchange with the decision system: what may be asked, what an answer may be.

Standard library only. No redirect is followed (it would carry the token to another host), an
answer is read up to a size and a time, and every way to fail becomes one of two records:
`Reply` where the other side spoke, `Silence` where it did not.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from autoglm_nb import settings
from autoglm_nb.errors import UsageError
from autoglm_nb.record import words

__all__ = ["Reply", "Silence", "address", "exchange", "same_origin"]

TIMEOUT_SECONDS = 15.0
"""For each operation on the connection; a whole answer may take twice as long."""

MOST_BYTES = 1024 * 1024
"""A longer answer is not read to its end and counts as one that cannot be read."""

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Reply:
    """The other side's answer, any status.

    Attributes:
        status: HTTP status.
        headers: names in lower case.
        body: None where it was too long or broke off.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = b""


@dataclass(frozen=True)
class Silence:
    """No answer: refused, timed out, unknown host. `because` is a clause."""

    because: str


def address() -> str:
    """The decision system's address.

    Raises:
        UsageError: none is set, or it is one that reports or the token must not be sent to.
    """
    url = settings.decision_url()
    if not url:
        raise UsageError(
            "A report is pushed to a decision system, but AUTOGLM_DECISION_URL is not set. "
            "Set it to the system's address."
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise UsageError(
            "AUTOGLM_DECISION_URL must be an address such as https://decisions.example.org/reports, but it is not. "
            "Correct it."
        )
    if parts.username or parts.password:
        raise UsageError(
            "AUTOGLM_DECISION_URL must hold no password, but it does. Put a token into AUTOGLM_DECISION_TOKEN instead."
        )
    if parts.scheme == "http" and settings.decision_token() and host not in _LOCAL:
        raise UsageError(
            f"A token is sent over https only, but AUTOGLM_DECISION_URL begins with http://{words.clean(host, 60)}. "
            "Use https, or unset AUTOGLM_DECISION_TOKEN."
        )
    if any(c.isspace() or ord(c) < 33 for c in settings.decision_token()):
        raise UsageError("AUTOGLM_DECISION_TOKEN must be one word, but it holds white space. Correct it.")
    return url


def same_origin(url: str, other: str) -> bool:
    """Whether two addresses have scheme, host and port in common."""
    try:
        one, two = urlsplit(url), urlsplit(other)
        ports = [p.port or {"http": 80, "https": 443}.get(p.scheme) for p in (one, two)]
    except ValueError:
        return False
    return (one.scheme, one.hostname, ports[0]) == (two.scheme, two.hostname, ports[1])


def exchange(url: str, *, body: dict[str, Any] | None = None, key: str = "") -> Reply | Silence:
    """One request: POST with a body, else GET. Waits for the answer; never raises for a failure of the other side.

    Args:
        url: of the same origin as `address()`; the caller sees to that.
        body: sent as JSON.
        key: sent as `Idempotency-Key`.
    """
    headers = {"Accept": "application/json", "User-Agent": "autoglm_nb"}
    if key:
        headers["Idempotency-Key"] = key
    if settings.decision_token():
        headers["Authorization"] = f"Bearer {settings.decision_token()}"
    data = None
    if body is not None:
        data = json.dumps(body, ensure_ascii=False, sort_keys=True, allow_nan=False).encode()
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data=data, headers=headers, method="GET" if data is None else "POST")
    try:
        with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as response:
            return _reply(response.status, response)
    except urllib.error.HTTPError as error:
        with error:
            return _reply(error.code, error)
    except (OSError, ValueError, urllib.error.URLError) as error:  # http.client's errors are not all OSErrors
        return Silence(_why(error))
    except Exception as error:  # noqa: BLE001 - http.client raises its own kinds for a broken answer
        return Silence(_why(error))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other: the token must not travel on."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _reply(status: int, response: Any) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    deadline, parts, size = time.monotonic() + 2 * TIMEOUT_SECONDS, [], 0
    try:
        while block := response.read1(65536) if hasattr(response, "read1") else response.read(65536):
            parts.append(block)
            size += len(block)
            if size > MOST_BYTES or time.monotonic() > deadline:
                return Reply(status, headers, None)
    except Exception:  # noqa: BLE001 - it broke off; the status line came through
        return Reply(status, headers, None)
    return Reply(status, headers, b"".join(parts))


def _why(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, TimeoutError):
        return f"it did not answer within {TIMEOUT_SECONDS:.0f} s"
    if isinstance(reason, OSError) and reason.strerror:
        return words.clean(reason.strerror, 120)
    return words.clean(reason, 120) or type(error).__name__
