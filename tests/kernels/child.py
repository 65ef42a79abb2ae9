"""A process in which Triton interprets kernels: it must be told before triton is imported, so tests talk to a child.

The child runs a module of tests: it reads `{"case": …, "arguments": …}`, a line of JSON
each, calls the function of that name and answers `{"result": …}` or `{"error": …}`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

__all__ = ["answer", "child"]

ROOT = Path(__file__).resolve().parents[2]


def child(module: str) -> Iterator[Callable[..., Any]]:
    """For a fixture: gives `run(case, **arguments)`, and ends the process afterwards."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed: pip install triton")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", ""), str(ROOT / "kernels")])
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def run(case: str, **arguments: Any) -> Any:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps({"case": case, "arguments": arguments}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            pytest.fail(f"The interpreting process ended with status {process.wait(10)}.")
        found = json.loads(line)
        if "error" in found:
            pytest.fail(found["error"])
        return found["result"]

    yield run
    assert process.stdin is not None
    process.stdin.close()
    process.wait(30)


def answer(cases: Mapping[str, Any]) -> None:
    """In the child: answer until the input ends. What cases print goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        try:
            found = {"result": cases[request["case"]](**request["arguments"])}
        except Exception:  # noqa: BLE001 - the test shows it
            found = {"error": traceback.format_exc()}
        answers.write(json.dumps(found) + "\n")
        answers.flush()
