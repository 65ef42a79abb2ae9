"""Frozen products: the same numbers as `torch.nn.Linear` however they are made, and a choice that cannot go wrong."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autoglm_nb.models.apply import share_frozen
from autoglm_nb.training import plan_run, products
from autoglm_nb.training.frozen import FrozenLinear, freeze_linears, frozen_report
from autoglm_nb.training.packed import PackedLinear, RowMap, is_packable, linear_weight
from tests.training.conftest import run_losses

KEY = "100x63+ float32"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, so that every choice is measured."""
    monkeypatch.setenv("AUTOGLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def linear(out_features: int = 100, in_features: int = 63, bias: bool = True, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(in_features, out_features, bias=bias).requires_grad_(False)


def available(name: str, weight: torch.Tensor, bias: torch.Tensor | None) -> products.Product:
    try:
        return products.PRODUCTS[name](weight, bias)
    except (RuntimeError, AttributeError) as error:
        pytest.skip(f"this build of torch has no {name}: {error}")


@pytest.mark.parametrize("name", products.PRODUCTS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("out_features", "in_features"), [(100, 63), (63, 100), (384, 64), (1, 7)])
def test_each_product_equals_a_float64_product(name: str, bias: bool, out_features: int, in_features: int) -> None:
    """Any number of rows with one pack, packed from a transposed view as well, to 1e-5 of the largest value."""
    layer = linear(out_features, in_features, bias)
    for weight in (layer.weight, layer.weight.t().contiguous().t()):
        product = available(name, weight, layer.bias)
        for rows in (1, 2, 63, 300, 1031):
            x = torch.randn(rows, in_features)
            want = x.double() @ weight.double().t() + (layer.bias.double() if bias else 0.0)
            assert (product(x).double() - want).abs().max() <= 1e-5 * want.abs().max()


@pytest.mark.parametrize("name", products.PRODUCTS)
def test_rows_do_not_touch_each_other(name: str) -> None:
    """NaN and infinity in one row leave every bit of the other rows alone: packs depend on it."""
    layer = linear()
    product = available(name, layer.weight, layer.bias)
    x = torch.randn(37, 63)
    clean = product(x)
    poisoned = x.clone()
    poisoned[5], poisoned[11] = float("nan"), float("inf")
    others = [i for i in range(37) if i not in (5, 11)]
    assert torch.equal(product(poisoned)[others], clean[others])


@pytest.mark.parametrize("name", products.PRODUCTS)
def test_output_and_gradient_of_a_frozen_layer_are_those_of_linear(name: str) -> None:
    """Three dimensions, a strided input, and no gradient for the weight."""
    layer = linear()
    available(name, layer.weight, layer.bias)
    frozen = FrozenLinear(layer.weight, layer.bias, ahead=name, back=name)
    assert (frozen.ahead, frozen.back) == (name, name)
    x = torch.randn(5, 126, 3).transpose(1, 2)[..., ::2]
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    for module, leaf in ((frozen, mine), (layer, theirs)):
        module(leaf * 1.0).pow(2).sum().backward()
    torch.testing.assert_close(frozen(x), layer(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-4)
    assert frozen.weight.grad is None and frozen.weight is layer.weight


def test_other_number_formats_go_through_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A float64 input meets no pack; a bfloat16 layer keeps its format."""
    frozen = FrozenLinear(linear().weight.double(), None, ahead="plain", back="plain")
    x = torch.randn(3, 63, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(frozen, (x,))
    half = linear().bfloat16()
    made = FrozenLinear(half.weight, half.bias, ahead="onednn", back="onednn")
    y = torch.randn(9, 63).bfloat16()
    torch.testing.assert_close(made(y).float(), half(y).float(), rtol=2e-2, atol=2e-2)


def test_a_product_that_disagrees_can_neither_win_nor_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast: a tenth of a per cent off is refused by the choice and by the layer."""
    wrong = lambda w, b: lambda x: torch.nn.functional.linear(x, w, b) * 1.01  # noqa: E731
    slow: Any = lambda w, b: lambda x: (time.sleep(0.02), torch.nn.functional.linear(x, w, b))[1]  # noqa: E731
    monkeypatch.setattr(products, "PRODUCTS", {"plain": slow, "wrong": wrong})
    layer = linear()
    assert products.choose({(100, 63, True): layer.weight}, seconds=60.0) == {(100, 63, True): "plain"}
    name, product = products.make_product("wrong", layer.weight, layer.bias)
    assert name == "plain" and torch.equal(product(torch.ones(2, 63)), layer(torch.ones(2, 63)))


def test_the_faster_product_wins_and_is_remembered(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Measured once per machine and shape; a damaged memory is measured anew."""
    made: list[str] = []

    def timed(name: str, seconds: float) -> Any:
        def make(w: torch.Tensor, b: torch.Tensor | None) -> products.Product:
            made.append(name)
            return lambda x: (time.sleep(seconds), torch.nn.functional.linear(x, w, b))[1]

        return make

    monkeypatch.setattr(products, "PRODUCTS", {"plain": timed("plain", 0.01), "quick": timed("quick", 0.0)})
    classes = {(100, 63, True): linear().weight}
    assert products.choose(classes, seconds=60.0) == {(100, 63, True): "quick"}
    measured = len(made)
    assert products.choose(classes) == {(100, 63, True): "quick"} and len(made) == measured
    (file,) = (cache / "products").glob("*.json")
    assert json.loads(file.read_text()) == {KEY: "quick"}
    for damage in ("[]", "{", '{"100x63+ float32": "unknown"}'):
        file.write_text(damage)
        assert products.choose(classes, seconds=60.0) == {(100, 63, True): "quick"}
    assert len(made) > measured


def test_what_another_process_chose_meanwhile_stays(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Two that begin together compute alike: the first to have measured decides for both."""
    classes = {(100, 63, True): linear().weight}

    def other_was_first(*_: Any) -> str:
        products._keep(products.settings.cache_dir() / "products" / f"{products._machine_key()}.json", {KEY: "mkl"})
        return "onednn"

    monkeypatch.setattr(products, "_fastest", other_was_first)
    assert products.choose(classes, seconds=60.0) == {(100, 63, True): "mkl"}
    (file,) = (cache / "products").glob("*.json")
    assert json.loads(file.read_text()) == {KEY: "mkl"}


def test_no_time_means_plain_and_a_setting_means_that(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Without a budget nothing is measured or stored; `AUTOGLM_CPU_PRODUCTS` decides without measuring."""
    classes = {(100, 63, True): linear().weight}
    assert products.choose(classes, seconds=0.0) == {(100, 63, True): "plain"}
    assert not any(json.loads(f.read_text()) for f in cache.rglob("*.json"))
    monkeypatch.setenv("AUTOGLM_CPU_PRODUCTS", "onednn")
    assert products.choose(classes, seconds=0.0) == {(100, 63, True): "onednn"}


@pytest.mark.alone
def test_choosing_for_a_model_stays_within_its_budget() -> None:
    """Six classes of a small encoder: half a second, and a little for the last round under way."""
    classes = {(o, i, b): torch.randn(o, i) for o, i in ((384, 384), (1536, 384), (384, 1536)) for b in (True, False)}
    began = time.perf_counter()
    chosen = products.choose(classes)
    assert time.perf_counter() - began < 2.5 and set(chosen) == set(classes)
    assert set(chosen.values()) <= set(products.PRODUCTS)


def test_a_model_keeps_names_weights_and_outputs(encoder: Any, decoder: Any) -> None:
    """Every frozen linear layer is replaced over the same weights; tied weights stay tied; the base is untouched."""
    ids = torch.arange(20).view(2, 10) % 50
    for base in (encoder, decoder):
        before = {type(m) for m in base.model.modules()}
        model = share_frozen(base.model)
        want = model(input_ids=ids).logits
        report = freeze_linears(model, skip=("classifier",))
        torch.testing.assert_close(model(input_ids=ids).logits, want, rtol=1e-4, atol=1e-5)
        names = {n for n, m in base.model.named_modules() if type(m) is nn.Linear and n != "classifier"}
        assert {n for n, m in model.named_modules() if isinstance(m, FrozenLinear)} == names
        assert [n for n, _ in model.named_parameters()] == [n for n, _ in base.model.named_parameters()]
        shared = {id(p) for p in base.model.parameters()}
        assert all(id(p) in shared for p in model.parameters())
        assert {type(m) for m in base.model.modules()} == before
        assert report["products"] and report["threads"] == torch.get_num_threads()
        assert frozen_report(base.model)["products"] == {}


def test_trained_layers_and_other_kinds_are_left_alone() -> None:
    """A layer that trains, one with a hook, and a subclass keep their class; GPT-2's transposed layer is taken."""
    from transformers.pytorch_utils import Conv1D

    class Own(nn.Linear):
        pass

    hooked = linear()
    hooked.register_forward_pre_hook(lambda *_: None)
    turned = Conv1D(100, 63).requires_grad_(False)
    model = nn.ModuleList([nn.Linear(63, 100), Own(63, 100).requires_grad_(False), hooked, turned, linear()])
    x = torch.randn(4, 63)
    want = turned(x)
    freeze_linears(model)
    assert [isinstance(m, FrozenLinear) for m in model] == [False, False, False, True, True]
    torch.testing.assert_close(model[3](x), want, rtol=1e-5, atol=1e-5)
    assert linear_weight(model[3]).shape == (100, 63) and is_packable(model[3])


def test_too_little_memory_leaves_the_layers_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packs of every weight must fit into a quarter of what is free."""
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 8 * 2 * 63 * 100})())
    model = nn.Sequential(linear())
    freeze_linears(model)
    assert type(model[0]) is nn.Linear


def test_a_copy_of_a_frozen_layer_packs_anew() -> None:
    """Packs cannot be copied; a deep copy works all the same."""
    frozen = FrozenLinear(linear().weight, None, ahead="onednn", back="onednn")
    x = torch.randn(3, 63)
    assert torch.equal(copy.deepcopy(frozen)(x), frozen(x))


def test_threads_share_one_pack() -> None:
    """Four threads multiply at once and get what one gets alone."""
    layer = linear()
    frozen = FrozenLinear(layer.weight, layer.bias, ahead="onednn", back="onednn")
    inputs = [torch.randn(40, 63) for _ in range(4)]
    want, got = [frozen(x) for x in inputs], [[] for _ in inputs]

    def work(i: int) -> None:
        for _ in range(50):
            got[i].append(frozen(inputs[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(torch.allclose(y, want[i], rtol=1e-5, atol=1e-6) for i in range(4) for y in got[i])


def test_a_packed_layer_over_a_frozen_one_gives_dora_its_weight() -> None:
    """`PackedLinear.base` may be a frozen layer: the weight is a plain [out, in] tensor."""
    layer = linear()
    frozen = FrozenLinear(layer.weight, layer.bias, ahead="onednn", back="onednn")
    packed = PackedLinear(frozen, "layer", RowMap())
    assert torch.equal(linear_weight(packed.base), layer.weight)


@pytest.mark.parametrize(("targets", "some_below"), [(["layer.1.attention.self.query"], False), ("qv", True)])
def test_no_gradient_is_computed_below_the_lowest_adapted_layer(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, targets: Any, some_below: bool
) -> None:
    """Counted: products with W^T in layer 0 during one step, of its six linear layers.

    With query and value adapted in layer 0, key has no gradient to give and the others of
    that layer one each (query, value and key get no gradient of their input: it is frozen).
    """
    monkeypatch.setenv("AUTOGLM_PREFIX_MB", "0")
    engine = make_engine()
    config = {"target_modules": targets, "rank": 2, "batch_size": 8, "learning_rate": 1e-3}
    slot = engine.admit(plan_run("t", config, 0, engine.data))
    counts: dict[str, int] = {}
    for name, module in engine._packed.model.named_modules():
        if isinstance(module, FrozenLinear):

            def counted(g: torch.Tensor, name: str = name, back: Any = module._backward_product) -> torch.Tensor:
                counts[name] = counts.get(name, 0) + 1
                return back(g)

            module._backward_product = counted
    run_losses(engine, slot, 1)
    below = {n: c for n, c in counts.items() if ".layer.0." in n}
    if some_below:
        expected = {"attention.output.dense", "intermediate.dense", "output.dense"}
        assert {n.split(".layer.0.")[1] for n in below} == expected and set(below.values()) == {1}
    else:
        assert below == {} and any(".layer.1." in n for n in counts)
