"""What a pass costs, in seconds and in bytes: two models fitted while training goes on.

A pass over R rows padded to L positions is n = R L tokens. Its time is

    seconds = a + b n + c n L                 (launches; matrix products; attention)

and what it keeps for the backward pass is

    bytes = d n + e n L                       (activations; attention scores)

as in mLoRA (Ye et al. 2024, section 4.4). Coefficients are non-negative least squares
over the newest observations, held in place by a prior where little was seen. A step's
time is the sum of its passes', and so much for the update of each slot: one wait for the
device per step is enough to observe it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHARE_OF_MEMORY", "MemoryModel", "PassShape", "TimeModel", "activation_bytes", "partition"]

WINDOW = 128
"""Observations kept."""

SHARE_OF_MEMORY = 0.8
"""Of the free memory, what passes may take."""

MOST_MARGIN = 2.0
"""A pass that seems to have taken more than this times its prediction was measured beside something else."""

MOST_OVERHEAD = 1024.0
"""Tokens that the fixed cost of a pass is taken for at most."""


@dataclass(frozen=True)
class PassShape:
    """Rows of a pass and the positions that each is padded to."""

    rows: int
    positions: int

    @property
    def tokens(self) -> int:
        """Padding included: what the device computes."""
        return self.rows * self.positions


class _Fit:
    """Non-negative least squares over a window, with a prior worth one typical observation.

    Args:
        prior: the coefficients before anything was observed.
        warm_up: observations whose prediction errors do not count.
    """

    def __init__(self, prior: Sequence[float], warm_up: int) -> None:
        self.prior = np.asarray(prior, dtype=float)
        self._warm_up = warm_up
        self.coefficients = self.prior.copy()
        self._seen: deque[tuple[NDArray[np.float64], float]] = deque(maxlen=WINDOW)
        self._errors: deque[float] = deque(maxlen=WINDOW)

    def predict(self, features: NDArray[np.float64]) -> float:
        return float(features @ self.coefficients)

    def observe(self, features: NDArray[np.float64], value: float) -> None:
        """Note a prediction's error, then learn; fitted anew at 1, 2, 4, ... and every 16 observations."""
        if value > 0 and len(self._seen) >= self._warm_up:
            self._errors.append(abs(self.predict(features) - value) / value)
        self._seen.append((features, value))
        count = len(self._seen)
        if count & (count - 1) == 0 or count % 16 == 0:
            self._solve()

    def error(self) -> float | None:
        """Median relative error of the predictions made before each observation."""
        return float(np.median(self._errors)) if self._errors else None

    def shortfall(self) -> float:
        """The largest ratio of an observation to what the fit now says of it; 0 before there are some."""
        if not self._seen:
            return 0.0
        x, y = np.stack([features for features, _ in self._seen]), np.asarray([value for _, value in self._seen])
        return float(np.max(y / np.maximum(x @ self.coefficients, 1e-12)))

    def _solve(self) -> None:
        from scipy.optimize import nnls

        x = np.stack([features for features, _ in self._seen])
        y = np.asarray([value for _, value in self._seen])
        typical = float(np.median(y))
        keep = y < 4.0 * typical  # a step that the machine was busy elsewhere says nothing about its passes
        x, y = x[keep], y[keep]
        scale = np.maximum(x.mean(axis=0), 1e-12)
        # prior rows: each coefficient, in units of its part of a typical step, with little weight
        strength = 0.05 * np.sqrt(len(y))
        level = typical / max(float(scale @ self.prior), 1e-12)
        rows = np.concatenate([x / scale, strength * np.eye(len(scale))])
        target = np.concatenate([y, strength * level * self.prior * scale])
        self.coefficients = nnls(rows, target)[0] / scale


