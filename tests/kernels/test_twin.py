"""The PyTorch twins against a dense formula and torch's autograd, against `training`, and as registered ops.

The dense reference shares nothing with the twins: one matrix a group, masks from the
formula in `training.dropout`, gradients from autograd.
"""

from __future__ import annotations

import pytest
import torch

import autoglm_kernels as kernels
from autoglm_nb.training.dropout import dropout_key, keep_mask, keep_scale
from autoglm_nb.training.lowrank import LowRankTerm, SlotAdapter, add_low_rank
from tests.kernels import cases

MODES = ("base", "weight")


@pytest.fixture(autouse=True)
def twins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGLM_KERNELS", "torch")


def dense(pack: cases.Pack, mode: str) -> list[torch.Tensor]:
    """Output and gradients by autograd on base + c (D * X) A^T B^T, group by group."""
    leaves = [t.detach().clone().requires_grad_(True) for t in (pack.x, pack.a, pack.b, pack.base)]
    x, a, b, base = leaves
    frozen = base if mode == "base" else x @ pack.weight.t() + pack.bias
    parts, start, rows_before = [], 0, [0] * len(pack.ranks)
    for group, size in pack.segments:
        rank, first = pack.ranks[group], sum(pack.ranks[:group])
        p = cases.DROPOUTS[group] if pack.dropout else 0.0
        mask = keep_mask(cases.KEYS[group], rows_before[group], size, 1, x.shape[1], p, x.device)[:, 0]
        delta = a[first : first + rank].t() @ b[first : first + rank]
        rows = x[start : start + size] * mask * keep_scale(p) * cases.SCALES[group]
        parts.append(frozen[start : start + size] + rows @ delta)
        start, rows_before[group] = start + size, rows_before[group] + size
    out = torch.cat(parts)
    out.backward(cases.weighting(out))
    return [out.detach(), *(leaf.grad for leaf in (leaves if mode == "base" else leaves[:3]))]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dropout", [True, False])
@pytest.mark.parametrize("tile_rows", [None, 16])
def test_twin_equals_the_dense_formula(mode: str, dropout: bool, tile_rows: int | None) -> None:
    """In float64, whatever the tiles; ragged, empty and repeated groups, ranks 0 to 17, NaN around the inputs."""
    pack = cases.pack(dropout=dropout)
    assert cases.worst(pack.run(mode, tile_rows=tile_rows), dense(pack, mode)) < 1e-13


