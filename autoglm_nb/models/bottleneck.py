"""Bottleneck adapters after attention and feed-forward (Houlsby et al. 2019).

PEFT has no such tuner, so this is ours. Each adapted linear module becomes an
`AdaptedLinear`: y = base(x), then y + up(gelu(down(y))). As these are the last
linear modules before a residual sum, that is the paper's placement. `up` starts
at zero, so that training starts from the unchanged model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from autoglm_nb.models.targets import linear_size

__all__ = ["AdaptedLinear", "Bottleneck", "insert_adapters"]


class Bottleneck(nn.Module):
    """x + up(gelu(down(x))), `width` wide inside; input and output (..., size).

    Weights stay in float32 whatever the frozen model's type, and so does the arithmetic inside.
    """

    def __init__(self, size: int, width: int, dropout: float = 0.0, device: torch.device | None = None) -> None:
        super().__init__()
        self.down = nn.Linear(size, width, device=device)
        self.up = nn.Linear(width, size, device=device)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.down.weight, std=0.01)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = nn.functional.gelu(self.down(x.to(self.down.weight.dtype)))
        change: torch.Tensor = self.up(self.dropout(inner))
        return x + change.to(x.dtype)


class AdaptedLinear(nn.Module):
    """A frozen linear module followed by a `Bottleneck`."""

    def __init__(self, base: nn.Module, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        weight = cast(torch.Tensor, base.weight)
        self.base = base
        self.adapter = Bottleneck(linear_size(base)[1], width, dropout, weight.device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.adapter(self.base(x)))


def insert_adapters(model: nn.Module, sites: Sequence[str], width: int, dropout: float = 0.0) -> None:
    """Put a bottleneck after each module named in `sites`, in place."""
    for name in sites:
        parent, _, leaf = name.rpartition(".")
        owner = model.get_submodule(parent)
        setattr(owner, leaf, AdaptedLinear(getattr(owner, leaf), width, dropout))
