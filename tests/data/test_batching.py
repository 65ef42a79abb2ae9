"""The order of batches and the padded tensors."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoglm_nb.data import BatchOrder, EncodedSplit, collate

LENGTHS = np.random.default_rng(0).integers(3, 63, size=1003)


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 400), batch=st.integers(1, 70), seed=st.integers(0, 2**31), epoch=st.integers(0, 9))
def test_every_row_once_an_epoch(rows: int, batch: int, seed: int, epoch: int) -> None:
    """All batches are full but one, and together they are all rows."""
    order = BatchOrder(LENGTHS[:rows], batch, seed)
    batches = order.batches(epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(rows))
    assert len(batches) == len(order)
    assert sorted(map(len, batches))[1:] == [batch] * (len(batches) - 1)


def test_order_follows_from_seed_and_epoch_alone() -> None:
    """Global random state neither matters nor changes."""
    np.random.seed(1)
    random.seed(1)
    first = BatchOrder(LENGTHS, 16, seed=5).batches(2)
    states = np.random.get_state()[1].copy(), random.getstate()
    np.random.seed(2)
    again = BatchOrder(LENGTHS, 16, seed=5).batches(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    np.random.seed(1)
    random.seed(1)
    BatchOrder(LENGTHS, 16, seed=5).batches(3)
    assert np.array_equal(np.random.get_state()[1], states[0]) and random.getstate() == states[1]


def test_epochs_and_seeds_differ() -> None:
    """Neither the rows of a batch nor their order repeat."""
    one, two, three = (BatchOrder(LENGTHS, 16, seed=s).batches(e) for s, e in ((0, 0), (0, 1), (1, 0)))
    sets = [{frozenset(batch.tolist()) for batch in batches} for batches in (one, two, three)]
    assert all(len(a & b) <= 1 for a, b in ((sets[0], sets[1]), (sets[0], sets[2])))


def test_padding_is_small_and_long_batches_are_spread() -> None:
    """Less than 5 % padding where random batches have over 40 %, and no drift of length over the epoch."""
    batches = BatchOrder(LENGTHS, 16, seed=0).batches(0)
    padded = sum(len(b) * LENGTHS[b].max() for b in batches)
    shuffled = np.array_split(np.random.default_rng(1).permutation(len(LENGTHS)), len(batches))
    random_padded = sum(len(b) * LENGTHS[b].max() for b in shuffled)
    total = LENGTHS.sum()
    assert padded / total < 1.05 < 1.4 < random_padded / total
    means = np.array([LENGTHS[b].mean() for b in batches])
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.3


def test_smaller_batch_is_a_fair_sample() -> None:
    """Over many epochs the rows of the smaller batch have the mean length of all."""
    order = BatchOrder(LENGTHS, 100, seed=0)
    small = np.concatenate([next(b for b in order.batches(e) if len(b) == 3) for e in range(300)])
    assert LENGTHS[small].mean() == pytest.approx(LENGTHS.mean(), rel=0.06)


@pytest.mark.parametrize("size", [0, -1])
def test_batch_size_must_be_positive(size: int) -> None:
    """An empty batch cannot be trained on."""
    with pytest.raises(ValueError, match=f"positive integer, but got {size}"):
        BatchOrder([1, 2], size, 0)


def _split(labels: np.ndarray) -> EncodedSplit:
    return EncodedSplit(np.array([5, 6, 7, 8, 9], dtype=np.int32), np.array([0, 3, 5]), labels)


def test_collate_of_classes() -> None:
    """Right padding, attention 0 there, one class id a row, in the order asked for."""
    batch = collate(_split(np.array([1, 0])), [1, 0], pad_id=9)
    assert batch["input_ids"].tolist() == [[8, 9, 9], [5, 6, 7]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["labels"].tolist() == [0, 1]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_collate_of_tokens() -> None:
    """Labels per token are -100 in the padding, and a real token that equals the pad id keeps its label."""
    batch = collate(_split(np.array([-100, 6, 7, 8, 9], dtype=np.int32)), np.array([0, 1]), pad_id=9, pad_to=4)
    assert batch["labels"].tolist() == [[-100, 6, 7, -100], [8, 9, -100, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]