@pytest.mark.parametrize("mode", MODES)
def test_gradients_equal_finite_differences(mode: str) -> None:
    """torch.autograd.gradcheck, every entry."""
    pack = cases.pack(in_features=5, out_features=7, segments=((0, 3), (1, 4), (2, 1)), ranks=(2, 3, 0))
    routing, table = pack.routing(), pack.table()
    leaves = [t.contiguous().requires_grad_(True) for t in (pack.x, pack.a, pack.b, pack.base)]

    def layer(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        given = {"base": base} if mode == "base" else {"weight": pack.weight, "bias": pack.bias}
        return kernels.grouped_lora(x, a, b, routing, table, **given)

    leaves[3].requires_grad_(mode == "base")
    assert torch.autograd.gradcheck(layer, leaves)


def test_masks_are_those_of_training() -> None:
    """Bit by bit, with rows and positions counted within the slot's batch, an odd width and any key."""
    for key in (0, 7, dropout_key(3, 41, "layers.0.q"), 2**32 - 1):
        for p in (0.05, 0.5):
            expected = keep_mask(key, 5, 4, 9, 63, p, torch.device("cpu")).reshape(36, 63)
            found = kernels.keep_mask(kernels.token_ids(5, 4, 9), key, round(p * 65536), 63)
            assert torch.equal(found, expected)
            assert kernels.keep_scale(p) == keep_scale(p)


def test_low_rank_terms_equal_the_loop_of_training() -> None:
    """Three slots, one without this target, dropout on: outputs and every slot's gradients in fp32."""
    draw = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(100, 63, generator=draw), torch.randn(100, generator=draw)
    x = torch.randn(9, 6, 63, generator=draw)
    rows, ranks, first_rows = (4, 2, 3), (4, 0, 9), (0, 0, 5)
    adapters = [
        SlotAdapter(weight, rank=r, scale=0.5 + r, dropout=0.1, dora=False, generator=draw) if r else None
        for r in ranks
    ]
    for adapter in adapters:
        if adapter is not None:
            torch.nn.init.normal_(adapter.lora_B, generator=draw)
    keys = [dropout_key(slot, 3, "q") for slot in range(3)]

    def loop(x: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        terms, start = [], 0
        for count, adapter, first, key in zip(rows, adapters, first_rows, keys):
            terms.append(LowRankTerm(start, start + count, adapter, first, key))
            start += count
        return add_low_rank(base, x, terms)

    def grouped(x: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        tokens = torch.cat([kernels.token_ids(f, n, 6) for f, n in zip(first_rows, rows)])
        routing = kernels.make_routing([(g, n * 6) for g, n in enumerate(rows)], 3, tokens=tokens)
        scales = [0.0 if a is None else a.scale for a in adapters]
        table = kernels.layer_table(ranks, scales, dropouts=[0.1] * 3, keys=keys)
        factors = [None if a is None else (a.lora_A, a.lora_B) for a in adapters]
        return kernels.low_rank_terms(x, factors, routing, table, base=base)

    results = []
    for layer in (loop, grouped):
        inputs = x.clone().requires_grad_(True)
        out = layer(inputs, torch.nn.functional.linear(inputs, weight, bias))
        out.backward(cases.weighting(out))
        grads = [p.grad for a in adapters if a is not None for p in (a.lora_A, a.lora_B)]
        results.append([out.detach(), inputs.grad, *grads])
        for adapter in adapters:
            if adapter is not None:
                adapter.zero_grad()
    assert cases.worst(results[1], results[0]) < 1e-6


def test_a_group_full_of_nan_changes_no_bit_of_the_others() -> None:
    """Also not through the sums over rows."""
    pack = cases.pack(torch.float32)
    clean = pack.run("base")
    spoiled = pack.to(torch.float32)
    owner = torch.cat([torch.full((n,), g) for g, n in cases.SEGMENTS])
    spoiled.x[owner == 1] = float("nan")
    dirty = spoiled.run("base")
    bank = torch.repeat_interleave(torch.arange(5), torch.tensor(cases.RANKS))
    for one, other, keep in zip(clean, dirty, (owner != 1, owner != 1, bank != 1, bank != 1, owner != 1)):
        assert torch.equal(one[keep], other[keep])
    assert dirty[0][owner == 1].isnan().all()


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_registered_as_an_op_that_torch_can_trace(mode: str) -> None:
    """torch.library.opcheck: schema, autograd, fake tensors, and tracing with dynamic shapes."""
    pack = cases.pack(torch.float32)
    routing, table = pack.routing(16), pack.table()
    leaves = [t.contiguous().requires_grad_(True) for t in (pack.x, pack.a, pack.b, pack.base)]
    extra = (leaves[3], None, None) if mode == "base" else (None, pack.weight, pack.bias)
    tables = kernels.Tables.of(routing, table).flat()
    torch.library.opcheck(torch.ops.autoglm.grouped_lora.default, (*leaves[:3], *extra, *tables))
    s = torch.zeros(128, table.max_rank)
    inputs = (torch.ones(128, 100), *(t.detach() for t in leaves[:3]), s, extra[1], *tables, True)
    torch.library.opcheck(torch.ops.autoglm.grouped_lora_backward.default, inputs)


@pytest.mark.slow
def test_compiles_without_a_graph_break() -> None:
    """torch.compile(fullgraph=True) sees one op, and gives the eager result."""
    pack = cases.pack(torch.float32)
    routing, table = pack.routing(), pack.table()

    def layer(x: torch.Tensor) -> torch.Tensor:
        return kernels.grouped_lora(x * 2.0, pack.a, pack.b, routing, table, base=pack.base).relu()

    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(pack.x), layer(pack.x))


def test_what_does_not_fit_is_refused() -> None:
    """Each sentence names the rule and what was given."""
    pack = cases.pack(torch.float32)
    routing, table = pack.routing(), pack.table()
    with pytest.raises(ValueError, match="either `base` or `weight`"):
        kernels.grouped_lora(pack.x, pack.a, pack.b, routing, table)
    with pytest.raises(ValueError, match="128 rows"):
        kernels.grouped_lora(pack.x[:-1], pack.a, pack.b, routing, table, base=pack.base)
    with pytest.raises(ValueError, match=r"`base` must be \(128, 100\)"):
        kernels.grouped_lora(pack.x, pack.a, pack.b, routing, table, base=pack.base[:, :-1])
    with pytest.raises(ValueError, match="Banks must have 30 rows"):
        kernels.grouped_lora(pack.x, pack.a[1:], pack.b, routing, table, base=pack.base)
    with pytest.raises(ValueError, match="token ids"):
        bare = kernels.make_routing(pack.segments, 5)
        kernels.grouped_lora(pack.x, pack.a, pack.b, bare, table, base=pack.base)
    with pytest.raises(ValueError, match="group below 5"):
        kernels.make_routing([(5, 1)], 5)
    with pytest.raises(ValueError, match="one rank, scale, dropout and key for each of 2 groups"):
        kernels.layer_table([1, 2], [1.0])
    with pytest.raises(ValueError, match=r"dropouts in \[0, 1\)"):
        kernels.layer_table([1], [1.0], dropouts=[1.0])


def test_no_tile_spans_two_groups_and_every_row_has_one_tile() -> None:
    """The routing table of a pack with a repeated and an empty group, and chunks that cover all tiles once."""
    for deterministic in (True, False):
        routing = kernels.make_routing(
            [(2, 700), (0, 20), (2, 63), (1, 0)], 3, tile_rows=16, deterministic=deterministic
        )
        owner = torch.cat([torch.full((n,), g) for g, n in ((2, 700), (0, 20), (2, 63))])
        seen = torch.zeros(783, dtype=torch.int64)
        for group, first, count in routing.tiles.tolist():
            assert 1 <= count <= 16
            assert (owner[first : first + count] == group).all()
            seen[first : first + count] += 1
        assert (seen == 1).all()
        chunks = routing.chunks.tolist()
        assert [t for _, begin, end in chunks for t in range(begin, end)] == list(range(len(routing.tiles)))
        assert all(routing.tiles[t, 0] == group for group, begin, end in chunks for t in range(begin, end))
        assert [group for group, _, _ in chunks] == [0, 1, 2] if deterministic else len(chunks) > 3


def test_a_layer_that_nobody_adapts_is_the_base() -> None:
    """Rank 0 everywhere: nothing is launched or copied."""
    pack = cases.pack(torch.float32)
    table = kernels.layer_table([0] * 5, [1.0] * 5)
    nothing = torch.empty(0, 63), torch.empty(0, 100)
    assert kernels.grouped_lora(pack.x, *nothing, pack.routing(), table, base=pack.base) is pack.base
    out = kernels.low_rank_terms(pack.x, [None] * 5, pack.routing(), table, weight=pack.weight, bias=pack.bias)
    assert torch.equal(out, torch.nn.functional.linear(pack.x, pack.weight, pack.bias))
