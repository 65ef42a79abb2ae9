"""What a run of hours has measured so far, in a file: interrupted, it goes on with the next seed.

Figures are only put together when they are of the same request, processor and versions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Kept"]


class Kept:
    """Raw figures by request.

    Args:
        path: the file; made when the first figures come.
        machine: from `machine.describe`.

    Raises:
        ValueError: the file is something else.
    """

    def __init__(self, path: Path, machine: Mapping[str, Any]) -> None:
        self._path = path
        self._machine = {name: machine[name] for name in ("processor", "cores", "python", "packages")}
        self._entries: list[dict[str, Any]] = []
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found, list) or not all(isinstance(e, dict) and "request" in e for e in found):
                raise ValueError(f"{path.name} must be a file that --keep wrote, but is another. Name a new one.")
            self._entries = found

    def seeds(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What was measured of this request on such a machine; empty if nothing."""
        return next((dict(e["raw"]) for e in self._entries if self._alike(e, request)), {})

    def keep(self, request: Mapping[str, Any], raw: Mapping[str, Any]) -> None:
        """Store the figures so far, in place of the former ones."""
        self._entries = [e for e in self._entries if not self._alike(e, request)]
        self._entries.append({"request": _plain(request), "machine": self._machine, "raw": _plain(raw)})
        draft = self._path.with_suffix(".part")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(self._entries), encoding="utf-8")
        os.replace(draft, self._path)

    def _alike(self, entry: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
        return entry["request"] == _plain(request) and entry["machine"] == self._machine


def _plain(value: Mapping[str, Any]) -> Any:
    """As it comes back from a file."""
    return json.loads(json.dumps(value))
