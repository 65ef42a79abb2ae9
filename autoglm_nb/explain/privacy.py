"""What must not leave the machine with a shared page: absolute paths and the account's name.

A path keeps its last part ("reviews.csv"), which is what a reader can use. Addresses on
the web are left as they are. Only texts that come from outside this package go through
here: cells, sources, provenance, notes, error sentences.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["account", "private", "scrub"]

_WHOLE = re.compile(r"(?:~?/|[A-Za-z]:[\\/]|\\\\)(?:(?! [/~]|: |://)[^\n]){0,400}")
_QUOTED = re.compile(r"""(?P<quote>['"])(?:~|/|[A-Za-z]:[\\/]|\\\\)[^'"\n]*?(?P<last>[^'"\\/\n]*)[\\/]?(?P=quote)""")
_POSIX = re.compile(r"(?<![\w:/.~])~?/(?:[^\s/'\"<>()\[\]{},;]+/)+(?P<last>[^\s/'\"<>()\[\]{},;]*)")
_HOME = re.compile(r"(?<![\w:/.])~\w*/(?P<last>[^\s/'\"<>]+)")
_FILE_URL = re.compile(r"file://[^\s'\"<>]*/(?P<last>[^\s/'\"<>]*)")
_WINDOWS = re.compile(r"(?<!\w)(?:[A-Za-z]:[\\/]|\\\\)(?:[^\s\\/'\"<>]+[\\/])*(?P<last>[^\s\\/'\"<>]*)")


def private(text: str, known: Sequence[str] = ()) -> str:
    """`text` with every absolute path cut down to its last part.

    Args:
        text: any text.
        known: folders that occur in it; needed where their names contain spaces.
    """
    whole = text.strip()
    if _WHOLE.fullmatch(whole):
        return re.split(r"[\\/]", whole.rstrip("\\/"))[-1] or "…"
    for folder in known:
        if " " in folder:
            text = text.replace(folder.rstrip("/") + "/", "")
    out = _QUOTED.sub(lambda m: f"{m['quote']}{m['last']}{m['quote']}", text)
    for pattern in (_FILE_URL, _WINDOWS, _POSIX, _HOME):
        out = pattern.sub(lambda m: m["last"] or "…", out)
    return out


def scrub(value: Any, known: Sequence[str] = ()) -> Any:
    """The same for every string inside a JSON value."""
    if isinstance(value, str):
        return private(value, known)
    if isinstance(value, Mapping):
        return {private(str(k), known): scrub(v, known) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrub(v, known) for v in value]
    return value


def account() -> str:
    """The name of the account this runs under, "" when there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""
