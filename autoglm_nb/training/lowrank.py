"""The low-rank terms of all slots of a pack: the one place where a fused kernel goes.

For the rows X_i of slot i, with D_i its dropout, s_i its scale and W the frozen
weight shared by all:

    LoRA  Y_i = X_i W^T + s_i D_i(X_i) A_i^T B_i^T                       (Hu et al. 2021)
    DoRA  Y_i = b + g_i * (X_i W^T + s_i D_i(X_i) A_i^T B_i^T),  g_i = m_i / |W + s_i B_i A_i|

The norm in g_i is taken per output feature and without gradient (Liu et al. 2024,
section 4.3). Dropout touches the low-rank term only, never the base. The base
product has been made for all rows at once; here each slot's term is added to its
own rows, in a plain loop. Nothing is summed or exchanged between slots, so that
a NaN of one cannot reach another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from autoglm_nb.training.dropout import keep_mask, keep_scale

__all__ = ["LowRankTerm", "SlotAdapter", "add_low_rank"]


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

    def weight_norm(self, weight: torch.Tensor) -> torch.Tensor:
        """|W + s B A| per output feature, kept until `updated` is called."""
        if self._norm is None:
            with torch.no_grad():
                self._norm = torch.linalg.norm(weight.float() + self.scale * (self.lora_B @ self.lora_A), dim=1)
        return self._norm

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


def add_low_rank(
    base: torch.Tensor,
    x: torch.Tensor,
    terms: Sequence[LowRankTerm],
    weight: torch.Tensor,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    """The output of a packed layer.

    Args:
        base: X W^T + b of all rows, [rows, ..., out_features].
        x: the input, [rows, ..., in_features].
        terms: in row order, together covering all rows.
        weight: the frozen weight [out_features, in_features]; read for DoRA only.
        bias: the frozen bias, or None.
    """
    if len(terms) == 1:
        return _with_term(base, x, terms[0], weight, bias)
    parts = [_with_term(base[t.start : t.stop], x[t.start : t.stop], t, weight, bias) for t in terms]
    return torch.cat(parts)


def _with_term(
    base: torch.Tensor, x: torch.Tensor, term: LowRankTerm, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    adapter = term.adapter
    if adapter is None:
        return base
    scale = adapter.scale
    if adapter.dropout > 0.0 and term.dropout_key is not None:
        positions = x[0, ..., 0].numel()
        mask = keep_mask(
            term.dropout_key, term.first_row, x.shape[0], positions, x.shape[-1], adapter.dropout, x.device
        )
        x = x * mask.view(x.shape)
        scale = scale * keep_scale(adapter.dropout)
    low = torch.nn.functional.linear(x, adapter.lora_A.to(x.dtype)) * scale
    b = adapter.lora_B.to(x.dtype).t()
    if adapter.magnitude is None:
        flat = torch.addmm(base.reshape(-1, base.shape[-1]), low.reshape(-1, low.shape[-1]), b)
        return flat.view(base.shape)
    gain = (adapter.magnitude / adapter.weight_norm(weight)).to(base.dtype)
    unbiased = base if bias is None else base - bias
    out = gain * (unbiased + low @ b)
    return out if bias is None else out + bias
