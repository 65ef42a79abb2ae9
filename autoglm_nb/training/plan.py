"""What one run does and for how long: a completed configuration turned into numbers.

A plan is data: it decides the number of optimizer steps, when to evaluate and
how a batch is split into micro-batches. It holds no tensor and imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoglm_nb.errors import UsageError

if TYPE_CHECKING:
    from autoglm_nb.data import EncodedData

__all__ = ["DEFAULTS", "RunPlan", "plan_run"]

DEFAULTS: dict[str, Any] = {
    "method": "lora",
    "learning_rate": 2e-4,
    "optimizer": "adamw",
    "schedule": "linear",
    "warmup_ratio": 0.0,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "label_smoothing": 0.0,
    "beta1": 0.9,
    "beta2": 0.999,
    "batch_size": 16,
    "epochs": 3,
}
"""What a configuration may leave out. A space's own constants come before these."""


@dataclass(frozen=True)
class RunPlan:
    """One run, ready for `Engine.admit`.

    Attributes:
        run: the run's name, e.g. "trial-0007".
        config: the completed configuration.
        seed: decides initial weights, data order and dropout masks.
        task: "classification" or "causal-lm".
        batch_size: rows of one optimizer step.
        micro_batch: rows of one forward pass; smaller than `batch_size` means accumulation.
        total_steps: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of one pass over the training rows.
        rung_steps: the step after which each evaluation is due; the last is `total_steps`.
            A run shorter than its rungs passes several at one step, so that rung k means
            the same share of training in every run.
    """

    run: str
    config: Mapping[str, Any]
    seed: int
    task: str
    batch_size: int
    micro_batch: int
    total_steps: int
    steps_per_epoch: int
    rung_steps: tuple[int, ...]

    @property
    def rungs(self) -> int:
        """How many evaluations; rung numbers run from 1 to this."""
        return len(self.rung_steps)

    def fingerprint(self) -> str:
        """What must not differ between a checkpoint and the run that resumes from it.

        The micro-batch is left out: it may shrink after an out-of-memory death
        without changing the gradient.
        """
        what = [dict(self.config), self.seed, self.task, self.total_steps, self.steps_per_epoch]
        return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]


def plan_run(
    run: str,
    config: Mapping[str, Any],
    seed: int,
    data: EncodedData,
    rungs: int | Sequence[float] = 4,
    micro_batch: int | None = None,
) -> RunPlan:
    """Complete a configuration and count its steps.

    Args:
        run: the run's name.
        config: hyper-parameters; what is missing is taken from `DEFAULTS`. `steps`
            wins over `epochs`, which may be a fraction.
        seed: of the run; a `seed` in the configuration wins.
        data: the encoded data; only the number of training rows is read.
        rungs: how many evaluations, evenly spaced, or the fractions (0..1] of the
            run after which to evaluate. The end of the run is always one.
        micro_batch: rows of one forward pass; None means the whole batch.

    Raises:
        UsageError: batch size, steps or epochs that are not positive.
    """
    completed = {**DEFAULTS, **config}
    rows = len(data.train.lengths)
    batch_size = int(completed["batch_size"])
    faults = []
    if batch_size < 1:
        faults.append(f"`batch_size` must be at least 1, but got batch_size={batch_size}. Choose 8, 16 or 32.")
    name = "steps" if completed.get("steps") is not None else "epochs"
    length = float(completed[name])
    if length <= 0:
        faults.append(f"`{name}` must be positive, but got {name}={length}. Choose 1 or more.")
    if rows < 1:
        faults.append("Training needs at least one row, but the training split is empty. Give more data.")
    if faults:
        raise UsageError(f"{run} cannot be planned.", faults)
    batch_size = min(batch_size, rows)
    steps_per_epoch = math.ceil(rows / batch_size)
    total_steps = int(length) if name == "steps" else max(1, round(length * steps_per_epoch))
    return RunPlan(
        run=run,
        config=completed,
        seed=int(completed.get("seed", seed)),
        task=data.task,
        batch_size=batch_size,
        micro_batch=max(1, min(micro_batch or batch_size, batch_size)),
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        rung_steps=_rung_steps(rungs, total_steps),
    )


def _rung_steps(rungs: int | Sequence[float], total_steps: int) -> tuple[int, ...]:
    fractions = [(i + 1) / rungs for i in range(rungs)] if isinstance(rungs, int) else [float(f) for f in rungs]
    steps = sorted(min(total_steps, max(1, round(fraction * total_steps))) for fraction in fractions)
    return tuple(steps) if steps and steps[-1] == total_steps else (*steps, total_steps)
