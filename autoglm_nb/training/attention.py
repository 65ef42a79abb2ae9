"""Attention over short rows on a CPU, for every model that takes its attention from transformers' table.

PyTorch's fused attention is made for long rows: at 27 positions it reaches a few per
cent of what the processor can do. Batched products of small matrices are three times
faster when the right-hand factor lies row by row, so keys and values are turned once
before they are multiplied. The formulas are the usual ones (Vaswani et al. 2017,
equation 1), in fp32:

    S = s Q K^T + M,  P = softmax(S),  O = P V
    dV = P^T dO,  dP = dO V^T,  dS = P * (dP - rowsum(P * dP)),  dQ = s dS K,  dK = s dS^T Q

Gradients that nobody asked for are left out: below the lowest adapted layer the keys
have none. Long rows, other number formats, dropout and devices go to PyTorch's own.
"""

from __future__ import annotations

import math
from typing import Any

import torch

__all__ = ["LONGEST", "NAME", "short_attention", "use_short_attention"]

NAME = "autoglm_short"
LONGEST = 32
"""Rows of more positions go to PyTorch's own attention, which is the faster one there."""


def use_short_attention(model: Any) -> bool:
    """Let a model attend with this file's function where it now uses PyTorch's; says whether it does.

    The model's own config object is changed, so it must be a copy.
    """
    config = getattr(model, "config", None)
    if getattr(config, "_attn_implementation", None) != "sdpa":
        return False
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, _attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    for found in (config, *configs.values()):
        if getattr(found, "_attn_implementation", None) == "sdpa":
            found._attn_implementation_internal = NAME
    return getattr(config, "_attn_implementation", None) == NAME


def short_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """softmax(scale query key^T + mask) value.

    Args:
        query, key, value: [rows, heads, positions, width], in any layout.
        mask: added to the scores; broadcast to [rows, heads, positions, positions]; None adds nothing.
        scale: usually width**-0.5.

    Returns:
        [rows, positions, heads, width], contiguous.
    """
    out: torch.Tensor = _ShortAttention.apply(query, key, value, mask, scale)
    return out


class _ShortAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
    ) -> torch.Tensor:
        rows, heads, positions, width = query.shape
        q, v = _flat(query), _flat(value)
        scores = torch.bmm(q, _turned(key)).mul_(scale)
        if mask is not None:
            scores.view(rows, heads, positions, -1).add_(mask)
        shares = torch.softmax(scores, dim=-1)
        out = torch.bmm(shares, v).view(rows, heads, positions, width)
        ctx.save_for_backward(q, key, value, shares)
        ctx.scale = scale
        return out.transpose(1, 2).contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, key, value, shares = ctx.saved_tensors
        rows, heads, others, width = key.shape
        d_out = _flat(gradients[0].transpose(1, 2))
        d_query = d_key = d_value = None
        if ctx.needs_input_grad[2]:
            d_value = torch.bmm(shares.transpose(1, 2), d_out).view(rows, heads, others, width)
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            d_shares = torch.bmm(d_out, _turned(value))
            d_scores = torch._softmax_backward_data(d_shares, shares, -1, shares.dtype).mul_(ctx.scale)
            if ctx.needs_input_grad[0]:
                d_query = torch.bmm(d_scores, _flat(key)).view(rows, heads, -1, width)
            if ctx.needs_input_grad[1]:
                d_key = torch.bmm(d_scores.transpose(1, 2), q).view(rows, heads, others, width)
        return d_query, d_key, d_value, None, None


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface; the mask is True where attention is allowed, or added to the scores."""
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    length = max(query.shape[2], key.shape[2])
    plain = query.device.type == "cpu" and query.dtype == torch.float32 and dropout == 0.0 and length <= LONGEST
    if not plain or others.get("position_bias") is not None or others.get("cache") is not None:
        return sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            is_causal=is_causal,
            **others,
        )
    groups = getattr(module, "num_key_value_groups", 1)
    if groups > 1:
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if attention_mask is None and causal and query.shape[2] > 1:
        attention_mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril_()
    scale = 1.0 / math.sqrt(query.shape[3]) if scaling is None else scaling
    return short_attention(query, key, value, _added(attention_mask, query.dtype), scale), None


def _added(mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """The mask as a summand, made once a pass: all layers are given the same tensor."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    known: torch.Tensor | None = getattr(mask, "_autoglm_added", None)
    if known is None:
        mask_rows = mask[:, :, :1] if mask.dim() == 4 and mask.stride(2) == 0 else mask
        known = torch.zeros(mask_rows.shape, dtype=dtype).masked_fill_(~mask_rows, torch.finfo(dtype).min)
        mask._autoglm_added = known  # type: ignore[attr-defined]
    return known


def _flat(x: torch.Tensor) -> torch.Tensor:
    """[rows, heads, positions, width] as one batch of row-by-row matrices."""
    return x.reshape(-1, x.shape[2], x.shape[3]).contiguous()


def _turned(x: torch.Tensor) -> torch.Tensor:
    """The transposed matrices, row by row."""
    return _flat(x.transpose(2, 3))
