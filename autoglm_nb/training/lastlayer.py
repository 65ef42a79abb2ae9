"""The last layer of an encoder, at the one position that its classifier reads.

BERT and its kin classify by their first token. Above the last layer's keys and values
nothing but that token is needed: its query, its attention, its feed-forward part. The
other positions' are left out, forward and backward, which saves five sixths of a layer
and changes no number. Whether a model is of this kind is not guessed from its name: its
logits are computed both ways on a few rows, and must agree.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["read_first_token_only"]

_AGREEMENT = 1e-4


def read_first_token_only(model: Any, layer: nn.Module) -> bool:
    """Let the last layer give its first position only, [rows, 1, width]; says whether it does.

    Args:
        model: a classifier, still without adapters; called on a few made-up rows.
        layer: its last layer.
    """
    if not _is_bert_layer(layer):
        return False
    vocabulary = int(getattr(model.config, "vocab_size", 0) or 0)
    if vocabulary < 8:
        return False
    device = next(model.parameters()).device
    ids = (torch.arange(18, device=device).view(3, 6) * 7919 + 1) % vocabulary
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    training, before = model.training, vars(layer).get("forward")
    model.eval()
    try:
        with torch.no_grad():
            want = model(input_ids=ids, attention_mask=mask).logits
            layer.forward = _first_token(layer)
            got = model(input_ids=ids, attention_mask=mask).logits
        limit = _AGREEMENT if want.dtype == torch.float32 else 5e-2
        agreed = got.shape == want.shape and bool((got - want).abs().max() <= limit * (1.0 + want.abs().max()))
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
        agreed = False
    finally:
        model.train(training)
    if not agreed:
        vars(layer).pop("forward", None)
        if before is not None:
            layer.forward = before
    return agreed


def _first_token(layer: Any) -> Any:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    own = layer.attention.self

    def forward(hidden_states: torch.Tensor, attention_mask: Any = None, *args: Any, **kwargs: Any) -> torch.Tensor:
        first = hidden_states[:, :1]
        shape = (hidden_states.shape[0], -1, own.num_attention_heads, own.attention_head_size)
        query, key, value = (
            projection(x).view(shape).transpose(1, 2)
            for projection, x in ((own.query, first), (own.key, hidden_states), (own.value, hidden_states))
        )
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(own.config._attn_implementation, None)
        mask = attention_mask[:, :, :1] if isinstance(attention_mask, torch.Tensor) else attention_mask
        dropout = own.dropout.p if own.training else 0.0
        context, _ = attend(own, query, key, value, mask, dropout=dropout, scaling=own.scaling, is_causal=False)
        attended = layer.attention.output(context.reshape(hidden_states.shape[0], 1, -1), first)
        done: torch.Tensor = layer.feed_forward_chunk(attended)
        return done

    return forward


def _is_bert_layer(layer: Any) -> bool:
    own = getattr(getattr(layer, "attention", None), "self", None)
    parts = ("query", "key", "value", "num_attention_heads", "attention_head_size", "dropout", "scaling", "config")
    whole = all(hasattr(own, part) for part in parts) and hasattr(layer.attention, "output")
    encoder = not getattr(layer, "is_decoder", False) and not getattr(layer, "add_cross_attention", False)
    return whole and encoder and hasattr(layer, "feed_forward_chunk")
