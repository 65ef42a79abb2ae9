"""Short attention against PyTorch's own, by value, by gradient, and in real models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from autoglm_nb.models.apply import share_frozen
from autoglm_nb.training import attention


@pytest.mark.parametrize(("rows", "heads", "positions", "width"), [(3, 2, 27, 16), (1, 5, 1, 7), (4, 3, 32, 8)])
@pytest.mark.parametrize("masked", [False, True])
def test_it_equals_pytorchs_attention(rows: int, heads: int, positions: int, width: int, masked: bool) -> None:
    """Strided inputs, as models hand them over; a padded tail; all three gradients."""
    torch.manual_seed(0)
    flat = [torch.randn(rows, positions, heads * width, requires_grad=True) for _ in range(3)]
    split = [x.view(rows, positions, heads, width).transpose(1, 2) for x in flat]
    allowed = torch.ones(rows, 1, 1, positions, dtype=torch.bool)
    allowed[0, ..., (positions + 1) // 2 :] = False
    added = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min) if masked else None
    slope = torch.randn(rows, positions, heads, width)
    want = functional.scaled_dot_product_attention(*split, attn_mask=allowed if masked else None, scale=0.3)
    got = attention.short_attention(*split, added, 0.3)
    torch.testing.assert_close(got, want.transpose(1, 2), rtol=1e-5, atol=1e-6)
    theirs = torch.autograd.grad(want.transpose(1, 2), flat, slope)
    mine = torch.autograd.grad(got, flat, slope)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "wanted", [(True, True, True), (True, False, True), (False, True, False), (False, False, True)]
)
def test_gradients_match_finite_differences_and_unwanted_ones_are_left_out(wanted: tuple[bool, ...]) -> None:
    """`gradcheck` in fp64, with one query position over four others."""
    torch.manual_seed(0)
    shapes = ((2, 3, 1, 5), (2, 3, 4, 5), (2, 3, 4, 5))
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=w) for s, w in zip(shapes, wanted, strict=True)]
    mask = torch.randn(2, 1, 1, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *x: attention.short_attention(*x, mask, 0.7), inputs)


def test_rows_do_not_touch_each_other() -> None:
    """NaN in one row's values leaves every bit of the other rows alone."""
    q, k, v = (torch.randn(4, 2, 9, 8) for _ in range(3))
    clean = attention.short_attention(q, k, v, None, 0.3)
    v = v.clone()
    v[1] = float("nan")
    dirty = attention.short_attention(q, k, v, None, 0.3)
    assert torch.equal(dirty[[0, 2, 3]], clean[[0, 2, 3]]) and dirty[1].isnan().all()


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("length", [12, 70])
def test_models_give_the_same_logits(request: Any, kind: str, padded: bool, length: int) -> None:
    """An encoder and a decoder (causal, grouped keys where it has them), short rows and long ones; the base stays."""
    base = request.getfixturevalue(kind)
    model = share_frozen(base.model)
    ids = (torch.arange(3 * length).view(3, length) * 7919 + 1) % 60
    mask = torch.ones_like(ids)
    if padded:
        mask[1, length // 2 :] = 0
    want = model(input_ids=ids, attention_mask=mask).logits
    assert attention.use_short_attention(model)
    assert base.model.config._attn_implementation == "sdpa"
    got = model(input_ids=ids, attention_mask=mask).logits
    if got.dim() == 3:
        got, want = got[mask.bool()], want[mask.bool()]
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_it_is_used_for_short_rows_and_only_there(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: one call a layer at 12 positions, none beyond the longest row it is meant for."""
    calls: list[int] = []
    original = attention.short_attention
    monkeypatch.setattr(attention, "short_attention", lambda q, *a: (calls.append(q.shape[2]), original(q, *a))[1])
    model = share_frozen(encoder.model)
    attention.use_short_attention(model)
    model(input_ids=torch.ones(2, 12, dtype=torch.int64))
    assert calls == [12, 12]
    model(input_ids=torch.ones(2, attention.LONGEST + 1, dtype=torch.int64))
    assert calls == [12, 12]


def test_a_model_that_attends_in_its_own_way_is_left_alone(encoder: Any) -> None:
    """Eager attention stays eager."""
    model: Any = share_frozen(encoder.model)
    model.config._attn_implementation_internal = "eager"
    assert not attention.use_short_attention(model)
    assert model.config._attn_implementation == "eager"
