"""Compile the kernels for GPUs that are not there, and refuse what spills or does not fit.

    python -m autoglm_kernels.ahead_of_time             # what training launches, and the largest of the rest
    python -m autoglm_kernels.ahead_of_time --all       # also fused, with atomics, and small blocks, in bf16 and fp32

Training as it is by default gives the base product and wants no atomics, with dropout
or without. Prints a table of registers, spills and shared memory; exit status 1 if a
kernel spills registers, uses a stack or needs more shared memory than the target has.
It says nothing about speed. Run it in a process of its own, without TRITON_INTERPRET:
a process that interprets kernels cannot compile them.

NVIDIA's figures come from `cuobjdump` in the triton package, AMD's from the
assembler text.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoglm_kernels.lora_launch import Blocks

__all__ = ["Built", "Variant", "build", "faults", "main", "variants"]

TARGETS = {
    "sm_80": ("cuda", 80, 32, 163 * 1024),
    "sm_90": ("cuda", 90, 32, 227 * 1024),
    "gfx942": ("hip", "gfx942", 64, 64 * 1024),
}
"""Backend, architecture, threads a warp, bytes of shared memory a block may have."""

INTEGERS = {"columns", "inner", "max_rank", "tile_count"}
UNALIGNED = {"tile_count", "max_rank", "weight_inner_stride", "weight_column_stride"}
"""Integers that need not be multiples of 16: assuming less is the harder case."""
TABLES = {"tiles", "chunks", "groups", "tokens", "pieces"}
BANKS = {"bank", "db"}


@dataclass(frozen=True)
class Variant:
    """A kernel with everything that is fixed when it is compiled.

    Attributes:
        kernel: name of the kernel.
        label: what distinguishes the variant, for the table.
        rows: type of the rows ("bf16", "fp16" or "fp32"); banks are fp32.
        constants: its constexpr arguments.
        warps, stages: how it is scheduled.
        out_bank: whether `out` is a bank and hence fp32.
    """

    kernel: str
    label: str
    rows: str
    constants: dict[str, Any]
    warps: int
    stages: int
    out_bank: bool = False


@dataclass(frozen=True)
class Built:
    """What a variant needs on a target; spills and stack in bytes (AMD: in registers)."""

    variant: Variant
    target: str
    registers: int
    spills: int
    shared: int
    limit: int


def variants(every: bool = False) -> Iterator[Variant]:
    """The kernels with the block sizes of `lora_launch`; see the top for what `every` adds."""
    import torch
    import triton.language as tl

    from autoglm_kernels.adamw import BLOCK, COLUMNS
    from autoglm_kernels.lora_launch import blocks, rank_block

    types = (("bf16", torch.bfloat16, 128), ("fp16", torch.float16, 128), ("fp32", torch.float32, 64))
    for rows, dtype, largest in types:
        rest = every and rows != "fp16"  # by `--precision fp16` alone, and of that what training launches
        large, small = (largest, rank_block(64, dtype)), (64, 16)
        for tile_rows, rank in (large, small) if rest else (large,):
            plan = blocks(dtype, tile_rows)
            size = f"{tile_rows}x{rank}"
            both = {"ACC": tl.float32, "PRECISION": "ieee", "BLOCK_M": tile_rows}
            narrow = {**both, "BLOCK_C": plan.columns, "BLOCK_R": rank}
            wide = {**both, "BLOCK_N": plan.expand_columns, "BLOCK_K": plan.expand_inner, "BLOCK_R": min(32, rank)}
            wide["SWIZZLE"] = plan.swizzle

            def variant(
                kernel: str, label: str, options: dict[str, Any], out_bank: bool = False,
                rows: str = rows, size: str = size, plan: Blocks = plan,
            ) -> Variant:  # fmt: skip
                return Variant(kernel, f"{label} {size}", rows, options, plan.warps, plan.stages, out_bank)

            expand = {"HAS_BASE": False, "HAS_WEIGHT": False, "HAS_BIAS": False, "DROPOUT": False}
            fused = {**wide, **expand, "HAS_WEIGHT": True}
            reduce = {**narrow, "DROPOUT": False, "ATOMIC": False}
            yield variant("shrink", "dropout", {**narrow, "DROPOUT": True})
            yield variant("shrink", "no dropout", {**narrow, "DROPOUT": False})
            yield variant("expand", "forward, base", {**wide, **expand, "HAS_BASE": True})
            yield variant("expand", "backward, dropout", {**wide, **expand, "DROPOUT": True})
            yield variant("expand", "backward, no dropout", {**wide, **expand})
            yield variant("reduce_rows", "dropout, deterministic", {**reduce, "DROPOUT": True}, True)
            yield variant("reduce_rows", "no dropout, deterministic", reduce, True)
            if rest or rows == "bf16":
                yield variant("expand", "backward, weight, dropout", {**fused, "DROPOUT": True})
                yield variant("shrink_reduce", "atomics", narrow)
            if rest:
                yield variant("expand", "forward, weight", {**fused, "HAS_BIAS": True})
                yield variant("reduce_rows", "dropout, atomics", {**reduce, "DROPOUT": True, "ATOMIC": True}, True)
    fixed = {"TYPE": tl.float32, "COLUMNS": len(COLUMNS), "ALIGNED": True, "BLOCK": BLOCK}
    yield Variant("grouped_adamw", "", "fp32", fixed, 4, 2)


def build(variant: Variant, target: str) -> Built:
    """Compile one variant; pointers, strides and widths are taken to be multiples of 16, ranks are not."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from autoglm_kernels import adamw_kernel, lora_kernels

    backend, architecture, warp, limit = TARGETS[target]
    kernel = getattr(adamw_kernel if variant.kernel == "grouped_adamw" else lora_kernels, variant.kernel)
    signature = {name: _kind(name, variant) for name in kernel.arg_names}
    divisible = {
        (i,): [["tt.divisibility", 16]]
        for i, (name, kind) in enumerate(signature.items())
        if kind != "constexpr" and name not in UNALIGNED
    }
    constexprs = [name for name, kind in signature.items() if kind == "constexpr"]
    constants: dict[str, Any] = {name: variant.constants[name] for name in constexprs}
    made = triton.compile(
        ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=divisible),
        target=GPUTarget(backend, architecture, warp),
        options={"num_warps": variant.warps, "num_stages": variant.stages, "enable_fp_fusion": True},
    )
    registers, spills = _nvidia(made.asm["cubin"]) if backend == "cuda" else _amd(made.asm["amdgcn"])
    return Built(variant, target, registers, spills, made.metadata.shared, limit)


