"""The loop that adds the slots' low-rank terms on a CPU, against a dense formula and finite differences."""

from __future__ import annotations

import pytest
import torch

from autoglm_nb.training.lowrank import LowRankTerm, SlotAdapter, add_low_rank, scale_rows
from tests.training.peft_reference import mask


def adapters(weight: torch.Tensor, *, dora: bool = False) -> list[SlotAdapter | None]:
    """Three slots of rank 3, 8 and none, with B away from zero."""
    draw = torch.Generator().manual_seed(1)
    made: list[SlotAdapter | None] = [
        SlotAdapter(weight, rank=rank, scale=scale, dropout=p, dora=dora, generator=draw).to(weight.dtype)
        for rank, scale, p in ((3, 1.5, 0.0), (8, 0.7, 0.4))
    ]
    for adapter in made:
        assert adapter is not None
        torch.nn.init.normal_(adapter.lora_B, generator=draw)
    return [*made, None]


def test_the_loop_equals_the_dense_formula_by_autograd() -> None:
    """Output and every gradient in fp64: W + s B A a slot, masks from the written definition, a slot without a term."""
    from autoglm_nb.training.dropout import dropout_key

    draw = torch.Generator().manual_seed(0)
    weight, bias = (torch.randn(*s, generator=draw, dtype=torch.float64) for s in ((7, 5), (7,)))
    x = torch.randn(9, 3, 5, generator=draw, dtype=torch.float64)
    slots = adapters(weight)
    spans = ((0, 2, 0), (2, 6, 1), (6, 9, 2))
    kept = torch.from_numpy(mask(3, 7, "layer", 6, 3, 5, 0.4)[2:])  # rows 2 to 5 of the slot's own batch
    p = round(0.4 * 65536) / 65536

    def loop(x: torch.Tensor) -> torch.Tensor:
        base = torch.nn.functional.linear(x, weight, bias)
        key = dropout_key(3, 7, "layer")
        return add_low_rank(base, x, [LowRankTerm(a, b, slots[s], 2, key if s == 1 else None) for a, b, s in spans])

    def dense(x: torch.Tensor) -> torch.Tensor:
        parts = []
        for first, last, s in spans:
            rows, slot = x[first:last], slots[s]
            part = rows @ weight.t() + bias
            if slot is not None:
                dropped = rows * kept / (1 - p) if s == 1 else rows
                part = part + dropped @ (slot.scale * slot.lora_B @ slot.lora_A).t()
            parts.append(part)
        return torch.cat(parts)

    results = []
    for layer in (loop, dense):
        leaf = x.clone().requires_grad_(True)
        out = layer(leaf)
        out.backward(torch.arange(out.numel(), dtype=torch.float64).view(out.shape).sin())
        grads = [leaf.grad, *(p.grad for slot in slots if slot is not None for p in slot.parameters())]
        results.append([out.detach(), *grads])
        for slot in slots:
            if slot is not None:
                slot.zero_grad()
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_doras_factors_equal_finite_differences(bias: bool) -> None:
    """g * (u - b) + b on some rows, in fp64; the others pass."""
    draw = torch.Generator().manual_seed(0)
    out = torch.randn(6, 2, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    gains = [torch.rand(5, generator=draw, dtype=torch.float64).requires_grad_(True) for _ in range(2)]
    frozen = torch.randn(5, generator=draw, dtype=torch.float64) if bias else None

    def scaled(out: torch.Tensor, *gains: torch.Tensor) -> torch.Tensor:
        return scale_rows(out, [(0, 2, gains[0]), (4, 6, gains[1])], frozen)

    assert torch.autograd.gradcheck(scaled, (out, *gains))
    shift = 0.0 if frozen is None else frozen
    expected = out.detach().clone()
    expected[:2] = gains[0].detach() * (expected[:2] - shift) + shift
    expected[4:] = gains[1].detach() * (expected[4:] - shift) + shift
    torch.testing.assert_close(scaled(out, *gains).detach(), expected)


def test_a_nan_in_a_dropped_place_is_dropped() -> None:
    """A mask selects, as the kernels' does; multiplying would keep the NaN."""
    from autoglm_kernels.dropout import select

    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        x = torch.tensor([[1.0, float("nan"), float("inf"), -2.0]], dtype=dtype)
        kept = torch.tensor([[True, False, False, True]])
        assert select(x, kept).tolist() == [[1.0, 0.0, 0.0, -2.0]]
        assert select(x, kept.expand(3, 4)[::2]).tolist() == [[1.0, 0.0, 0.0, -2.0]] * 2
    assert select(x, None) is x


def test_rows_without_a_term_are_the_bases() -> None:
    """No adapter at all: the very tensor; an empty segment adds nothing."""
    base, x = torch.randn(4, 2, 7), torch.randn(4, 2, 5)
    assert add_low_rank(base, x, [LowRankTerm(0, 4, None)]) is base
    slot = adapters(torch.randn(7, 5))[0]
    out = add_low_rank(base, x, [LowRankTerm(0, 0, slot), LowRankTerm(0, 3, slot), LowRankTerm(3, 4, None)])
    assert torch.equal(out[3], base[3]) and not torch.equal(out[:3], base[:3])


def test_a_frozen_input_gets_no_gradient() -> None:
    """Below the lowest adapted layer nothing is computed: the term asks for no gradient of x."""
    slot = adapters(torch.randn(7, 5))[0]
    assert slot is not None
    base, x = torch.randn(4, 2, 7), torch.randn(4, 2, 5)
    out = add_low_rank(base, x, [LowRankTerm(0, 4, slot)])
    out.sum().backward()
    assert x.grad is None and slot.lora_A.grad is not None and torch.isfinite(slot.lora_A.grad).all()


def test_masks_of_long_and_odd_rows_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU hashes in blocks that fit its cache: bit by bit what torch's operations make, across their borders."""
    from autoglm_kernels import dropout

    tokens = dropout.token_ids(3, 41, 9)
    for features in (1, 63, 100):
        word = torch.arange((features + 1) // 2, dtype=torch.int32).mul_(dropout._GOLDEN)
        bits = dropout._mix(dropout._mix(tokens + dropout.signed(2**32 - 7))[:, None] + word)
        expected = bits.view(torch.int16)[:, :features] >= 9000 - 32768
        for words in (1, 77, 1 << 15):
            monkeypatch.setattr(dropout, "BLOCK_WORDS", words)
            assert torch.equal(dropout.keep_mask(tokens, 2**32 - 7, 9000, features), expected)
