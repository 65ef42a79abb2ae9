"""One optimizer per slot, from the names a configuration uses.

Weight decay is applied to weight matrices: low-rank factors, adapter, prompt and
head matrices, and the matrices of a trained base. Biases, norm weights, DoRA's
magnitudes and every other vector are not decayed. LoRA+ (Hayou et al. 2024) gives
B factors `lora_plus_ratio` times the learning rate of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from autoglm_kernels import backend_for
from autoglm_nb.errors import UsageError, did_you_mean

__all__ = ["ONE_LAUNCH", "OPTIMIZERS", "make_optimizer", "parameter_groups", "steps_in_one_launch"]

OPTIMIZERS = ("adamw", "adam", "sgd", "adafactor")

ONE_LAUNCH = ("adamw", "adam")
"""Optimizers that `autoglm_kernels` steps for many slots at once."""

MOMENTUM = 0.9
"""Of `sgd`."""


def parameter_groups(
    parameters: Mapping[str, nn.Parameter], *, learning_rate: float, weight_decay: float, lora_plus_ratio: float = 1.0
) -> list[dict[str, Any]]:
    """Groups by learning rate and decay, in a fixed order, empty ones left out.

    A group has `names` beside `params`, so that a checkpoint can tell whose state is whose.
    """
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, parameter in parameters.items():
        fast = lora_plus_ratio != 1.0 and "lora_B" in name
        decays = parameter.ndim >= 2
        group = groups.setdefault(
            (fast, decays),
            {
                "params": [],
                "names": [],
                "lr": learning_rate * (lora_plus_ratio if fast else 1.0),
                "weight_decay": weight_decay if decays else 0.0,
            },
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return [groups[key] for key in sorted(groups)]


def steps_in_one_launch(device: torch.device) -> bool:
    """Whether the optimizers of `ONE_LAUNCH` step by a kernel on this device."""
    return backend_for(device) == "triton"


def make_optimizer(parameters: Mapping[str, nn.Parameter], config: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimizer of a completed configuration.

    `adam` couples weight decay with the gradient (L2), `adamw` does not. `adafactor`
    is torch's, given the learning rate as its relative step bound.

    Raises:
        UsageError: an unknown optimizer, or a learning rate that is not positive.
    """
    name = str(config["optimizer"])
    learning_rate = float(config["learning_rate"])
    if not learning_rate > 0.0:
        raise UsageError(
            f"`learning_rate` must be positive, but got learning_rate={learning_rate}. Choose between 1e-5 and 1e-2."
        )
    groups = parameter_groups(
        parameters,
        learning_rate=learning_rate,
        weight_decay=float(config["weight_decay"]),
        lora_plus_ratio=float(config.get("lora_plus_ratio") or 1.0),
    )
    betas = (float(config["beta1"]), float(config["beta2"]))
    # One fused call instead of several per tensor; the same arithmetic but for rounding. Slots that step together
    # in one launch (`slots.update_together`) keep their step counts on the host, where a fused optimizer has not.
    fused = all(p.dtype == torch.float32 and p.device.type in ("cpu", "cuda") for p in parameters.values())
    fused = fused and not (name in ONE_LAUNCH and any(steps_in_one_launch(p.device) for p in parameters.values()))
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=fused)
    if name == "adam":
        return torch.optim.Adam(groups, lr=learning_rate, betas=betas, fused=fused)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=MOMENTUM, fused=fused)
    if name == "adafactor":
        return torch.optim.Adafactor(groups, lr=learning_rate)
    raise UsageError(f"`optimizer` must be known, but got {name!r}. {did_you_mean(name, OPTIMIZERS)}")
