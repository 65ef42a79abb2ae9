"""Training one trial, or a pack of them, over one frozen base model.

Contract: `plan_run` turns a completed configuration into a `RunPlan`; an
`Engine` holds the base and K slots. `admit` gives a run a slot with its own
adapter, head, optimizer, schedule and data position; each `step` is one
optimizer step of every slot that is not finished; `evict` frees a slot. A solo
trial is a pack of one. The base passed in is never changed: full and top-k
fine-tuning train copies of the weights they touch.

Data flow: `plan` (what and how long) -> `engine` (rounds of micro-batches)
-> `packed` and `heads` (rows of each slot through its own parameters), `loss`
(each slot's mean over its own accumulation window) -> `optimizers`, `schedules`
-> `checkpoint`, `evaluate`.

Who shares a pass is for `packing` to say, by the `costs` of passes. Low-rank terms are
added by the kernels (`grouped`) on a GPU, by a loop (`lowrank`) elsewhere. On a CPU frozen
weights are prepacked (`frozen`, by the fastest of `products`), short rows attended to in
`attention`, the last layer computed where it is read (`lastlayer`), layers below the lowest
adapted one once a row (`prefix`); `threads` says with how many threads.

Nothing is drawn from a global random generator: initial weights and data order
follow from the run's seed, dropout masks from a hash of (seed, step, layer,
element). The data position is the step number. So a resumed run repeats the
uninterrupted one bit for bit, and evaluation cannot disturb training.

Failure modes: a slot whose loss or gradient is not finite gets a
`DivergedError` in its `StepResult.failure` and no update, while the others go
on; memory that does not suffice raises `OutOfMemoryError`, after which the step
may be repeated with a smaller micro-batch; what nobody foresaw raises
`UnexpectedError`; a full disk raises `DiskFullError` and leaves the older
checkpoints; damaged checkpoints are skipped with a message. The engine is used by
one thread at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoglm_nb.lazy import front_door

if TYPE_CHECKING:
    from autoglm_nb.training.adaptive_lr import AdaptiveLR
    from autoglm_nb.training.build import PACKED_METHODS
    from autoglm_nb.training.checkpoint import LossLog, newest_checkpoint
    from autoglm_nb.training.engine import Engine, StepResult
    from autoglm_nb.training.memory import release_memory
    from autoglm_nb.training.plan import RunPlan, plan_run
    from autoglm_nb.training.precision import base_dtype, resolve_precision

__all__ = [
    "PACKED_METHODS",
    "AdaptiveLR",
    "Engine",
    "LossLog",
    "RunPlan",
    "StepResult",
    "base_dtype",
    "newest_checkpoint",
    "plan_run",
    "release_memory",
    "resolve_precision",
]

_LAZY = {
    "PACKED_METHODS": "build",
    "AdaptiveLR": "adaptive_lr",
    "Engine": "engine",
    "LossLog": "checkpoint",
    "RunPlan": "plan",
    "StepResult": "steps",
    "base_dtype": "precision",
    "release_memory": "memory",
    "newest_checkpoint": "checkpoint",
    "plan_run": "plan",
    "resolve_precision": "precision",
}

__getattr__ = front_door(__name__, _LAZY)
