"""Who owns which rows: the tables that kernels and twins read.

`Routing` belongs to a pass and serves all its layers. Rows are cut into tiles of at
most `tile_rows`; a tile never spans two groups, so groups need no padding and no
alignment. `LayerTable` belongs to a layer in a pass: rank, place in the banks, drop
threshold, key and scale of each group. A group with rank 0 does not adapt this layer.

`Tables` is both together, as the functions that compute take it; a `torch.library` op
takes lists of tensors and integers instead (`Tables.flat`), for its schema knows no records.

Banks stack the groups' factors: row `bank_row + j` of bank A [R, in] is row j of the
group's A, the same row of bank B [R, out] is column j of its B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from autoglm_kernels.backend import backend_for
from autoglm_kernels.dropout import drop_threshold, keep_scale, signed

__all__ = ["LayerEntry", "LayerTable", "Routing", "Tables", "layer_table", "layer_tables", "make_routing"]

CHUNK_TILES = 8
"""Tiles that one program sums up when sums may meet in atomics."""


LONG_SEGMENT = 512
"""Mean rows a segment from which tiles of 128 rows waste little."""


@dataclass(frozen=True)
class Routing:
    """The rows of a pass.

    Attributes:
        rows: of all groups together.
        groups: number of groups.
        tiles: int32 [T, 3]: group, first row, number of rows. Tiles of a group are neighbours.
        chunks: int32 [C, 3]: group, first tile, tile after the last; one a group if deterministic.
        tokens: int32 [rows], see `dropout.token_ids`; empty when nothing is dropped.
        tile_rows: the most rows a tile holds.
        deterministic: sums over rows in a fixed order, without atomics.
    """

    rows: int
    groups: int
    tiles: torch.Tensor
    chunks: torch.Tensor
    tokens: torch.Tensor
    tile_rows: int
    deterministic: bool


@dataclass(frozen=True)
class LayerTable:
    """What one layer adds for each group.

    Attributes:
        groups: int32 [G, 4]: rank, first bank row, drop threshold, dropout key.
        scales: [G] in the accumulator's type: s_i, times the survivors' scale of dropout.
        bank_rows: sum of the ranks.
        max_rank: the largest rank.
        dropout: whether any group drops.
    """

    groups: torch.Tensor
    scales: torch.Tensor
    bank_rows: int
    max_rank: int
    dropout: bool


@dataclass(frozen=True)
class Tables:
    """What the functions of `twin` and `lora_launch` read beside rows and banks; see `Routing` and `LayerTable`."""

    tokens: torch.Tensor
    tiles: torch.Tensor
    chunks: torch.Tensor
    groups: torch.Tensor
    scales: torch.Tensor
    max_rank: int
    tile_rows: int
    dropout: bool
    deterministic: bool

    @classmethod
    def of(cls, routing: Routing, table: LayerTable) -> Tables:
        """The tables of one layer in a pass."""
        return cls(
            routing.tokens, routing.tiles, routing.chunks, table.groups, table.scales,
            table.max_rank, routing.tile_rows, table.dropout, routing.deterministic,
        )  # fmt: skip

    def flat(self) -> tuple[list[torch.Tensor], list[int]]:
        """As lists, for a schema."""
        tensors = [self.tokens, self.tiles, self.chunks, self.groups, self.scales]
        return tensors, [self.max_rank, self.tile_rows, int(self.dropout), int(self.deterministic)]

    @classmethod
    def from_flat(cls, tensors: Sequence[torch.Tensor], numbers: Sequence[int]) -> Tables:
        """Inverse of `flat`."""
        max_rank, tile_rows, dropout, deterministic = numbers
        tokens, tiles, chunks, groups, scales = tensors
        return cls(tokens, tiles, chunks, groups, scales, max_rank, tile_rows, bool(dropout), bool(deterministic))


@dataclass(frozen=True)
class LayerEntry:
    """The arguments of one `layer_table`: a number a group in each."""

    ranks: Sequence[int]
    scales: Sequence[float]
    dropouts: Sequence[float]
    keys: Sequence[int]


def make_routing(
    segments: Sequence[tuple[int, int]],
    groups: int,
    *,
    tokens: torch.Tensor | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    tile_rows: int | None = None,
    deterministic: bool = True,
) -> Routing:
    """Cut the rows of a pass into tiles.

    Args:
        segments: (group, number of rows) in row order, together all rows. A group may
            come more than once, or with 0 rows, or not at all.
        groups: number of groups.
        tokens: int32 ids, one a row, from `dropout.token_ids`; None when nothing is dropped.
        device: where the layers' tensors are.
        dtype: of the layers' inputs.
        tile_rows: a power of two from 16, or None: 64, or 128 for 16-bit types and long
            segments; whole segments where the twin runs.
        deterministic: see `Routing`.

    Raises:
        ValueError: a segment names an unknown group or a negative number of rows.
    """
    device = torch.device(device)
    for group, size in segments:
        if not 0 <= group < groups or size < 0:
            raise ValueError(
                f"A segment must be (group below {groups}, rows >= 0), but got ({group}, {size}). "
                "Count groups from 0, and give the number of all of them as `groups`."
            )
    sizes = [size for _, size in segments if size]
    if tile_rows is None:
        if backend_for(device) == "torch":
            tile_rows = max(sizes, default=1)
        else:
            tile_rows = 128 if dtype.itemsize == 2 and sum(sizes) >= LONG_SEGMENT * len(sizes) else 64
    tiles: list[list[list[int]]] = [[] for _ in range(groups)]
    start = 0
    for group, size in segments:
        for first in range(start, start + size, tile_rows):
            tiles[group].append([group, first, min(tile_rows, start + size - first)])
        start += size
    chunks, done = [], 0
    for group, own in enumerate(tiles):
        length = max(len(own), 1) if deterministic else CHUNK_TILES
        pieces = range(0, max(len(own), 1), length)
        chunks += [[group, done + i, done + min(i + length, len(own))] for i in pieces]
        done += len(own)
    if tokens is not None and tokens.shape != (start,):
        raise ValueError(
            f"`tokens` must have one id for each of {start} rows, but has shape {tuple(tokens.shape)}. "
            "Join what `token_ids` gives for each segment."
        )
    return Routing(
        rows=start,
        groups=groups,
        tiles=_table([tile for own in tiles for tile in own], 3, device),
        chunks=_table(chunks, 3, device),
        tokens=torch.empty(0, dtype=torch.int32, device=device) if tokens is None else tokens.to(device),
        tile_rows=tile_rows,
        deterministic=deterministic,
    )


def layer_table(
    ranks: Sequence[int],
    scales: Sequence[float],
    *,
    dropouts: Sequence[float] | None = None,
    keys: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> LayerTable:
    """The table of one layer; one entry a group in each argument.

    Args:
        ranks: 0 where a group does not adapt this layer.
        scales: alpha / rank, or alpha / sqrt(rank) for rsLoRA.
        dropouts: drop probabilities, None in evaluation.
        keys: 32-bit keys of (seed, step, layer), needed with dropout.
        dtype: of the layer's input; float64 keeps the scales in float64.
        device: where the layer's tensors are.

    Raises:
        ValueError: lengths differ, or a rank or probability is out of its range.
    """
    dropouts = dropouts if dropouts is not None else [0.0] * len(ranks)
    keys = keys if keys is not None else [0] * len(ranks)
    (table,) = layer_tables([LayerEntry(ranks, scales, dropouts, keys)], dtype=dtype, device=device)
    return table


def layer_tables(
    layers: Sequence[LayerEntry], *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> list[LayerTable]:
    """The tables of many layers over the same groups, brought to the device in two copies.

    Raises:
        ValueError: see `layer_table`; or the layers differ in their number of groups.
    """
    rows: list[list[int]] = []
    factors: list[float] = []
    count = len(layers[0].ranks) if layers else 0
    padding = [0.0] * (-count % 4)  # so that each layer's scales begin at a multiple of 16 bytes, as pointers should
    for layer in layers:
        _check_entry(layer, count)
        first = 0
        for rank, scale, p, key in zip(layer.ranks, layer.scales, layer.dropouts, layer.keys):
            rows.append([rank, first, drop_threshold(p), signed(key)])
            factors.append(scale * keep_scale(p))
            first += rank
        factors += padding
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    shape = (len(layers), -1)
    groups = _table(rows, 4, torch.device(device)).reshape(*shape, 4) if rows else None
    scales = torch.tensor(factors, dtype=kind).to(device, non_blocking=True).reshape(shape) if rows else None
    return [
        LayerTable(
            groups=_table([], 4, torch.device(device)) if groups is None else groups[i],
            scales=torch.empty(0, dtype=kind, device=device) if scales is None else scales[i, :count],
            bank_rows=sum(layer.ranks),
            max_rank=max(layer.ranks, default=0),
            dropout=any(rank and drop_threshold(p) for rank, p in zip(layer.ranks, layer.dropouts)),
        )
        for i, layer in enumerate(layers)
    ]


def _check_entry(layer: LayerEntry, groups: int) -> None:
    lengths = [len(column) for column in (layer.ranks, layer.scales, layer.dropouts, layer.keys)]
    if lengths != [groups] * 4:
        raise ValueError(
            f"A layer table needs one rank, scale, dropout and key for each of {groups} groups, "
            f"but got {', '.join(map(str, lengths))}. A group that does not adapt the layer has rank 0."
        )
    if any(rank < 0 for rank in layer.ranks) or any(not 0.0 <= p < 1.0 for p in layer.dropouts):
        given = f"{list(layer.ranks)} and {list(layer.dropouts)}"
        raise ValueError(f"Ranks must be >= 0 and dropouts in [0, 1), but got {given}. Use 0 for none.")


def _table(rows: list[list[int]], width: int, device: torch.device) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.int32).reshape(-1, width).to(device, non_blocking=True)
