"""Whether the model hub answers, found out in at most two seconds.

The hub library itself retries an unreachable host for more than twenty
seconds. This probe opens one connection, in a thread that is left behind
when the time is up (name resolution cannot be interrupted), and remembers the
answer for the life of the process. Proxies and `HF_ENDPOINT` are honoured,
because the request goes the way a download would.
"""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from typing import Any

from autoglm_nb import settings

__all__ = ["endpoint", "forget", "go_offline", "hub_reachable", "open_url"]

_lock = threading.Lock()
_known: bool | None = None


def endpoint() -> str:
    """The hub's address: `HF_ENDPOINT`, else what the hub library has as its default."""
    given = os.environ.get("HF_ENDPOINT", "").strip()
    if given:
        return given.rstrip("/")
    from huggingface_hub import constants

    return str(constants.ENDPOINT).rstrip("/")


def open_url(request: urllib.request.Request, seconds: float) -> Any:
    """Open a request with the proxies that the environment names now (`urlopen` keeps those of its first call)."""
    return urllib.request.build_opener().open(request, timeout=seconds)


def hub_reachable() -> bool:
    """Whether the hub answers within `settings.hub_probe_seconds()`; asked once per process.

    Any HTTP answer below 500 counts, a refusal included: something speaks for the
    hub there. `AUTOGLM_OFFLINE=1` and `HF_HUB_OFFLINE=1` answer no without asking.
    When the answer is no, `HF_HUB_OFFLINE=1` is set, so that libraries imported
    later do not try again at length.
    """
    global _known
    if settings.offline():
        return False
    with _lock:
        if _known is None:
            _known = _probe(settings.hub_probe_seconds())
        if not _known:
            go_offline()
        return _known


def go_offline() -> None:
    """Keep the hub library from retrying: for imports to come, and if it is loaded already."""
    import sys

    os.environ["HF_HUB_OFFLINE"] = "1"
    loaded = sys.modules.get("huggingface_hub.constants")
    if loaded is not None:
        loaded.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]


def forget() -> None:
    """Ask again next time (a notebook that got its network back; tests)."""
    global _known
    with _lock:
        _known = None


def _probe(seconds: float) -> bool:
    answer: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(endpoint(), method="HEAD", headers={"User-Agent": "autoglm_nb"})
        try:
            with open_url(request, seconds):
                answer.append(True)
        except urllib.error.HTTPError as error:
            answer.append(error.code < 500 and error.code != 407)
        except (OSError, ValueError):
            answer.append(False)

    thread = threading.Thread(target=ask, name="autoglm-hub-probe", daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answer and answer[0])
