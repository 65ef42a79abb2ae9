"""Which device and number format a run computes in.

`auto` means bf16 on a GPU that has it, fp16 with loss scaling on one that has not. On
a CPU it means bf16 where the processor multiplies in bf16 by itself (AVX-512 BF16 or
AMX; elsewhere bf16 is emulated and slower) and a measurement says that it pays, else
fp32; `explain_precision` says which and why. Trained parameters and their optimizer state are fp32 in
every precision; only the frozen base and the activations are narrower. `nf4` (or
`4bit`) is QLoRA: the base in 4 bits, activations in bf16, on an NVIDIA GPU.
"""

from __future__ import annotations

import functools
import time

import torch

from autoglm_nb.errors import UsageError, did_you_mean
from autoglm_nb.models.four_bit import FOUR_BIT, check_four_bit

__all__ = ["PRECISIONS", "base_dtype", "explain_precision", "resolve_device", "resolve_precision"]

WORTHWHILE = 1.25
"""bf16 must multiply so much faster than fp32 on a CPU to be chosen over its exactness."""

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
        return "bf16" if device.type == "cpu" and _native_bf16() and _bf16_gain() >= WORTHWHILE else "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def explain_precision(precision: str, device: torch.device) -> str:
    """One sentence on why a run computes in the format that `resolve_precision` gives.

    Args:
        precision: what was asked for.
        device: where it runs.
    """
    found = resolve_precision(precision, device)
    if precision != "auto":
        return f"{found}, as asked for."
    if device.type == "cuda":
        return "bf16, which this GPU has." if found == "bf16" else "fp16 with loss scaling: this GPU has no bf16."
    if not _native_bf16():
        return "fp32: this processor does not multiply in bf16 by itself, and emulating it would be slower."
    gain = f"bf16 products are {_bf16_gain():.1f} times as fast as fp32 ones on this processor"
    return f"bf16 with fp32 adapters: {gain}." if found == "bf16" else f"fp32: {gain}, which is not worth its rounding."


def base_dtype(precision: str) -> torch.dtype:
    """The number format of the frozen base under a resolved precision."""
    types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "nf4": torch.bfloat16}
    return types[precision]


def _native_bf16() -> bool:
    """Whether the processor has instructions for bf16 products; torch's own check is true for emulation too."""
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(bool(check()) for check in checks if check is not None)


@functools.cache
@torch.no_grad()
def _bf16_gain() -> float:
    """How many times faster a product of a transformer's shape is in bf16: the best of five, in turn."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(256, 768, generator=generator), torch.randn(768, 768, generator=generator)
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    pairs = {dtype: (x.to(dtype), w.to(dtype)) for dtype in best}
    for _ in range(6):
        for dtype, (a, b) in pairs.items():
            began = time.perf_counter()
            torch.nn.functional.linear(a, b)
            best[dtype] = min(best[dtype], time.perf_counter() - began)
    return best[torch.float32] / best[torch.bfloat16]
