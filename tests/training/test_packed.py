"""Several runs in one pass: each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from autoglm_nb.errors import OutOfMemoryError, UsageError
from autoglm_nb.training import plan_run
from autoglm_nb.training.packed import PackedLinear, RowMap, Segment
from tests.training.conftest import run_losses, shared_step

pytestmark = pytest.mark.usefixtures("dear_passes")

MIXED: list[dict[str, Any]] = [
    {"rank": 4, "dropout": 0.1, "batch_size": 8, "learning_rate": 5e-3, "steps": 14, "target_modules": "qv"},
    {"rank": 7, "dropout": 0.3, "batch_size": 5, "learning_rate": 2e-3, "steps": 14, "target_modules": "all-linear",
     "optimizer": "sgd", "label_smoothing": 0.1, "use_rslora": True},
    {"rank": 16, "dropout": 0.2, "batch_size": 13, "learning_rate": 1e-3, "steps": 9, "method": "dora",
     "weight_decay": 0.1, "schedule": "cosine", "max_grad_norm": 0.1},
    {"rank": 2, "dropout": 0.0, "batch_size": 3, "learning_rate": 1e-3, "steps": 14, "target_modules": "attention",
     "schedule": "adaptive", "optimizer": "adafactor", "lora_plus_ratio": 8.0},
]  # fmt: skip


def plans(engine: Any, micro_batch: int | None = None) -> list[Any]:
    return [
        plan_run(f"trial-{i}", config, 10 + i, engine.data, micro_batch=micro_batch) for i, config in enumerate(MIXED)
    ]


def solo(make_engine: Callable[..., Any], kind: str, micro_batch: int | None = None) -> list[list[float]]:
    engine = make_engine(kind)
    curves = []
    for plan in plans(engine, micro_batch):
        slot = engine.admit(plan)
        curves.append(run_losses(engine, slot, plan.total_steps))
        engine.evict(slot)
    return curves


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("micro_batch", [None, 4])
@pytest.mark.slow
def test_packed_losses_equal_solo_losses(make_engine: Callable[..., Any], kind: str, micro_batch: int | None) -> None:
    """Mixed ranks, dropouts, batch sizes, targets, optimizers and methods; one run joins late, one leaves early."""
    expected = solo(make_engine, kind, micro_batch)
    engine = make_engine(kind, capacity=3)
    waiting = plans(engine, micro_batch)
    slots = {engine.admit(plan): i for i, plan in enumerate(waiting[:3])}
    curves: list[list[float]] = [[] for _ in MIXED]
    joined = False
    while slots:
        for slot, result in shared_step(engine).items():
            curves[slots[slot]].append(result.loss)
        for slot in [s for s in slots if engine.finished(s)]:
            engine.evict(slot)
            del slots[slot]
            if not joined:
                slots[engine.admit(waiting[3])] = 3
                joined = True
    for got, want in zip(curves, expected, strict=True):
        assert len(got) == len(want)
        np.testing.assert_allclose(got, want, rtol=1e-4)


def test_a_pruned_neighbour_leaves_without_a_trace(make_engine: Callable[..., Any]) -> None:
    """Evicting one run in mid-training does not move the others' curves."""
    expected = solo(make_engine, "encoder")
    engine = make_engine(capacity=2)
    first, second = (engine.admit(plan) for plan in plans(engine)[:2])
    curve = []
    for step in range(14):
        curve.append(shared_step(engine)[first].loss)
        if step == 4:
            engine.evict(second)
    np.testing.assert_allclose(curve, expected[0], rtol=1e-4)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_diverging_neighbour_changes_no_bit_of_the_others(make_engine: Callable[..., Any], kind: str) -> None:
    """NaN in one slot's adapter: the others' losses, gradients and updated weights of that step are identical."""
    outcomes = []
    for poison in (False, True):
        engine = make_engine(kind, capacity=3)
        slots = [engine.admit(plan) for plan in plans(engine)[:3]]
        for _ in range(3):
            shared_step(engine)
        if poison:
            with torch.no_grad():
                for adapter in engine._slots[slots[1]].adapters.values():
                    adapter.lora_B.fill_(float("nan"))
        results = shared_step(engine)
        assert results.keys() == set(slots)
        assert (results[slots[1]].failure is not None) is poison
        others = [(results[s], engine._slots[s].parameters) for s in (slots[0], slots[2])]
        outcomes.append([(r.loss, r.grad_norm, {n: p.detach().clone() for n, p in w.items()}) for r, w in others])
        assert results[slots[0]].failure is None
        assert slots[1] not in engine.step() or not poison
    for (loss, norm, parameters), (loss_2, norm_2, parameters_2) in zip(*outcomes, strict=True):
        assert loss == loss_2 and norm == norm_2
        assert all(torch.equal(p, parameters_2[n]) for n, p in parameters.items())


def test_an_exploding_neighbour_changes_no_bit_of_the_others(make_engine: Callable[..., Any]) -> None:
    """Infinity instead of NaN, in the head instead of the adapter."""
    losses = []
    for poison in (False, True):
        engine = make_engine(capacity=2)
        slots = [engine.admit(plan) for plan in plans(engine)[:2]]
        shared_step(engine)
        if poison:
            with torch.no_grad():
                engine._slots[slots[1]].heads["classifier"].weight.fill_(float("inf"))
        losses.append((shared_step(engine)[slots[0]].loss, engine._slots[slots[0]].heads["classifier"].weight.tolist()))
    assert losses[0] == losses[1]


