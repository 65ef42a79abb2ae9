"""Dropout masks as a pure function of (run seed, step, layer, row, position, feature).

A generator with state would give a packed trial other masks than a solo one, and
would have to be saved. Here each element's fate is a hash of where it stands: the
row is counted within the slot's own batch (not the pack, not the micro-batch), so
masks are the same alone or packed, whole or accumulated, padded short or long.

The hash itself is `autoglm_kernels.dropout`: 32-bit wrap-around arithmetic that its
Triton kernels repeat bit by bit. This module adds the key: what a layer of a run at
a step puts into it.
"""

from __future__ import annotations

import functools
import zlib

import torch

from autoglm_kernels import keep_mask as _keep_mask
from autoglm_kernels import keep_scale, token_ids
from autoglm_kernels.dropout import drop_threshold

__all__ = ["dropout_key", "keep_mask", "keep_scale", "row_ids"]

_MIX_1 = 0x7FEB352D
_MIX_2 = 0x846CA68B


def dropout_key(seed: int, step: int, layer: str) -> int:
    """The 32-bit key of one layer at one optimizer step of one run."""
    return _mix_int(_mix_int((seed & 0xFFFFFFFF) ^ 0x5BD1E995) + (step & 0xFFFFFFFF) * 0x9E3779B9 ^ _layer_hash(layer))


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
    ids = row_ids(first_row, rows, positions, device)
    return _keep_mask(ids, key, drop_threshold(p), features).view(rows, positions, features)


@functools.lru_cache(maxsize=256)
def row_ids(first_row: int, rows: int, positions: int, device: torch.device) -> torch.Tensor:
    """What `autoglm_kernels` hashes in place of a token, int32 [rows * positions]; kept, for all layers ask."""
    return token_ids(first_row, rows, positions, device)


def _mix_int(x: int) -> int:
    x &= 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * _MIX_1) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * _MIX_2) & 0xFFFFFFFF
    return x ^ (x >> 16)


@functools.lru_cache(maxsize=4096)
def _layer_hash(layer: str) -> int:
    return zlib.crc32(layer.encode())
