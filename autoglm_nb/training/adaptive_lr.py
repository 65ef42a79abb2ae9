"""A learning rate that follows gradient noise and plateaus, within bounds.

After a linear warm-up the rate is the base rate times a factor with two parts.

Noise. With running means m of the gradient and v of its square, the share
sum(m^2) / sum(v) is 1 for a gradient that always points the same way and small for
pure noise. Schaul, Zhang & LeCun ("No More Pesky Learning Rates", 2013) show that the
best rate of SGD on a noisy quadratic is proportional to it. Here the share is measured
on a few hundred fixed coordinates and compared with its own value at the end of the
warm-up, so that the factor starts at 1 whatever the model's scale. The square root
damps it, since the share is itself an estimate.

Plateaus. When the smoothed loss has not improved by `threshold` (relative) for
`patience` steps, the factor is multiplied by `decay`. Without a loss this part rests.

The product never leaves [min_factor, max_factor]. Both parts are of use alone or
together with clipping: call `observe()` before the gradients are clipped, else
`step()` reads them as they then are.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from autoglm_nb.errors import UsageError

__all__ = ["AdaptiveLR"]

SAMPLES = 256
"""Gradient coordinates that the noise is measured on."""


class AdaptiveLR(LRScheduler):
    """Linear warm-up, then a bounded factor from gradient noise and plateaus.

    Usage alone::

        scheduler = AdaptiveLR(optimizer, warmup_steps=500)
        loss.backward(); optimizer.step(); scheduler.step(loss=loss.item()); optimizer.zero_grad()

    Args:
        optimizer: whose learning rates are set; each group keeps its own base rate.
        warmup_steps: steps of the linear warm-up.
        min_factor, max_factor: bounds of the factor after the warm-up.
        patience: steps without improvement before the factor is lowered.
        decay: what a plateau multiplies the factor by.
        threshold: relative improvement of the smoothed loss that counts.
        smoothing: weight of the past in all running means.

    Raises:
        UsageError: bounds in the wrong order, or a value outside its range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int = 0,
        *,
        min_factor: float = 0.1,
        max_factor: float = 2.0,
        patience: int = 50,
        decay: float = 0.5,
        threshold: float = 1e-3,
        smoothing: float = 0.95,
        last_epoch: int = -1,
    ) -> None:
        _check(warmup_steps, min_factor, max_factor, patience, decay, smoothing)
        self.warmup_steps = int(warmup_steps)
        self.min_factor, self.max_factor = float(min_factor), float(max_factor)
        self.patience, self.decay, self.threshold = int(patience), float(decay), float(threshold)
        self.smoothing = float(smoothing)
        self._mean: list[float] = []
        self._square: list[float] = []
        self._observations = 0
        self._reference: float | None = None
        self._loss: float | None = None
        self._losses = 0
        self._best = math.inf
        self._since_best = 0
        self._plateau = 1.0
        self._observed = False
        self.noise_share: float | None = None
        super().__init__(optimizer, last_epoch)

    @property
    def factor(self) -> float:
        """The factor after the warm-up, within its bounds."""
        noise = 1.0
        if self._reference is not None and self.noise_share is not None:
            noise = math.sqrt(self.noise_share / self._reference)
        return min(self.max_factor, max(self.min_factor, self._plateau * noise))

    def observe(self) -> None:
        """Take the gradients as they are now into account; once per step, before clipping."""
        sample = self._sample()
        self._observed = True
        if sample is None or not bool(torch.isfinite(sample).all()):
            return
        values = sample.double().tolist()
        if len(values) != len(self._mean):
            self._mean, self._square, self._observations = [0.0] * len(values), [0.0] * len(values), 0
        keep, take = self.smoothing, 1.0 - self.smoothing
        self._mean = [keep * m + take * g for m, g in zip(self._mean, values, strict=True)]
        self._square = [keep * v + take * g * g for v, g in zip(self._square, values, strict=True)]
        self._observations += 1
        total = sum(self._square)
        if total <= 0.0:
            return
        # Both means lack the same mass 1 - keep^n at the start; pure noise gives the floor.
        mass = 1.0 - keep**self._observations
        floor = take / (1.0 + keep) * (1.0 + keep**self._observations) / mass
        share = sum(m * m for m in self._mean) / (total * mass)
        self.noise_share = max(1e-2, min(1.0, (share - floor) / max(1e-9, 1.0 - floor)))

    def step(self, epoch: int | None = None, *, loss: float | None = None) -> None:
        """Set the rates of the next step. `loss` is the training loss of the step just made."""
        started = getattr(self, "_started", False)
        if started:
            if not self._observed:
                self.observe()
            self._observed = False
            if loss is not None and math.isfinite(loss):
                self._note_loss(float(loss))
        self._started = True
        super().step(epoch)
        settled = self._observations >= 2.0 / (1.0 - self.smoothing) and self.last_epoch >= self.warmup_steps
        if self._reference is None and settled:
            self._reference = self.noise_share

    def get_lr(self) -> list[float | torch.Tensor]:
        warming = self.last_epoch < self.warmup_steps
        now = (self.last_epoch + 1) / self.warmup_steps if warming else self.factor
        return [base * now for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, as JSON scalars and lists."""
        return {
            k: list(v) if isinstance(v, (list, tuple)) else v
            for k, v in self.__dict__.items()
            if k != "optimizer" and (v is None or isinstance(v, (bool, int, float, str, list, tuple)))
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)

    def _note_loss(self, loss: float) -> None:
        self._losses += 1
        keep = min(self.smoothing, 1.0 - 1.0 / self._losses)
        self._loss = loss if self._loss is None else keep * self._loss + (1.0 - keep) * loss
        if self._loss < self._best - self.threshold * abs(self._best) or math.isinf(self._best):
            self._best, self._since_best = self._loss, 0
        elif self.last_epoch >= self.warmup_steps:
            self._since_best += 1
            if self._since_best >= self.patience:
                self._plateau = max(self.min_factor, self._plateau * self.decay)
                self._since_best = 0

    def _sample(self) -> torch.Tensor | None:
        """The same few coordinates of the gradient each time, spread over all parameters."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.requires_grad]
        if not parameters or all(p.grad is None for p in parameters):
            return None
        each = max(1, SAMPLES // len(parameters))
        parts = []
        for p in parameters:
            flat = p.detach().reshape(-1) if p.grad is None else p.grad.detach().reshape(-1)
            stride = max(1, flat.numel() // each)
            part = flat[::stride][:each].float()
            parts.append(torch.zeros_like(part) if p.grad is None else part)
        return torch.cat([part.to(parts[0].device) for part in parts])


def _check(warmup: int, low: float, high: float, patience: int, decay: float, smoothing: float) -> None:
    faults = []
    if warmup < 0:
        faults.append(f"`warmup_steps` must not be negative, but got {warmup}. Use 0 for no warm-up.")
    if not 0.0 < low <= 1.0 <= high:
        faults.append(f"The bounds must enclose 1, but got min_factor={low}, max_factor={high}. Use 0.1 and 2.")
    if patience < 1:
        faults.append(f"`patience` must be at least 1, but got {patience}. Use 50.")
    if not 0.0 < decay < 1.0:
        faults.append(f"`decay` must lie between 0 and 1, but got {decay}. Use 0.5.")
    if not 0.0 < smoothing < 1.0:
        faults.append(f"`smoothing` must lie between 0 and 1, but got {smoothing}. Use 0.95.")
    if faults:
        raise UsageError("AdaptiveLR got a wrong value.", faults)
