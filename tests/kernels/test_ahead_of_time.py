"""Kernels compile for GPUs that are not here, without spills and within shared memory."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autoglm_kernels.ahead_of_time import TARGETS, Built, Variant, faults, variants

ROOT = Path(__file__).resolve().parents[2]
KERNELS = {"shrink", "expand", "reduce_rows", "shrink_reduce", "grouped_adamw"}
NEEDS_TRITON = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed: pip install triton"
)


@pytest.mark.slow
@NEEDS_TRITON
@pytest.mark.parametrize("target", TARGETS)
def test_every_kernel_compiles_without_spills(tmp_path: Path, target: str) -> None:
    """The command's exit status says so, and its table has a line for each variant, with the README's figures."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(ROOT / "kernels")
    command = [sys.executable, "-m", "autoglm_kernels.ahead_of_time", "--target", target]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    compiled = _compiled(done.stdout)
    assert compiled.keys() == {(*_name(variant), target) for variant in variants()}
    assert {key[0] for key in compiled} == KERNELS
    assert all(0 < registers <= 512 for registers, _ in compiled.values())
    if importlib.metadata.version("triton").startswith("3.9."):  # the one that the README's table names
        assert compiled.items() <= _documented().items()


def _name(variant: Variant) -> tuple[str, str, str]:
    return variant.kernel, variant.label or "-", variant.rows


def _compiled(table: str) -> dict[tuple[str, ...], tuple[int, float]]:
    """Registers and KiB of shared memory by kernel, variant, type of rows and target."""
    line = re.compile(r"(\w+) +(.*?) *(bf16|fp16|fp32) +(sm_80|sm_90|gfx942) +(\d+) +\d+ +(\d+) +\d+")
    found = (line.fullmatch(text.strip()) for text in table.splitlines())
    return {(m[1], m[2] or "-", m[3], m[4]): (int(m[5]), round(int(m[6]) / 1024, 1)) for m in found if m}


def _documented() -> dict[tuple[str, ...], tuple[int, float]]:
    """The same from the README."""
    cells = r"\| `(\w+)` \| (.+?) \| (bf16|fp16|fp32) \| (.+?) \| (.+?) \| (.+?) \|"
    found = {}
    for row in re.findall(cells, (ROOT / "kernels" / "README.md").read_text(encoding="utf-8")):
        for target, figures in zip(("sm_80", "sm_90", "gfx942"), row[3:], strict=True):
            registers, shared = figures.split(" / ")
            found[(*row[:3], target)] = (int(registers), float(shared))
    return found


@NEEDS_TRITON
def test_the_table_of_the_readme_has_every_variant_and_target() -> None:
    """Those of `--all`; a bigger figure than the limit would be a misprint."""
    documented = _documented()
    assert documented.keys() == {(*_name(variant), target) for variant in variants(every=True) for target in TARGETS}
    assert all(shared * 1024 <= TARGETS[key[3]][3] for key, (_, shared) in documented.items())


def test_a_spill_and_too_much_shared_memory_are_faults() -> None:
    """Either makes the command fail, with a sentence that says what to change."""
    variant = Variant("shrink", "dropout", "bf16", {}, 4, 3)
    assert faults(Built(variant, "sm_90", 255, 0, 1000, 1000)) == []
    assert "spills 8" in faults(Built(variant, "sm_90", 255, 8, 1000, 1000))[0]
    assert "needs 1001" in faults(Built(variant, "sm_90", 255, 0, 1001, 1000))[0]
