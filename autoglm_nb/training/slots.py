"""A slot: everything one run owns while it trains.

Its parameters, optimizer, schedule, loss scale and place in the data. Nothing here
is shared with another slot, so that a slot can be clipped, checked, stepped, saved
and dropped alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from autoglm_kernels import step_together
from autoglm_nb.errors import DivergedError
from autoglm_nb.training.adaptive_lr import AdaptiveLR
from autoglm_nb.training.lowrank import SlotAdapter
from autoglm_nb.training.optimizers import ONE_LAUNCH, make_optimizer, steps_in_one_launch
from autoglm_nb.training.plan import RunPlan
from autoglm_nb.training.schedules import make_schedule

if TYPE_CHECKING:
    from autoglm_nb.training.checkpoint import LossLog

__all__ = ["LossScale", "Slot", "UpdateNorms", "update_together"]


@dataclass
class LossScale:
    """Dynamic loss scaling for fp16, per slot: doubled after `interval` good steps, halved after a bad one."""

    scale: float = 2.0**16
    interval: int = 1000
    good_steps: int = 0

    def good(self) -> None:
        self.good_steps += 1
        if self.good_steps >= self.interval:
            self.scale, self.good_steps = min(self.scale * 2.0, 2.0**24), 0

    def bad(self) -> bool:
        """Halve the scale; False when it cannot explain the fault any more."""
        self.scale, self.good_steps = self.scale / 2.0, 0
        return self.scale >= 1.0


@dataclass(frozen=True)
class UpdateNorms:
    """What a slot needs to decide about its update, still on the device."""

    loss: torch.Tensor
    grad_norm: torch.Tensor


@dataclass
class Slot:
    """One admitted run.

    Attributes:
        number: the slot's number in the engine.
        plan: what to do.
        parameters: trainable parameters by name, in a fixed order.
        adapters: low-rank parameters by module name, for packed methods.
        heads: own copies of the head modules by name, for packed methods.
        model: a model of its own for the other methods, else None.
        step: optimizer steps made; also the position in the data.
        rung_done: the last evaluation that was made.
        failure: set when the run diverged; the slot then stands still.
    """

    number: int
    plan: RunPlan
    parameters: dict[str, nn.Parameter]
    adapters: dict[str, SlotAdapter] = field(default_factory=dict)
    heads: dict[str, nn.Module] = field(default_factory=dict)
    model: nn.Module | None = None
    method: Any = None
    scale: LossScale | None = None
    step: int = 0
    rung_done: int = 0
    micro_batch: int = 0
    failure: DivergedError | None = None
    losses: LossLog | None = None
    optimizer: torch.optim.Optimizer = field(init=False)
    schedule: LRScheduler = field(init=False)

    def __post_init__(self) -> None:
        config = self.plan.config
        self.micro_batch = self.micro_batch or self.plan.micro_batch
        self.optimizer = make_optimizer(self.parameters, config)
        self.schedule = make_schedule(self.optimizer, config, self.plan.total_steps)
        self.smoothing = float(config["label_smoothing"])
        limit = config["max_grad_norm"]
        self.max_grad_norm = float(limit) if limit else math.inf
        self._tensors = list(self.parameters.values())

    @property
    def packed(self) -> bool:
        return self.model is None

    @property
    def device(self) -> torch.device:
        return self._tensors[0].device

    @property
    def done(self) -> bool:
        """Nothing left to train: finished or failed."""
        return self.failure is not None or self.step >= self.plan.total_steps

    @property
    def learning_rate(self) -> float:
        """The base group's rate that the next step will use."""
        return float(self.optimizer.param_groups[0]["lr"])

    def due(self) -> int | None:
        """The rung (from 1) whose evaluation is due, or None."""
        passed = sum(1 for step in self.plan.rung_steps if step <= self.step)
        return passed if passed > self.rung_done else None

    def norms(self, loss: torch.Tensor) -> UpdateNorms:
        """Undo the loss scale and take the norm of the whole gradient, without waiting for the device."""
        grads = [p.grad for p in self._tensors if p.grad is not None]
        if not grads:
            return UpdateNorms(loss, torch.zeros((), device=loss.device))
        if self.scale is not None:
            torch._foreach_mul_(grads, 1.0 / self.scale.scale)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        return UpdateNorms(loss, norm)

    def clip_factor(self, loss: float, grad_norm: float) -> float | None:
        """What the gradient is multiplied with before the step; None when there must be none.

        A loss or gradient that is not finite drops the gradient and sets `failure` (under a
        loss scale a bad gradient first lowers the scale and repeats the batch).
        """
        if not math.isfinite(loss) or not math.isfinite(grad_norm):
            self.clear()
            if math.isfinite(loss) and self.scale is not None and self.scale.bad():
                return None
            what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {grad_norm}"
            self.failure = DivergedError(
                f"Training needs a finite loss and gradient, but {self.plan.run} had {what} at step {self.step + 1}. "
                "Lower `learning_rate` or `max_grad_norm`, or raise `warmup_ratio`."
            )
            return None
        if isinstance(self.schedule, AdaptiveLR):
            self.schedule.observe()
        return self.max_grad_norm / (grad_norm + 1e-6) if grad_norm > self.max_grad_norm else 1.0

    def step_alone(self, clip: float) -> None:
        """Clip and step by the optimizer's own step."""
        if clip != 1.0:
            torch._foreach_mul_([p.grad for p in self._tensors if p.grad is not None], clip)
        known = set(self.optimizer.state)
        try:
            self.optimizer.step()
        except Exception:
            for parameter in self.optimizer.state.keys() - known:  # moments may be half made
                del self.optimizer.state[parameter]
            raise

    def stepped(self, loss: float) -> None:
        """Count the step that the optimizer has made, and move the schedule."""
        if isinstance(self.schedule, AdaptiveLR):
            self.schedule.step(loss=loss)
        else:
            self.schedule.step()
        if self.scale is not None:
            self.scale.good()
        self.clear()
        self.step += 1
        for adapter in self.adapters.values():
            adapter.updated()

    def clear(self) -> None:
        """Drop the gradients."""
        for p in self._tensors:
            p.grad = None

    def counters(self) -> dict[str, Any]:
        """The plain part of the state, for a checkpoint."""
        return {
            "step": self.step,
            "rung_done": self.rung_done,
            "scale": vars(self.scale) if self.scale else None,
        }

    def load_counters(self, counters: Mapping[str, Any]) -> None:
        self.step = int(counters["step"])
        self.rung_done = int(counters["rung_done"])
        if self.scale is not None and counters.get("scale"):
            self.scale = LossScale(**counters["scale"])
        for adapter in self.adapters.values():
            adapter.updated()


