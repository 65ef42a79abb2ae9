"""The kernels' mathematics in plain PyTorch: the oracle of their tests, and what the ops do without Triton.

Training without Triton does not come here: the loop of `autoglm_nb.training.lowrank`
keeps its masks, which are made again here as in the kernels, and needs no banks. A test
holds the two to each other.

For the rows X_i of group i, its dropout mask D_i and c_i = s_i / (keep probability):

    S_i  = c_i (D_i * X_i) A_i^T        Y_i  = base_i + S_i B_i^T
    dS_i = c_i dY_i B_i                 dB_i = dY_i^T S_i
    dA_i = dS_i^T (D_i * X_i)           dX_i = dY_i W + D_i * (dS_i A_i)

where base_i is given or is X_i W^T + bias. c_i stands in S and dS alone, so that each
further product needs no scale. A and B come as banks [R, in] and [R, out] (see
`routing`). Every function walks over tiles; products never mix two groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from autoglm_kernels.dropout import keep_mask, select
from autoglm_kernels.routing import Tables

__all__ = ["adamw", "lora_backward", "lora_forward"]


class _Tile(NamedTuple):
    rows: slice
    bank: slice
    rank: int
    threshold: int
    key: int
    scale: float


def lora_forward(
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    base: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    tables: Tables,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output [M, out] and S [M, max_rank] with zeros right of a group's rank."""
    if weight is not None:
        out = torch.nn.functional.linear(x, weight, bias)
    elif base is not None:
        out = base.clone()
    else:
        raise ValueError("The low-rank terms need `base` or `weight` to be added to, but got neither. Give one.")
    s = x.new_zeros(x.shape[0], tables.max_rank)
    for tile in _walk(tables):
        xi = select(x[tile.rows], _kept(x, tables.tokens, tile))
        si = (xi @ a[tile.bank].to(x.dtype).t()).mul_(tile.scale)
        s[tile.rows, : tile.rank] = si
        out[tile.rows].addmm_(si, b[tile.bank].to(x.dtype))
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
    """dX [M, in] (empty if not needed; without dY W where the base was given), dA [R, in], dB [R, out]."""
    da, db = torch.zeros_like(a), torch.zeros_like(b)
    if not need_dx:
        dx = x.new_empty(0)
    elif weight is not None:
        dx = dy @ weight
    else:
        dx = torch.zeros_like(x)
    for tile in _walk(tables):
        dyi, kept = dy[tile.rows], _kept(x, tables.tokens, tile)
        dsi = (dyi @ b[tile.bank].to(x.dtype).t()).mul_(tile.scale)
        db[tile.bank] += (s[tile.rows, : tile.rank].t() @ dyi).to(b.dtype)
        da[tile.bank] += (dsi.t() @ select(x[tile.rows], kept)).to(a.dtype)
        if need_dx:
            dx[tile.rows] += select(dsi @ a[tile.bank].to(x.dtype), kept)
    return dx, da, db


def adamw(
    params: Sequence[torch.Tensor],
    grads: Sequence[torch.Tensor],
    exp_avgs: Sequence[torch.Tensor],
    exp_avg_sqs: Sequence[torch.Tensor],
    hyper: torch.Tensor,
    rows: torch.Tensor,
) -> None:
    """One step of every tensor whose hyper-parameter row is active, in place; the others are not touched.

    The columns of `hyper` are those of `adamw.COLUMNS`.
    """
    table = hyper.tolist()
    for p, g, m, v, row in zip(params, grads, exp_avgs, exp_avg_sqs, rows.tolist()):
        active, clip, l2, decay, keep1, new1, keep2, new2, step_size, root, eps = table[row]
        if active == 0.0:
            continue
        g = (g * clip).add_(p, alpha=l2)
        p.mul_(decay)
        m.mul_(keep1).add_(g, alpha=new1)
        v.mul_(keep2).addcmul_(g, g, value=new2)
        p.addcdiv_(m, (v.sqrt() / root).add_(eps), value=-step_size)


def _walk(tables: Tables) -> Iterator[_Tile]:
    """The tiles of groups that adapt this layer."""
    table, factors = tables.groups.tolist(), tables.scales.tolist()
    for group, first, count in tables.tiles.tolist():
        rank, bank, threshold, key = table[group]
        if rank:
            yield _Tile(slice(first, first + count), slice(bank, bank + rank), rank, threshold, key, factors[group])


def _kept(x: torch.Tensor, tokens: torch.Tensor, tile: _Tile) -> torch.Tensor | None:
    return keep_mask(tokens[tile.rows], tile.key, tile.threshold, x.shape[1]) if tile.threshold else None
