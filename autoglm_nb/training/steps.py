"""What one optimizer step of one slot came to."""

from __future__ import annotations

from dataclasses import dataclass

from autoglm_nb.errors import DivergedError

__all__ = ["StepResult"]


@dataclass(frozen=True)
class StepResult:
    """One optimizer step of one slot.

    Attributes:
        step: steps made so far, this one included.
        loss: the mean over the slot's own tokens or rows.
        learning_rate: the rate this step used.
        grad_norm: of the whole gradient, before clipping.
        tokens: real tokens read.
        seconds: the slot's share of the step's wall time, by tokens.
        model_seconds: the part of `seconds` in forward, backward and optimizer.
        updated: False when the step failed, or is to be repeated under a lower loss scale.
        failure: the run diverged and was not updated; else None.
        neighbours: the slots that shared a pass of the step with this one.
    """

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float
    model_seconds: float
    updated: bool = True
    failure: DivergedError | None = None
    neighbours: frozenset[int] = frozenset()
