"""Frozen linear layers held in 4 bits (QLoRA, Dettmers et al. 2023): told apart and read back.

The layer stays the library's: its forward dequantises block by block and multiplies,
its backward gives dX = dY W and nothing for W. The low-rank terms are added outside,
in the activations' type, exactly as over a dense layer, so `PackedLinear` needs no
form of its own. Only DoRA's norm and the shape of a new adapter need the weight's
values or size, and get them here.

bitsandbytes' `Linear4bit` is known by the `quant_state` of its weight; any other
quantised layer may bring a method `dequantize()`. Not yet run on a GPU: checked with a
stand-in, and with bitsandbytes' own layer where that computes on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from autoglm_nb.errors import ModelError

__all__ = ["TRAINABLE_METHODS", "check_method", "dense_weight", "has_quantised", "is_quantised"]

TRAINABLE_METHODS = ("lora", "dora", "adapter", "prompt", "p-tuning", "head")
"""Methods that leave the quantised weights as they are."""


def is_quantised(module: nn.Module) -> bool:
    """Whether a layer's weight is held in codes instead of numbers."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and not weight.is_floating_point()


def has_quantised(model: nn.Module) -> bool:
    """Whether any layer of a model is quantised."""
    return any(is_quantised(module) for module in model.modules())


def dense_weight(module: nn.Module) -> torch.Tensor:
    """The numbers that a quantised layer stands for, [out_features, in_features].

    Raises:
        ModelError: the layer has no way back that is known here.
    """
    dequantise = getattr(module, "dequantize", None)
    if callable(dequantise):
        dense: torch.Tensor = dequantise()
        return dense
    weight: Any = module.weight
    state = getattr(weight, "quant_state", None)
    if state is None:
        raise ModelError(
            f"A quantised layer must be one of bitsandbytes or have `dequantize()`, but got {type(module).__name__}. "
            "Use --precision bf16."
        )
    from bitsandbytes.functional import dequantize_4bit

    dense = dequantize_4bit(weight.data, state)
    return dense


def check_method(method: str, model: nn.Module) -> None:
    """Refuse a method that trains weights which are held in 4 bits.

    Raises:
        ModelError: `method` would change them.
    """
    if method not in TRAINABLE_METHODS and has_quantised(model):
        raise ModelError(
            f"Over a base in 4 bits only what is added can be trained, but method={method!r} trains the base itself. "
            "Use lora or dora, or --precision bf16."
        )
