"""A store in a folder of its own, a study in it, and Python processes that use the same store."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoglm_nb.protocol import DataSpec, StudySpec
from autoglm_nb.space import parse_cell
from autoglm_nb.store import Store

ROOT = Path(__file__).resolve().parents[2]
PRELUDE = """
import os, sys, time
from pathlib import Path
from autoglm_nb.protocol import *
from autoglm_nb.store import *
home = Path(sys.argv[1])
def say(*words):
    print(*words, flush=True)
def listen():
    return sys.stdin.readline().strip()
"""

SPACE = parse_cell("learning_rate = loguniform(1e-5, 1e-2)", {}).to_json()

Python = Callable[..., "subprocess.Popen[str]"]


def make_spec(name: str = "reviews", **fields: object) -> StudySpec:
    """A classification study's request."""
    given: dict[str, object] = {
        "model": "minilm",
        "data": DataSpec("reviews.csv", text=("text",), target="label", checksum="c0ffee"),
        "space": SPACE,
        "task": "classification",
        "identity": "same",
        **fields,
    }
    return StudySpec(name=name, **given)  # type: ignore[arg-type]


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with Store(home) as opened:
        yield opened


@pytest.fixture
def study(store: Store) -> str:
    """The name of a study that is in the store."""
    store.create_study(make_spec())
    return "reviews"


@pytest.fixture
def python(home: Path) -> Iterator[Python]:
    """`python(code, *arguments)` starts a process with `home`, `say` and `listen` at hand; killed in the end."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(code), str(home), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def heard(process: subprocess.Popen[str]) -> str:
    """The next line a process says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], line: str = "") -> None:
    """Sends a line to a process."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