def faults(built: Built) -> list[str]:
    """Why a compiled kernel is refused, in sentences."""
    name = f"{built.variant.kernel} ({built.variant.rows}, {built.variant.label}) on {built.target}"
    found = []
    if built.spills:
        found.append(f"{name} must not spill, but spills {built.spills}. Make its blocks smaller or use more warps.")
    if built.shared > built.limit:
        found.append(
            f"{name} may use {built.limit} bytes of shared memory, but needs {built.shared}. Use fewer stages."
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description="Compile the kernels ahead of time and check registers and memory.")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="default: all three")
    parser.add_argument("--all", action="store_true", help="also fused, with atomics, small blocks (bf16, fp32)")
    parser.add_argument("--markdown", action="store_true", help="print the table as the README has it")
    parser.add_argument("--kernel", help="only this kernel")
    options = parser.parse_args(arguments)
    if os.environ.get("TRITON_INTERPRET") == "1":
        parser.error("kernels cannot be compiled while TRITON_INTERPRET=1. Unset it.")
    targets, row = options.target or list(TARGETS), _markdown if options.markdown else _plain
    print(_MARKDOWN_HEAD.format(" | ".join(targets), " | ".join("---" for _ in targets)) if options.markdown else _HEAD)
    bad: list[str] = []
    for variant in variants(options.all):
        if options.kernel in (None, variant.kernel):
            made = [build(variant, target) for target in targets]
            bad += [fault for one in made for fault in faults(one)]
            print(row(variant, made), flush=True)
    for fault in bad:
        print(fault, file=sys.stderr)
    return 1 if bad else 0


_LINE = "{:<14} {:<40} {:<5} {:<7} {:>9} {:>9} {:>9} {:>9}"
_HEAD = _LINE.format("kernel", "variant", "rows", "target", "registers", "spills", "shared", "limit")
_MARKDOWN_HEAD = "| Kernel | Variant, rows x rank of a tile | Type | {} |\n| --- | --- | --- | {} |"


def _plain(variant: Variant, made: Sequence[Built]) -> str:
    """A line a target."""
    about = (variant.kernel, variant.label, variant.rows)
    return "\n".join(_LINE.format(*about, b.target, b.registers, b.spills, b.shared, b.limit) for b in made)


def _markdown(variant: Variant, made: Sequence[Built]) -> str:
    """A row: registers / KiB of shared memory of each target."""
    figures = " | ".join(f"{b.registers} / {round(b.shared / 1024, 1):g}" for b in made)
    return f"| `{variant.kernel}` | {variant.label or '-'} | {variant.rows} | {figures} |"


def _kind(name: str, variant: Variant) -> str:
    if name in variant.constants:
        return "constexpr"
    if name in INTEGERS or name.endswith("_stride"):
        return "i32"
    if name == "tensors":
        return "*i64"
    if name in TABLES:
        return "*i32"
    fp32 = name in ("scales", "hyper") or name in BANKS or (name == "out" and variant.out_bank)
    return "*fp32" if fp32 else f"*{variant.rows}"


def _nvidia(cubin: bytes) -> tuple[int, int]:
    """Registers a thread, and bytes a thread in local memory or on the stack."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run(
            [str(tool), "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    usage = {key: int(value) for key, value in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", text)}
    return usage["REG"], usage["STACK"] + usage["LOCAL"]


def _amd(text: str) -> tuple[int, int]:
    """Vector registers (architectural and accumulation), and spilled ones of either kind."""
    pattern = r"\.(vgpr_count|vgpr_spill_count|sgpr_spill_count):\s+(\d+)"
    found = {key: int(value) for key, value in re.findall(pattern, text)}
    return found["vgpr_count"], found["vgpr_spill_count"] + found["sgpr_spill_count"]


if __name__ == "__main__":
    sys.exit(main())
