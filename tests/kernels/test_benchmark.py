"""benchmarks/kernels.py: its checks pass, a failed one forbids a time, no GPU is said, and what is timed runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import kernels as benchmark

PASSED = {"what": "a check", "error": 0.0, "limit": 1e-6}


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The checks' results, for a test to fill in; timing fails the test."""
    checks: list[dict[str, Any]] = []
    monkeypatch.setattr(benchmark, "check", lambda *_args, **_options: checks)
    monkeypatch.setattr(benchmark, "interpreted", list)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(benchmark, "timings", lambda *_args, **_options: pytest.fail("something was timed"))
    return checks


@pytest.mark.slow
def test_the_twins_equal_peft_and_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs and gradients against PEFT's own layers, dropout against the float64 twin, AdamW against torch's."""
    monkeypatch.delenv("AUTOGLM_KERNELS", raising=False)
    checks = benchmark.check(torch.device("cpu"), (torch.float32,), small=True)
    assert len(checks) == 9
    assert all(item["error"] <= item["limit"] for item in checks)


def test_without_a_gpu_it_says_so_and_succeeds(
    stubbed: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The checks are printed, nothing is timed."""
    stubbed.append(PASSED)
    assert benchmark.main([]) == 0
    assert "not yet run on a GPU" in capsys.readouterr().out


@pytest.mark.parametrize("error", [1e-3, float("nan"), float("inf")])
def test_a_failed_check_forbids_a_time(
    stubbed: list[dict[str, Any]], error: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one whose error is not a number."""
    stubbed += [PASSED, {**PASSED, "error": error}]
    assert benchmark.main(["--device", "cpu"]) == 1
    assert "refused" in capsys.readouterr().out


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_the_loop_has_the_gradients_of_the_kernels(monkeypatch: pytest.MonkeyPatch, dropout: float) -> None:
    """The same masks too: what is timed side by side is the same work."""
    monkeypatch.delenv("AUTOGLM_KERNELS", raising=False)
    work = benchmark.make(torch.device("cpu"), torch.float64, [33, 5, 7], 63, 100, dropout=dropout)
    loop = work.gradients(benchmark.loop_forward(work, dropout))
    assert benchmark.worst(loop, work.gradients(lambda: work.grouped(fused=False))) < 1e-12


@pytest.mark.slow
def test_everything_that_is_timed_runs_on_a_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each means on a layer with one trial and with three, and either way to step; the figures are not judged."""
    monkeypatch.delenv("AUTOGLM_KERNELS", raising=False)
    monkeypatch.setattr(benchmark, "check", lambda *_args, **_options: [PASSED])
    monkeypatch.setattr(benchmark, "interpreted", list)
    out = tmp_path / "result.json"
    assert benchmark.main(["--device", "cpu", "--tiny", "--json", str(out)]) == 0
    result = json.loads(out.read_text(encoding="utf-8"))
    assert [line["trials"] for line in result["timings"]] == [1, 3]
    for line in result["timings"]:
        assert line["seconds"].keys() == {"base", "kernels", "atomics", "fused", "loop", "peft"}
        assert min(line["seconds"].values()) > 0
    assert result["adamw"].keys() == {"together", "each"}
