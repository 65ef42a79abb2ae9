"""The ends of the model: a head per slot, and logits only where there is a label."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING

import torch
from torch import nn

from autoglm_nb.training.packed import RowMap

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["HeadRouter", "fresh_head", "keep_labelled", "seeded_generator", "total_parameters"]


class HeadRouter(nn.Module):
    """Sends each slot's rows through the slot's own copy of a head module.

    Rows of a slot without a copy go through the original. Copies are fp32.
    """

    def __init__(self, original: nn.Module, name: str, row_map: RowMap) -> None:
        super().__init__()
        self.original = original
        self.name = name
        self.row_map = row_map
        self.copies: dict[int, nn.Module] = {}  # not a ModuleDict: slots own their parameters

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        segments = self.row_map.segments
        if not any(segment.slot in self.copies for segment in segments):
            return self.original(x)
        self.row_map.check(x, self.name)
        if len(segments) == 1:
            return self.copies[segments[0].slot](x.float())
        parts = []
        for segment in segments:
            head = self.copies.get(segment.slot)
            rows = x[segment.start : segment.stop]
            parts.append(self.original(rows).float() if head is None else head(rows.float()))
        return torch.cat(parts)


def keep_labelled(output: nn.Module, row_map: RowMap) -> None:
    """Let an output embedding compute logits only where there is a label.

    While the row map names labelled positions, the logits are [labelled, vocabulary],
    in row order; what a model does to its logits afterwards must be elementwise.
    Virtual tokens that a prompt method puts in front are passed over. A hook, not a
    wrapper, so that parameters keep their names.
    """

    def select(_: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        labelled = row_map.labelled
        if labelled is None:
            return None
        hidden = args[0]
        return (hidden[:, hidden.shape[1] - labelled.shape[1] :][labelled], *args[1:])

    output.register_forward_pre_hook(select)


def fresh_head(original: nn.Module, *, seed: int, name: str, std: float, device: torch.device) -> nn.Module:
    """A trainable fp32 copy of a head module with initial weights of its own.

    Linear layers are drawn from N(0, std) with zero bias, as transformers does for
    new heads; norms start at the identity. Other modules keep their values.
    """
    head = copy.deepcopy(original).float().to("cpu")
    for path, module in head.named_modules():
        if isinstance(module, nn.Linear):
            generator = seeded_generator(seed, f"{name}.{path}")
            with torch.no_grad():
                module.weight.normal_(0.0, std, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
        elif isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    head = head.to(device)
    head.requires_grad_(True)
    return head


def seeded_generator(seed: int, *names: str) -> torch.Generator:
    """A CPU generator that depends on the run's seed and on what it is for."""
    digest = hashlib.sha256("\0".join((str(seed), *names)).encode()).digest()
    generator = torch.Generator()
    generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return generator


def total_parameters(parameters: Iterable[torch.Tensor]) -> int:
    """Number of elements, each tensor counted once."""
    return sum(p.numel() for p in {id(p): p for p in parameters}.values())
