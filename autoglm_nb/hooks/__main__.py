"""`python -m autoglm_nb.hooks`: follow one study for all its hooks, a thread each, until it ends."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from filelock import Timeout

from autoglm_nb import settings
from autoglm_nb.errors import AutoGLMError
from autoglm_nb.hooks.follower import HookFollower, wanted
from autoglm_nb.hooks.process import lock_of
from autoglm_nb.store import Store

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 also where another process follows already."""
    parser = argparse.ArgumentParser(prog="python -m autoglm_nb.hooks", description="Tell trackers about a study.")
    parser.add_argument("--home", type=Path, default=settings.home(), help="the .autoglm folder")
    parser.add_argument("--study", required=True, help="name of the study")
    options = parser.parse_args(arguments)
    try:
        return follow(options.home, options.study)
    except AutoGLMError as error:
        print(str(error), file=sys.stderr)
        return 2


def follow(home: Path, study: str) -> int:
    """Follow until every hook is through with the study.

    Raises:
        StudyNotFoundError: no such study.
    """
    store = Store(home, create=False)
    names = [name for name in store.spec(study).hooks if wanted(store, study, name)]
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    lock = lock_of(store, study)
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        with lock:
            threads = [
                threading.Thread(target=HookFollower(store, study, name).run, args=(stop,), name=f"autoglm-{name}")
                for name in names
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    except Timeout:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
