"""Where the stores are, and the names under which they are known outside.

A store is a folder of this machine and its path is nobody else's business: a
hash of it goes out instead, and comes back in requests. Only stores that are
listed here can be reached, so no request can name a folder.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from autoglm_nb import settings
from autoglm_nb.store import registry

__all__ = ["ID_PATTERN", "Place", "Places", "place_id"]

ID_PATTERN = "[0-9a-f]{12}"
_STORE = ".autoglm"
_FILE = "studies.db"


@dataclass(frozen=True)
class Place:
    """A store. `folder` is what may be told of where it is: relative to the server's folder, else a bare name."""

    id: str
    home: Path
    folder: str

    def told(self, sentence: str) -> str:
        """A sentence without this store's path."""
        label = f"{self.folder}/{self.home.name}" if self.folder else self.home.name
        for path in {str(self.home), os.path.realpath(self.home)}:
            sentence = sentence.replace(path, label)
        # As our own errors put it, where it stands by itself and does not end what was just told.
        for place, told in ((self.home / _FILE, f"{label}/{_FILE}"), (self.home, label)):
            shown = settings.shown_path(place)
            if shown not in (".", "~"):
                literal = told.replace("\\", r"\\")
                sentence = re.sub(rf"(?<![\w./~…-]){re.escape(shown)}(?![\w-])", literal, sentence)
        return sentence


class Places:
    """The stores of this user that this server shows.

    Args:
        root: the folder the server serves; None where its files are not on a disk.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = root.resolve() if root is not None else None

    def all(self) -> dict[str, Place]:
        """Every store that is there now, by its id: those used last, then the server's own."""
        homes = registry.homes()
        homes += [settings.home(self.root)]  # AUTOGLM_HOME, if that is set
        if self.root is not None:
            homes.append(self.root / _STORE)
        found: dict[str, Place] = {}
        for home in homes:
            resolved = Path(os.path.realpath(home))
            if (resolved / _FILE).is_file():
                id = place_id(resolved)
                found.setdefault(id, Place(id, resolved, self.relative(resolved.parent)))
        return found

    def relative(self, path: Path) -> str:
        """A path as the server's users know it; of one outside the server's folder the last part alone."""
        if self.root is not None and path.is_relative_to(self.root):
            inside = path.relative_to(self.root).as_posix()
            return "" if inside == "." else inside
        return path.name

    def notebook(self, place: Place, given: str | None) -> tuple[str | None, bool]:
        """How the server's users name a study's notebook, and whether it is a file that they can open.

        Args:
            place: the store, which lies beside the notebook unless `AUTOGLM_HOME` moved it.
            given: what the study's request says: a bare name, or a path of this machine.
        """
        if not given:
            return None, False
        name = os.path.basename(given.replace("\\", "/"))
        for path in (place.home.parent / given, place.home.parent / name):
            try:
                resolved = Path(os.path.realpath(path))
                if self.root is not None and resolved.is_relative_to(self.root) and resolved.is_file():
                    return resolved.relative_to(self.root).as_posix(), True
            except (OSError, ValueError):  # a name that no file can have
                continue
        return name or None, False


def place_id(home: Path) -> str:
    """Twelve hexadecimal digits that stand for a store's folder."""
    return hashlib.sha256(os.fsencode(os.path.realpath(home))).hexdigest()[:12]
