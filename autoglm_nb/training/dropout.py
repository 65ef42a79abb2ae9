"""Dropout masks as a pure function of (run seed, step, layer, row, position, feature).

A generator with state would give a packed trial other masks than a solo one, and
would have to be saved. Here each element's fate is a hash of where it stands: the
row is counted within the slot's own batch (not the pack, not the micro-batch), so
masks are the same alone or packed, whole or accumulated, padded short or long.

Two 16-bit values come from one 32-bit hash; feature 2w takes the low half of word
w, feature 2w + 1 the high half. The keep probability is thus a multiple of 2^-16,
and the scale is its exact inverse, so that the mean is unbiased. The mixer is the
finaliser "lowbias32" (C. Wellons, hash-prospector, public domain). Everything is
32-bit wrap-around integer arithmetic that a Triton kernel can repeat.
"""

from __future__ import annotations

import functools
import zlib

import torch

__all__ = ["dropout_key", "keep_mask", "keep_scale"]

_MIX_1 = 0x7FEB352D
_MIX_2 = 0x846CA68B - 2**32
_GOLDEN = 0x9E3779B9 - 2**32
_ROW = 0x85EBCA6B - 2**32
_POSITION = 0xC2B2AE35 - 2**32


def dropout_key(seed: int, step: int, layer: str) -> int:
    """The 32-bit key of one layer at one optimizer step of one run."""
    return _mix_int(_mix_int((seed & 0xFFFFFFFF) ^ 0x5BD1E995) + (step & 0xFFFFFFFF) * 0x9E3779B9 ^ _layer_hash(layer))


def keep_scale(p: float) -> float:
    """1 / (probability that an element is kept), for the probability really used."""
    return 65536.0 / (65536 - _drop_threshold(p))


def keep_mask(
    key: int, first_row: int, rows: int, positions: int, features: int, p: float, device: torch.device
) -> torch.Tensor:
    """Which elements are kept.

    Args:
        key: from `dropout_key`.
        first_row: number of the first row within the slot's whole batch.
        rows, positions, features: shape of the mask; `positions` is 1 for pooled rows.
        p: probability of dropping an element, 0 <= p < 1.
        device: where the mask is made.

    Returns:
        bool [rows, positions, features].
    """
    words = (features + 1) // 2
    row = torch.arange(first_row, first_row + rows, dtype=torch.int32, device=device).mul_(_ROW)
    where = row[:, None] + _ramp(positions, _POSITION, device)[None, :]
    where = _mix(where.add_(_signed(key)))
    bits = _mix(where[:, :, None] + _ramp(words, _GOLDEN, device))
    halves = bits.view(torch.int16)[:, :, :features]
    return halves >= _drop_threshold(p) - 32768  # the 65,536 values of an int16, dropped from below


def _drop_threshold(p: float) -> int:
    return min(65535, round(p * 65536))


@functools.lru_cache(maxsize=64)
def _ramp(count: int, factor: int, device: torch.device) -> torch.Tensor:
    return torch.arange(count, dtype=torch.int32, device=device).mul_(factor)


def _mix(x: torch.Tensor) -> torch.Tensor:
    """lowbias32 in place on int32; masks turn the arithmetic shift into a logical one."""
    x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF)).mul_(_MIX_1)
    x.bitwise_xor_((x >> 15).bitwise_and_(0x1FFFF)).mul_(_MIX_2)
    return x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF))


def _mix_int(x: int) -> int:
    x &= 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * _MIX_1) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * (_MIX_2 & 0xFFFFFFFF)) & 0xFFFFFFFF
    return x ^ (x >> 16)


@functools.lru_cache(maxsize=4096)
def _layer_hash(layer: str) -> int:
    return zlib.crc32(layer.encode())


def _signed(x: int) -> int:
    return x - 2**32 if x >= 2**31 else x