class TimeModel:
    """Seconds of a step as the sum of its passes and of its slots' updates.

    Args:
        overhead_tokens: the fixed cost of a pass, in tokens, as measured beforehand.
        seconds_per_token: a first guess, soon replaced.
    """

    def __init__(self, overhead_tokens: float, seconds_per_token: float = 1e-4) -> None:
        b = seconds_per_token
        self._fit = _Fit([overhead_tokens * b, 0.1 * overhead_tokens * b, b, 1e-4 * b], warm_up=8)

    def predict(self, passes: Sequence[PassShape], slots: int) -> float:
        """Seconds of one optimizer step."""
        return self._fit.predict(_time_features(passes, slots))

    def observe(self, passes: Sequence[PassShape], slots: int, seconds: float) -> None:
        self._fit.observe(_time_features(passes, slots), seconds)

    @property
    def error(self) -> float | None:
        """Median relative error of its predictions so far; None before there are some."""
        return self._fit.error()

    @property
    def overhead_tokens(self) -> float:
        """The fixed cost of a pass in tokens, from 0 to `MOST_OVERHEAD`."""
        a, _, b, _ = self._fit.coefficients
        return MOST_OVERHEAD if b <= 0 else min(MOST_OVERHEAD, a / b)


class MemoryModel:
    """Bytes that a pass needs beside weights and optimizer states.

    Args:
        bytes_per_token: the prior of d, from the model's shape.
        bytes_per_pair: the prior of e.
    """

    def __init__(self, bytes_per_token: float, bytes_per_pair: float = 0.0) -> None:
        self._fit = _Fit([bytes_per_token, bytes_per_pair], warm_up=1)
        self.margin = 1.0
        """What `most_tokens` expects beyond a prediction: as much as any pass has taken beyond the fit."""

    def predict(self, shape: PassShape) -> float:
        return self._fit.predict(_memory_features(shape))

    def observe(self, shape: PassShape, measured: float) -> None:
        """`measured`: the peak during the pass minus what was held before it, in bytes."""
        if measured > 0:
            self._fit.observe(_memory_features(shape), measured)
            self.margin = min(MOST_MARGIN, max(1.0, self._fit.shortfall()))

    @property
    def error(self) -> float | None:
        return self._fit.error()

    def most_tokens(self, available: float, positions: int) -> int:
        """Tokens of a pass of rows of that length which fit into `available` bytes; at least one row."""
        one = max(self.margin * self.predict(PassShape(1, max(1, positions))), 1.0)
        return max(1, int(available / one)) * max(1, positions)


def activation_bytes(hidden: float, layers: float, wide: float, heads: float, width: float) -> tuple[float, float]:
    """Priors of a `MemoryModel`: what a transformer with frozen weights keeps per token and per pair of tokens.

    Args:
        hidden, layers, wide, heads: width of the residual stream, depth, inner width, attention heads of a layer.
        width: bytes of a number.
    """
    return layers * width * (10 * hidden + 3 * wide), layers * width * heads


def partition(shapes: Sequence[PassShape], overhead_tokens: float, most_tokens: int) -> list[list[int]]:
    """Which micro-batches to join into passes, so that padding and the passes' fixed costs are least together.

    Joining short rows with long ones computes padding; apart they cost a pass more. In
    order of length the best passes are runs of neighbours, found by dynamic programming.

    Args:
        shapes: one micro-batch each.
        overhead_tokens: the fixed cost of a pass, in tokens.
        most_tokens: of a pass of several micro-batches, padding included.

    Returns:
        Indices into `shapes`, each pass in ascending order, passes by their first index.
    """
    order = sorted(range(len(shapes)), key=lambda i: (shapes[i].positions, i))
    best = [0.0] + [float("inf")] * len(order)
    cut = [0] * (len(order) + 1)
    for stop in range(1, len(order) + 1):
        longest, rows = shapes[order[stop - 1]].positions, 0
        for start in range(stop - 1, -1, -1):
            rows += shapes[order[start]].rows
            tokens = rows * longest
            if start < stop - 1 and tokens > most_tokens:
                break
            cost = best[start] + overhead_tokens + tokens
            if cost < best[stop]:
                best[stop], cut[stop] = cost, start
    passes, stop = [], len(order)
    while stop > 0:
        passes.append(sorted(order[cut[stop] : stop]))
        stop = cut[stop]
    return sorted(passes)


def _time_features(passes: Sequence[PassShape], slots: int) -> NDArray[np.float64]:
    tokens = sum(p.tokens for p in passes)
    pairs = sum(p.tokens * p.positions for p in passes)
    return np.asarray([len(passes), slots, tokens, pairs], dtype=float)


def _memory_features(shape: PassShape) -> NDArray[np.float64]:
    return np.asarray([shape.tokens, shape.tokens * shape.positions], dtype=float)
