"""The low-rank terms of all slots of a pack: their parameters, and the loop that adds them on a CPU.

For the rows X_i of slot i, with D_i its dropout, s_i its scale and W the frozen
weight shared by all:

    LoRA  Y_i = X_i W^T + s_i D_i(X_i) A_i^T B_i^T                       (Hu et al. 2021)
    DoRA  Y_i = b + g_i * (X_i W^T + s_i D_i(X_i) A_i^T B_i^T),  g_i = m_i / |W + s_i B_i A_i|

The norm in g_i is taken per output feature and without gradient (Liu et al. 2024,
section 4.3). Dropout touches the low-rank term only, never the base. The base
product has been made for all rows at once, its bias b included; here each slot's term
is added to its own rows. Nothing is summed or exchanged between slots, so that a NaN
of one cannot reach another. On a GPU `grouped` does the same with kernels; DoRA's
factor g_i (`scale_rows`, Y_i = g_i * U_i + (1 - g_i) b for U_i as LoRA leaves it) is
common to both.

The loop is one autograd function: slicing rows in autograd would cost a tensor of all
rows for each slot in the backward pass. It keeps the input, S_i and the masks (a byte
an element); nothing as wide as the output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from autoglm_kernels.dropout import select
from autoglm_nb.training.dropout import keep_mask, keep_scale

__all__ = ["LowRankTerm", "SlotAdapter", "add_low_rank", "scale_rows"]


class SlotAdapter(nn.Module):
    """One slot's parameters at one layer, fp32 whatever the base computes in.

    Initial weights as PEFT's: A uniform with Kaiming's bound for a = sqrt(5), which is
    1/sqrt(in_features), B zero; DoRA's magnitude is the norm of the frozen weight.

    Args:
        weight: the frozen weight [out_features, in_features]; read for DoRA only.
        rank, scale, dropout, dora: of the slot's configuration.
        generator: a CPU generator, so that initial weights do not depend on the device.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        *,
        rank: int,
        scale: float,
        dropout: float,
        dora: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        out_features, in_features = weight.shape
        bound = in_features**-0.5
        initial = torch.empty(rank, in_features, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
        self.lora_A = nn.Parameter(initial.to(weight.device))
        self.lora_B = nn.Parameter(torch.zeros(out_features, rank, dtype=torch.float32, device=weight.device))
        self.scale = scale
        self.dropout = dropout
        self.magnitude = nn.Parameter(torch.linalg.norm(weight.float(), dim=1)) if dora else None
        self._norm: torch.Tensor | None = None

    def gain(self, weight: Callable[[], torch.Tensor]) -> torch.Tensor | None:
        """DoRA's factor of each output feature, magnitude over |W + s B A|; None for LoRA.

        Args:
            weight: gives the frozen weight; asked only after an update, for the norm is kept until `updated`.
        """
        if self.magnitude is None:
            return None
        if self._norm is None:
            with torch.no_grad():
                self._norm = torch.linalg.norm(weight().float() + self.scale * (self.lora_B @ self.lora_A), dim=1)
        return self.magnitude / self._norm

    def updated(self) -> None:
        """Forget what was derived from the parameters' former values."""
        self._norm = None


@dataclass(frozen=True)
class LowRankTerm:
    """The rows of one slot and what is added to them; `adapter` None adds nothing.

    `dropout_key` is None in evaluation; `first_row` counts within the slot's own batch.
    """

    start: int
    stop: int
    adapter: SlotAdapter | None
    first_row: int = 0
    dropout_key: int | None = None


def add_low_rank(base: torch.Tensor, x: torch.Tensor, terms: Sequence[LowRankTerm]) -> torch.Tensor:
    """The output of a packed layer, before DoRA's factors.

    Args:
        base: X W^T + b of all rows, [rows, ..., out_features].
        x: the input, [rows, ..., in_features].
        terms: in row order; rows of none keep the base's output.
    """
    positions = x[0, ..., 0].numel()
    pieces, factors = [], []
    for term in terms:
        adapter = term.adapter
        if adapter is None or term.stop == term.start:
            continue
        kept, scale = None, adapter.scale
        if adapter.dropout > 0.0 and term.dropout_key is not None:
            where = (term.first_row, term.stop - term.start, positions, x.shape[-1])
            kept = keep_mask(term.dropout_key, *where, adapter.dropout, x.device).view(-1, x.shape[-1])
            scale = scale * keep_scale(adapter.dropout)
        pieces.append(_Piece(slice(term.start * positions, term.stop * positions), scale, kept))
        factors += [adapter.lora_A.to(x.dtype), adapter.lora_B.to(base.dtype)]
    if not pieces:
        return base
    flat: torch.Tensor = _AddLowRank.apply(
        base.reshape(-1, base.shape[-1]), x.reshape(-1, x.shape[-1]), pieces, *factors
    )
    return flat.view(base.shape)


def scale_rows(
    out: torch.Tensor, gains: Sequence[tuple[int, int, torch.Tensor]], bias: torch.Tensor | None
) -> torch.Tensor:
    """DoRA's factors: g * (out - bias) + bias on the rows that have one.

    Args:
        out: [rows, ..., out_features], the frozen bias included.
        gains: (first row, row after the last, g [out_features]).
        bias: the frozen bias, or None.
    """
    spans = [(start, stop) for start, stop, _ in gains]
    scaled: torch.Tensor = _ScaleRows.apply(out, bias, spans, *(g.to(out.dtype) for _, _, g in gains))
    return scaled


@dataclass(frozen=True)
class _Piece:
    """Rows of the flat input, what their term is multiplied by, and which inputs are kept (None: all)."""

    rows: slice
    scale: float
    kept: torch.Tensor | None


class _AddLowRank(torch.autograd.Function):
    """base + c (D * x) A^T B^T, piece by piece; factors come as A, B, A, B …, already in the products' types."""

    @staticmethod
    def forward(
        ctx: Any, base: torch.Tensor, x: torch.Tensor, pieces: list[_Piece], *factors: torch.Tensor
    ) -> torch.Tensor:
        whole = sum(p.rows.stop - p.rows.start for p in pieces) == base.shape[0]
        out = torch.empty_like(base) if whole else base.clone()
        shrunk = []
        for piece, a, b in zip(pieces, factors[::2], factors[1::2], strict=True):
            s = (select(x[piece.rows], piece.kept) @ a.t()).mul_(piece.scale)
            torch.addmm(base[piece.rows], s.to(base.dtype), b.t(), out=out[piece.rows])
            shrunk.append(s)
        ctx.save_for_backward(x, *factors)
        ctx.pieces, ctx.shrunk = pieces, shrunk
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (dy,) = gradients
        x, *factors = ctx.saved_tensors
        dx = None
        if ctx.needs_input_grad[1]:
            whole = sum(p.rows.stop - p.rows.start for p in ctx.pieces) == x.shape[0]
            dx = torch.empty_like(x) if whole else torch.zeros_like(x)
        slopes: list[torch.Tensor] = []
        for piece, s, a, b in zip(ctx.pieces, ctx.shrunk, factors[::2], factors[1::2], strict=True):
            dyi = dy[piece.rows]
            ds = (dyi @ b).to(x.dtype).mul_(piece.scale)
            slopes += [ds.t() @ select(x[piece.rows], piece.kept), dyi.t() @ s.to(dy.dtype)]
            if dx is not None and piece.kept is None:
                torch.mm(ds, a, out=dx[piece.rows])
            elif dx is not None:
                dx[piece.rows] = select(ds @ a, piece.kept)
        return dy, dx, None, *slopes


class _ScaleRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, out: torch.Tensor, bias: torch.Tensor | None, spans: list[tuple[int, int]], *gains: torch.Tensor
    ) -> torch.Tensor:
        scaled = out.clone()
        for (start, stop), gain in zip(spans, gains, strict=True):
            scaled[start:stop] *= gain
            if bias is not None:
                scaled[start:stop] += (1.0 - gain) * bias
        ctx.save_for_backward(out, bias, *gains)
        ctx.spans = spans
        return scaled

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (dy,) = gradients
        out, bias, *gains = ctx.saved_tensors
        du, slopes = dy.clone(), []
        for (start, stop), gain in zip(ctx.spans, gains, strict=True):
            own = out[start:stop] if bias is None else out[start:stop] - bias
            slopes.append((dy[start:stop] * own).flatten(0, -2).sum(dim=0))
            du[start:stop] *= gain
        return du, None, None, *slopes
