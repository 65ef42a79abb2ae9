"""Triton kernel of the grouped Adam step; `twin.adamw` has the same mathematics in PyTorch.

A program takes BLOCK elements of one tensor. Tables give it the tensor's four
addresses, its length and its row of hyper-parameters; one launch serves all adapters
of all trials. A row that is not active returns before it loads or stores anything
else, so that a trial that does not step is not touched, whatever its gradients hold.
"""

# Triton is optional and without types: its decorator and the kernels' arguments are untyped.
# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["grouped_adamw"]


@triton.jit
def grouped_adamw(
    pieces,
    tensors,
    hyper,
    TYPE: tl.constexpr,
    COLUMNS: tl.constexpr,
    ALIGNED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """pieces int32 [P, 2]: tensor, block within it. tensors int64 [T, 6]: parameter, gradient, moments, length, row."""
    piece = tl.program_id(0)
    tensor = tensors + 6 * tl.load(pieces + 2 * piece)
    row = hyper + COLUMNS * tl.load(tensor + 5)
    if tl.load(row) != 0.0:
        p = tl.load(tensor).to(tl.pointer_type(TYPE))
        g = tl.load(tensor + 1).to(tl.pointer_type(TYPE))
        m = tl.load(tensor + 2).to(tl.pointer_type(TYPE))
        v = tl.load(tensor + 3).to(tl.pointer_type(TYPE))
        if ALIGNED:
            p = tl.multiple_of(p, 16)
            g = tl.multiple_of(g, 16)
            m = tl.multiple_of(m, 16)
            v = tl.multiple_of(v, 16)
        i = tl.load(pieces + 2 * piece + 1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        live = i < tl.load(tensor + 4)
        old = tl.load(p + i, mask=live, other=0.0)
        grad = tl.load(g + i, mask=live, other=0.0) * tl.load(row + 1) + old * tl.load(row + 2)
        mean = tl.load(m + i, mask=live, other=0.0) * tl.load(row + 4) + grad * tl.load(row + 5)
        square = tl.load(v + i, mask=live, other=0.0) * tl.load(row + 6) + grad * grad * tl.load(row + 7)
        change = tl.load(row + 8) * mean / (tl.sqrt(square) / tl.load(row + 9) + tl.load(row + 10))
        tl.store(p + i, old * tl.load(row + 3) - change, mask=live)
        tl.store(m + i, mean, mask=live)
        tl.store(v + i, square, mask=live)
