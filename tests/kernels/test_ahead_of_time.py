"""Kernels compile for GPUs that are not here, without spills and within shared memory."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autoglm_kernels.ahead_of_time import TARGETS, Built, Variant, faults

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed: pip install triton")
def test_every_kernel_compiles_for_every_target_without_spills(tmp_path: Path) -> None:
    """The command's exit status says so, and its table has a line for each kernel and target."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(ROOT / "kernels")
    done = subprocess.run(
        [sys.executable, "-m", "autoglm_kernels.ahead_of_time"], env=environment, capture_output=True, text=True
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    seen = {(line.split()[0], target) for line in done.stdout.splitlines() for target in TARGETS if target in line}
    kernels = {"shrink", "expand", "reduce_rows", "shrink_reduce", "grouped_adamw"}
    assert seen == {(kernel, target) for kernel in kernels for target in TARGETS}
    registers = [int(m.group(1)) for m in re.finditer(r"(?:sm_80|sm_90|gfx942)\s+(\d+)", done.stdout)]
    assert registers and all(0 < count <= 512 for count in registers)


def test_a_spill_and_too_much_shared_memory_are_faults() -> None:
    """Either makes the command fail, with a sentence that says what to change."""
    variant = Variant("shrink", "dropout", "bf16", {}, 4, 3)
    assert faults(Built(variant, "sm_90", 255, 0, 1000, 1000)) == []
    assert "spills 8" in faults(Built(variant, "sm_90", 255, 8, 1000, 1000))[0]
    assert "needs 1001" in faults(Built(variant, "sm_90", 255, 0, 1001, 1000))[0]
