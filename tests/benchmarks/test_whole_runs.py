"""The benchmarks from their command line to their JSON, on toy models: that they run, not how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _run(tmp_path: Path, name: str, *arguments: str) -> tuple[dict[str, Any], str]:
    out = tmp_path / "result.json"
    script = [sys.executable, f"benchmarks/{name}.py", "--tiny", *arguments, "--json", str(out)]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=880)
    assert out.exists(), done.stdout + done.stderr
    stored = out.read_text(encoding="utf-8")
    assert str(tmp_path) not in stored and "/autoglm-bench-" not in stored
    result: dict[str, Any] = json.loads(stored)
    assert "failed" not in result, done.stdout
    assert {"machine", "command"} <= set(result)
    refused = "refused: " in done.stdout
    assert done.returncode == int(refused), done.stdout
    return result, done.stdout


@pytest.mark.parametrize(("task", "count"), [("classification", 2), ("causal-lm", 1)])
def test_throughput_compares_both_sides(tmp_path: Path, task: str, count: int) -> None:
    """The same tokens, steps and parameters on both sides; a toy's accuracies may be refused, other work may not."""
    result, printed = _run(tmp_path, "throughput", "--subset", str(count), "--task", task, "--variants", "dropout off")
    (part,) = result["parts"]
    assert "dropout off" in part["checks"], part["refused"]  # judged by its quality, so the work was the same
    assert [len(row["ours"]) for row in part["trials"]] == [2] * count
    assert 0 < part["ours"]["memory_gb"] < 8
    assert part["ours"]["packing"]
    assert "MFLOP a token" in printed
    if part["checks"]["dropout off"]["passed"]:
        assert part["peer"]["dropout off"]["ratio"] > 0
        assert 0 < part["ours"]["share_of_ceiling"] < 1


def test_the_ablation_turns_off_one_measure_at_a_time(tmp_path: Path) -> None:
    """Each with its own engine."""
    result, _ = _run(tmp_path, "throughput", "--subset", "2", "--ablation", "--measures", "packing", "bucketing")
    (part,) = result["parts"]
    assert [line["measure"] for line in part["measures"]] == ["packing", "bucketing"]
    assert all(("gain" in line) == line["check"]["passed"] for line in part["measures"])


def test_time_to_quality_runs_both_searches(tmp_path: Path) -> None:
    """Peer and package end their trials; the best model's accuracy is found again from its files."""
    result, _ = _run(tmp_path, "time_to_quality", "--trials", "3")
    (seed,) = result["seeds"]
    assert seed["peer"]["trials"] == 3
    assert seed["ours"]["trials"] >= 3
    assert seed["ours"]["rescored"] == pytest.approx(seed["ours"]["best_value"], abs=0.005)
    assert ("ratio" in seed) == (not seed["refused"])


def test_memory_measures_each_arrangement(tmp_path: Path) -> None:
    """Two processes take more than one; what was not measured is marked so."""
    arguments = ("--measured", "1", "2", "--counts", "1", "2", "4", "--arrangements", "packed", "peers")
    result, printed = _run(tmp_path, "memory", *arguments)
    figures = {(row["arrangement"], row["trials"]): row for row in result["rows"]}
    assert figures["peers", 2]["gb"] > 1.5 * figures["peers", 1]["gb"]
    assert figures["packed", 2]["gb"] < 1.5 * figures["packed", 1]["gb"]
    assert figures["packed", 2]["engine_predicted_gb"] == pytest.approx(figures["packed", 2]["gb"], rel=0.5)
    assert not figures["peers", 4]["measured"]
    assert "~" in printed
