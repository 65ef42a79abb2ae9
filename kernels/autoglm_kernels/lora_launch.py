"""Allocates the outputs of a grouped LoRA layer and launches its Triton kernels.

The signatures are those of `twin`, plus the routing's chunks, tile height and mode.
Outputs are `torch.empty`: every element is written by exactly one program, except
where sums meet in atomics, which start from zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from autoglm_kernels import lora_kernels
from autoglm_kernels.backend import interpreting, launch

__all__ = ["Blocks", "blocks", "lora_backward", "lora_forward", "rank_block"]

MAX_RANK_BLOCK = {torch.float64: 16, torch.float32: 32}
"""Larger ranks are worked off in blocks of this many; 64 for the other types, whose products use tensor cores."""


@dataclass(frozen=True)
class Blocks:
    """Sizes of the blocks a program works on, and how it is scheduled.

    Attributes:
        columns: of one program of `shrink`, `reduce_rows` and `shrink_reduce`, a step of their loop.
        expand_columns, expand_inner: output columns of a program of `expand`, and a step of its base product.
        warps, stages: how a program is scheduled.
        swizzle: tiles that share a column block in `expand`.
    """

    columns: int
    expand_columns: int
    expand_inner: int
    warps: int = 4
    stages: int = 2
    swizzle: int = 8


def blocks(dtype: torch.dtype, tile_rows: int) -> Blocks:
    """Block sizes that compile without spills on the targets of `ahead_of_time`; not tuned on a GPU yet."""
    warps = 8 if tile_rows > 64 else 4
    if interpreting():
        return Blocks(columns=32, expand_columns=32, expand_inner=16, swizzle=2)
    if dtype in (torch.float32, torch.float64):
        return Blocks(columns=32, expand_columns=64, expand_inner=32, warps=8)
    return Blocks(columns=64, expand_columns=128, expand_inner=64, warps=warps, stages=3)


def rank_block(max_rank: int, dtype: torch.dtype) -> int:
    """Ranks are padded to this power of two in registers, never in memory."""
    return min(MAX_RANK_BLOCK.get(dtype, 64), max(16, 1 << (max_rank - 1).bit_length()))


def lora_forward(
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    base: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    tokens: torch.Tensor,
    tiles: torch.Tensor,
    groups: torch.Tensor,
    scales: torch.Tensor,
    max_rank: int,
    tile_rows: int,
    dropout: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two launches; see `twin.lora_forward`."""
    x, base = _rows(x), None if base is None else _rows(base)
    s = x.new_empty(x.shape[0], max_rank)
    _shrink(x, a, s, tokens, tiles, groups, scales, dropout, tile_rows)
    out = x.new_empty(x.shape[0], b.shape[1])
    _expand(s, b, base, x, weight, bias, out, tokens, tiles, groups, False, tile_rows)
    return out, s


