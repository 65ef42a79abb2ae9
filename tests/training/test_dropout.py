"""Counter-based masks: the same alone or packed, and as random as they should be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autoglm_nb.training.dropout import dropout_key, keep_mask, keep_scale

CPU = torch.device("cpu")


def reference(key: int, row: int, position: int, feature: int, p: float) -> bool:
    """The definition in Python integers, element by element."""

    def mix(x: int) -> int:
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        return x ^ x >> 16

    where = mix((row * 0x85EBCA6B + position * 0xC2B2AE35 + key) % 2**32)
    word = mix((where + feature // 2 * 0x9E3779B9) % 2**32)
    half = (word >> (16 * (feature % 2))) & 0xFFFF
    signed = half - 65536 if half >= 32768 else half
    return signed >= round(p * 65536) - 32768


def test_the_mask_is_its_definition() -> None:
    """torch's 32-bit arithmetic agrees with plain integers, odd sizes included."""
    key = dropout_key(12345, 17, "layer.1.query")
    mask = keep_mask(key, 3, 4, 5, 7, 0.3, CPU)
    expected = [[[reference(key, 3 + r, t, f, 0.3) for f in range(7)] for t in range(5)] for r in range(4)]
    assert mask.tolist() == expected


def test_rows_and_padding_do_not_move_the_mask() -> None:
    """A row's mask depends on its own number and positions only."""
    key = dropout_key(0, 0, "x")
    whole = keep_mask(key, 0, 9, 12, 63, 0.2, CPU)
    assert torch.equal(whole[4:7, :8], keep_mask(key, 4, 3, 8, 63, 0.2, CPU))


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_the_share_dropped_is_p(p: float) -> None:
    """Within four standard deviations over 1.3 million elements, and the scale keeps the mean."""
    mask = keep_mask(dropout_key(1, 2, "l"), 0, 32, 64, 640, p, CPU).double()
    n = mask.numel()
    assert abs(mask.mean().item() - (1 - p)) < 4 * (p * (1 - p) / n) ** 0.5 + 1 / 65536
    assert keep_scale(p) == pytest.approx(1 / (1 - p), rel=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_neighbours_are_uncorrelated(axis: int) -> None:
    """Along rows, positions and features (both halves of a word)."""
    mask = keep_mask(dropout_key(7, 7, "l"), 0, 40, 50, 600, 0.5, CPU).double().numpy() - 0.5
    n = mask.shape[axis]
    for lag in (1, 2, 3):
        a, b = np.take(mask, range(n - lag), axis), np.take(mask, range(lag, n), axis)
        assert abs((a * b).mean() * 4) < 4 / a.size**0.5


def test_seeds_steps_and_layers_give_unrelated_masks() -> None:
    """Changing any one of the three changes half of the elements at p = 0.5."""
    base = keep_mask(dropout_key(3, 5, "a"), 0, 16, 32, 128, 0.5, CPU)
    for key in (dropout_key(4, 5, "a"), dropout_key(3, 6, "a"), dropout_key(3, 5, "b")):
        other = keep_mask(key, 0, 16, 32, 128, 0.5, CPU)
        assert (base ^ other).double().mean().item() == pytest.approx(0.5, abs=0.01)


def test_no_two_steps_share_a_key() -> None:
    """Ten thousand steps of ten runs at three layers: as few collisions as 32 bits allow."""
    keys = [dropout_key(s, t, n) for s in range(10) for t in range(10_000) for n in "abc"]
    expected = len(keys) ** 2 / 2 / 2**32
    assert len(keys) - len(set(keys)) <= expected + 5 * expected**0.5
