"""Which implementation runs, and how often a kernel was launched.

`AUTOGLM_KERNELS=triton|torch` decides; unset or `auto`, tensors on a GPU go to
Triton where it is installed, all others to PyTorch: in the ops to the twins, in
training to its own loop. On CPU tensors Triton needs its interpreter
(`TRITON_INTERPRET=1`, set before triton is imported).
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["VARIABLE", "backend_for", "has_triton", "interpreting", "launch", "launches", "reset_launches"]

VARIABLE = "AUTOGLM_KERNELS"

_launches: Counter[str] = Counter()


def backend_for(device: torch.device) -> str:
    """`triton` or `torch` for tensors on `device`.

    Raises:
        ValueError: the variable holds another word.
        RuntimeError: Triton is asked for and cannot run on this device.
    """
    asked = os.environ.get(VARIABLE, "").strip().lower() or "auto"
    if asked not in ("auto", "triton", "torch"):
        raise ValueError(f"{VARIABLE} must be triton or torch, but is {asked!r}. Unset it to let the device decide.")
    if asked == "torch":
        return "torch"
    if asked == "auto":
        return "triton" if device.type == "cuda" and has_triton() else "torch"
    if not has_triton():
        raise RuntimeError(f"{VARIABLE}=triton needs triton, which is not installed. Install it or use torch.")
    if device.type != "cuda" and not interpreting():
        raise RuntimeError(
            f"{VARIABLE}=triton needs tensors on a GPU, but got {device.type}. "
            "Use torch, or set TRITON_INTERPRET=1 before the start to run the kernels slowly on the CPU."
        )
    return "triton"


@functools.cache
def has_triton() -> bool:
    """Whether triton can be imported (it is not imported to find out)."""
    return importlib.util.find_spec("triton") is not None


def interpreting() -> bool:
    """Whether kernels run in Triton's interpreter."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def launch(kernel: Any, grid: tuple[int, ...], device: torch.device, arguments: tuple[Any, ...], **meta: Any) -> None:
    """Launch a Triton kernel and count it; an empty grid launches nothing.

    FP fusion is pinned, because its default differs between Triton releases.
    """
    if 0 in grid:
        return
    _launches[kernel.fn.__name__] += 1
    run: Callable[..., None] = kernel[grid]
    if device.type == "cuda":
        with torch.cuda.device(device):
            run(*arguments, **meta, enable_fp_fusion=True)
    else:
        run(*arguments, **meta)


def launches() -> dict[str, int]:
    """Launches since the start or the last reset, by kernel name."""
    return dict(_launches)


def reset_launches() -> None:
    """Start counting again."""
    _launches.clear()
