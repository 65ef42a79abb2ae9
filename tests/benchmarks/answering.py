"""A child process for `test_children.py`: answers, fails or dies as it is told."""

from __future__ import annotations

import os
import sys
from typing import Any

from benchmarks import children


def echo(**what: Any) -> dict[str, Any]:
    print("this goes to the log")
    return what


def fail() -> dict[str, Any]:
    raise KeyError("no such thing")


def die() -> dict[str, Any]:
    print("last words", flush=True)
    os._exit(3)


def grow(megabytes: int) -> dict[str, Any]:
    children.reset_peak_memory()
    before = children.peak_memory_gb()
    ballast = bytearray(megabytes * 2**20)
    ballast[:: 2**12] = b"x" * len(ballast[:: 2**12])
    del ballast
    return {"before": before, "peak": children.peak_memory_gb()}


if __name__ == "__main__":
    children.serve(sys.argv[sys.argv.index("--pipes") + 1], {"echo": echo, "fail": fail, "die": die, "grow": grow})