def lora_backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    s: torch.Tensor,
    weight: torch.Tensor | None,
    tokens: torch.Tensor,
    tiles: torch.Tensor,
    chunks: torch.Tensor,
    groups: torch.Tensor,
    scales: torch.Tensor,
    need_dx: bool,
    tile_rows: int,
    dropout: bool,
    deterministic: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Four launches, or three with atomics; see `twin.lora_backward`."""
    x, dy = _rows(x), _rows(dy)
    ds = torch.empty_like(s)
    if deterministic:
        da, db = torch.empty_like(a), torch.empty_like(b)
        _shrink(dy, b, ds, tokens, tiles, groups, scales, False, tile_rows)
        _reduce(s, dy, db, tokens, tiles, chunks, groups, False, tile_rows, atomic=False)
    else:
        da, db = torch.zeros_like(a), torch.zeros_like(b)
        _shrink_reduce(dy, s, b, ds, db, tiles, groups, scales, tile_rows)
    _reduce(ds, x, da, tokens, tiles, chunks, groups, dropout, tile_rows, atomic=not deterministic)
    if not need_dx:
        return x.new_empty(0), da, db
    dx = x.new_empty(x.shape)
    turned = None if weight is None else weight.t()
    _expand(ds, a, None, dy, turned, None, dx, tokens, tiles, groups, dropout, tile_rows)
    return dx, da, db


def _shrink(
    x: torch.Tensor,
    bank: torch.Tensor,
    out: torch.Tensor,
    tokens: torch.Tensor,
    tiles: torch.Tensor,
    groups: torch.Tensor,
    scales: torch.Tensor,
    dropout: bool,
    tile_rows: int,
) -> None:
    max_rank = out.shape[1]
    plan, block_r = blocks(x.dtype, tile_rows), rank_block(max_rank, x.dtype)
    launch(
        lora_kernels.shrink,
        (tiles.shape[0], triton.cdiv(max_rank, block_r)),
        x.device,
        (x, bank, out, tokens, tiles, groups, scales, x.shape[1], max_rank, x.stride(0), bank.stride(0)),
        DROPOUT=dropout,
        **_numerics(x),
        BLOCK_M=_height(tile_rows),
        BLOCK_C=plan.columns,
        BLOCK_R=block_r,
        num_warps=plan.warps,
        num_stages=plan.stages,
    )


def _expand(
    s: torch.Tensor,
    bank: torch.Tensor,
    base: torch.Tensor | None,
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    out: torch.Tensor,
    tokens: torch.Tensor,
    tiles: torch.Tensor,
    groups: torch.Tensor,
    dropout: bool,
    tile_rows: int,
) -> None:
    """`weight` is [columns, inner], as `torch.nn.functional.linear` takes it."""
    columns, max_rank = out.shape[1], s.shape[1]
    plan = blocks(x.dtype, tile_rows)
    inner, column_stride, inner_stride = (
        (x.shape[1], weight.stride(0), weight.stride(1)) if weight is not None else (0, 0, 0)
    )
    launch(
        lora_kernels.expand,
        (tiles.shape[0] * triton.cdiv(columns, plan.expand_columns),),
        x.device,
        (
            *(s, bank, s if base is None else base, x, s if weight is None else weight, s if bias is None else bias),
            *(out, tokens, tiles, groups, tiles.shape[0], columns, inner, max_rank),
            *(0 if base is None else base.stride(0), x.stride(0), bank.stride(0), inner_stride, column_stride),
            out.stride(0),
        ),
        HAS_BASE=base is not None,
        HAS_WEIGHT=weight is not None,
        HAS_BIAS=weight is not None and bias is not None,
        DROPOUT=dropout,
        **_numerics(x),
        BLOCK_M=_height(tile_rows),
        BLOCK_N=plan.expand_columns,
        BLOCK_K=plan.expand_inner,
        BLOCK_R=min(32, rank_block(max_rank, x.dtype)),
        SWIZZLE=plan.swizzle,
        num_warps=plan.warps,
        num_stages=plan.stages,
    )


def _reduce(
    s: torch.Tensor,
    x: torch.Tensor,
    out: torch.Tensor,
    tokens: torch.Tensor,
    tiles: torch.Tensor,
    chunks: torch.Tensor,
    groups: torch.Tensor,
    dropout: bool,
    tile_rows: int,
    *,
    atomic: bool,
) -> None:
    columns, max_rank = x.shape[1], s.shape[1]
    plan, block_r = blocks(x.dtype, tile_rows), rank_block(max_rank, x.dtype)
    launch(
        lora_kernels.reduce_rows,
        (chunks.shape[0], triton.cdiv(columns, plan.columns), triton.cdiv(max_rank, block_r)),
        x.device,
        (s, x, out, tokens, tiles, chunks, groups, columns, max_rank, x.stride(0), out.stride(0)),
        DROPOUT=dropout,
        ATOMIC=atomic,
        **_numerics(x),
        BLOCK_M=_height(tile_rows),
        BLOCK_C=plan.columns,
        BLOCK_R=block_r,
        num_warps=plan.warps,
        num_stages=plan.stages,
    )


def _shrink_reduce(
    dy: torch.Tensor,
    s: torch.Tensor,
    bank: torch.Tensor,
    ds: torch.Tensor,
    db: torch.Tensor,
    tiles: torch.Tensor,
    groups: torch.Tensor,
    scales: torch.Tensor,
    tile_rows: int,
) -> None:
    max_rank = s.shape[1]
    plan, block_r = blocks(dy.dtype, tile_rows), rank_block(max_rank, dy.dtype)
    launch(
        lora_kernels.shrink_reduce,
        (tiles.shape[0], triton.cdiv(max_rank, block_r)),
        dy.device,
        (
            *(dy, s, bank, ds, db, tiles, groups, scales),
            *(dy.shape[1], max_rank, dy.stride(0), bank.stride(0), db.stride(0)),
        ),
        **_numerics(dy),
        BLOCK_M=_height(tile_rows),
        BLOCK_C=plan.columns,
        BLOCK_R=block_r,
        num_warps=plan.warps,
        num_stages=plan.stages,
    )


def _numerics(x: torch.Tensor) -> dict[str, Any]:
    """fp32 products are exact unless torch itself is allowed to use TF32."""
    tf32 = x.dtype == torch.float32 and x.is_cuda and torch.backends.cuda.matmul.allow_tf32
    return {
        "ACC": tl.float64 if x.dtype == torch.float64 else tl.float32,
        "PRECISION": "tf32" if tf32 and not torch.version.hip else "ieee",
    }


def _height(tile_rows: int) -> int:
    if tile_rows < 16 or tile_rows & (tile_rows - 1):
        raise ValueError(
            f"`tile_rows` must be a power of two from 16 for the Triton kernels, but got {tile_rows}. "
            "Leave it out of make_routing to have it chosen."
        )
    return tile_rows


def _rows(x: torch.Tensor) -> torch.Tensor:
    """Rows may lie apart, but columns must be neighbours."""
    return x if x.stride(1) == 1 or x.shape[1] <= 1 else x.contiguous()
