"""A base model held in 4 bits (QLoRA, Dettmers et al. 2023): who can load one, and how.

The weights of the linear layers are codes of NormalFloat-4 with doubly quantised
scales, about 4.1 bits each, and are multiplied in bf16 by bitsandbytes. Embeddings,
norms, biases, the head and an output embedding stay in bf16. What is trained lies
outside, in fp32. Not yet run on a GPU.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from autoglm_nb.errors import UsageError
from autoglm_nb.models.methods import HEAD_NAMES

if TYPE_CHECKING:
    import torch

__all__ = ["FOUR_BIT", "check_four_bit", "four_bit_arguments"]

FOUR_BIT = ("nf4", "4bit")
"""The precision and its other name."""

PACKAGES = ("bitsandbytes", "accelerate")
KEPT_WHOLE = (*HEAD_NAMES, "lm_head", "embed_out")
"""Modules that are not quantised: heads are trained, and an output embedding is usually the input's."""


def check_four_bit(precision: str, device: str | torch.device) -> None:
    """Refuse 4 bits where they cannot be computed with.

    Raises:
        UsageError: the device is not a GPU of NVIDIA's, or a package is missing.
    """
    import torch

    if precision not in FOUR_BIT:
        return
    kind = torch.device(device).type
    if kind != "cuda" or torch.version.hip is not None:
        what = f"the device is {kind}" if kind != "cuda" else "the GPU is AMD's"
        raise UsageError(f"`precision` {precision} needs an NVIDIA GPU, but {what}. Use --precision bf16 or fp32.")
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"`precision` {precision} needs {' and '.join(PACKAGES)}, but {' and '.join(missing)} cannot be imported. "
            f"Run: pip install {' '.join(missing)}"
        )


def four_bit_arguments(precision: str, device: str | torch.device) -> dict[str, Any]:
    """What `from_pretrained` is told in addition; nothing for another precision.

    The weights are quantised while they are read, on the device they stay on.
    """
    if precision not in FOUR_BIT:
        return {}
    import torch
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=list(KEPT_WHOLE),
    )
    return {"quantization_config": config, "device_map": {"": str(device)}}
