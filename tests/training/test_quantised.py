"""A base in 4 bits (QLoRA): checked with a stand-in on the CPU, and with bitsandbytes where it is installed.

Nothing here was run on a GPU. `Codes` is a linear layer with 4-bit codes of its own
making, two in a byte, and no gradient for them: what `PackedLinear` may rely on.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoglm_nb.errors import ModelError, UsageError
from autoglm_nb.models import four_bit, load_base, resolve
from autoglm_nb.training import Engine, base_dtype, plan_run, resolve_precision
from autoglm_nb.training.lowrank import SlotAdapter
from autoglm_nb.training.packed import PackedLinear, RowMap, Segment, is_packable, linear_weight
from autoglm_nb.training.quantised import dense_weight, has_quantised, is_quantised
from tests.training.conftest import run_losses

TRIALS: tuple[dict[str, Any], ...] = (
    {"rank": 4, "dropout": 0.1, "batch_size": 8, "learning_rate": 5e-3, "steps": 6, "target_modules": "qv"},
    {"rank": 7, "dropout": 0.2, "batch_size": 5, "learning_rate": 2e-3, "steps": 6, "method": "dora",
     "target_modules": "all-linear"},
)  # fmt: skip


class Codes(nn.Linear):
    """Codes of 4 bits with a scale a row, two in a byte; multiplied by what they stand for."""

    def __init__(self, dense: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = dense.weight.shape
        weight = dense.weight.detach()
        self.register_buffer("scale", weight.abs().amax(dim=1, keepdim=True) / 7.0)
        codes = ((weight / self.scale).round() + 8).to(torch.uint8).reshape(-1)
        self.weight = nn.Parameter((codes[::2] | (codes[1::2] << 4))[:, None], requires_grad=False)
        self.bias = dense.bias

    def dequantize(self) -> torch.Tensor:
        codes = torch.stack([self.weight[:, 0] & 15, self.weight[:, 0] >> 4], dim=1).reshape(-1)
        return (codes.float() - 8).view(self.out_features, self.in_features) * self.scale

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(input, self.dequantize().to(input.dtype), self.bias)


@pytest.fixture
def bases(encoder: Any) -> tuple[Any, Any]:
    """The tiny encoder with layers of codes, and one that holds the numbers they stand for."""
    coded, dense = (dataclasses.replace(encoder, model=copy.deepcopy(encoder.model)) for _ in range(2))
    for name, module in list(encoder.model.named_modules()):
        if isinstance(module, nn.Linear) and name != "classifier":
            parent, _, child = name.rpartition(".")
            codes = Codes(module)
            setattr(coded.model.get_submodule(parent), child, codes)
            dense.model.get_submodule(name).weight.data = codes.dequantize()
    return coded, dense


@pytest.mark.parametrize("dora", [False, True])
def test_a_packed_layer_over_codes_is_one_over_their_numbers(dora: bool) -> None:
    """Output, dX through the library's product, and the adapters' gradients; the codes get none."""
    draw = torch.Generator().manual_seed(0)
    dense = nn.Linear(10, 6).requires_grad_(False)
    codes = Codes(dense)
    dense.weight.data = codes.dequantize()
    x = torch.randn(5, 3, 10, generator=draw)
    results = []
    for base in (codes, dense):
        row_map = RowMap()
        layer = PackedLinear(base, "layer", row_map)
        draw.manual_seed(1)
        for slot in (0, 1):
            weight = linear_weight(layer.base).detach()
            adapter = SlotAdapter(weight, rank=2 + slot, scale=1.5, dropout=0.2, dora=dora, generator=draw)
            nn.init.normal_(adapter.lora_B, generator=draw)
            layer.adapters[slot] = adapter
        leaf = x.clone().requires_grad_(True)
        with row_map.over((Segment(0, 0, 2, 0, (1, 4)), Segment(1, 2, 5, 0, (2, 4)))):
            out = layer(leaf)
            out.backward(x.sum(dim=2, keepdim=True).expand_as(out).sin())
        results.append([out, leaf.grad, *(p.grad for a in layer.adapters.values() for p in a.parameters())])
    assert codes.weight.grad is None
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want)


def test_a_pack_trains_over_codes_as_over_their_numbers(bases: tuple[Any, Any], reviews: Any) -> None:
    """LoRA and DoRA in one pack, dropout on; codes stay what they were, and what is trained is fp32."""
    coded, dense = bases
    before = {n: p.detach().clone() for n, p in coded.model.named_parameters()}
    curves = []
    for base in (coded, dense):
        engine = Engine(base, reviews, capacity=2, device="cpu", precision="fp32")
        slots = [engine.admit(plan_run(f"t{i}", trial, i, reviews)) for i, trial in enumerate(TRIALS)]
        assert all(p.dtype == torch.float32 for s in slots for p in engine._slots[s].parameters.values())
        results = [engine.step() for _ in range(6)]
        curves.append([[r[s].loss for r in results] for s in slots])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-5)
    assert has_quantised(coded.model) and not has_quantised(dense.model)
    assert all(torch.equal(p, before[n]) for n, p in coded.model.named_parameters())


@pytest.mark.parametrize("method", ["full", "top-k"])
def test_a_method_that_trains_the_base_is_refused(bases: tuple[Any, Any], reviews: Any, method: str) -> None:
    """Codes cannot be trained; the sentence says what can."""
    engine = Engine(bases[0], reviews, device="cpu", precision="fp32")
    plan = plan_run("t", {"method": method, "top_k": 1, "learning_rate": 1e-3, "steps": 2}, 0, reviews)
    with pytest.raises(ModelError, match=f"'{method}' trains the base itself. Use lora or dora"):
        engine.admit(plan)
    engine.admit(plan_run("t", {**TRIALS[0], "method": "head"}, 0, reviews))


def test_a_quantised_layer_of_an_unknown_kind_is_refused() -> None:
    """Codes without a way back."""
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(torch.zeros(8, 1, dtype=torch.uint8), requires_grad=False)
    assert is_quantised(layer) and is_packable(layer)
    with pytest.raises(ModelError, match="one of bitsandbytes or have `dequantize"):
        dense_weight(layer)


@pytest.mark.parametrize("precision", four_bit.FOUR_BIT)
def test_four_bits_without_a_gpu_are_refused(tiny_encoder_path: Any, precision: str) -> None:
    """By the loader and by the engine, with the same sentence."""
    with pytest.raises(UsageError, match=r"needs an NVIDIA GPU, but the device is cpu\. Use --precision bf16"):
        load_base(resolve(str(tiny_encoder_path)), task="classification", num_labels=2, precision=precision)
    with pytest.raises(UsageError, match="needs an NVIDIA GPU"):
        resolve_precision(precision, torch.device("cpu"))


def test_four_bits_without_bitsandbytes_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """And on a GPU of AMD's that another precision is needed; a plain precision is never checked."""
    missing = {"bitsandbytes"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else object())
    with pytest.raises(UsageError, match=r"bitsandbytes cannot be imported\. Run: pip install bitsandbytes$"):
        four_bit.check_four_bit("nf4", "cuda:0")
    four_bit.check_four_bit("bf16", "cpu")
    missing.clear()
    four_bit.check_four_bit("nf4", "cuda")
    assert resolve_precision("4bit", torch.device("cuda")) == "nf4"
    monkeypatch.setattr(torch.version, "hip", "6.2")
    with pytest.raises(UsageError, match="the GPU is AMD's"):
        four_bit.check_four_bit("nf4", "cuda")