def test_a_step_tells_who_shared_a_pass(make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As the packer decided: the first and the third together, the second by itself."""
    engine = make_engine(capacity=3)
    first, second, third = (engine.admit(plan) for plan in plans(engine)[:3])
    monkeypatch.setattr(engine.packer, "groups", lambda shapes: [[0, 2], [1]])
    shared = {slot: result.neighbours for slot, result in engine.step().items()}
    assert shared == {first: {third}, second: set(), third: {first}}


def test_other_methods_run_beside_a_pack(make_engine: Callable[..., Any]) -> None:
    """What cannot share a pass has one of its own; neither changes the other."""
    config = {"method": "top-k", "top_k": 1, "learning_rate": 1e-3, "batch_size": 8}
    engine = make_engine()
    slot = engine.admit(plan_run("k", config, 1, engine.data))
    alone = run_losses(engine, slot, 4)
    engine = make_engine(capacity=2)
    lora, top = engine.admit(plans(engine)[0]), engine.admit(plan_run("k", config, 1, engine.data))
    together = [engine.step() for _ in range(4)]
    assert [r[top].loss for r in together] == alone
    np.testing.assert_allclose([r[lora].loss for r in together], solo(make_engine, "encoder")[0][:4], rtol=1e-4)


def test_evaluating_one_slot_of_a_pack_uses_its_own_parameters(make_engine: Callable[..., Any]) -> None:
    """Each slot's metrics in the pack are those it has alone, and differ between slots."""
    engine = make_engine(capacity=2)
    slots = [engine.admit(plan) for plan in plans(engine)[:2]]
    for _ in range(10):
        shared_step(engine)
    packed = [engine.evaluate(s)["loss"] for s in slots]
    alone = []
    for plan in plans(make_engine())[:2]:
        one = make_engine()
        slot = one.admit(plan)
        run_losses(one, slot, 10)
        alone.append(one.evaluate(slot)["loss"])
    np.testing.assert_allclose(packed, alone, rtol=1e-4)
    assert abs(packed[0] - packed[1]) > 1e-3


def test_base_dropout_cannot_be_packed(encoder: Any, reviews: Any) -> None:
    """The base's own dropout draws for all rows at once; the engine refuses to share that."""
    from autoglm_nb.models import load_base
    from autoglm_nb.training import Engine

    base = load_base(encoder.resolved, task="classification", label_names=["a", "b"], base_dropout=True)
    with pytest.raises(UsageError, match="capacity=2"):
        Engine(base, reviews, capacity=2, device="cpu")
    losses = []
    for _ in range(2):
        engine = Engine(base, reviews, device="cpu", precision="fp32")
        slot = engine.admit(plan_run("t", MIXED[0], 0, reviews))
        torch.rand(1)
        losses.append(run_losses(engine, slot, 3))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("dora", [False, True])
def test_gradients_of_a_packed_layer_match_finite_differences(dora: bool) -> None:
    """`gradcheck` in fp64 over two slots of different rank, dropout on, odd sizes."""
    from autoglm_nb.training.lowrank import SlotAdapter

    generator = torch.Generator().manual_seed(0)
    base = torch.nn.Linear(5, 7).double().requires_grad_(False)
    row_map = RowMap()
    layer = PackedLinear(base, "layer", row_map)
    tensors = []
    for slot, rank in ((0, 3), (1, 2)):
        adapter = SlotAdapter(base.weight, rank=rank, scale=1.7, dropout=0.25, dora=dora, generator=generator).double()
        with torch.no_grad():
            adapter.lora_B.normal_(generator=generator)
        layer.adapters[slot] = adapter
        tensors += [adapter.lora_A, adapter.lora_B]
    x = torch.randn(5, 3, 5, dtype=torch.float64, generator=generator, requires_grad=True)

    def forward(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        with row_map.over((Segment(0, 0, 2, 0, (1, 4)), Segment(1, 2, 5, 0, (2, 4)))):
            if dora:  # the norm carries no gradient by definition: hold it still for the differences
                for a in layer.adapters.values():
                    a._norm = torch.ones(7, dtype=torch.float64)
            return layer(x)

    assert torch.autograd.gradcheck(forward, (x, *tensors))


def test_who_cannot_step_repeats_it_and_costs_the_others_nothing(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory for one run's moments is missing beside another that has stepped already: no step is made twice."""

    def admitted() -> tuple[Any, list[int]]:
        engine = make_engine(capacity=2)
        return engine, [engine.admit(plan) for plan in plans(engine)[:2]]

    calm, slots = admitted()
    expected = [[result.loss for result in calm.step().values()] for _ in range(3)]
    engine, slots = admitted()
    last = engine._slots[slots[1]]
    with monkeypatch.context() as patched:
        patched.setattr(last.optimizer, "step", lambda: torch.empty(2**50, dtype=torch.uint8))
        first = engine.step()
        assert [first[slot].updated for slot in slots] == [True, False]
        with pytest.raises(OutOfMemoryError):
            engine.step([slots[1]])
    again = engine.step([slots[1]])
    np.testing.assert_allclose([first[slots[0]].loss, again[slots[1]].loss], expected[0], rtol=1e-6)
    for want in expected[1:]:
        np.testing.assert_allclose([result.loss for result in engine.step().values()], want, rtol=1e-4)
