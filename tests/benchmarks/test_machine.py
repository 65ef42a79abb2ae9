"""What stands beside every figure: the command that made it."""

from __future__ import annotations

import sys

import pytest

from benchmarks import machine


def test_the_command_can_be_repeated_and_names_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that change the speed stand before it; files are named without their folders."""
    for name in machine.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", ["/somewhere/benchmarks/memory.py"])
    given = ["--measured", "1", "--json", "/somewhere/else/result.json"]
    assert machine.command(given) == "python benchmarks/memory.py --measured 1 --json result.json"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert machine.command([]) == "OMP_NUM_THREADS=1 python benchmarks/memory.py"
