"""Dropout masks as a function of where an element stands: the PyTorch twin of `kernel_parts.keep_tile`.

A token's id is row * 0x85EBCA6B + position * 0xC2B2AE35 (mod 2^32), row and position
counted within the trial's own batch. It depends on neither layer nor step, so one
vector serves a whole pass. A layer adds its 32-bit key of (seed, step, layer):

    where = mix(id + key)
    word  = mix(where + (feature // 2) * 0x9E3779B9)
    half  = low 16 bits of word for an even feature, high 16 for an odd one
    keep  = (half xor 0x8000) >= threshold,  threshold = round(65536 p)

`mix` is the finaliser "lowbias32" (C. Wellons, hash-prospector, public domain).
The survivors' scale 65536 / (65536 - threshold) is exact for the probability really
used. Torch's int32 shifts are arithmetic; the masks below make them logical.
"""

from __future__ import annotations

import torch

__all__ = ["drop_threshold", "keep_mask", "keep_scale", "signed", "token_ids"]

_MIX_1 = 0x7FEB352D
_MIX_2 = 0x846CA68B - 2**32
_GOLDEN = 0x9E3779B9 - 2**32
_ROW = 0x85EBCA6B - 2**32
_POSITION = 0xC2B2AE35 - 2**32


def token_ids(first_row: int, rows: int, positions: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """int32 [rows * positions] ids of a trial's tokens, row by row.

    Args:
        first_row: number of the first row within the trial's whole batch.
        rows: number of rows.
        positions: tokens a row, padding included; 1 for pooled rows.
        device: where they are made.
    """
    row = torch.arange(first_row, first_row + rows, dtype=torch.int32, device=device).mul_(_ROW)
    position = torch.arange(positions, dtype=torch.int32, device=device).mul_(_POSITION)
    return (row[:, None] + position[None, :]).reshape(-1)


def keep_mask(tokens: torch.Tensor, key: int, threshold: int, features: int) -> torch.Tensor:
    """bool [tokens, features]: which elements are kept.

    Args:
        tokens: ids from `token_ids`.
        key: the layer's key, as a signed or unsigned 32-bit number.
        threshold: from `drop_threshold`.
        features: width of the mask.
    """
    word = torch.arange((features + 1) // 2, dtype=torch.int32, device=tokens.device).mul_(_GOLDEN)
    where = _mix(tokens + signed(key))
    bits = _mix(where[:, None] + word)
    return bits.view(torch.int16)[:, :features] >= threshold - 32768


def drop_threshold(p: float) -> int:
    """The drop probability in units of 2^-16."""
    return min(65535, round(p * 65536))


def keep_scale(p: float) -> float:
    """1 / (probability that an element is kept), for the probability really used."""
    return 65536.0 / (65536 - drop_threshold(p))


def signed(x: int) -> int:
    """A 32-bit number as the int32 with the same bits."""
    return (x + 2**31) % 2**32 - 2**31


def _mix(x: torch.Tensor) -> torch.Tensor:
    x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF)).mul_(_MIX_1)
    x.bitwise_xor_((x >> 15).bitwise_and_(0x1FFFF)).mul_(_MIX_2)
    return x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF))
