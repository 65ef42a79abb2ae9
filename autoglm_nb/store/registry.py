"""Where the stores of this user are, so that a server or another notebook finds them.

One small JSON file per store in Jupyter's runtime folder, which is private to
the user and the same for server and kernels. Files are written whole and
renamed into place, so readers and writers need no lock; a file that cannot be
read, or a store that is gone, is passed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from pathlib import Path

__all__ = ["homes", "remember", "runtime_dir"]

_PREFIX = "autoglm-store-"
_VERSION = 1


def remember(home: str | os.PathLike[str]) -> bool:
    """Notes that there is a store; False where the runtime folder cannot be written, which is no error."""
    path = Path(home).absolute()
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    target = runtime_dir() / f"{_PREFIX}{digest}.json"
    draft = target.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}.tmp")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text(json.dumps({"version": _VERSION, "home": str(path), "seen": time.time()}), encoding="utf-8")
        draft.chmod(0o600)
        draft.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        return False
    return True


def homes() -> list[Path]:
    """The stores that are there now, the latest used first."""
    found: dict[Path, float] = {}
    try:
        files = sorted(runtime_dir().glob(f"{_PREFIX}*.json"))
    except OSError:
        return []
    for file in files:
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            home, seen = Path(record["home"]), float(record["seen"])
            if record["version"] <= _VERSION and (home / "studies.db").is_file():
                found[home] = seen
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda home: (-found[home], str(home)))


def runtime_dir() -> Path:
    """Jupyter's runtime folder by the rules of `jupyter_core`, without importing it."""
    for variable, below in (("JUPYTER_RUNTIME_DIR", ""), ("JUPYTER_DATA_DIR", "runtime")):
        given = os.environ.get(variable)
        if given:
            return Path(given) / below
    home = Path.home()
    if sys.platform == "darwin":
        data = home / "Library" / "Jupyter"
    elif sys.platform == "win32":
        data = Path(os.environ.get("APPDATA") or home / ".jupyter" / "data") / "jupyter"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "jupyter"
    return data / "runtime"
