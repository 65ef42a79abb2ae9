"""The cost and memory models of a pass, and the partition into passes."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from autoglm_nb.training.costs import MOST_OVERHEAD, MemoryModel, PassShape, TimeModel, partition


def true_seconds(passes: list[PassShape], slots: int) -> float:
    """A machine with 2 ms a pass, 0.4 ms a slot, 20 us a token and a little for attention."""
    return sum(2e-3 + 2e-5 * p.tokens + 1e-8 * p.tokens * p.positions for p in passes) + 4e-4 * slots


def some_steps(count: int, seed: int) -> list[tuple[list[PassShape], int]]:
    chance = random.Random(seed)
    steps = []
    for _ in range(count):
        slots = chance.randint(1, 8)
        joined = chance.randint(1, slots)
        shapes = [PassShape(chance.choice([8, 16, 32]), chance.randint(9, 63)) for _ in range(joined)]
        steps.append((shapes, slots))
    return steps


def test_time_is_learned_from_whole_steps() -> None:
    """After a hundred noisy steps of several passes, unseen steps are predicted within 5 %, and the overhead found."""
    noise = np.random.default_rng(0)
    model = TimeModel(overhead_tokens=8.0)
    for passes, slots in some_steps(100, 0):
        model.observe(passes, slots, true_seconds(passes, slots) * float(noise.uniform(0.97, 1.03)))
    errors = [abs(model.predict(p, n) / true_seconds(p, n) - 1.0) for p, n in some_steps(50, 1)]
    assert float(np.median(errors)) < 0.05
    assert model.overhead_tokens == pytest.approx(100.0, rel=0.35)
    assert model.error is not None and model.error < 0.1


def test_a_step_that_the_machine_spent_elsewhere_is_not_believed() -> None:
    """One step in ten takes twenty times as long; the prediction stays with the nine."""
    model = TimeModel(overhead_tokens=100.0)
    for number, (passes, slots) in enumerate(some_steps(120, 2)):
        model.observe(passes, slots, true_seconds(passes, slots) * (20.0 if number % 10 == 9 else 1.0))
    errors = [abs(model.predict(p, n) / true_seconds(p, n) - 1.0) for p, n in some_steps(50, 3)]
    assert float(np.median(errors)) < 0.05


def test_coefficients_are_never_negative() -> None:
    """Times that fall with size are explained by no negative price; the overhead stays within its bounds."""
    model = TimeModel(overhead_tokens=64.0)
    for size in range(1, 40):
        model.observe([PassShape(size, 10)], 1, 1.0 / size)
    assert model.predict([PassShape(1000, 10)], 1) >= 0.0
    assert 0.0 <= model.overhead_tokens <= MOST_OVERHEAD


def test_memory_is_learned_and_turned_into_a_limit() -> None:
    """30 kB a token and 40 bytes a pair: the limit fits, one row more would not."""
    model = MemoryModel(bytes_per_token=100_000.0)

    def taken(shape: PassShape) -> float:
        return 30_000.0 * shape.tokens + 40.0 * shape.tokens * shape.positions

    chance = random.Random(0)
    for _ in range(64):
        shape = PassShape(chance.randint(1, 64), chance.randint(8, 128))
        model.observe(shape, taken(shape))
    assert model.predict(PassShape(32, 100)) == pytest.approx(taken(PassShape(32, 100)), rel=0.05)
    most = model.most_tokens(1e9, positions=100)
    assert taken(PassShape(most // 100, 100)) <= 1.06e9
    assert taken(PassShape(most // 100 + 5, 100)) > 0.95e9
    assert model.most_tokens(1.0, positions=63) == 63, "at least one row"


def test_a_limit_expects_what_passes_took_beyond_the_fit() -> None:
    """A few growing passes, as a CPU tells of them, one of which took a third more than the others say."""
    model = MemoryModel(bytes_per_token=30_000.0)
    assert model.error is None
    for rows, more in ((8, 1.0), (16, 1.35), (32, 1.0), (64, 1.0)):
        model.observe(PassShape(rows, 50), more * 30_000.0 * rows * 50)
    assert model.error is not None, "a handful of observations is all there is on a CPU"
    assert 1.25 < model.margin < 1.4
    assert model.most_tokens(1e9, 50) < 0.82 * 1e9 / 30_000.0
    model.observe(PassShape(65, 50), 1e12)
    assert model.margin == 2.0, "something else took that"


def cost_of(groups: list[list[int]], shapes: list[PassShape], overhead: float) -> float:
    return sum(overhead + sum(shapes[i].rows for i in g) * max(shapes[i].positions for i in g) for g in groups)


def all_partitions(items: list[int]) -> list[list[list[int]]]:
    if not items:
        return [[]]
    first, rest = items[0], items[1:]
    found = []
    for size in range(len(rest) + 1):
        for others in itertools.combinations(rest, size):
            remaining = [i for i in rest if i not in others]
            found += [[[first, *others], *tail] for tail in all_partitions(remaining)]
    return found


@pytest.mark.parametrize("seed", range(12))
def test_the_partition_is_the_best_of_all(seed: int) -> None:
    """Against the enumeration of every set partition of up to seven micro-batches."""
    chance = random.Random(seed)
    shapes = [PassShape(chance.choice([4, 8, 16]), chance.randint(5, 63)) for _ in range(chance.randint(2, 7))]
    overhead = chance.choice([1.0, 16.0, 64.0, 256.0])
    groups = partition(shapes, overhead, 10**9)
    assert sorted(i for g in groups for i in g) == list(range(len(shapes)))
    best = min(cost_of(p, shapes, overhead) for p in all_partitions(list(range(len(shapes)))))
    assert cost_of(groups, shapes, overhead) == pytest.approx(best)


def test_a_cheap_pass_joins_nothing_and_a_dear_one_everything() -> None:
    shapes = [PassShape(8, length) for length in (10, 20, 40, 63)]
    assert partition(shapes, 0.0, 10**9) == [[0], [1], [2], [3]]
    assert partition(shapes, 1e6, 10**9) == [[0, 1, 2, 3]]


def test_the_limit_binds_joined_passes_alone() -> None:
    """A micro-batch that is larger than the limit is still one pass."""
    shapes = [PassShape(8, 10), PassShape(8, 10), PassShape(100, 10)]
    groups = partition(shapes, 1e6, 160)
    assert groups == [[0, 1], [2]]
