"""Batches of rows of similar length, in an order that follows from seed and epoch alone.

Padding costs time, and sorting by length costs randomness. As a compromise the
rows are shuffled, sorted by length within chunks of some fifty batches, cut
into batches, and the batches shuffled. Rows of the last, smaller batch are
drawn before sorting, so that no length is over-represented in it. No global
random state is read or changed; a resumed run finds the very next batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoglm_nb.data.encoding import IGNORED, EncodedSplit
from autoglm_nb.data.splitting import Ids, permutation

if TYPE_CHECKING:
    import torch

__all__ = ["CHUNK_BATCHES", "BatchOrder", "collate"]

CHUNK_BATCHES = 50
"""Rows are sorted by length within this many batches."""


class BatchOrder:
    """The order of batches of a split.

    Args:
        lengths: tokens of each row.
        batch_size: rows of a batch; the last one of an epoch has what remains.
        seed: decides the order, together with the epoch.

    Raises:
        ValueError: the batch size is below one.
    """

    def __init__(self, lengths: Sequence[int] | NDArray[np.int64], batch_size: int, seed: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be a positive integer, but got {batch_size}. Choose 8, 16 or 32.")
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.batch_size = batch_size
        self.seed = seed

    def __len__(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.lengths) // self.batch_size)

    def batches(self, epoch: int) -> list[Ids]:
        """Row numbers of each batch of this epoch; every row once."""
        order = permutation(len(self.lengths), self.seed, epoch)
        whole = len(order) - len(order) % self.batch_size
        batches = [order[whole:]] if whole < len(order) else []
        chunk = CHUNK_BATCHES * self.batch_size
        for start in range(0, whole, chunk):
            rows = order[start : min(start + chunk, whole)]
            rows = rows[np.argsort(self.lengths[rows], kind="stable")]
            batches += [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
        return [batches[i] for i in permutation(len(batches), self.seed, epoch, 1)]


def collate(
    split: EncodedSplit, indices: Sequence[int] | Ids, pad_id: int, *, pad_to: int | None = None
) -> dict[str, torch.Tensor]:
    """Rows of a split as one padded batch.

    Args:
        split: where the rows are.
        indices: which rows.
        pad_id: fills rows up on the right; attention is 0 and labels are -100 there.
        pad_to: pad to at least this many tokens; to the longest row if None.

    Returns:
        `input_ids` and `attention_mask`, int64 of shape (rows, tokens), and `labels`,
        int64 of shape (rows,) for classes or (rows, tokens) for language modelling.
    """
    import torch

    chosen = np.asarray(indices, dtype=np.int64)
    starts, lengths = split.offsets[chosen], split.offsets[chosen + 1] - split.offsets[chosen]
    width = max([pad_to or 0, *lengths.tolist()])
    positions = np.arange(width)
    real = positions < lengths[:, None]
    places = (starts[:, None] + positions)[real]
    ids = np.full(real.shape, pad_id, dtype=np.int64)
    ids[real] = split.input_ids[places]
    if split.per_token:
        labels = np.full(real.shape, IGNORED, dtype=np.int64)
        labels[real] = split.labels[places]
    else:
        labels = split.labels[chosen].astype(np.int64)
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(real.astype(np.int64)),
        "labels": torch.from_numpy(labels),
    }
