"""The rows of one optimizer step, cut into passes of rows that go through the model together.

Each slot's batch is cut into micro-batches; which micro-batches share a pass is for the
caller to say (`Grouping`). A slot comes at most once in a pass.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autoglm_nb.training.costs import PassShape
from autoglm_nb.training.loss import labelled_positions, terms_per_row
from autoglm_nb.training.packed import Segment

if TYPE_CHECKING:
    from autoglm_nb.data import EncodedData, EncodedSplit
    from autoglm_nb.training.slots import Slot

__all__ = ["Epochs", "Grouping", "Round", "Rounds", "make_round", "make_rounds"]

Grouping = Callable[[Sequence[PassShape]], list[list[int]]]
"""From the micro-batches that might share a pass to the indices of each pass."""

EPOCHS_KEPT = 4


@dataclass(frozen=True)
class Round:
    """One pass: the rows of one micro-batch of each slot, padded to the longest.

    `terms` counts the loss terms of each segment, `tokens` the real tokens of each row;
    `labelled` is None outside language modelling. `rows` are numbers of rows of `split`.
    """

    batch: dict[str, torch.Tensor]
    segments: tuple[Segment, ...]
    terms: tuple[int, ...]
    tokens: tuple[int, ...]
    labelled: torch.Tensor | None
    split: EncodedSplit | None = None
    rows: np.ndarray[Any, Any] | None = None

    @property
    def shape(self) -> PassShape:
        rows, positions = self.batch["input_ids"].shape
        return PassShape(rows, positions)


@dataclass(frozen=True)
class Rounds:
    """All passes of one optimizer step; `terms` and `tokens` are each slot's totals over them."""

    rounds: tuple[Round, ...]
    terms: dict[int, int]
    tokens: dict[int, int]

    def neighbours(self, slot: int) -> frozenset[int]:
        """The slots that share a pass of the step with this one."""
        passes = [{segment.slot for segment in one.segments} for one in self.rounds]
        return frozenset(n for slots in passes if slot in slots for n in slots - {slot})


class Epochs:
    """A batch order that remembers the epochs in use: runs of one seed and batch size share it at different ones."""

    def __init__(self, order: Any) -> None:
        self._order = order
        self._batches: OrderedDict[int, list[np.ndarray[Any, Any]]] = OrderedDict()

    def batch(self, epoch: int, index: int) -> np.ndarray[Any, Any]:
        if epoch not in self._batches:
            self._batches[epoch] = self._order.batches(epoch)
        self._batches.move_to_end(epoch)
        while len(self._batches) > EPOCHS_KEPT:
            self._batches.popitem(last=False)
        return self._batches[epoch][index]


def make_rounds(
    slots: Sequence[Slot],
    data: EncodedData,
    order: Callable[[Slot], Epochs],
    device: torch.device,
    grouping: Grouping,
) -> Rounds:
    """The passes of the next optimizer step of `slots`."""
    rows = {}
    for slot in slots:
        epoch, index = divmod(slot.step, slot.plan.steps_per_epoch)
        rows[slot.number] = order(slot).batch(epoch, index)
    rounds = []
    terms = dict.fromkeys(rows, 0)
    tokens = dict.fromkeys(rows, 0)
    for index in range(max(-(-len(rows[s.number]) // s.micro_batch) for s in slots)):
        pieces = []
        for slot in slots:
            first = index * slot.micro_batch
            chosen = rows[slot.number][first : first + slot.micro_batch]
            if len(chosen):
                pieces.append((slot, first, chosen))
        shapes = [PassShape(len(chosen), int(max(data.train.lengths[chosen]))) for _, _, chosen in pieces]
        for group in grouping(shapes):
            one = _joined([pieces[i] for i in group], data, device)
            for segment, count in zip(one.segments, one.terms, strict=True):
                terms[segment.slot] += count
                tokens[segment.slot] += sum(one.tokens[segment.start : segment.stop])
            rounds.append(one)
    return Rounds(tuple(rounds), terms, tokens)


def _joined(pieces: Sequence[tuple[Slot, int, np.ndarray[Any, Any]]], data: EncodedData, device: torch.device) -> Round:
    segments, start = [], 0
    for slot, first, chosen in pieces:
        segments.append(Segment(slot.number, start, start + len(chosen), first, (slot.plan.seed, slot.step)))
        start += len(chosen)
    indices = np.concatenate([chosen for _, _, chosen in pieces])
    return make_round(data.train, indices, segments, data.pad_id, data.task, device)


def make_round(
    split: EncodedSplit,
    indices: np.ndarray[Any, Any],
    segments: Sequence[Segment],
    pad_id: int,
    task: str,
    device: torch.device,
) -> Round:
    """One pass over rows of a split."""
    from autoglm_nb.data import collate

    batch = collate(split, indices, pad_id)
    counts = terms_per_row(batch["labels"], task).tolist()
    tokens = tuple(batch["attention_mask"].sum(dim=1).tolist())
    labelled = labelled_positions(batch["labels"]) if task == "causal-lm" else None
    if device.type != "cpu":
        batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        labelled = None if labelled is None else labelled.to(device, non_blocking=True)
    terms = tuple(sum(counts[s.start : s.stop]) for s in segments)
    return Round(batch, tuple(segments), terms, tokens, labelled, split, np.asarray(indices))
