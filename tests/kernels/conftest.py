"""The process in which kernels are interpreted, started once."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def interpreted() -> Iterator[Callable[..., Any]]:
    """`interpreted(case, **arguments)` runs a case of tests/kernels/interpreted.py."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed: pip install triton")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", ""), str(ROOT / "kernels")])
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.kernels.interpreted"],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def run(case: str, **arguments: Any) -> Any:
        child.stdin.write(json.dumps({"case": case, "arguments": arguments}) + "\n")
        child.stdin.flush()
        line = child.stdout.readline()
        if not line:
            pytest.fail(f"The interpreting process ended with status {child.wait(10)}.")
        answer = json.loads(line)
        if "error" in answer:
            pytest.fail(answer["error"])
        return answer["result"]

    yield run
    child.stdin.close()
    child.wait(30)
