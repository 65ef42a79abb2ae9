"""The engine against independent references, and its promises about slots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from autoglm_nb.data import BatchOrder, collate
from autoglm_nb.errors import ModelError, OutOfMemoryError, TrialError, UsageError
from autoglm_nb.training import plan_run
from tests.training.conftest import run_losses, weights

CONFIG: dict[str, Any] = {
    "method": "lora",
    "rank": 4,
    "alpha": 16,
    "dropout": 0.0,
    "target_modules": "attention",
    "learning_rate": 5e-3,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "linear",
    "batch_size": 8,
    "epochs": 10,
}


def peft_losses(base: Any, data: Any, plan: Any, initial: dict[str, torch.Tensor], steps: int) -> list[float]:
    """The same training written with PEFT, torch's AdamW and transformers' own losses and schedule."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, get_linear_schedule_with_warmup

    classify = base.task == "classification"
    auto = AutoModelForSequenceClassification if classify else AutoModelForCausalLM
    model = auto.from_pretrained(base.resolved.path, **({"num_labels": 2} if classify else {}))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.config.attention_probs_dropout_prob = 0.0
    for module in model.modules():
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = 0.0
    names = list(plan.config["_targets"])
    peft = get_peft_model(
        model,
        LoraConfig(
            task_type="SEQ_CLS" if classify else "CAUSAL_LM",
            r=plan.config["rank"],
            lora_alpha=plan.config["alpha"],
            lora_dropout=0.0,
            target_modules=names,
            use_rslora=plan.config.get("use_rslora", False),
            use_dora=plan.config["method"] == "dora",
            modules_to_save=["classifier"] if classify else None,
        ),
    )
    peft.train()
    trained = {
        n.replace(".modules_to_save.default", "").replace(".default", "").removesuffix(".weight"): p
        for n, p in peft.named_parameters()
        if p.requires_grad
    }
    assert trained.keys() == {n.removesuffix(".weight") for n in initial}
    with torch.no_grad():
        for name, value in initial.items():
            trained[name.removesuffix(".weight")].copy_(value)
    matrices = [p for p in trained.values() if p.ndim >= 2]
    vectors = [p for p in trained.values() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}],
        lr=plan.config["learning_rate"],
        foreach=False,
    )
    schedule = get_linear_schedule_with_warmup(optimizer, 0, plan.total_steps)
    order = BatchOrder(data.train.lengths, plan.batch_size, plan.seed)
    batches = [rows for epoch in range(100) for rows in order.batches(epoch)][:steps]
    losses = []
    for rows in batches:
        loss = peft(**collate(data.train, rows, data.pad_id)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("extra", [{}, {"method": "dora"}, {"use_rslora": True, "target_modules": "all-linear"}])
def test_a_solo_run_equals_peft_with_torch_adamw(
    make_engine: Callable[..., Any], kind: str, extra: dict[str, Any]
) -> None:
    """25 steps from the same initial weights on the same batches agree to 1e-5."""
    from autoglm_nb.models import target_modules

    engine = make_engine(kind)
    config = {**CONFIG, **extra}
    config["_targets"] = target_modules(engine.base.model, config["target_modules"])
    plan = plan_run("trial-0000", config, 3, engine.data)
    slot = engine.admit(plan)
    initial = {n: p.detach().clone() for n, p in engine._slots[slot].parameters.items()}
    ours = run_losses(engine, slot, 25)
    reference = peft_losses(engine.base, engine.data, plan, initial, 25)
    np.testing.assert_allclose(ours, reference, rtol=1e-5)
    assert ours[-1] < 0.9 * ours[0]


def test_initial_weights_have_pefts_distribution(make_engine: Callable[..., Any]) -> None:
    """A is uniform within 1/sqrt(in_features), B zero, DoRA's magnitude the norm of the frozen rows."""
    engine = make_engine()
    slot = engine.admit(plan_run("t", {**CONFIG, "method": "dora", "rank": 16}, 0, engine.data))
    for name, adapter in engine._slots[slot].adapters.items():
        weight = engine.base.model.get_submodule(name).weight
        bound = weight.shape[1] ** -0.5
        assert adapter.lora_A.abs().max() <= bound
        assert 0.9 < adapter.lora_A.std() / (bound / 3**0.5) < 1.1
        assert not adapter.lora_B.any()
        torch.testing.assert_close(adapter.magnitude.detach(), weight.norm(dim=1))


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_accumulation_has_the_gradient_of_the_whole_batch(
    make_engine: Callable[..., Any], kind: str, method: str
) -> None:
    """A batch of 8 in micro-batches of 3, 3 and 2 trains like the whole one, dropout included."""
    losses = []
    for micro_batch in (None, 3):
        engine = make_engine(kind)
        config = {**CONFIG, "method": method, "dropout": 0.2}
        slot = engine.admit(plan_run("t", config, 0, engine.data, micro_batch=micro_batch))
        results = [engine.step()[slot] for _ in range(6)]
        losses.append([r.loss for r in results] + [r.grad_norm for r in results])
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-5)


