"""benchmarks/kernels.py: its checks pass, a failed one forbids a time, and no GPU is said."""

from __future__ import annotations

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
