"""Learning-rate schedules by name.

All start with a linear warm-up over `warmup_ratio` of the steps, in which step k
(from 0) of w has factor (k + 1) / w, so that no step is wasted at rate zero. Then,
with p the share of the remaining steps gone by:

    constant      1
    linear        1 - p
    cosine        (1 + cos(pi p)) / 2
    exponential   EXPONENTIAL_END ** p
    adaptive      see `adaptive_lr`
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from autoglm_nb.errors import UsageError, did_you_mean
from autoglm_nb.training.adaptive_lr import AdaptiveLR

__all__ = ["EXPONENTIAL_END", "SCHEDULES", "factor", "make_schedule", "warmup_steps"]

SCHEDULES = ("constant", "linear", "cosine", "exponential", "adaptive")

EXPONENTIAL_END = 0.05
"""The factor an exponential schedule ends with."""


def factor(name: str, step: int, total_steps: int, warmup: int) -> float:
    """What the learning rate is multiplied by at `step` (from 0) of `total_steps`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total_steps - warmup))
    if name == "constant":
        return 1.0
    if name == "linear":
        return 1.0 - progress
    if name == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    if name == "exponential":
        return float(EXPONENTIAL_END**progress)
    raise UsageError(f"`schedule` must be known, but got {name!r}. {did_you_mean(name, SCHEDULES)}")


def warmup_steps(config: Mapping[str, Any], total_steps: int) -> int:
    """Steps of the warm-up."""
    return round(float(config["warmup_ratio"]) * total_steps)


def make_schedule(optimizer: Optimizer, config: Mapping[str, Any], total_steps: int) -> LRScheduler:
    """The schedule of a completed configuration.

    Raises:
        UsageError: an unknown schedule.
    """
    name = str(config["schedule"])
    warmup = warmup_steps(config, total_steps)
    if name == "adaptive":
        return AdaptiveLR(optimizer, warmup_steps=warmup)
    factor(name, 0, total_steps, 0)
    return LambdaLR(optimizer, lambda step: factor(name, step, total_steps, warmup))