def update_together(slots: Sequence[Slot], losses: Sequence[float], grad_norms: Sequence[float]) -> list[bool]:
    """Clip, step and move the schedule of each slot; False where nothing was updated.

    Where the kernels run, all Adam and AdamW slots step in one launch, each with its own
    hyper-parameters; elsewhere, and for other optimizers, each slot steps by itself. A slot
    that must not step is not given to the launch: whatever its gradients hold, it cannot
    change another.

    Args:
        slots: with gradients of their own.
        losses, grad_norms: of `Slot.norms`, as numbers.

    Raises:
        Exception: no slot could step. One that could not while others did is to repeat its step.
    """
    clips = [slot.clip_factor(loss, norm) for slot, loss, norm in zip(slots, losses, grad_norms, strict=True)]
    stepping = [(slot, loss, clip) for slot, loss, clip in zip(slots, losses, clips, strict=True) if clip is not None]
    together = [entry for entry in stepping if _in_one_launch(entry[0])]
    if together:
        step_together([slot.optimizer for slot, _, _ in together], [clip for _, _, clip in together])  # type: ignore[misc]
    stepped: set[int] = set()
    failure: Exception | None = None
    for slot, loss, clip in stepping:
        if _in_one_launch(slot):
            slot.optimizer._opt_called = True  # type: ignore[attr-defined]  # else the schedule warns of a missed step
        else:
            try:
                slot.step_alone(clip)
            except Exception as error:  # noqa: BLE001 - of a slot that others must not pay for
                slot.clear()
                failure = error
                continue
        slot.stepped(loss)
        stepped.add(slot.number)
    if failure is not None and not stepped:
        raise failure
    return [slot.number in stepped for slot in slots]


def _in_one_launch(slot: Slot) -> bool:
    return str(slot.plan.config["optimizer"]) in ONE_LAUNCH and steps_in_one_launch(slot.device)
