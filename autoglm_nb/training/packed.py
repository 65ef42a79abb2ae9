"""Layers that see the rows of several slots at once: the one place where the kernels are chosen.

A pass over a pack concatenates the rows of all slots along dimension 0. The
`RowMap` says which rows belong to whom; every packed layer holds the same one.
Layers that are not packed (norms, attention, embeddings) treat rows apart anyway.

`autoglm_kernels.backend_for` says how the low-rank terms are added: by Triton kernels
on a GPU (`grouped`), by a loop over the slots elsewhere (`lowrank`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from autoglm_kernels import backend_for
from autoglm_nb.errors import ModelError, UsageError
from autoglm_nb.training.dropout import dropout_key
from autoglm_nb.training.grouped import GroupedPass
from autoglm_nb.training.lowrank import LowRankTerm, SlotAdapter, add_low_rank, scale_rows
from autoglm_nb.training.quantised import dense_weight, is_quantised

__all__ = ["PackedLinear", "RowMap", "Segment", "check_kernels", "is_packable", "linear_weight"]


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

    Attributes:
        segments: in row order.
        labelled: the positions [rows, positions] whose logits are wanted.
        layers: the adapters of every packed layer, by slot, by the layer's name; layers enter themselves.
        grouped: the kernels' tables of the pass.
        fuse: let the kernels make plain base products too; off until measured on a GPU.
    """

    def __init__(self) -> None:
        self.segments: tuple[Segment, ...] = ()
        self.labelled: torch.Tensor | None = None
        self.positions = 0
        self.layers: dict[str, dict[int, SlotAdapter]] = {}
        self.grouped = GroupedPass((), {})
        self.fuse = False

    @property
    def rows(self) -> int:
        return self.segments[-1].stop if self.segments else 0

    @contextmanager
    def over(
        self, segments: tuple[Segment, ...], labelled: torch.Tensor | None = None, positions: int = 0
    ) -> Iterator[None]:
        """Use these segments for the forward and backward passes inside the block, over texts of so many positions."""
        self.segments, self.labelled, self.positions = segments, labelled, positions
        self.grouped = GroupedPass(segments, self.layers)
        try:
            yield
        finally:
            self.segments, self.labelled, self.positions = (), None, 0
            self.grouped = GroupedPass((), {})

    def by_rows(self, x: torch.Tensor, layer: str) -> torch.Tensor:
        """A layer's input as [rows, ..., in_features]; some models flatten rows and positions into one dimension.

        Raises:
            ModelError: it cannot be told whose rows these are.
        """
        if x.dim() == 2 and self.positions > 1 and x.shape[0] == self.rows * self.positions:
            return x.view(self.rows, self.positions, -1)
        self.check(x, layer)
        return x

    def check(self, x: torch.Tensor, layer: str) -> None:
        """Refuse an input whose first dimension is not the batch.

        Raises:
            ModelError: it cannot be told whose rows these are.
        """
        if x.shape[0] != self.rows:
            raise ModelError(
                f"A packed layer needs the batch in dimension 0, but {layer!r} got {x.shape[0]} rows in a pass of "
                f"{self.rows}. Leave this layer out of `target_modules`."
            )


class PackedLinear(nn.Module):
    """A frozen linear layer plus the low-rank terms of the slots that target it.

    Args:
        base: `nn.Linear`, transformers' `Conv1D` (its weight is transposed), or a quantised linear layer. It
            makes the base product, and the gradient through it; here nothing but its weight and bias is read,
            and those for DoRA alone.
        name: full module name; keys the dropout masks.
        row_map: shared by the model's packed layers.
    """

    def __init__(self, base: nn.Module, name: str, row_map: RowMap) -> None:
        super().__init__()
        self.base = base
        self.name = name
        self.row_map = row_map
        self.adapters: dict[int, SlotAdapter] = {}  # not a ModuleDict: slots own their parameters
        row_map.layers[name] = self.adapters

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        segments = self.row_map.segments
        if not any(segment.slot in self.adapters for segment in segments):
            untouched: torch.Tensor = self.base(x)
            return untouched
        given, x = x, self.row_map.by_rows(x, self.name)
        if backend_for(x.device) == "triton":
            out = self.row_map.grouped.output(self.name, self.base, x, fuse=self.row_map.fuse)
        else:
            out = add_low_rank(self.base(x), x, [self._term(segment) for segment in segments])
        gains = [(s.start, s.stop, self._gain(s.slot)) for s in segments]
        found = [(start, stop, gain) for start, stop, gain in gains if gain is not None]
        out = scale_rows(out, found, getattr(self.base, "bias", None)) if found else out
        return out if x is given else out.reshape(*given.shape[:-1], -1)

    def _gain(self, slot: int) -> torch.Tensor | None:
        adapter = self.adapters.get(slot)
        return None if adapter is None else adapter.gain(lambda: linear_weight(self.base))

    def _term(self, segment: Segment) -> LowRankTerm:
        adapter = self.adapters.get(segment.slot)
        key = None
        if adapter is not None and adapter.dropout > 0.0 and segment.dropout is not None:
            key = dropout_key(*segment.dropout, self.name)
        return LowRankTerm(segment.start, segment.stop, adapter, segment.first_row, key)


def check_kernels(device: torch.device) -> None:
    """Refuse what `AUTOGLM_KERNELS` asks for where this device cannot do it.

    Raises:
        UsageError: so that a study fails at once and not trial by trial.
    """
    try:
        backend_for(device)
    except (RuntimeError, ValueError) as error:
        raise UsageError(str(error)) from error


def is_packable(module: nn.Module) -> bool:
    """Whether a module is a linear layer that low-rank terms can be added to."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def linear_weight(module: nn.Module) -> torch.Tensor:
    """The weight as [out_features, in_features]; of a quantised layer, what it computes with."""
    if is_quantised(module):
        return dense_weight(module)
    weight = module.weight
    if not isinstance(weight, torch.Tensor):
        raise ModelError(
            f"A packed layer must have a weight, but got {type(module).__name__}. Leave it out of `target_modules`."
        )
    return weight.t() if type(module).__name__ == "Conv1D" else weight