@pytest.mark.parametrize("method", ["lora", "dora", "adapter", "prompt", "p-tuning", "head", "top-k", "full"])
def test_the_base_is_pristine_after_every_method(make_engine: Callable[..., Any], method: str) -> None:
    """Training and evicting leaves every weight of the base exactly as it was, and training moved something."""
    engine = make_engine()
    before = weights(engine.base.model)
    plan = plan_run("t", {**CONFIG, "method": method, "prompt_length": 4, "top_k": 1}, 0, engine.data)
    slot = engine.admit(plan)
    initial = {n: p.detach().clone() for n, p in engine._slots[slot].parameters.items()}
    run_losses(engine, slot, 3)
    assert any(not torch.equal(p, initial[n]) for n, p in engine._slots[slot].parameters.items())
    engine.evict(slot)
    after = weights(engine.base.model)
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])
    assert not any(p.requires_grad for p in engine.base.model.parameters())


@pytest.mark.parametrize("method", ["lora", "adapter", "full"])
def test_the_same_seed_gives_the_same_losses_in_a_used_engine(make_engine: Callable[..., Any], method: str) -> None:
    """A second run in the same engine, with evaluations in between, repeats the first bit for bit."""
    engine = make_engine()
    plan = plan_run("t", {**CONFIG, "method": method, "dropout": 0.3}, 5, engine.data)
    slot = engine.admit(plan)
    first = run_losses(engine, slot, 6)
    engine.evict(slot)
    other = engine.admit(plan_run("o", {**CONFIG, "dropout": 0.1, "rank": 2}, 6, engine.data))
    run_losses(engine, other, 2)
    engine.evict(other)
    slot = engine.admit(plan)
    second = []
    for _ in range(6):
        second += run_losses(engine, slot, 1)
        engine.evaluate(slot, limit_rows=5)
        torch.rand(3)
    assert first == second


def test_another_seed_gives_other_losses(make_engine: Callable[..., Any]) -> None:
    """The seed reaches initial weights and data order."""
    engine = make_engine()
    losses = []
    for seed in (0, 1):
        slot = engine.admit(plan_run("t", CONFIG, seed, engine.data))
        losses.append(run_losses(engine, slot, 2))
        engine.evict(slot)
    assert losses[0] != losses[1]


def test_gradient_checkpointing_changes_nothing(make_engine: Callable[..., Any]) -> None:
    """Recomputed activations see the same rows and the same dropout masks."""
    losses, passes = [], []
    for flag in (False, True):
        engine = make_engine("decoder", gradient_checkpointing=flag)
        slot = engine.admit(plan_run("t", {**CONFIG, "dropout": 0.3}, 0, engine.data))
        layer = next(iter(engine._packed.layers.values()))
        seen: list[int] = []
        layer.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        losses.append(run_losses(engine, slot, 4))
        passes.append(len(seen))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    assert passes == [4, 8]


