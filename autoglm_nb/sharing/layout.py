"""What lies where in a shared zip, under which version, and how large it may be.

Every entry has a name from this file; a zip with any other is refused as a whole.
"""

from __future__ import annotations

import re

__all__ = [
    "ADAPTER",
    "DATA",
    "ENVIRONMENT",
    "FORMAT",
    "MANIFEST",
    "MAX_ENTRIES",
    "MAX_TENSOR_BYTES",
    "MAX_TEXT_BYTES",
    "NEEDED",
    "NOTES",
    "RECORD",
    "REPORT",
    "RUNS",
    "SPACE",
    "STUDY",
    "TRIALS",
    "VERSION",
    "is_known",
    "most_bytes",
]

FORMAT = "autoglm-study"
VERSION = 1
"""Raised when an older program could no longer read what is written."""

MANIFEST = "manifest.json"
STUDY, TRIALS, RUNS, NOTES = "study.json", "trials.json", "runs.json", "notes.json"
RECORD, REPORT, SPACE, ENVIRONMENT = "record.json", "report.html", "space.txt", "environment.json"
DATA = "data.json"
ADAPTER = "adapter/"
NEEDED = (STUDY, TRIALS, RUNS, NOTES)
"""What an opened study is made of; the rest may be missing."""

MAX_ENTRIES = 64
MAX_TEXT_BYTES = 64 * 2**20
"""Of one entry that is text: a study of 10,000 trials takes about 15 MB."""

MAX_TENSOR_BYTES = 16 * 2**30

_WHOLE = frozenset({MANIFEST, *NEEDED, RECORD, REPORT, SPACE, ENVIRONMENT, DATA})
_ADAPTER_FILE = re.compile(r"adapter/[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}\.(?:json|safetensors|md|txt|jinja)")


def is_known(name: str) -> bool:
    """Whether a shared zip may have an entry of this name."""
    return name in _WHOLE or _ADAPTER_FILE.fullmatch(name) is not None


def most_bytes(name: str) -> int:
    """The most that an entry of this name may hold."""
    return MAX_TENSOR_BYTES if name.endswith(".safetensors") else MAX_TEXT_BYTES
