"""A process that runs the kernels in Triton's interpreter, one named case a line of JSON.

The interpreter must be chosen before triton is imported and cannot share a process
with the compiler, so the tests talk to this one: `python -m tests.kernels.interpreted`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

os.environ["TRITON_INTERPRET"] = "1"
os.environ["AUTOGLM_KERNELS"] = "triton"

import torch

import autoglm_kernels as kernels
from autoglm_kernels import costs, lora_launch
from tests.kernels import cases
from tests.kernels.child import answer

TYPES = {"float32": torch.float32, "float64": torch.float64}
TILE = 32


def against_twin(
    dtype: str, mode: str, deterministic: bool, ranks: list[int] | None = None, dropout: bool = True
) -> dict[str, Any]:
    """Worst relative error of outputs and gradients against the float64 twin, and the launches."""
    options = (
        {"ranks": tuple(ranks), "segments": tuple((g, n) for g, n in cases.SEGMENTS if g < len(ranks))} if ranks else {}
    )
    pack = cases.pack(TYPES[dtype], dropout=dropout, **options)
    kernels.reset_launches()
    with poisoned():
        found = pack.run(mode, tile_rows=TILE, deterministic=deterministic)
    return {"error": cases.worst(found, twin(pack, mode)), "launches": kernels.launches()}


def sizes(
    in_features: int, out_features: int, segments: list[list[int]], ranks: list[int], tile_rows: int
) -> dict[str, Any]:
    """As `against_twin`, for other widths, rows and tiles, in fp32 with dropout; worst of both modes."""
    errors = []
    for mode, deterministic in (("base", True), ("weight", False)):
        pack = cases.pack(
            torch.float32, in_features=in_features, out_features=out_features,
            segments=tuple((g, n) for g, n in segments), ranks=tuple(ranks),
        )  # fmt: skip
        with poisoned():
            found = pack.run(mode, tile_rows=tile_rows, deterministic=deterministic)
        errors.append(cases.worst(found, twin(pack, mode)))
    return {"errors": errors}


def twice(mode: str) -> dict[str, Any]:
    """Whether two deterministic runs agree in every bit."""
    pack = cases.pack(torch.float32)
    one, two = (pack.run(mode, tile_rows=TILE) for _ in range(2))
    return {"equal": all(torch.equal(a, b) for a, b in zip(one, two))}


def isolation(mode: str, deterministic: bool) -> dict[str, Any]:
    """Which groups' results changed in any bit when group 1's rows and factors became NaN."""
    pack = cases.pack(torch.float32)
    clean = pack.run(mode, tile_rows=TILE, deterministic=deterministic)
    spoiled = pack.to(torch.float32)
    bank = slice(cases.RANKS[0], cases.RANKS[0] + cases.RANKS[1])
    owner = torch.cat([torch.full((n,), g) for g, n in cases.SEGMENTS])
    for tensor, where in ((spoiled.x, owner == 1), (spoiled.a, bank), (spoiled.b, bank), (spoiled.base, owner == 1)):
        tensor[where] = float("nan")
    dirty = spoiled.run(mode, tile_rows=TILE, deterministic=deterministic)
    others = torch.ones(sum(cases.RANKS), dtype=torch.bool)
    others[bank] = False
    keep = [owner != 1, owner != 1, others, others, owner != 1]
    same = [torch.equal(a[k], b[k]) for a, b, k in zip(clean, dirty, keep)]
    return {"same": same, "spoiled": bool(dirty[0][owner == 1].isnan().all())}


def gradcheck(mode: str, deterministic: bool) -> dict[str, Any]:
    """torch's finite differences on the kernels in fp64, every entry: one group in two tiles, one empty, one of rank 0.

    Some 250 launches of four tiles: two launches for either side of 40 entries, eight for each of 10 outputs.
    """
    segments = ((3, 2), (1, 1), (0, 1), (3, 1))  # of group 3's nine inputs four are dropped
    pack = cases.pack(in_features=3, out_features=2, segments=segments, ranks=(0, 1, 0, 2))
    leaves = [t.contiguous().requires_grad_(True) for t in (pack.x, pack.a, pack.b, pack.base)]
    routing, table = pack.routing(16, deterministic), pack.table()

    def layer(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        given = {"base": base} if mode == "base" else {"weight": pack.weight, "bias": pack.bias}
        return kernels.grouped_lora(x, a, b, routing, table, **given)

    inputs = leaves if mode == "base" else [*leaves[:3], leaves[3].detach()]
    return {"passed": torch.autograd.gradcheck(layer, inputs)}


def masks() -> dict[str, Any]:
    """Whether the kernel's dropout mask is the twin's, bit by bit, read off from S = D * 1."""
    features = 63
    pack = cases.pack(torch.float64, in_features=features, segments=((0, 40),), ranks=(features,))
    routing, key = pack.routing(TILE), 2**32 - 9
    kept, threshold = None, 16383
    while kept is None or kernels.keep_mask(routing.tokens, key, threshold + 1, features).equal(kept):
        threshold += 1  # until an element stands exactly on the threshold
        kept = kernels.keep_mask(routing.tokens, key, threshold, features)
    table = kernels.layer_table([features], [1.0], dropouts=[threshold / 65536], keys=[key], dtype=torch.float64)
    eye = torch.eye(features, dtype=torch.float64)
    ones, zeros = torch.ones(40, features, dtype=torch.float64), torch.zeros(40, features, dtype=torch.float64)
    _, s = lora_launch.lora_forward(ones, eye, eye, zeros, None, None, kernels.Tables.of(routing, table))
    return {"equal": torch.equal(s != 0, kept), "share": float(kept.double().mean())}


def adamw(dtype: str) -> dict[str, Any]:
    """Three steps of five tensors in three rows of hyper-parameters, one of them never active."""
    kind = TYPES[dtype]
    draw = torch.Generator().manual_seed(3)
    shapes, rows = [(4, 63), (100, 4), (7,), (2500,), (0, 5)], torch.tensor([0, 1, 2, 1, 0])
    start = [torch.randn(s, generator=draw, dtype=torch.float64).to(kind) for s in shapes]
    state = {
        name: [[p.clone() if i == 0 else torch.zeros_like(p) for p in start] for i in range(3)]
        for name in ("triton", "torch")
    }
    idle = [state["triton"][i][2] for i in range(3)]
    for tensor in idle:
        tensor.fill_(float("nan"))
    kernels.reset_launches()
    for step in (1, 2, 3):
        grads = [torch.randn(s, generator=draw, dtype=torch.float64).to(kind) for s in shapes]
        grads[2].fill_(float("nan"))
        hyper = [
            kernels.HyperRow(1e-2, step, weight_decay=0.1, clip=0.5),
            kernels.HyperRow(3e-3, step + 100, beta1=0.8, beta2=0.99, eps=1e-6, weight_decay=0.2, decoupled=False),
            kernels.HyperRow(1.0, step, active=False),
        ]
        for name, (p, m, v) in state.items():
            precise = torch.float64 if name == "torch" else kind
            if name == "torch" and step == 1:
                state[name] = [[t.to(precise) for t in ts] for ts in (p, m, v)]
                p, m, v = state[name]
            os.environ["AUTOGLM_KERNELS"] = name
            kernels.grouped_adamw(p, [g.to(precise) for g in grads], m, v, kernels.hyper_table(hyper, precise), rows)
    os.environ["AUTOGLM_KERNELS"] = "triton"
    live = [0, 1, 3]
    errors = [cases.worst([a[i] for i in live], [b[i] for i in live]) for a, b in zip(state["triton"], state["torch"])]
    untouched = all(bool(t.isnan().all()) for t in idle)
    return {"error": max(errors), "untouched": untouched, "launches": kernels.launches()}


def traffic(kernel: str, deterministic: bool = True, dtype: str = "float32") -> dict[str, Any]:
    """Bytes that the unmasked lanes load and store, what the formula says, and how many blocks the largest rank has."""
    pack = cases.pack(TYPES[dtype])
    routing, table = pack.routing(TILE, deterministic), pack.table()
    plan = lora_launch.blocks(TYPES[dtype], TILE)
    block_r = lora_launch.rank_block(table.max_rank, TYPES[dtype])
    tables = kernels.Tables.of(routing, table)
    s = pack.x.new_zeros(pack.x.shape[0], table.max_rank)
    sizes = {"item": s.element_size(), "bank_item": s.element_size()}
    with counted() as seen:
        if kernel == "shrink":
            lora_launch._shrink(pack.x, pack.a, s, tables, dropout=True)
            said = costs.shrink(routing, table, 63, **sizes, block_r=block_r, dropout=True)
        elif kernel.startswith("expand "):
            given = {name: getattr(pack, name) for name in ("base", "weight", "bias") if name in kernel}
            dropped = "dropout" in kernel
            out = torch.empty_like(pack.base)
            lora_launch._expand(s, pack.b, lora_launch._Product(pack.x, **given), out, tables, dropout=dropped)
            said = costs.expand(
                routing, table, 100, inner=63 if "weight" in given else 0, has_base="base" in given,
                has_bias="bias" in given, **sizes, block_n=plan.expand_columns, dropout=dropped,
            )  # fmt: skip
        elif kernel == "reduce_rows":
            out = torch.zeros_like(pack.a)
            lora_launch._reduce(s, pack.x, out, tables, dropout=True)
            said = costs.reduce_rows(routing, table, 63, **sizes, block_c=plan.columns, block_r=block_r, dropout=True)
        elif kernel == "shrink_reduce":
            ds, db = torch.empty_like(s), torch.zeros_like(pack.b)
            lora_launch._shrink_reduce(pack.base, s, pack.b, ds, db, tables)
            said = costs.shrink_reduce(routing, table, 100, **sizes, block_r=block_r)
        else:
            from autoglm_kernels.adamw import BLOCK, COLUMNS

            tensors = [[torch.ones(n) for n in (2500, 63, 100)] for _ in range(4)]
            hyper = kernels.hyper_table([kernels.HyperRow(1e-3, 1), kernels.HyperRow(1e-3, 1, active=False)])
            kernels.grouped_adamw(*tensors, hyper, torch.tensor([0, 1, 0]))
            said = costs.adamw((2500, 63, 100), (True, False, True), item=4, block=BLOCK, columns=len(COLUMNS))
    rank_blocks = -(-table.max_rank // block_r)
    return {"counted": seen, "formula": [said.loads, said.stores], "least": said.least, "rank_blocks": rank_blocks}


def twin(pack: cases.Pack, mode: str) -> list[torch.Tensor]:
    """The float64 twin on the same values."""
    with mock.patch.dict(os.environ, {"AUTOGLM_KERNELS": "torch"}):
        return pack.to(torch.float64).run(mode)


@contextlib.contextmanager
def poisoned() -> Iterator[None]:
    """Fresh buffers hold NaN instead of whatever lies in memory."""

    def spoiled(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def made(*args: Any, **kwargs: Any) -> torch.Tensor:
            out = make(*args, **kwargs)
            return out.fill_(float("nan")) if out.is_floating_point() else out

        return made

    with (
        mock.patch.object(torch, "empty_like", spoiled(torch.empty_like)),
        mock.patch.object(torch.Tensor, "new_empty", spoiled(torch.Tensor.new_empty)),
    ):
        yield


@contextlib.contextmanager
def counted() -> Iterator[list[int]]:
    """[bytes loaded, bytes stored] by unmasked lanes; an atomic addition counts as both."""
    from triton.runtime.interpreter import InterpreterBuilder

    seen = [0, 0]

    def counting(name: str, mask_at: int, places: tuple[int, ...]) -> Any:
        make = getattr(InterpreterBuilder, name)

        def made(self: Any, *args: Any) -> Any:
            pointer = args[1] if name == "create_atomic_rmw" else args[0]
            size = pointer.get_element_ty().primitive_bitwidth // 8
            for place in places:
                seen[place] += int(args[mask_at].data.sum()) * size
            return make(self, *args)

        return mock.patch.object(InterpreterBuilder, name, made)

    with (
        counting("create_masked_load", 1, (0,)),
        counting("create_masked_store", 2, (1,)),
        counting("create_atomic_rmw", 3, (0, 1)),
    ):
        yield seen


if __name__ == "__main__":
    torch.set_num_threads(1)
    answer(globals())