def test_the_base_is_read_as_nf4_with_double_quantisation_and_bf16_products() -> None:
    """The arguments of `from_pretrained`; heads and output embeddings stay whole."""
    assert four_bit.four_bit_arguments("bf16", "cuda") == {}
    arguments = four_bit.four_bit_arguments("nf4", "cuda:1")
    config = arguments["quantization_config"]
    assert arguments["device_map"] == {"": "cuda:1"}
    assert config.load_in_4bit and config.bnb_4bit_quant_type == "nf4" and config.bnb_4bit_use_double_quant
    assert config.bnb_4bit_compute_dtype == torch.bfloat16 == base_dtype("nf4")
    assert {"classifier", "score", "lm_head"} <= set(config.llm_int8_skip_modules)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_bitsandbytes_own_layers_train_in_a_pack(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded as nf4 on the CPU, where new versions compute too: the losses of the numbers that the codes stand for."""
    pytest.importorskip("bitsandbytes")
    from autoglm_nb.models import loading
    from autoglm_nb.training import precision

    for module in (loading, precision):
        monkeypatch.setattr(module, "check_four_bit", lambda *_: None)
    path = request.getfixturevalue(f"tiny_{kind}_path")
    data = request.getfixturevalue("reviews" if kind == "encoder" else "pairs")
    task: dict[str, Any] = {"task": "causal-lm"}
    if kind == "encoder":
        task = {"task": "classification", "label_names": ["negative", "positive"]}
    coded = load_base(resolve(str(path)), precision="nf4", **task)
    dense = load_base(resolve(str(path)), precision="bf16", **task)
    quantised = {name: module for name, module in coded.model.named_modules() if is_quantised(module)}
    assert quantised and not {"classifier", "lm_head"} & quantised.keys()
    for name, module in quantised.items():
        dense.model.get_submodule(name).weight.data = dense_weight(module).detach().to(torch.bfloat16)
    curves = []
    for base, kept in ((coded, "nf4"), (dense, "bf16")):
        engine = Engine(base, data, capacity=2, device="cpu", precision=kept)
        slots = [engine.admit(plan_run(f"t{i}", trial, i, data)) for i, trial in enumerate(TRIALS)]
        results = [engine.step() for _ in range(6)]
        curves.append([[r[s].loss for r in results] for s in slots])
        engine.evict(slots[1])
        assert len(run_losses(engine, engine.admit(plan_run("again", TRIALS[0], 1, data)), 1)) == 1
    np.testing.assert_allclose(curves[0], curves[1], rtol=0.02)


def test_an_engine_with_codes_can_be_copied_from(make_engine: Callable[..., Any], bases: tuple[Any, Any]) -> None:
    """`share_frozen` keeps the very codes: a packed copy of the modules takes no memory for them."""
    from autoglm_nb.models.apply import share_frozen

    shared = share_frozen(bases[0].model)
    names = [name for name, module in bases[0].model.named_modules() if is_quantised(module)]
    assert names
    for name in names:
        assert shared.get_submodule(name).weight is bases[0].model.get_submodule(name).weight
