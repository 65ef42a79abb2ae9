"""Which runs share a pass: the decision, from what passes were measured to cost.

`Packer` belongs to an engine. Before training it measures once what a pass costs
beyond its tokens (kept in the user's cache, so that studies on one machine decide
alike and repeat); while training it fits time and memory to what steps really took.
It answers three questions: which micro-batches to join into passes (`groups`), how
many runs to train side by side (`good_capacity`), and how large a pass may be.

Where a pass is bound by arithmetic from a few tokens on, as a large model is on a
CPU, joining wins nothing: trials then run one after another, each wiser than the last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoglm_nb import settings
from autoglm_nb.resources import available_memory_gb
from autoglm_nb.training.costs import (
    MOST_OVERHEAD,
    SHARE_OF_MEMORY,
    MemoryModel,
    PassShape,
    TimeModel,
    activation_bytes,
    partition,
)

__all__ = ["MOST_RUNS", "Packer", "measured_overhead"]

MOST_RUNS = 16
"""Runs trained side by side at most, unless asked for more."""

HORIZON = 20
"""Trials by which a search should have found most of what it will find; what the delay by neighbours is set against."""

_OVERHEAD_PASSES = (2, 8, 32)
"""Rows of the smaller and of the larger pass that the fixed cost is told from, and positions of both."""

DRIFT = 4.0
"""The measured overhead is replaced when training says that it is off by this factor."""


class Packer:
    """Decides about passes and remembers how they went. Used by the engine's thread.

    Args:
        model: the frozen model; its config gives the prior of the memory model.
        device: where it runs.
        overhead: measures the fixed cost of a pass in tokens; called once, when first needed.
    """

    def __init__(self, model: nn.Module, device: torch.device, overhead: Callable[[], float]) -> None:
        self.device = device
        self.memory = MemoryModel(*_activation_bytes(model))
        self.cap: int | None = None
        """A limit on the tokens of a joined pass, set after memory ran out."""
        self._measure = overhead
        self._overhead: float | None = None
        self._time: TimeModel | None = None
        self._recent: deque[tuple[int, int, int, float, float]] = deque(maxlen=64)
        self._memory_seen: tuple[float, float] | None = None
        self._largest = 0
        self._joined = False

    @property
    def overhead_tokens(self) -> float:
        """The fixed cost of a pass in tokens, a power of two, so that rounding does not change passes."""
        if self._overhead is None:
            self._overhead = _power_of_two(self._measure())
            self._time = TimeModel(self._overhead)
        return self._overhead

    def good_capacity(self, tokens: float) -> int:
        """How many runs side by side pay, when a step of the run with the smallest batches has so many tokens.

        Each more shares a pass's fixed cost with one more, but every result comes later by a trial's share of the
        `HORIZON`, and proposals are made knowing less. The expected time to a good result is least where the
        product of both factors is.
        """
        share = self.overhead_tokens / max(tokens, 1.0)
        fits = max(1, self.most_tokens(64) // max(1, int(tokens)))
        numbers = [2**n for n in range(MOST_RUNS.bit_length())]
        best = min(numbers, key=lambda runs: (1 + share / runs) * (1 + (runs - 1) / HORIZON))
        return min(best, fits)

    def groups(self, shapes: Sequence[PassShape]) -> list[list[int]]:
        """The micro-batches of each pass, as indices."""
        if len(shapes) < 2:
            return [[i] for i in range(len(shapes))]
        longest = max(shape.positions for shape in shapes)
        return partition(shapes, self.overhead_tokens, self.most_tokens(longest))

    def most_tokens(self, positions: int) -> int:
        """Tokens of a pass that fit into memory."""
        free = _free_bytes(self.device) * SHARE_OF_MEMORY
        found = self.memory.most_tokens(free, positions)
        return found if self.cap is None else min(found, self.cap)

    def rows_that_fit(self, positions: int) -> int:
        """Rows of that length which a pass is predicted to have room for; at least one."""
        return max(1, self.most_tokens(positions) // max(1, positions))

    def shrink(self) -> bool:
        """After memory ran out: smaller passes from now on; False when passes had one micro-batch each.

        Also False when no pass was planned since the last time: what ran out then was no pass.
        """
        if not self._joined:
            return False
        self._joined = False
        self.cap = max(1, (self.cap or self._largest) // 2)
        return True

    def planned(self, passes: Sequence[tuple[PassShape, int]]) -> None:
        """Note the passes about to run, each with its number of micro-batches."""
        self._largest = max((shape.tokens for shape, _ in passes), default=0)
        self._joined = any(count > 1 for _, count in passes)

    def observe(self, passes: Sequence[PassShape], slots: int, real_tokens: int, seconds: float) -> None:
        """Learn from a step that went well."""
        before = self.overhead_tokens
        if self._time is None:
            return
        predicted = self._time.predict(passes, slots)
        self._time.observe(passes, slots, seconds)
        self._recent.append((len(passes), sum(p.tokens for p in passes), real_tokens, predicted, seconds))
        if len(self._recent) == self._recent.maxlen and slots > 1:
            now = max(self._time.overhead_tokens, 1.0)
            if not before / DRIFT < now < before * DRIFT:
                self._overhead = _power_of_two(now)

    def observe_memory(self, shape: PassShape, measured: float) -> None:
        """Learn what a pass took: the peak above what was held before it, in bytes."""
        self._memory_seen = (self.memory.predict(shape), measured)
        self.memory.observe(shape, measured)

    def report(self) -> dict[str, Any]:
        """What is known, as plain JSON: predicted beside measured, over the newest steps."""
        found: dict[str, Any] = {
            "overhead_tokens": self._overhead,
            "tokens_per_step": None,
            "passes_per_step": None,
            "occupancy": None,
            "predicted": None,
            "measured": None,
            "error": {"seconds": self._time.error if self._time else None, "memory": self.memory.error},
        }
        if self._recent:
            steps = len(self._recent)
            passes, padded, real, predicted, measured = (sum(column) for column in zip(*self._recent, strict=True))
            found["tokens_per_step"] = round(real / steps, 1)
            found["passes_per_step"] = round(passes / steps, 2)
            found["occupancy"] = round(real / max(padded, 1), 4)
            found["predicted"] = {"seconds_per_step": predicted / steps}
            found["measured"] = {"seconds_per_step": measured / steps}
            if self._memory_seen is not None:
                found["predicted"]["pass_memory_gb"] = self._memory_seen[0] / 2**30
                found["measured"]["pass_memory_gb"] = self._memory_seen[1] / 2**30
        return found


def measured_overhead(model: nn.Module, device: torch.device, key: Sequence[Any]) -> float:
    """The fixed cost of a pass, in tokens: forward passes over 64 and over 256 tokens, the best of five each.

    Sizes as passes have them: with a few tokens a pass does nothing but read the weights, which costs no more
    beside arithmetic. Kept in the user's cache under `key`, so that a machine measures a model once.
    """
    small_rows, large_rows, positions = _OVERHEAD_PASSES
    where = [str(device), _device_name(device), torch.__version__, torch.get_num_threads()]
    path = _overhead_file([*key, *where, *_OVERHEAD_PASSES])
    known = _read_overhead(path)
    if known is not None:
        return known
    small, large = (_seconds(model, device, rows, positions) for rows in (small_rows, large_rows))
    per_token = max((large - small) / ((large_rows - small_rows) * positions), 1e-9)
    found = min(MOST_OVERHEAD, max(0.0, small / per_token - small_rows * positions))
    known = _read_overhead(path)
    if known is not None:  # measured by another process meanwhile: both are to decide alike
        return known
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps({"overhead_tokens": found}), encoding="utf-8")
        os.replace(draft, path)
    return found


def _read_overhead(path: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return float(json.loads(path.read_text(encoding="utf-8"))["overhead_tokens"])
    return None


def _seconds(model: nn.Module, device: torch.device, rows: int, positions: int) -> float:
    ids = torch.ones(rows, positions, dtype=torch.int64, device=device)
    best = math.inf
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for attempt in range(6):
            began = time.perf_counter()
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if attempt:  # the first one pays for set-up
                best = min(best, time.perf_counter() - began)
    model.train(was_training)
    return best


def _power_of_two(tokens: float) -> float:
    return float(2 ** round(math.log2(min(max(tokens, 1.0), MOST_OVERHEAD))))


def _activation_bytes(model: nn.Module) -> tuple[float, float]:
    """The priors of the memory model, from the model's config."""
    config = getattr(model, "config", None)
    hidden = float(getattr(config, "hidden_size", None) or 512)
    layers = float(getattr(config, "num_hidden_layers", None) or 8)
    wide = float(getattr(config, "intermediate_size", None) or 4 * hidden)
    heads = float(getattr(config, "num_attention_heads", None) or 8)
    width = float(next((p.element_size() for p in model.parameters()), 4))
    return activation_bytes(hidden, layers, wide, heads, width)


def _free_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        # the allocator keeps what a pass gave back: the next pass has it, though the device no longer calls it free
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + kept)
    return float(available_memory_gb() or 4.0) * 2**30


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.backends.cpu.get_cpu_capability()} x{os.cpu_count()}"


def _overhead_file(key: Sequence[Any]) -> Path:
    digest = hashlib.sha256(json.dumps([str(part) for part in key]).encode()).hexdigest()[:16]
    return settings.cache_dir() / "packing" / f"{digest}.json"
