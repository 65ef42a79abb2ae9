"""Allocates the outputs of a grouped LoRA layer and launches its Triton kernels.

The signatures are those of `twin`.
Outputs are `torch.empty`: every element is written by exactly one program, except
where sums meet in atomics, which start from zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from autoglm_kernels import lora_kernels
from autoglm_kernels.backend import interpreting, launch
from autoglm_kernels.routing import Tables

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
    tables: Tables,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two launches; see `twin.lora_forward`."""
    x, base = _rows(x), None if base is None else _rows(base)
    s = x.new_empty(x.shape[0], tables.max_rank)
    _shrink(x, a, s, tables, dropout=tables.dropout)
    out = x.new_empty(x.shape[0], b.shape[1])
    _expand(s, b, _Product(x, weight, bias, base), out, tables, dropout=False)
    return out, s


def lora_backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    s: torch.Tensor,
    weight: torch.Tensor | None,
    tables: Tables,
    need_dx: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Four launches, or three with atomics; see `twin.lora_backward`."""
    x, dy = _rows(x), _rows(dy)
    ds = torch.empty_like(s)
    if tables.deterministic:
        da, db = torch.empty_like(a), torch.empty_like(b)
        _shrink(dy, b, ds, tables, dropout=False)
        _reduce(s, dy, db, tables, dropout=False)
    else:
        da, db = torch.zeros_like(a), torch.zeros_like(b)
        _shrink_reduce(dy, s, b, ds, db, tables)
    _reduce(ds, x, da, tables, dropout=tables.dropout)
    if not need_dx:
        return x.new_empty(0), da, db
    dx = x.new_empty(x.shape)
    _expand(ds, a, _Product(dy, None if weight is None else weight.t()), dx, tables, dropout=tables.dropout)
    return dx, da, db


class _Product(NamedTuple):
    """What the low-rank term is added to: `base`, or x weight^T + bias; `weight` is [columns, inner]."""

    x: torch.Tensor
    weight: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    base: torch.Tensor | None = None


def _shrink(x: torch.Tensor, bank: torch.Tensor, out: torch.Tensor, tables: Tables, *, dropout: bool) -> None:
    max_rank = out.shape[1]
    plan, block_r = blocks(x.dtype, tables.tile_rows), rank_block(max_rank, x.dtype)
    launch(
        lora_kernels.shrink,
        (tables.tiles.shape[0], triton.cdiv(max_rank, block_r)),
        x.device,
        (
            *(x, bank, out, tables.tokens, tables.tiles, tables.groups, tables.scales),
            *(x.shape[1], max_rank, x.stride(0), bank.stride(0)),
        ),
        DROPOUT=dropout,
        **_numerics(x),
        BLOCK_M=_height(tables.tile_rows),
        BLOCK_C=plan.columns,
        BLOCK_R=block_r,
        num_warps=plan.warps,
        num_stages=plan.stages,
    )


def _expand(
    s: torch.Tensor, bank: torch.Tensor, product: _Product, out: torch.Tensor, tables: Tables, *, dropout: bool
) -> None:
    x, weight, bias, base = product
    columns, max_rank = out.shape[1], s.shape[1]
    plan = blocks(x.dtype, tables.tile_rows)
    inner, column_stride, inner_stride = (
        (x.shape[1], weight.stride(0), weight.stride(1)) if weight is not None else (0, 0, 0)
    )
    launch(
        lora_kernels.expand,
        (tables.tiles.shape[0] * triton.cdiv(columns, plan.expand_columns),),
        x.device,
        (
            *(s, bank, s if base is None else base, x, s if weight is None else weight, s if bias is None else bias),
            *(out, tables.tokens, tables.tiles, tables.groups, tables.tiles.shape[0], columns, inner, max_rank),
            *(0 if base is None else base.stride(0), x.stride(0), bank.stride(0), inner_stride, column_stride),
            out.stride(0),
        ),
        HAS_BASE=base is not None,
        HAS_WEIGHT=weight is not None,
        HAS_BIAS=weight is not None and bias is not None,
        DROPOUT=dropout,
        **_numerics(x),
        BLOCK_M=_height(tables.tile_rows),
        BLOCK_N=plan.expand_columns,
        BLOCK_K=plan.expand_inner,
        BLOCK_R=min(32, rank_block(max_rank, x.dtype)),
        SWIZZLE=plan.swizzle,
        num_warps=plan.warps,
        num_stages=plan.stages,
    )


def _reduce(s: torch.Tensor, x: torch.Tensor, out: torch.Tensor, tables: Tables, *, dropout: bool) -> None:
    columns, max_rank = x.shape[1], s.shape[1]
    plan, block_r = blocks(x.dtype, tables.tile_rows), rank_block(max_rank, x.dtype)
    launch(
        lora_kernels.reduce_rows,
        (tables.chunks.shape[0], triton.cdiv(columns, plan.columns), triton.cdiv(max_rank, block_r)),
        x.device,
        (
            *(s, x, out, tables.tokens, tables.tiles, tables.chunks, tables.groups),
            *(columns, max_rank, x.stride(0), out.stride(0)),
        ),
        DROPOUT=dropout,
        ATOMIC=not tables.deterministic,
        **_numerics(x),
        BLOCK_M=_height(tables.tile_rows),
        BLOCK_C=plan.columns,
        BLOCK_R=block_r,
        num_warps=plan.warps,
        num_stages=plan.stages,
    )


def _shrink_reduce(
    dy: torch.Tensor, s: torch.Tensor, bank: torch.Tensor, ds: torch.Tensor, db: torch.Tensor, tables: Tables
) -> None:
    max_rank = s.shape[1]
    plan, block_r = blocks(dy.dtype, tables.tile_rows), rank_block(max_rank, dy.dtype)
    launch(
        lora_kernels.shrink_reduce,
        (tables.tiles.shape[0], triton.cdiv(max_rank, block_r)),
        dy.device,
        (
            *(dy, s, bank, ds, db, tables.tiles, tables.groups, tables.scales),
            *(dy.shape[1], max_rank, dy.stride(0), bank.stride(0), db.stride(0)),
        ),
        **_numerics(dy),
        BLOCK_M=_height(tables.tile_rows),
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
