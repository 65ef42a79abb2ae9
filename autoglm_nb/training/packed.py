"""Layers that see the rows of several slots at once.

A pass over a pack concatenates the rows of all slots along dimension 0. The
`RowMap` says which rows belong to whom; every packed layer holds the same one.
Layers that are not packed (norms, attention, embeddings) treat rows apart anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from autoglm_nb.errors import ModelError
from autoglm_nb.training.dropout import dropout_key
from autoglm_nb.training.lowrank import LowRankTerm, SlotAdapter, add_low_rank

__all__ = ["PackedLinear", "RowMap", "Segment", "is_packable", "linear_weight"]


@dataclass(frozen=True)
class Segment:
    """Rows `start` to `stop` of a pass belong to `slot`.

    `first_row` is the number of the first of them within the slot's own batch.
    `dropout` is (seed, step) in training, None in evaluation.
    """

    slot: int
    start: int
    stop: int
    first_row: int = 0
    dropout: tuple[int, int] | None = None


class RowMap:
    """The segments of the pass under way, shared by all packed layers of a model.

    `labelled` marks the positions [rows, positions] whose logits are wanted.
    """

    def __init__(self) -> None:
        self.segments: tuple[Segment, ...] = ()
        self.labelled: torch.Tensor | None = None

    @property
    def rows(self) -> int:
        return self.segments[-1].stop if self.segments else 0

    @contextmanager
    def over(self, segments: tuple[Segment, ...], labelled: torch.Tensor | None = None) -> Iterator[None]:
        """Use these segments for the forward and backward passes inside the block."""
        self.segments, self.labelled = segments, labelled
        try:
            yield
        finally:
            self.segments, self.labelled = (), None

    def check(self, x: torch.Tensor, layer: str) -> None:
        if x.shape[0] != self.rows:
            raise ModelError(
                f"A packed layer needs the batch in dimension 0, but {layer!r} got {x.shape[0]} rows in a pass of "
                f"{self.rows}. Leave this layer out of `target_modules`."
            )


class PackedLinear(nn.Module):
    """A frozen linear layer plus the low-rank terms of the slots that target it.

    Args:
        base: `nn.Linear`, or transformers' `Conv1D` (its weight is transposed).
        name: full module name; keys the dropout masks.
        row_map: shared by the model's packed layers.
    """

    def __init__(self, base: nn.Module, name: str, row_map: RowMap) -> None:
        super().__init__()
        self.base = base
        self.name = name
        self.row_map = row_map
        self.adapters: dict[int, SlotAdapter] = {}  # not a ModuleDict: slots own their parameters

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.base(x)
        segments = self.row_map.segments
        if not any(segment.slot in self.adapters for segment in segments):
            return result
        self.row_map.check(x, self.name)
        bias = getattr(self.base, "bias", None)
        return add_low_rank(result, x, [self._term(s) for s in segments], linear_weight(self.base), bias)

    def _term(self, segment: Segment) -> LowRankTerm:
        adapter = self.adapters.get(segment.slot)
        key = None
        if adapter is not None and adapter.dropout > 0.0 and segment.dropout is not None:
            key = dropout_key(*segment.dropout, self.name)
        return LowRankTerm(segment.start, segment.stop, adapter, segment.first_row, key)


def is_packable(module: nn.Module) -> bool:
    """Whether a module is a linear layer that low-rank terms can be added to."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def linear_weight(module: nn.Module) -> torch.Tensor:
    """The weight as [out_features, in_features]."""
    weight = module.weight
    if not isinstance(weight, torch.Tensor):
        raise ModelError(f"A packed layer must have a weight, but got {type(module).__name__}.")
    return weight.t() if type(module).__name__ == "Conv1D" else weight
