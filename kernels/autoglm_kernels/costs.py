"""Bytes and operations of each kernel, as the README derives them.

`Traffic` counts what a kernel's unmasked lanes load and store, tables included: the
interpreter counts the same number. `least` is the theoretical minimum: every operand
once. Between the two lies what caches must absorb. Operations are useful ones, two a
multiply-add, without padding and without the hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from autoglm_kernels.routing import LayerTable, Routing

__all__ = ["Traffic", "adamw", "expand", "reduce_rows", "shrink", "shrink_reduce"]

INT = 4
LONG = 8


@dataclass(frozen=True)
class Traffic:
    """Bytes loaded and stored, the least that could be, and useful operations."""

    loads: int
    stores: int
    least: int
    operations: int


def shrink(
    routing: Routing, table: LayerTable, columns: int, *, item: int, bank_item: int, block_r: int, dropout: bool
) -> Traffic:
    """S = c (D * X) A^T, or dS = c dY B: X once a rank block, the group's bank rows once a tile."""
    blocks = -(-table.max_rank // block_r)
    loads = stores = least = operations = 0
    for rank, _, count in _tiles(routing, table):
        busy = -(-rank // block_r)
        loads += blocks * 5 * INT + busy * (_scale(table) + (2 * INT + count * INT) * dropout)
        loads += busy * count * columns * item + rank * columns * bank_item
        stores += count * table.max_rank * item
        least += count * columns * item * (rank > 0) + count * rank * item
        operations += 2 * count * columns * rank
    return Traffic(loads, stores, least + table.bank_rows * columns * bank_item, operations)


def expand(
    routing: Routing,
    table: LayerTable,
    columns: int,
    *,
    inner: int = 0,
    has_base: bool = False,
    has_bias: bool = False,
    item: int,
    bank_item: int,
    block_n: int,
    dropout: bool,
) -> Traffic:
    """Y = base + S B^T, or X W^T + bias + S B^T, or dX: X and S once a column block, W and bank rows once a tile."""
    blocks = -(-columns // block_n)
    loads = stores = least = operations = 0
    for rank, _, count in _tiles(routing, table):
        loads += blocks * 5 * INT + blocks * (2 * INT + count * INT) * (dropout and rank > 0)
        loads += blocks * count * rank * item + rank * columns * bank_item
        loads += blocks * count * inner * item + inner * columns * item
        loads += columns * item * has_bias + count * columns * item * has_base
        stores += count * columns * item
        least += count * (rank + inner + columns * (1 + has_base)) * item
        operations += 2 * count * columns * (rank + inner)
    least += table.bank_rows * columns * bank_item + inner * columns * item + columns * item * has_bias
    return Traffic(loads, stores, least, operations)


def reduce_rows(
    routing: Routing,
    table: LayerTable,
    columns: int,
    *,
    item: int,
    bank_item: int,
    block_c: int,
    block_r: int,
    dropout: bool,
) -> Traffic:
    """dA = dS^T (D * X), or dB^T = S^T dY: X once a rank block, S once a column block.

    With atomics, a chunk's sum counts as one load and one store of its bank rows.
    """
    ranks = _ranks(table)
    programs = -(-columns // block_c)
    all_blocks = -(-table.max_rank // block_r)
    loads = stores = least = operations = 0
    tiles = routing.tiles.tolist()
    for group, begin, end in routing.chunks.tolist():
        rank = ranks[group]
        busy = -(-rank // block_r)
        loads += programs * all_blocks * 5 * INT + programs * busy * 2 * INT * dropout
        for _, _, count in tiles[begin:end]:
            loads += programs * busy * (2 * INT + count * INT * dropout)
            loads += busy * count * columns * item + programs * count * rank * item
            least += count * (columns * (rank > 0) + rank) * item
            operations += 2 * count * columns * rank
        stores += rank * columns * bank_item
        loads += 0 if routing.deterministic else rank * columns * bank_item
    return Traffic(loads, stores, least + table.bank_rows * columns * bank_item, operations)


def shrink_reduce(
    routing: Routing, table: LayerTable, columns: int, *, item: int, bank_item: int, block_r: int
) -> Traffic:
    """dS and dB in one read of dY: an atomic addition counts as a load and a store."""
    blocks = -(-table.max_rank // block_r)
    loads = stores = least = operations = 0
    for rank, _, count in _tiles(routing, table):
        busy = -(-rank // block_r)
        loads += blocks * 5 * INT + busy * _scale(table) + count * rank * item
        loads += busy * count * columns * item + 2 * rank * columns * bank_item
        stores += count * table.max_rank * item + rank * columns * bank_item
        least += count * (columns * (rank > 0) + 2 * rank) * item
        operations += 4 * count * columns * rank
    return Traffic(loads, stores, least + 2 * table.bank_rows * columns * bank_item, operations)


def adamw(lengths: Sequence[int], active: Sequence[bool], *, item: int, block: int, columns: int) -> Traffic:
    """Four loads and three stores an element of an active tensor, and nothing of the others."""
    loads = stores = 0
    for length, steps in zip(lengths, active, strict=True):
        pieces = -(-length // block)
        loads += pieces * (INT + LONG + item)
        if steps:
            loads += pieces * (INT + 5 * LONG + (columns - 1) * item) + 4 * length * item
            stores += 3 * length * item
    elements = sum(length for length, steps in zip(lengths, active) if steps)
    return Traffic(loads, stores, 7 * elements * item, 16 * elements)


def _tiles(routing: Routing, table: LayerTable) -> list[tuple[int, int, int]]:
    ranks = _ranks(table)
    return [(ranks[group], first, count) for group, first, count in routing.tiles.tolist()]


def _ranks(table: LayerTable) -> list[int]:
    return [int(rank) for rank in table.groups[:, 0].tolist()]


def _scale(table: LayerTable) -> int:
    return int(torch.empty((), dtype=table.scales.dtype).element_size())
