"""Dropout masks as a function of where an element stands: the PyTorch twin of `lora_kernels.keep_tile`.

A token's id is row * 0x85EBCA6B + position * 0xC2B2AE35 (mod 2^32), row and position
counted within the trial's own batch. It depends on neither layer nor step, so one
vector serves a whole pass. A layer adds its 32-bit key of (seed, step, layer):

    where = mix(id + key)
    word  = mix(where + (feature // 2) * 0x9E3779B9)
    half  = low 16 bits of word for an even feature, high 16 for an odd one
    keep  = (half xor 0x8000) >= threshold,  threshold = round(65536 p)

`mix` is the finaliser "lowbias32" (C. Wellons, hash-prospector, public domain).
The survivors' scale 65536 / (65536 - threshold) is exact for the probability really
used. A mask selects (`select`), so that a NaN in a dropped place is dropped.

On the CPU numpy makes the mask, block by block within the cache: its unsigned shifts
are logical, where torch's int32 ones need a mask after each. It takes a third of
torch's time, which was a quarter of a small step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

__all__ = ["drop_threshold", "keep_mask", "keep_scale", "select", "signed", "token_ids"]

BLOCK_WORDS = 1 << 15
"""Words that are hashed at a time on the CPU; with the scratch space 256 KiB."""

_MIX_1 = 0x7FEB352D
_MIX_2 = 0x846CA68B - 2**32
_GOLDEN = 0x9E3779B9 - 2**32
_ROW = 0x85EBCA6B - 2**32
_POSITION = 0xC2B2AE35 - 2**32
_WHOLE = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
}


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
    if tokens.device.type == "cpu":
        return _keep_mask_cpu(tokens, key, threshold, features)
    word = torch.arange((features + 1) // 2, dtype=torch.int32, device=tokens.device).mul_(_GOLDEN)
    where = _mix(tokens + signed(key))
    bits = _mix(where[:, None] + word)
    return bits.view(torch.int16)[:, :features] >= threshold - 32768


def select(x: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
    """x where `kept`, else zero; a new tensor, or x itself where nothing is dropped.

    On the CPU the bits are multiplied by 0 or 1 as integers: as exact as a selection, at a third of its time.
    """
    if kept is None:
        return x
    whole = _WHOLE.get(x.dtype)
    if whole is None or x.device.type != "cpu" or not kept.is_contiguous():
        return torch.where(kept, x, 0.0)
    return (x.view(whole) * kept.view(torch.int8)).view(x.dtype)


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


def _keep_mask_cpu(tokens: torch.Tensor, key: int, threshold: int, features: int) -> torch.Tensor:
    rows, words = tokens.shape[0], (features + 1) // 2
    kept = torch.empty(rows, features, dtype=torch.bool)
    out = kept.numpy()
    word = np.arange(words, dtype=np.uint32) * np.uint32(_GOLDEN % 2**32)
    where = tokens.numpy().view(np.uint32) + np.uint32(key % 2**32)
    _mix_array(where, np.empty_like(where))
    height = max(1, BLOCK_WORDS // max(1, words))
    block = np.empty((min(height, rows), words), dtype=np.uint32)
    scratch = np.empty_like(block)
    least = np.int16(threshold - 32768)
    for first in range(0, rows, height):
        count = min(height, rows - first)
        bits = block[:count]
        np.add(where[first : first + count, None], word, out=bits)
        _mix_array(bits, scratch[:count])
        np.greater_equal(bits.view(np.int16)[:, :features], least, out=out[first : first + count])
    return kept


def _mix_array(x: np.ndarray[Any, Any], scratch: np.ndarray[Any, Any]) -> None:
    """`_mix` on uint32 in place."""
    for shift, factor in ((16, _MIX_1), (15, _MIX_2 % 2**32)):
        np.right_shift(x, shift, out=scratch)
        np.bitwise_xor(x, scratch, out=x)
        np.multiply(x, np.uint32(factor), out=x)
    np.right_shift(x, 16, out=scratch)
    np.bitwise_xor(x, scratch, out=x)
