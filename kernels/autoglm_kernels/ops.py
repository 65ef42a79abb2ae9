"""`autoglm::grouped_lora`, as a `torch.library` op with a fake implementation and an autograd formula.

The op works on rows [M, in] and banks (see `routing`). Forward saves X and S alone;
backward makes the dropout masks again. Gradients go to x, a, b and base; `weight`
and `bias` are frozen. `low_rank_terms` is the way in for a layer: it takes the
groups' own factors, stacks them, and lets autograd hand each its part back. A schema
knows no records: the ops take the tables as lists (`Tables.flat`).

One of two ways to the base product: `base`, computed by the caller (prepacked,
quantised, or by a library), or `weight` and `bias`, for the fused kernel that writes
the output once and makes dX = dY W + D * (dS A) in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from autoglm_kernels import twin
from autoglm_kernels.backend import backend_for
from autoglm_kernels.routing import LayerTable, Routing, Tables

__all__ = ["grouped_lora", "low_rank_terms"]


@torch.library.custom_op("autoglm::grouped_lora", mutates_args=())
def _lora(
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    base: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    tensors: Sequence[torch.Tensor],
    numbers: Sequence[int],
) -> tuple[torch.Tensor, torch.Tensor]:
    tables = Tables.from_flat(tensors, numbers)
    if backend_for(x.device) == "torch":
        return twin.lora_forward(x, a, b, base, weight, bias, tables)
    from autoglm_kernels import lora_launch

    return lora_launch.lora_forward(x, a, b, base, weight, bias, tables)


@_lora.register_fake
def _(
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    base: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    tensors: Sequence[torch.Tensor],
    numbers: Sequence[int],
) -> tuple[torch.Tensor, torch.Tensor]:
    return x.new_empty(x.shape[0], b.shape[1]), x.new_empty(x.shape[0], Tables.from_flat(tensors, numbers).max_rank)


@torch.library.custom_op("autoglm::grouped_lora_backward", mutates_args=())
def _lora_backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    s: torch.Tensor,
    weight: torch.Tensor | None,
    tensors: Sequence[torch.Tensor],
    numbers: Sequence[int],
    need_dx: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    tables = Tables.from_flat(tensors, numbers)
    if backend_for(x.device) == "torch":
        return twin.lora_backward(dy, x, a, b, s, weight, tables, need_dx)
    from autoglm_kernels import lora_launch

    return lora_launch.lora_backward(dy, x, a, b, s, weight, tables, need_dx)


@_lora_backward.register_fake
def _(
    dy: torch.Tensor,
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    s: torch.Tensor,
    weight: torch.Tensor | None,
    tensors: Sequence[torch.Tensor],
    numbers: Sequence[int],
    need_dx: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return x.new_empty(x.shape if need_dx else 0), torch.empty_like(a), torch.empty_like(b)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, a, b, base, weight, _, tensors, numbers = inputs
    ctx.save_for_backward(x, a, b, output[1], weight, *tensors)
    ctx.numbers = numbers
    ctx.has_base = base is not None
    ctx.mark_non_differentiable(output[1])


def _autograd(ctx: Any, dy: torch.Tensor, _: torch.Tensor) -> tuple[Any, ...]:
    x, a, b, s, weight, *tensors = ctx.saved_tensors
    need_dx = ctx.needs_input_grad[0]
    dx, da, db = _lora_backward(dy, x, a, b, s, weight, tensors, ctx.numbers, need_dx)
    return dx if need_dx else None, da, db, dy if ctx.has_base else None, None, None, [None] * len(tensors), None


_lora.register_autograd(_autograd, setup_context=_setup_context)


def grouped_lora(
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    routing: Routing,
    table: LayerTable,
    *,
    base: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Output rows [M, out] of a frozen layer with every group's low-rank term.

    Args:
        x: rows [M, in].
        a, b: banks [R, in] and [R, out].
        routing, table: from `routing`, on x's device.
        base: the frozen layer's output [M, out], or None if `weight` is given.
        weight: the frozen weight [out, in].
        bias: with `weight` only.

    Raises:
        ValueError: shapes, types or tables do not fit each other.
    """
    _check(x, a, b, routing, table, base, weight)
    if table.max_rank == 0:
        return base if base is not None else torch.nn.functional.linear(x, _given(weight), bias)
    out: torch.Tensor
    out, _ = _lora(x, a, b, base, weight, bias, *Tables.of(routing, table).flat())
    return out


def low_rank_terms(
    x: torch.Tensor,
    factors: Sequence[tuple[torch.Tensor, torch.Tensor] | None],
    routing: Routing,
    table: LayerTable,
    *,
    base: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """The layer's output [..., out] from each group's own factors.

    Args:
        x: [..., in]; all leading dimensions together are the routing's rows.
        factors: for each group A [rank, in] and B [out, rank], or None for rank 0.
        routing, table, base, weight, bias: see `grouped_lora`; `base` is [..., out].
    """
    pairs = [pair for pair in factors if pair is not None]
    if not pairs:
        return base if base is not None else torch.nn.functional.linear(x, _given(weight), bias)
    a = torch.cat([a for a, _ in pairs])
    b = torch.cat([b.t() for _, b in pairs])
    flat = None if base is None else base.reshape(-1, base.shape[-1])
    out = grouped_lora(x.reshape(-1, x.shape[-1]), a, b, routing, table, base=flat, weight=weight, bias=bias)
    return out.view(*x.shape[:-1], out.shape[-1])


def _check(
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    routing: Routing,
    table: LayerTable,
    base: torch.Tensor | None,
    weight: torch.Tensor | None,
) -> None:
    if (base is None) == (weight is None):
        raise ValueError(
            f"`grouped_lora` needs either `base` or `weight`, but got {'both' if weight is not None else 'neither'}. "
            "Give one of them."
        )
    if x.ndim != 2 or x.shape[0] != routing.rows:
        raise ValueError(
            f"`x` must have the routing's {routing.rows} rows and two dimensions, but is {tuple(x.shape)}. "
            "Flatten it, and make the routing for its rows."
        )
    expected = (x.shape[0], b.shape[1]) if base is not None else (b.shape[1], x.shape[1])
    other = base if base is not None else _given(weight)
    if tuple(other.shape) != expected or other.dtype != x.dtype:
        name = "base" if base is not None else "weight"
        raise ValueError(
            f"`{name}` must be {expected} in {x.dtype} like x and banks, but is {tuple(other.shape)} in {other.dtype}. "
            "Give one of that shape and type."
        )
    if a.shape != (table.bank_rows, x.shape[1]) or b.shape[0] != table.bank_rows or a.dtype != b.dtype:
        raise ValueError(
            f"Banks must have {table.bank_rows} rows, {x.shape[1]} columns in A and one type, "
            f"but A is {tuple(a.shape)} in {a.dtype} and B {tuple(b.shape)} in {b.dtype}. "
            "Stack the factors of all groups in the table's order."
        )
    if table.groups.shape[0] != routing.groups:
        raise ValueError(
            f"Routing and layer table must have the same groups, but have {routing.groups} and "
            f"{table.groups.shape[0]}. Make both for all groups of the pass."
        )
    if table.dropout and routing.tokens.shape[0] != routing.rows:
        raise ValueError("Dropout needs token ids, but the routing has none. Give `tokens` to make_routing.")


def _given(weight: torch.Tensor | None) -> torch.Tensor:
    if weight is None:
        raise ValueError("The low-rank terms need `base` or `weight` to be added to, but got neither. Give one.")
    return weight
