"""Splits: shares, classes, duplicates and seeds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoglm_nb.data.splitting import permutation, split_rows, subsample
from autoglm_nb.errors import DataError

THREE = {"validation": 0.1, "test": 0.1}


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(3, 60), min_size=1, max_size=5),
    copies=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_splits_are_whole_stratified_and_free_of_leaks(sizes: list[int], copies: int, seed: int) -> None:
    """Every row once; every class in every split; equal texts on one side only."""
    keys, labels = [], []
    for label, size in enumerate(sizes):
        for i in range(size):
            repeat = copies if i % 7 == 0 else 1
            keys += [f"{label}-{i}"] * repeat
            labels += [str(label)] * repeat
    parts = split_rows(keys, labels, THREE, seed)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(keys)))
    for rows in parts.values():
        assert {labels[i] for i in rows} == set(labels)
    texts = [{keys[i] for i in rows} for rows in parts.values()]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])


def test_shares_are_ten_percent_of_each_class() -> None:
    """With distinct texts each class is divided to within one row."""
    labels = ["a"] * 800 + ["b"] * 200 + ["c"] * 63
    parts = split_rows([str(i) for i in range(len(labels))], labels, THREE, seed=1)
    for name in THREE:
        counts = Counter(labels[i] for i in parts[name])
        assert counts == {"a": 80, "b": 20, "c": 6}


def test_the_seed_decides() -> None:
    """The same seed gives the same rows, another seed others."""
    keys = [str(i) for i in range(100)]
    first, again, other = (split_rows(keys, None, THREE, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["test"], other["test"])


def test_order_is_pinned() -> None:
    """The order for a seed must never change: splits of stored studies and resumed runs depend on it."""
    assert permutation(8, 0, 1).tolist() == [7, 4, 5, 1, 6, 2, 0, 3]


def test_nothing_to_split_off() -> None:
    """With sets of one's own for both, all rows are for training."""
    assert split_rows(["a", "a"], ["x", "y"], {}, 0)["train"].tolist() == [0, 1]


def test_classes_with_too_few_texts_are_named() -> None:
    """Copies of one text do not count twice."""
    keys = ["a", "b", "c", "d", "d", "d"]
    labels = ["x"] * 3 + ["y"] * 3
    with pytest.raises(DataError, match=r"at least 3 rows with different texts to be split, but 'y' has 1"):
        split_rows(keys, labels, THREE, 0)
    with pytest.raises(DataError, match=r"at least 3 different texts to be split, but has 2"):
        split_rows(["a", "b"], None, THREE, 0)


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 80), min_size=1, max_size=6), n=st.integers(1, 200), seed=st.integers(0, 99))
def test_subsample_keeps_the_proportions(sizes: list[int], n: int, seed: int) -> None:
    """As many rows as asked for, each class within one row of its share where it has more than one row."""
    labels = [str(c) for c, size in enumerate(sizes) for _ in range(size)]
    ids = np.arange(len(labels)) + 1000
    chosen = subsample(ids, labels, n, seed)
    expected = min(max(n, len(sizes)), len(labels))
    assert len(set(chosen.tolist())) == len(chosen) == expected
    counts = Counter(labels[i - 1000] for i in chosen)
    assert set(counts) == set(labels)
    if expected < len(labels) and min(sizes) * expected / len(labels) >= 1:
        assert all(abs(counts[str(c)] - size * expected / len(labels)) <= 1 for c, size in enumerate(sizes))


def test_smaller_subsample_lies_in_the_larger() -> None:
    """More rows add to the sample and replace none of it."""
    ids = np.arange(1000)
    small, large = subsample(ids, None, 50, 3), subsample(ids, None, 400, 3)
    assert set(small) <= set(large)
