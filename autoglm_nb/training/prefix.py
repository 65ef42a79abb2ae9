"""The frozen lower part of the model: computed once per row of data and shared by all trials.

Where a trial changes upper layers only, what the layers below give for a row of data is
the same in every epoch, in every such trial and in evaluation. `FrozenPrefix` keeps those
hidden states, unpadded, and feeds them to the first layer that may differ; the layers
below hand on what they get. Rows are computed in blocks that depend on the data alone, not
on who asks first, so that a resumed run meets the very same numbers.

States are kept while they fit into the budget; a split that does not fit is simply run
through the whole model. Used by one thread at a time, like the engine it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from autoglm_nb import settings
from autoglm_nb.errors import ModelError
from autoglm_nb.training.packed import RowMap, Segment

if TYPE_CHECKING:
    from autoglm_nb.data import EncodedData, EncodedSplit
    from autoglm_nb.models import LoadedBase, MethodConfig
    from autoglm_nb.training.rounds import Round

__all__ = ["FrozenPrefix", "frozen_depth", "prefix_for"]

BLOCK_TOKENS = 2048
"""Rows are computed together up to about this many tokens, padding included."""

NOBODY = -1
"""The slot whose rows meet no adapter."""


def prefix_for(
    base: LoadedBase, data: EncodedData, device: torch.device, precision: str, *, whole: bool = False
) -> FrozenPrefix:
    """The prefix cache of an engine; without a budget on a GPU, where memory is dearer, and where it must not be used.

    Args:
        whole: every pass must run the whole model, for its lower layers drop out at random.
    """
    from autoglm_nb.models.targets import transformer_layers

    usable = device.type == "cpu" and "prefix" in settings.cpu_path() and not whole
    try:
        layers = [name for name, _ in transformer_layers(base.model)]
    except ModelError:  # a model without a stack of layers has no lower part
        layers = []
    if getattr(base.model.config, "num_hidden_layers", len(layers)) != len(layers):  # one layer, run again and again
        layers = []
    return FrozenPrefix(data, layers, None if usable and layers else 0, packed_only=precision != "fp32")


def frozen_depth(method: MethodConfig, layers: Sequence[str]) -> int:
    """How many layers, from the bottom, a method leaves as they are.

    Args:
        method: complete, with full names of its target modules.
        layers: full names of the model's layers, from the bottom.
    """
    if method.method in ("lora", "dora"):
        lowest = len(layers)
        for target in method.target_modules:
            lowest = min(lowest, next((i for i, n in enumerate(layers) if target.startswith(f"{n}.")), 0))
        return lowest
    if method.method == "head":
        return len(layers)
    return max(0, len(layers) - method.top_k) if method.method == "top-k" else 0


class FrozenPrefix:
    """Hidden states of the frozen lower layers, by split, depth and row.

    Args:
        data: whose splits are read.
        layers: full names of the model's layers, from the bottom.
        budget_bytes: for all kept states together; 0 turns the whole thing off.
        packed_only: serve LoRA and DoRA alone: other methods have models of their own, in another number format.

    Attributes:
        rows_computed: rows that went through frozen layers so far.
        rows_served: rows whose states were handed out so far.
    """

    def __init__(
        self,
        data: EncodedData,
        layers: Sequence[str],
        budget_bytes: int | None = None,
        *,
        packed_only: bool = False,
    ) -> None:
        self._packed_only = packed_only
        self._data = data
        self._layers = tuple(layers)
        self.budget_bytes = settings.prefix_bytes() if budget_bytes is None else budget_bytes
        self._stores: dict[tuple[int, int], _Store | None] = {}
        self.rows_computed = 0
        self.rows_served = 0

    @property
    def bytes_used(self) -> int:
        """Memory of the kept states."""
        return sum(store.bytes for store in self._stores.values() if store is not None)

    def depth(self, methods: Sequence[MethodConfig]) -> int:
        """How many layers are frozen for all of these methods."""
        if self._packed_only and any(m.method not in ("lora", "dora") for m in methods):
            return 0
        return min((frozen_depth(m, self._layers) for m in methods), default=0)

    def describe(self) -> dict[str, Any]:
        """Budget, use and counts, for the record."""
        return {
            "budget_mb": self.budget_bytes // 2**20,
            "used_mb": self.bytes_used // 2**20,
            "rows_computed": self.rows_computed,
            "rows_served": self.rows_served,
        }

    @contextmanager
    def passing(self, model: nn.Module, row_map: RowMap, methods: Sequence[MethodConfig], one: Round) -> Iterator[None]:
        """Let the pass inside the block begin above the frozen layers, where there are any.

        Args:
            model: what the rows go through; below the depth it must be the base, adapters of other slots aside.
            row_map: of that model; must not be in use yet.
            methods: of all slots of the pass.
            one: the pass; its `split` and `rows` say which data it reads.
        """
        depth = self.depth(methods) if self.budget_bytes and one.split is not None and one.rows is not None else 0
        store = self._store(model, one.split, depth) if depth and one.split is not None else None
        if store is None or one.rows is None:
            yield
            return
        gates = _gates(model, self._layers)
        for block in store.missing(one.rows):
            rows = store.blocks[block]
            states = self._compute(model, row_map, gates, store.split, rows, depth)
            if states is None:  # this kind of layer hands on more than hidden states
                self._stores[id(store.split), depth] = None
                yield
                return
            store.fill(block, states)
            self.rows_computed += len(rows)
        self.rows_served += len(one.rows)
        with gates.skipping(depth, store.states(one.rows, one.batch["input_ids"].shape[1])):
            yield

    def _store(self, model: nn.Module, split: EncodedSplit, depth: int) -> _Store | None:
        key = (id(split), depth)
        if key not in self._stores:
            width = int(getattr(getattr(model, "config", None), "hidden_size", 0) or 0)
            weight = next(model.parameters())
            dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
            made = None
            if width and any(split is s for s in self._data.splits.values()):
                needed = len(split.input_ids) * width * dtype.itemsize
                if needed + self.bytes_used <= self.budget_bytes:
                    made = _Store(split, width, dtype, weight.device)
            self._stores[key] = made
        return self._stores[key]

    @torch.no_grad()
    def _compute(
        self,
        model: nn.Module,
        row_map: RowMap,
        gates: _Gates,
        split: EncodedSplit,
        rows: np.ndarray[Any, Any],
        depth: int,
    ) -> torch.Tensor | None:
        """Hidden states [rows, positions, width] after `depth` layers of the base."""
        from autoglm_nb.data import collate

        device = next(model.parameters()).device
        batch = {k: v.to(device) for k, v in collate(split, rows, self._data.pad_id).items() if k != "labels"}
        training = model.training
        model.eval()
        try:
            with row_map.over((Segment(NOBODY, 0, len(rows)),)):
                return gates.reached(depth, lambda: model(**batch))
        finally:
            model.train(training)


class _Store:
    """States of one split at one depth: flat, like the split's own tokens, filled block by block."""

    def __init__(self, split: EncodedSplit, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self.split = split
        self.blocks = _blocks(np.asarray(split.lengths))
        self._block_of = np.empty(len(split), dtype=np.int64)
        for number, rows in enumerate(self.blocks):
            self._block_of[rows] = number
        self._filled = np.zeros(len(self.blocks), dtype=bool)
        self._flat = torch.empty(len(split.input_ids), width, dtype=dtype, device=device)

    @property
    def bytes(self) -> int:
        return self._flat.numel() * self._flat.element_size()

    def missing(self, rows: np.ndarray[Any, Any]) -> list[int]:
        """The blocks that must be computed before these rows can be had."""
        wanted = np.unique(self._block_of[rows])
        return [int(b) for b in wanted[~self._filled[wanted]]]

    def fill(self, block: int, states: torch.Tensor) -> None:
        offsets = self.split.offsets
        for i, row in enumerate(self.blocks[block]):
            start, stop = int(offsets[row]), int(offsets[row + 1])
            self._flat[start:stop] = states[i, : stop - start]
        self._filled[block] = True

    def states(self, rows: np.ndarray[Any, Any], positions: int) -> torch.Tensor:
        """[rows, positions, width]; behind a row's end its own first states, which no mask lets through."""
        starts = self.split.offsets[rows][:, None]
        lengths = np.asarray(self.split.lengths)[rows][:, None]
        where = np.arange(positions)[None, :]
        index = starts + np.where(where < lengths, where, 0)
        flat = torch.from_numpy(index.reshape(-1)).to(self._flat.device)
        return self._flat.index_select(0, flat).view(len(rows), positions, -1)


class _Reached(Exception):
    """Carries the hidden states out of the model, so that the layers above do not run."""

    def __init__(self, states: Any) -> None:
        self.states = states


class _Gates:
    """Lets a pass skip a model's lower layers. Put on the layers themselves, so that no module changes its name."""

    def __init__(self, layers: Sequence[Any]) -> None:
        self.depth = 0
        self._states: torch.Tensor | None = None
        self._collect = 0
        for number, layer in enumerate(layers):
            layer.forward = self._gated(number, layer.forward)

    @contextmanager
    def skipping(self, depth: int, states: torch.Tensor) -> Iterator[None]:
        """Hand `states` to layer `depth` (from 0) as what the layers below it give."""
        self.depth, self._states = depth, states
        try:
            yield
        finally:
            self.depth, self._states = 0, None

    def reached(self, depth: int, run: Callable[[], Any]) -> torch.Tensor | None:
        """What layer `depth` would be given; None if it is not a tensor of hidden states."""
        self._collect = depth
        try:
            run()
        except _Reached as arrived:
            states = arrived.states
            return states if isinstance(states, torch.Tensor) and states.dim() == 3 else None
        finally:
            self._collect = 0
        return None

    def _gated(self, number: int, original: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if number < self.depth:
                return self._states
            made = original(*args, **kwargs)
            if self._collect == number + 1:
                raise _Reached(made)
            return made

        return forward


def _gates(model: nn.Module, layers: Sequence[str]) -> _Gates:
    """The gates of a model, put on at the first call."""
    known: _Gates | None = getattr(model, "_autoglm_gates", None)
    if known is None:
        known = _Gates([model.get_submodule(_present(model, name)) for name in layers])
        object.__setattr__(model, "_autoglm_gates", known)
    return known


def _present(model: nn.Module, name: str) -> str:
    """A layer's name in this model, which may wrap the one that the name comes from."""
    names = dict(model.named_modules())
    return name if name in names else next((n for n in names if n.endswith(f".{name}")), name)


def _blocks(lengths: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Rows of like length, together up to `BLOCK_TOKENS` tokens with their padding."""
    order = np.argsort(lengths, kind="stable")
    blocks: list[np.ndarray[Any, Any]] = []
    start = 0
    for stop in range(1, len(order) + 1):
        full = stop == len(order) or int(lengths[order[stop]]) * (stop + 1 - start) > BLOCK_TOKENS
        if full:
            blocks.append(order[start:stop])
            start = stop
    return blocks
