"""The low-rank terms of a pass by the kernels of `autoglm_kernels`: who owns which rows, told once.

One `GroupedPass` serves all layers of a forward and backward pass. A group is a slot.
The routing is made once for each number of positions (layers behind a pooling have
one), the layers' tables for all layers at once, so that a pass copies a handful of
small tensors to the device, however many layers it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from autoglm_kernels import LayerEntry, LayerTable, Routing, layer_tables, low_rank_terms, make_routing
from autoglm_nb.training.dropout import dropout_key, row_ids
from autoglm_nb.training.lowrank import SlotAdapter

if TYPE_CHECKING:
    from autoglm_nb.training.packed import Segment

__all__ = ["GroupedPass"]

CPU = torch.device("cpu")


class GroupedPass:
    """The tables of one pass, made when first asked for.

    Args:
        segments: the rows of the pass.
        layers: the adapters of every packed layer, by slot, by the layer's name.
    """

    def __init__(self, segments: Sequence[Segment], layers: Mapping[str, Mapping[int, SlotAdapter]]) -> None:
        self._segments = segments
        self._layers = layers
        self._group = {slot: i for i, slot in enumerate(dict.fromkeys(s.slot for s in segments))}
        self._dropout = {s.slot: s.dropout for s in segments}
        self._routings: dict[tuple[int, torch.device, torch.dtype], Routing] = {}
        self._tables: dict[tuple[torch.device, torch.dtype], dict[str, LayerTable]] = {}

    def output(self, name: str, base: nn.Module, x: torch.Tensor, *, fuse: bool) -> torch.Tensor:
        """The output of layer `name`, before DoRA's factors.

        Args:
            base: the frozen layer.
            x: its input, [rows, ..., in_features].
            fuse: make the base product in the kernel too, where the layer is a plain `nn.Linear` in x's type.
        """
        adapters = [self._layers[name].get(slot) for slot in self._group]
        factors = [None if a is None else (a.lora_A, a.lora_B) for a in adapters]
        if fuse and type(base) is nn.Linear and base.weight.dtype == x.dtype:
            routing, table = self._routing(x), self._table(name, x)
            return low_rank_terms(x, factors, routing, table, weight=base.weight, bias=base.bias)
        product: torch.Tensor = base(x)
        x = x.to(product.dtype)
        return low_rank_terms(x, factors, self._routing(x), self._table(name, x), base=product)

    def _routing(self, x: torch.Tensor) -> Routing:
        positions = x[0, ..., 0].numel()
        key = (positions, x.device, x.dtype)
        if key not in self._routings:
            tokens = None
            if any(s.dropout is not None for s in self._segments):
                ids = [row_ids(s.first_row, s.stop - s.start, positions, CPU) for s in self._segments]
                tokens = torch.cat(ids)
            self._routings[key] = make_routing(
                [(self._group[s.slot], (s.stop - s.start) * positions) for s in self._segments],
                len(self._group),
                tokens=tokens,
                device=x.device,
                dtype=x.dtype,
            )
        return self._routings[key]

    def _table(self, name: str, x: torch.Tensor) -> LayerTable:
        key = (x.device, torch.float64 if x.dtype == torch.float64 else torch.float32)
        if key not in self._tables:
            entries = {layer: self._entry(layer) for layer, own in self._layers.items() if own.keys() & self._group}
            tables = layer_tables(list(entries.values()), dtype=key[1], device=x.device)
            self._tables[key] = dict(zip(entries, tables, strict=True))
        return self._tables[key][name]

    def _entry(self, layer: str) -> LayerEntry:
        ranks, scales, dropouts, keys = [], [], [], []
        for slot in self._group:
            adapter, drops = self._layers[layer].get(slot), self._dropout[slot]
            ranks.append(0 if adapter is None else adapter.lora_A.shape[0])
            scales.append(0.0 if adapter is None else adapter.scale)
            dropouts.append(0.0 if adapter is None or drops is None else adapter.dropout)
            keys.append(dropout_key(*drops, layer) if drops is not None and dropouts[-1] else 0)
        return LayerEntry(ranks, scales, dropouts, keys)
