"""Stratified, seeded splits in which equal texts stay together.

Rows are grouped by normalised text; a group goes to one split as a whole, so
that nothing selection or the final score sees was trained on. Each class is
divided on its own, in an order drawn from the seed. Random order comes from the
raw output of PCG64, which NumPy keeps the same across versions (its shuffles
it does not), so that a seed means the same split on every machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoglm_nb.errors import DataError

__all__ = ["Ids", "permutation", "split_rows", "subsample"]

Ids = NDArray[np.int64]

_MAX_NAMED = 5


def permutation(n: int, *entropy: int) -> Ids:
    """A random order of n things that follows from the entropy alone."""
    generator = np.random.PCG64(np.random.SeedSequence(entropy))
    return np.argsort(generator.random_raw(n), kind="stable").astype(np.int64)


def split_rows(
    keys: Sequence[str], labels: Sequence[str] | None, fractions: Mapping[str, float], seed: int
) -> dict[str, Ids]:
    """Divide rows among "train" and the named splits.

    Args:
        keys: normalised text of each row; equal keys stay together.
        labels: class of each row, to stratify by; None for one stratum.
        fractions: share of each split beside train, say {"validation": 0.1, "test": 0.1}; may be empty.
        seed: decides the order.

    Returns:
        Sorted row numbers of "train" and of each named split; every class is in each of them.

    Raises:
        DataError: a class has fewer distinct texts than there are splits.
    """
    if not fractions:
        return {"train": np.arange(len(keys), dtype=np.int64)}
    parts: dict[str, list[int]] = {"train": [], **{name: [] for name in fractions}}
    strata = _strata(keys, labels)
    _require_enough(strata, len(parts), labelled=labels is not None)
    for number, (_, groups) in enumerate(sorted(strata.items())):
        rows = sum(map(len, groups))
        room = {name: max(1, round(share * rows)) for name, share in fractions.items()}
        mine: dict[str, list[list[int]]] = {name: [] for name in parts}
        for index in permutation(len(groups), seed, number):
            group = groups[index]
            name = next((n for n in room if room[n] >= len(group)), "train")
            mine[name].append(group)
            if name != "train":
                room[name] -= len(group)
        _fill_empty(mine)
        for name, chosen in mine.items():
            parts[name] += [row for group in chosen for row in group]
    return {name: np.array(sorted(rows), dtype=np.int64) for name, rows in parts.items()}


def subsample(ids: Ids, labels: Sequence[str] | None, n: int, seed: int) -> Ids:
    """At most n of the ids, with the classes in proportion and at least one row of each.

    A smaller n gives a subset of what a larger one gives, as far as rounding allows.

    Args:
        ids: row numbers.
        labels: class of each of these rows, in the order of `ids`; None for one stratum.
        n: how many; the number of classes at least.
        seed: decides which.
    """
    if n >= len(ids):
        return ids
    strata: dict[str, list[int]] = defaultdict(list)
    for position, row in enumerate(ids):
        strata[labels[position] if labels is not None else ""].append(int(row))
    quota = _proportional({name: len(rows) for name, rows in strata.items()}, max(n, len(strata)))
    chosen: list[int] = []
    for number, (name, rows) in enumerate(sorted(strata.items())):
        order = permutation(len(rows), seed, number, 1)
        chosen += [rows[i] for i in order[: quota[name]]]
    return np.array(sorted(chosen), dtype=np.int64)


def _strata(keys: Sequence[str], labels: Sequence[str] | None) -> dict[str, list[list[int]]]:
    """Groups of equal keys by class; a group with several classes belongs to that of its first row."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    strata: dict[str, list[list[int]]] = defaultdict(list)
    for label in labels or ():
        strata[label]  # a class whose texts all belong to another one counts as empty
    for group in groups.values():
        strata[labels[group[0]] if labels is not None else ""].append(group)
    return strata


def _require_enough(strata: Mapping[str, Sequence[Any]], splits: int, *, labelled: bool) -> None:
    few = {name: len(groups) for name, groups in strata.items() if len(groups) < splits}
    if not few:
        return
    if not labelled:
        raise DataError(
            f"The data must have at least {splits} different texts to be split, but has {next(iter(few.values()))}. "
            "Add rows, or give validation and test sets of their own."
        )
    shown = ", ".join(f"{name!r} has {count}" for name, count in sorted(few.items())[:_MAX_NAMED])
    more = f" and {len(few) - _MAX_NAMED} more classes too few" if len(few) > _MAX_NAMED else ""
    raise DataError(
        f"Each class must have at least {splits} rows with different texts to be split, but {shown}{more}. "
        "Add rows, merge or drop these classes, or give validation and test sets of their own."
    )


def _fill_empty(parts: dict[str, list[list[int]]]) -> None:
    """Groups larger than a split's room may have left it empty: give it the smallest group of train."""
    for groups in parts.values():
        if not groups:
            largest = max(parts.values(), key=len)
            smallest = min(largest, key=len)
            largest.remove(smallest)
            groups.append(smallest)


def _proportional(sizes: Mapping[str, int], n: int) -> dict[str, int]:
    """n shared out in proportion, at least one each, by largest remainders."""
    total = sum(sizes.values())
    quota = {name: max(1, n * size // total) for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-((n * sizes[name]) % total), name))
    while sum(quota.values()) < n:
        for name in by_remainder:
            if sum(quota.values()) < n and quota[name] < sizes[name]:
                quota[name] += 1
    while sum(quota.values()) > n:
        quota[max(quota, key=lambda name: (quota[name], name))] -= 1
    return quota
