"""An outbox taken up again: by the kernel that opens a study after an outage, a restart, a crash."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from autoglm_nb import settings
from autoglm_nb.errors import AutoGLMError

__all__ = ["resume"]

SECONDS = 3600.0
"""A kernel goes on trying for so long; the files wait longer."""

_threads: dict[Path, threading.Thread] = {}
_lock = threading.Lock()

log = logging.getLogger(__name__)


def resume(home: Path) -> threading.Thread | None:
    """Send what waits in a store's outbox, in the background; None where nothing does. Cheap, never raises."""
    if not settings.decision_url():
        return None
    try:
        if next(home.glob("runs/*/outbox/*.json"), None) is None:
            return None
    except OSError:
        return None
    with _lock:
        thread = _threads.get(home)
        if thread is None or not thread.is_alive():
            thread = _threads[home] = threading.Thread(target=_drain, args=(home,), name="autoglm-outbox", daemon=True)
            thread.start()
        return thread


def _drain(home: Path) -> None:
    from autoglm_nb.decisions.delivery import drain
    from autoglm_nb.store import Store

    try:
        drain(Store(home, create=False), seconds=SECONDS)
    except AutoGLMError as error:
        log.debug("the outbox of %s: %s", home, error)
    except Exception:
        log.exception("the outbox of %s", home)
