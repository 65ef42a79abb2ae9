"""Packs to test kernels with: ragged and empty groups, mixed ranks, odd sizes, buffers with NaN around the data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

import autoglm_kernels as kernels

SEGMENTS = ((1, 37), (0, 20), (2, 63), (3, 0), (4, 5), (1, 3))  # group 3 is empty, group 1 comes twice
RANKS = (4, 17, 0, 8, 1)  # group 2 does not adapt this layer
SCALES = (0.5, 1.25, 1.0, 2.0, 3.0)
DROPOUTS = (0.1, 0.25, 0.3, 0.5, 0.0)
KEYS = (1, 2**32 - 5, 3, 123456789, 5)


@dataclass
class Pack:
    """Inputs of one layer; leaves that need a gradient have it switched on."""

    x: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    base: torch.Tensor
    tokens: torch.Tensor
    segments: tuple[tuple[int, int], ...]
    ranks: tuple[int, ...]
    dropout: bool = True

    def routing(self, tile_rows: int | None = None, deterministic: bool = True) -> kernels.Routing:
        return kernels.make_routing(
            self.segments, len(self.ranks), tokens=self.tokens, tile_rows=tile_rows, deterministic=deterministic
        )

    def table(self) -> kernels.LayerTable:
        dropouts = DROPOUTS[: len(self.ranks)] if self.dropout else None
        count = len(self.ranks)
        return kernels.layer_table(self.ranks, SCALES[:count], dropouts=dropouts, keys=KEYS[:count], dtype=self.x.dtype)

    def to(self, dtype: torch.dtype) -> Pack:
        names = ("x", "a", "b", "weight", "bias", "base")
        return replace(self, **{n: surrounded(getattr(self, n).detach().to(dtype)) for n in names})

    def run(self, mode: str, *, tile_rows: int | None = None, deterministic: bool = True) -> list[torch.Tensor]:
        """Output and the gradients of x, a, b (and base) of a fixed weighting of the output."""
        leaves = [self.x, self.a, self.b] + ([self.base] if mode == "base" else [])
        for leaf in leaves:
            leaf.requires_grad_(True)
            leaf.grad = None
        given = {"base": self.base} if mode == "base" else {"weight": self.weight, "bias": self.bias}
        out = kernels.grouped_lora(
            self.x, self.a, self.b, self.routing(tile_rows, deterministic), self.table(), **given
        )
        out.backward(weighting(out))
        return [out.detach(), *(leaf.grad for leaf in leaves)]


def pack(
    dtype: torch.dtype = torch.float64,
    *,
    in_features: int = 63,
    out_features: int = 100,
    segments: tuple[tuple[int, int], ...] = SEGMENTS,
    ranks: tuple[int, ...] = RANKS,
    dropout: bool = True,
    seed: int = 0,
) -> Pack:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return surrounded(torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype))

    rows, bank = sum(n for _, n in segments), sum(ranks)
    positions = {group: 0 for group, _ in segments}
    tokens = []
    for group, size in segments:
        tokens.append(kernels.token_ids(positions[group], size, 1))
        positions[group] += size
    return Pack(
        x=normal(rows, in_features),
        a=normal(bank, in_features),
        b=normal(bank, out_features),
        weight=normal(out_features, in_features),
        bias=normal(out_features),
        base=normal(rows, out_features),
        tokens=torch.cat(tokens),
        segments=segments,
        ranks=ranks,
        dropout=dropout,
    )


def weighting(out: torch.Tensor) -> torch.Tensor:
    """A fixed gradient of the output."""
    draw = torch.Generator().manual_seed(11)
    return torch.randn(out.shape, generator=draw, dtype=torch.float64).to(out.dtype)


def surrounded(x: torch.Tensor) -> torch.Tensor:
    """The same values as a leaf whose storage holds NaN before, between and after its rows."""
    shape = (x.shape[0] + 2, *(n + 3 for n in x.shape[1:]))
    room = torch.full(shape, float("nan"), dtype=x.dtype)
    inner = room[1:-1] if x.ndim == 1 else room[1:-1, : x.shape[1]]
    return inner.copy_(x).detach()


def worst(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """The largest relative error, by tensor, of anything; infinite when something is not finite."""
    errors = []
    for one, other in zip(found, expected, strict=True):
        if not one.numel():
            continue
        error = (one.double() - other.double()).abs().max() / other.double().abs().max().clamp(min=1e-30)
        errors.append(float(error) if torch.isfinite(one).all() else float("inf"))
    return max(errors)
