"""What stays at home when a study is shared: paths, the account's and the machine's name.

Paths are cut down to their last part by the rules of the explanation. The names of
account and host are blanked wherever they stand as a word of their own, except for names
that thousands of machines have ("root", "jovyan"), which say nothing and are words.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from autoglm_nb.explain.privacy import account, private
from autoglm_nb.record import words

__all__ = ["LONGEST_TEXT", "Privacy"]

LONGEST_TEXT = 20_000
"""Characters of any one text that is shared or brought in."""

_COMMON = frozenset(
    {"admin", "administrator", "app", "debian", "default", "dev", "docker", "guest", "host", "jovyan", "jupyter"}
    | {"localhost", "nobody", "none", "owner", "root", "runner", "server", "student", "test", "ubuntu", "user"}
    | {"vagrant", "vscode", "work", "worker"}
)
_SHORTEST_NAME = 3


class Privacy:
    """Takes out what must not leave; the same text always gives the same text.

    Args:
        home: the store's folder.
    """

    def __init__(self, home: Path) -> None:
        folders = {home.resolve(), home.resolve().parent, Path.home(), Path.cwd()}
        self._done: dict[str, str] = {}  # names of settings and sentences come back thousands of times
        self._known = sorted((str(p) for p in folders if len(p.parts) > 1), key=len, reverse=True)

    def text(self, text: str) -> str:
        """One text without control characters, paths and names."""
        done = self._done.get(text)
        if done is None:
            done = self._done[text] = self._without(text)
        return done

    def _without(self, text: str) -> str:
        text = words.clean(text, LONGEST_TEXT, lines=True)
        for folder in self._known:
            text = text.replace(folder + "/", "").replace(folder, Path(folder).name)
        text = private(text, self._known)
        return self._names.sub("…", text) if self._names is not None else text

    def tidy(self, value: Any) -> Any:
        """The same for every text inside a JSON value, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.tidy(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.tidy(item) for item in value]
        return value

    def signed(self, author: str) -> str:
        """The author of a note as signed, unless that is the account's own name."""
        return "" if author == account() else private(words.clean(author, 80), self._known)

    def notes(self, notes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Notes without names in text and signature."""
        return [{**n, "text": self.text(n["text"]), "author": self.signed(n["author"])} for n in notes]

    @cached_property
    def _names(self) -> re.Pattern[str] | None:
        host = socket.gethostname()
        names = {account(), host, host.partition(".")[0], Path.home().name}
        said = [n for n in names if len(n) >= _SHORTEST_NAME and n.lower() not in _COMMON and not n.isdecimal()]
        said.sort(key=lambda name: (-len(name), name))  # the longer one first: "mei-laptop" before "mei"
        return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, said)) + r")(?!\w)", re.IGNORECASE) if said else None
