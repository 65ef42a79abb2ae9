"""The process that follows a study for its hooks: started by the kernel, outliving it, one a study."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from autoglm_nb import settings
from autoglm_nb.errors import AutoGLMError
from autoglm_nb.hooks.follower import wanted
from autoglm_nb.store import Store
from autoglm_nb.store.hook_state import hook_folder

__all__ = ["lock_of", "start"]

AGAIN_SECONDS = 20.0
"""One kernel starts no second process for the same study sooner than this."""

_started: dict[tuple[Path, str], float] = {}

log = logging.getLogger(__name__)


def start(home: Path, study: str) -> subprocess.Popen[bytes] | None:
    """Start the follower of a study's hooks, unless there is nothing to tell or one runs already.

    Cheap where there are no hooks. Never raises: a study does not fail for its tracker.
    """
    try:
        store = Store(home, create=False)
        names = store.spec(study).hooks
        if not names or not any(wanted(store, study, name) for name in names):
            return None
        now = time.monotonic()
        if now - _started.get((home, study), -AGAIN_SECONDS) < AGAIN_SECONDS or _held(store, study):
            return None
        _started[home, study] = now
        return _spawn(store, study)
    except (AutoGLMError, OSError) as error:
        log.warning("the hooks of %s could not be started: %s", study, error)
        return None


def lock_of(store: Store, study: str) -> FileLock:
    """The lock that the following process holds."""
    return FileLock(hook_folder(store, study) / ".lock", timeout=0)


def _held(store: Store, study: str) -> bool:
    if not hook_folder(store, study).is_dir():
        return False
    try:
        with lock_of(store, study):
            return False
    except Timeout:
        return True


def _spawn(store: Store, study: str) -> subprocess.Popen[bytes]:
    folder = hook_folder(store, study)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "autoglm_nb.hooks", "--home", str(store.home), "--study", study]
    with (folder / "hooks.log").open("wb") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=settings.child_environment(),
        )
