"""Which device and number format a run computes in.

`auto` means fp32 on a CPU and bf16 on a GPU that has it (fp16 with loss scaling
on one that has not). Trained parameters and their optimizer state are fp32 in
every precision; only the frozen base and the activations are narrower. `nf4` (or
`4bit`) is QLoRA: the base in 4 bits, activations in bf16, on an NVIDIA GPU.
"""

from __future__ import annotations

import torch

from autoglm_nb.errors import UsageError, did_you_mean
from autoglm_nb.models.four_bit import FOUR_BIT, check_four_bit

__all__ = ["PRECISIONS", "base_dtype", "resolve_device", "resolve_precision"]

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "nf4", "4bit")


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The torch device of `--device`; `auto` takes a GPU where there is one.

    Raises:
        UsageError: the device is unknown or not on this machine.
    """
    if isinstance(device, torch.device):
        return device
    if device == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise UsageError(
            f"`device` must be auto, cpu, cuda or cuda:N, but got device={device!r}. Use device='auto'."
        ) from None
    if found.type == "cuda" and (not torch.cuda.is_available() or (found.index or 0) >= torch.cuda.device_count()):
        raise UsageError(
            f"`device` must be on this machine, but got device={device!r} and torch sees "
            f"{torch.cuda.device_count()} GPUs. Use device='cpu' or device='auto'."
        )
    return torch.device("cuda", found.index or 0) if found.type == "cuda" else found


def resolve_precision(precision: str, device: torch.device) -> str:
    """ "fp32", "bf16", "fp16" or "nf4" for `--precision` on a device.

    Raises:
        UsageError: an unknown precision, fp16 or nf4 on a CPU, or nf4 without bitsandbytes.
    """
    if precision not in PRECISIONS:
        raise UsageError(
            f"`precision` must be one of {', '.join(PRECISIONS)}, but got {precision!r}. "
            + did_you_mean(precision, PRECISIONS)
        )
    if precision == "fp16" and device.type == "cpu":
        raise UsageError("`precision` fp16 needs a GPU, but the device is the CPU. Use bf16 or fp32.")
    if precision in FOUR_BIT:
        check_four_bit(precision, device)
        return "nf4"
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def base_dtype(precision: str) -> torch.dtype:
    """The number format of the frozen base under a resolved precision."""
    types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "nf4": torch.bfloat16}
    return types[precision]
