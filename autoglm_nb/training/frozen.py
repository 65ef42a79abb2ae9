"""Linear layers whose weight never trains, multiplied the fastest way this processor knows.

A `FrozenLinear` holds W and, packed by the chosen library, what multiplies by W (the
forward pass) and by W^T (the gradient of the input). There is no gradient of W, and none
of the input where nobody asks for one: below the lowest adapted layer nothing is computed.
The packs are read only, so that all trials and threads share them; they cannot be copied.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from autoglm_nb.training.products import ShapeClass, choose, make_product, processor

__all__ = ["FrozenLinear", "freeze_linears", "frozen_report"]

MEMORY_SHARE = 0.25
"""Packs may take this much of the memory that is free when they are made."""

_NUMBERS = (torch.float32, torch.bfloat16)


class FrozenLinear(nn.Linear):
    """X W^T + b for a frozen W; the weight stays readable as `weight` [out_features, in_features].

    Args:
        weight: [out_features, in_features]; shared, not copied.
        bias: or None.
        ahead: name of the product of the forward pass.
        back: name of the product of the backward pass.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, *, ahead: str, back: str) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.weight = _kept(weight)
        self.register_parameter("bias", None if bias is None else _kept(bias))
        held = self.weight.detach()
        self.ahead, self._forward_product = make_product(ahead, held, None if bias is None else self.bias.detach())
        self.back, self._backward_product = make_product(back, held.t(), None)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        weight = self.weight
        if input.dtype != weight.dtype or input.device.type != "cpu" or weight.device.type != "cpu":
            return nn.functional.linear(input, weight, self.bias)
        x = input.reshape(-1, self.in_features)
        if x.requires_grad and torch.is_grad_enabled():
            y: torch.Tensor = _FrozenProduct.apply(x, self)
        else:
            y = self.multiplied(x)
        return y.view(*input.shape[:-1], self.out_features)

    def multiplied(self, x: torch.Tensor) -> torch.Tensor:
        """X W^T + b for X [rows, in_features], without gradient."""
        return self._forward_product(x)

    def multiplied_back(self, gradient: torch.Tensor) -> torch.Tensor:
        """G W for G [rows, out_features]: the gradient of the input."""
        return self._backward_product(gradient.contiguous())

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenLinear:
        """Packs cannot be copied: the copy makes its own over the same weights."""
        return FrozenLinear(self.weight, self.bias, ahead=self.ahead, back=self.back)


class _FrozenProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: FrozenLinear) -> torch.Tensor:
        ctx.layer = layer
        return layer.multiplied(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.layer.multiplied_back(gradients[0]), None


def freeze_linears(model: nn.Module, *, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """Replace the frozen linear layers of a model on the CPU by `FrozenLinear`s over the same weights.

    Args:
        model: a copy of modules that may be changed in structure.
        skip: names of modules to leave alone, with all below them.

    Returns:
        What was chosen, for the record; see `frozen_report`.
    """
    found = {
        name: module
        for name, module in model.named_modules()
        if _freezable(module) and not any(name == s or name.startswith(f"{s}.") for s in skip)
    }
    if not found or not _room_for(found.values()):
        return frozen_report(model)
    classes: dict[ShapeClass, torch.Tensor] = {}
    for module in found.values():
        weight = _weight(module)
        classes.setdefault((*weight.shape, module.bias is not None), weight)
        classes.setdefault((weight.shape[1], weight.shape[0], False), weight.t())
    chosen = choose(classes)
    made: dict[int, FrozenLinear] = {}
    for name, module in found.items():
        weight = _weight(module)
        if id(module) not in made:
            made[id(module)] = FrozenLinear(
                module.weight if isinstance(module, nn.Linear) else weight,
                module.bias,
                ahead=chosen[(*weight.shape, module.bias is not None)],
                back=chosen[(weight.shape[1], weight.shape[0], False)],
            )
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent) if parent else model, child, made[id(module)])
    return frozen_report(model)


def frozen_report(model: nn.Module) -> dict[str, Any]:
    """Processor, threads, and how each shape of frozen layer is multiplied, for the record of a study."""
    shapes: dict[str, str] = {}
    for module in model.modules():
        if isinstance(module, FrozenLinear):
            shapes[f"{module.out_features}x{module.in_features}"] = f"{module.ahead}, back {module.back}"
    return {"processor": processor(), "threads": torch.get_num_threads(), "products": shapes}


def _kept(tensor: torch.Tensor) -> nn.Parameter:
    """The parameter itself where it is one already frozen, so that tied weights stay tied."""
    if isinstance(tensor, nn.Parameter) and not tensor.requires_grad:
        return tensor
    return nn.Parameter(tensor.detach(), requires_grad=False)


def _freezable(module: nn.Module) -> bool:
    plain = type(module) is nn.Linear or type(module).__name__ == "Conv1D"
    if not plain or module._forward_hooks or module._forward_pre_hooks:
        return False
    weight = module.weight
    frozen = isinstance(weight, torch.Tensor) and not weight.requires_grad
    return frozen and weight.device.type == "cpu" and weight.dtype in _NUMBERS


def _weight(module: Any) -> torch.Tensor:
    weight: torch.Tensor = module.weight.detach()
    return weight.t() if type(module).__name__ == "Conv1D" else weight


def _room_for(modules: Any) -> bool:
    """Whether two packs of every weight leave enough memory to others."""
    import psutil

    needed = sum(2 * m.weight.numel() * m.weight.element_size() for m in {id(m): m for m in modules}.values())
    return bool(needed <= MEMORY_SHARE * psutil.virtual_memory().available)