def test_memory_that_runs_out_while_moments_are_made_lets_the_step_be_repeated(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the first step of full fine-tuning: the repeated step has the losses of a calm run."""
    config = {"method": "full", "learning_rate": 1e-4, "batch_size": 8, "steps": 5}

    def admitted() -> tuple[Any, int]:
        engine = make_engine()
        return engine, engine.admit(plan_run("t", config, 0, engine.data))

    expected = run_losses(*admitted(), 3)
    engine, slot = admitted()
    real, made = torch.zeros_like, []

    def zeros_like(*args: Any, **options: Any) -> torch.Tensor:
        made.append(options.get("memory_format"))
        if made.count(torch.preserve_format) == 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "zeros_like", zeros_like)
        with pytest.raises(OutOfMemoryError):
            engine.step()
    np.testing.assert_allclose(run_losses(engine, slot, 3), expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["prompt", "p-tuning"])
def test_a_prompt_that_leaves_no_room_for_the_longest_text_is_refused(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The law, the three numbers and the remedy, before anything is trained."""
    engine = make_engine()
    monkeypatch.setattr(engine.base.tokenizer, "model_max_length", 60)
    config = {"method": method, "prompt_length": 50, "learning_rate": 1e-3, "batch_size": 8, "steps": 2}
    said = r"fit into the model's 60 positions, but 50 and \d+ tokens do not\. Use `--max-length 10` or a smaller"
    with pytest.raises(ModelError, match=said):
        engine.admit(plan_run("t", config, 0, engine.data))
    assert engine.admit(plan_run("t", {**config, "prompt_length": 20}, 0, engine.data)) == 0


def test_bf16_follows_fp32(make_engine: Callable[..., Any]) -> None:
    """With a bf16 base and fp32 adapters the loss curve stays within 3 % of the fp32 one."""
    curves = []
    for precision in ("fp32", "bf16"):
        engine = make_engine(precision=precision)
        slot = engine.admit(plan_run("t", CONFIG, 0, engine.data))
        assert all(p.dtype == torch.float32 for p in engine._slots[slot].parameters.values())
        curves.append(run_losses(engine, slot, 12))
    np.testing.assert_allclose(curves[0], curves[1], rtol=0.03)
    assert curves[0] != curves[1]


def test_lora_plus_moves_b_faster(make_engine: Callable[..., Any]) -> None:
    """With Adam's first step of size lr, B moves lora_plus_ratio times as far as the head."""
    engine = make_engine()
    config = {**CONFIG, "lora_plus_ratio": 4.0, "schedule": "constant", "weight_decay": 0.0}
    slot = engine.admit(plan_run("t", config, 0, engine.data))
    parameters = engine._slots[slot].parameters
    before = {n: p.detach().clone() for n, p in parameters.items()}
    engine.step()
    moved = {n: (p.detach() - before[n]).abs().max().item() for n, p in parameters.items()}
    assert moved["base_model.model.classifier.weight"] == pytest.approx(5e-3, rel=1e-3)
    fast = [v for n, v in moved.items() if "lora_B" in n]
    assert max(fast) == pytest.approx(4 * 5e-3, rel=1e-3)


def test_only_the_adapted_layers_are_reached_by_the_backward_pass(make_engine: Callable[..., Any]) -> None:
    """With the last layer adapted alone, the activations below it need no gradient."""
    engine = make_engine()
    last = "bert.encoder.layer.1.attention.self.query"
    slot = engine.admit(plan_run("t", {**CONFIG, "target_modules": [last]}, 0, engine.data))
    needs: dict[int, bool] = {}
    layers = engine._packed.model.bert.encoder.layer
    for i, layer in enumerate(layers):
        layer.register_forward_hook(lambda _, __, out, i=i: needs.__setitem__(i, _tensor(out).requires_grad))
    run_losses(engine, slot, 1)
    assert needs == {0: False, 1: True}


def _tensor(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]


def test_running_out_of_memory_leaves_the_engine_usable(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed allocation becomes OutOfMemoryError; the step can be repeated, and gives what it would have given."""
    import autoglm_nb.training.engine as module

    engine = make_engine()
    plan = plan_run("t", CONFIG, 0, engine.data)
    slot = engine.admit(plan)
    expected = run_losses(engine, slot, 3)
    engine.evict(slot)
    slot = engine.admit(plan)
    got = run_losses(engine, slot, 1)
    whole = module.pass_logits

    def full(*_: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(module, "pass_logits", full)
    with pytest.raises(OutOfMemoryError, match="smaller micro-batch"):
        engine.step()
    monkeypatch.setattr(module, "pass_logits", whole)
    engine.set_micro_batch(slot, 4)
    got += run_losses(engine, slot, 2)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_other_errors_pass_through_unchanged(make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that has nothing to do with memory is not dressed up as one."""
    import autoglm_nb.training.engine as module

    engine = make_engine()
    engine.admit(plan_run("t", CONFIG, 0, engine.data))

    def wrong(*_: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(module, "pass_logits", wrong)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        engine.step()


def test_rungs_fall_due_in_order_and_are_answered_by_evaluate(make_engine: Callable[..., Any]) -> None:
    """`due` names the rung until it is evaluated, and the last rung is the end of training."""
    engine = make_engine()
    plan = plan_run("t", {**CONFIG, "steps": 8}, 0, engine.data, rungs=4)
    slot = engine.admit(plan)
    seen = []
    while not engine.finished(slot):
        engine.step()
        rung = engine.due(slot)
        if rung is not None:
            assert engine.due(slot) == rung
            engine.evaluate(slot, limit_rows=4)
            assert engine.due(slot) is None
            seen.append((engine.step_of(slot), rung))
    assert seen == [(2, 1), (4, 2), (6, 3), (8, 4)]


def test_a_finished_slot_stands_still(make_engine: Callable[..., Any]) -> None:
    """`step` leaves out slots with nothing to do."""
    engine = make_engine()
    slot = engine.admit(plan_run("t", {**CONFIG, "steps": 1}, 0, engine.data))
    assert slot in engine.step()
    assert engine.finished(slot)
    assert engine.step() == {}


def test_a_full_engine_refuses_another_run(make_engine: Callable[..., Any]) -> None:
    """Capacity is a promise about memory; the message says what to do."""
    engine = make_engine(capacity=1)
    engine.admit(plan_run("a", CONFIG, 0, engine.data))
    with pytest.raises(TrialError, match="Evict one first"):
        engine.admit(plan_run("b", CONFIG, 0, engine.data))


def test_a_run_that_fails_on_its_way_in_leaves_no_adapter(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails after its adapters were attached: the next run in that slot must not meet them."""
    engine = make_engine()
    slot = engine.admit(plan_run("first", {"epochs": 1}, 0, engine.data))
    engine.evict(slot)

    def fails(_: int) -> int:
        raise OSError("no such file")

    with monkeypatch.context() as patched:
        patched.setattr(engine.packer, "rows_that_fit", fails)
        with pytest.raises(Exception, match="no such file"):
            engine.admit(plan_run("second", {"epochs": 1}, 0, engine.data))
    assert not any(engine._packed.row_map.layers.values())
    assert engine.admit(plan_run("third", {"epochs": 1}, 0, engine.data)) == slot


@pytest.mark.parametrize(
    ("value", "says"), [("triton", "needs tensors on a GPU|not installed"), ("tritn", "must be triton or torch")]
)
def test_kernels_that_this_device_cannot_run_are_refused_by_the_engine(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, value: str, says: str
) -> None:
    """At once, and not by each trial."""
    monkeypatch.setenv("AUTOGLM_KERNELS", value)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(UsageError, match=says):
        make_engine()


def test_a_rank_larger_than_the_layer_takes_no_slot(make_engine: Callable[..., Any]) -> None:
    """A refused run leaves its slot free."""
    engine = make_engine()
    with pytest.raises(ModelError, match="rank"):
        engine.admit(plan_run("a", {**CONFIG, "rank": 512}, 0, engine.data))
    engine.admit(plan_run("b", CONFIG, 0, engine.data))


def test_a_wrong_learning_rate_takes_no_slot(make_engine: Callable[..., Any]) -> None:
    """Nothing of a refused run stays attached to the packed model."""
    engine = make_engine()
    with pytest.raises(UsageError, match="learning_rate"):
        engine.admit(plan_run("a", {**CONFIG, "learning_rate": 0.0}, 0, engine.data))
    assert not any(layer.adapters for layer in engine._packed.layers.values())
    engine.admit(plan_run("b", CONFIG, 0, engine.data))


def test_a_diverged_run_reports_its_failure_and_stops(make_engine: Callable[..., Any]) -> None:
    """A loss that is not finite fails the slot without an update; the weights stay as they were."""
    engine = make_engine()
    slot = engine.admit(plan_run("t", CONFIG, 0, engine.data))
    run_losses(engine, slot, 1)
    run = engine._slots[slot]
    with torch.no_grad():
        next(iter(run.adapters.values())).lora_B.fill_(float("inf"))
    before = {n: p.detach().clone() for n, p in run.parameters.items()}
    result = engine.step()[slot]
    assert result.failure is not None and "finite" in str(result.failure)
    assert not result.updated and not np.isfinite(result.loss)
    assert engine.finished(slot)
    assert all(torch.equal(p, before[n]) for n, p in run.parameters.items())


def test_seconds_are_accounted_and_tokens_are_real_ones(make_engine: Callable[..., Any]) -> None:
    """Padding is not counted, and model time is part of the whole."""
    engine = make_engine()
    plan = plan_run("t", CONFIG, 0, engine.data)
    slot = engine.admit(plan)
    result = engine.step()[slot]
    rows = BatchOrder(engine.data.train.lengths, 8, 0).batches(0)[0]
    assert result.tokens == int(engine.data.train.lengths[rows].sum())
    assert 0.0 < result.model_seconds <= result.seconds


def test_trainable_share_counts_adapter_and_head(make_engine: Callable[..., Any]) -> None:
    """LoRA's share is adapter plus head over base plus adapter, the head counted once; full is 1."""
    engine = make_engine()
    slot = engine.admit(plan_run("t", {**CONFIG, "target_modules": "qv"}, 0, engine.data))
    total = sum(p.numel() for p in engine.base.model.parameters())
    lora = 4 * 4 * (32 + 32)
    assert engine.trainable_share(slot) == pytest.approx((lora + 66) / (total + lora))
    assert engine.adapter_bytes(slot) == 4 * (lora + 66)
    engine.evict(slot)
    slot = engine.admit(plan_run("t", {**CONFIG, "method": "full"}, 0, engine.data))
    assert engine.trainable_share(slot) == 1.0


def test_a_loss_scale_changes_no_loss_and_repeats_an_overflowed_batch(
    make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """fp16's scaling, here without fp16: powers of two are exact, and an infinite gradient costs only time."""
    from autoglm_nb.training.slots import LossScale, Slot, UpdateNorms

    plan = plan_run("t", CONFIG, 0, make_engine().data)
    engine = make_engine()
    expected = run_losses(engine, engine.admit(plan), 6)
    engine = make_engine()
    slot = engine.admit(plan)
    run = engine._slots[slot]
    run.scale = LossScale()
    got = run_losses(engine, slot, 3)
    plain = Slot.norms

    def overflow(self: Slot, loss: torch.Tensor) -> UpdateNorms:
        return UpdateNorms(loss, torch.tensor(float("inf")))

    with monkeypatch.context() as patch:
        patch.setattr(Slot, "norms", overflow)
        result = engine.step()[slot]
    assert Slot.norms is plain
    assert not result.updated and result.failure is None
    assert run.step == 3 and run.scale.scale == 2.0**15
    assert got + run_losses(engine, slot, 3) == expected
