"""Which implementation is chosen, and what is said when it cannot run."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from autoglm_kernels import backend

CPU = torch.device("cpu")
GPU = torch.device("cuda")


@pytest.mark.parametrize(
    ("asked", "device", "installed", "chosen"),
    [
        (None, CPU, True, "torch"),
        (None, GPU, True, "triton"),
        (None, GPU, False, "torch"),
        ("", GPU, True, "triton"),
        ("torch", GPU, True, "torch"),
        ("Triton", GPU, True, "triton"),
    ],
)
def test_the_variable_decides_and_otherwise_the_device(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, device: torch.device, installed: bool, chosen: str
) -> None:
    """Unset: Triton on a GPU where it is installed, the twins elsewhere."""
    monkeypatch.delenv("AUTOGLM_KERNELS", raising=False)
    if asked is not None:
        monkeypatch.setenv("AUTOGLM_KERNELS", asked)
    monkeypatch.setattr(backend, "has_triton", lambda: installed)
    assert backend.backend_for(device) == chosen


def test_a_choice_that_cannot_run_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown word, Triton not installed, and Triton on a CPU without its interpreter."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("AUTOGLM_KERNELS", "cutlass")
    with pytest.raises(ValueError, match="triton or torch, but is 'cutlass'"):
        backend.backend_for(CPU)
    monkeypatch.setenv("AUTOGLM_KERNELS", "triton")
    monkeypatch.setattr(backend, "has_triton", lambda: False)
    with pytest.raises(RuntimeError, match="not installed"):
        backend.backend_for(GPU)
    monkeypatch.setattr(backend, "has_triton", lambda: True)
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET=1"):
        backend.backend_for(CPU)


@pytest.mark.slow
def test_importing_and_using_the_twins_does_not_load_triton() -> None:
    """Triton is an extra: without it everything but the kernels works."""
    code = """
import sys
sys.modules["triton"] = None
import torch, autoglm_kernels as k
x, a, b = torch.ones(3, 4), torch.ones(2, 4), torch.ones(2, 5)
out = k.grouped_lora(x, a, b, k.make_routing([(0, 3)], 1), k.layer_table([2], [1.0]), base=torch.zeros(3, 5))
assert out.eq(8).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
