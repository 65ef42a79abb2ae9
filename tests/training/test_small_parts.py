"""Plans, precision, memory, optimizers, losses and metrics."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from autoglm_nb.errors import OutOfMemoryError, UsageError
from autoglm_nb.training.heads import fresh_head
from autoglm_nb.training.loss import labelled_positions, segment_losses, terms_per_row
from autoglm_nb.training.memory import PassMemory, PeakMemory, is_out_of_memory
from autoglm_nb.training.metrics import accuracy, latency_percentiles, macro_f1, perplexity, stratified_rows
from autoglm_nb.training.optimizers import OPTIMIZERS, make_optimizer, parameter_groups
from autoglm_nb.training.plan import DEFAULTS, plan_run
from autoglm_nb.training.precision import resolve_device, resolve_precision
from autoglm_nb.training.rounds import Epochs
from autoglm_nb.training.slots import LossScale


def data(rows: int = 100, task: str = "classification") -> Any:
    return SimpleNamespace(task=task, train=SimpleNamespace(lengths=np.full(rows, 7)))


# -- plans


def test_steps_follow_rows_batch_and_epochs() -> None:
    """100 rows in batches of 32 are 4 steps an epoch; epochs may be fractions; `steps` wins."""
    plan = plan_run("t", {"batch_size": 32, "epochs": 2.5}, 0, data(), rungs=3)
    assert (plan.steps_per_epoch, plan.total_steps, plan.rung_steps, plan.rungs) == (4, 10, (3, 7, 10), 3)
    assert plan_run("t", {"batch_size": 32, "epochs": 2, "steps": 7}, 0, data()).total_steps == 7
    assert plan_run("t", {"batch_size": 500, "epochs": 1}, 0, data()).batch_size == 100


def test_rung_numbers_mean_the_same_share_in_short_runs() -> None:
    """A run of two steps still has four rungs."""
    assert plan_run("t", {"steps": 2}, 0, data(), rungs=4).rung_steps == (1, 1, 2, 2)
    assert plan_run("t", {"steps": 9}, 0, data(), rungs=[0.1, 0.5]).rung_steps == (1, 4, 9)


def test_a_plan_is_completed_and_a_seed_in_the_configuration_wins() -> None:
    """What the configuration leaves out comes from DEFAULTS."""
    plan = plan_run("t", {"learning_rate": 0.5, "seed": 9}, 3, data())
    assert plan.config["learning_rate"] == 0.5 and plan.seed == 9
    assert all(plan.config[k] == v for k, v in DEFAULTS.items() if k != "learning_rate")


@pytest.mark.parametrize(
    ("config", "rows", "what"),
    [({"batch_size": 0}, 9, "batch_size"), ({"epochs": 0}, 9, "epochs"), ({"steps": -1}, 9, "steps"), ({}, 0, "row")],
)
def test_impossible_plans_are_refused(config: dict[str, Any], rows: int, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        plan_run("t", config, 0, data(rows))


def test_planning_loads_no_torch() -> None:
    """The room's front door and its plans are cheap to import."""
    code = "import sys, autoglm_nb.training, autoglm_nb.training.plan; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


# -- device and precision


@pytest.mark.parametrize(
    ("native", "gain", "expected", "why"),
    [(False, 9.0, "fp32", "does not multiply in bf16"), (True, 1.1, "fp32", "1.1 times"), (True, 2.0, "bf16", "2.0")],
)
def test_auto_on_a_cpu_means_bf16_where_it_is_native_and_pays(
    monkeypatch: pytest.MonkeyPatch, native: bool, gain: float, expected: str, why: str
) -> None:
    """Emulated bf16 is never chosen, native bf16 only when measured faster; the choice gives its reason."""
    from autoglm_nb.training import precision

    monkeypatch.setattr(precision, "_native_bf16", lambda: native)
    monkeypatch.setattr(precision, "_bf16_gain", lambda: gain)
    cpu = resolve_device("cpu")
    assert resolve_precision("auto", cpu) == expected
    said = precision.explain_precision("auto", cpu)
    assert said.startswith(expected) and why in said
    assert resolve_precision("bf16", cpu) == "bf16" and precision.explain_precision("bf16", cpu).startswith("bf16")


def test_the_measured_gain_of_bf16_is_a_ratio() -> None:
    """The measurement itself, whatever it says here."""
    from autoglm_nb.training.precision import _bf16_gain, _native_bf16

    assert 0.01 < _bf16_gain() < 100.0 and isinstance(_native_bf16(), bool)


@pytest.mark.parametrize(("precision", "what"), [("fp16", "GPU"), ("bf61", "bf16")])
def test_what_the_device_lacks_is_refused(precision: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        resolve_precision(precision, torch.device("cpu"))


@pytest.mark.parametrize("device", ["gpu0", "cuda:99"])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match="device"):
        resolve_device(device)


def test_the_loss_scale_halves_until_it_explains_nothing() -> None:
    """Doubles after the interval, halves on a bad step, gives up below one."""
    scale = LossScale(scale=4.0, interval=2)
    scale.good()
    scale.good()
    assert scale.scale == 8.0
    assert [scale.bad() for _ in range(4)] == [True, True, True, False]


# -- memory


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("could not create a primitive: out of memory"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (OutOfMemoryError("x"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_failed_allocations_are_told_from_other_errors(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_cause_further_down_counts() -> None:
    """Libraries wrap what they catch."""
    try:
        try:
            raise MemoryError
        except MemoryError as inner:
            raise ValueError("loading failed") from inner
    except ValueError as error:
        assert is_out_of_memory(error)


def test_a_real_failed_allocation_is_recognised() -> None:
    """torch's own message for an absurd tensor."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.float64)
    assert is_out_of_memory(caught.value)


def test_peak_memory_sees_what_was_freed_again() -> None:
    """A 200 MB array that is gone is still in the peak, and a reset forgets it (on Linux)."""
    peak = PeakMemory(torch.device("cpu"))
    peak.reset()
    before = peak.read_gb()
    block = np.ones(25_000_000)
    del block
    assert peak.read_gb() > before + 0.15
    if sys.platform == "linux":
        peak.reset()
        assert peak.read_gb() < before + 0.1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")
def test_an_older_peak_is_not_taken_for_a_passs_memory() -> None:
    """200 MB that came and went before the pass, as a model being loaded does, are not its own; they are still told."""
    noted: list[float] = []
    peak = PeakMemory(torch.device("cpu"))
    watch = PassMemory(torch.device("cpu"), lambda: noted.append(peak.read_gb()))
    assert watch.begin(10, 0.0)
    watch.end()
    before = peak.read_gb()
    block = np.ones(25_000_000)
    del block
    assert watch.begin(20, 0.0)
    assert watch.end() < 0.1 * 2**30
    assert noted[-1] > before + 0.15


def test_runs_at_different_epochs_of_one_order_do_not_make_it_anew_at_every_step() -> None:
    """Trials of one seed and batch size that began at different times: each epoch is ordered once."""
    made: list[int] = []

    def batches(epoch: int) -> list[list[int]]:
        made.append(epoch)
        return [[epoch, i] for i in range(3)]

    epochs = Epochs(SimpleNamespace(batches=batches))
    for index in range(3):
        assert [epochs.batch(epoch, index) for epoch in (0, 2)] == [[0, index], [2, index]]
    assert made == [0, 2]


# -- optimizers


def parameters() -> dict[str, torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"m.lora_A.weight": (3, 5), "m.lora_B.weight": (4, 3), "m.lora_magnitude_vector": (4,), "head.bias": (2,)}
    return {n: torch.nn.Parameter(torch.randn(s, generator=generator)) for n, s in shapes.items()}


def test_only_matrices_decay_and_b_is_faster_under_lora_plus() -> None:
    groups = parameter_groups(parameters(), learning_rate=0.1, weight_decay=0.2, lora_plus_ratio=4.0)
    found = {name: (g["lr"], g["weight_decay"]) for g in groups for name in g["names"]}
    assert found == {
        "m.lora_A.weight": (0.1, 0.2), "m.lora_B.weight": (0.4, 0.2),
        "m.lora_magnitude_vector": (0.1, 0.0), "head.bias": (0.1, 0.0),
    }  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_is_torchs_own(name: str) -> None:
    """Ten steps agree with the plain optimizer built by hand."""
    ours, theirs = parameters(), parameters()
    config = {**DEFAULTS, "optimizer": name, "learning_rate": 0.01, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.99}
    optimizer = make_optimizer(ours, config)
    groups = [
        {"params": [p for p in theirs.values() if p.ndim == 2], "weight_decay": 0.1},
        {"params": [p for p in theirs.values() if p.ndim == 1], "weight_decay": 0.0},
    ]
    made = {
        "adamw": lambda: torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.99), foreach=False),
        "adam": lambda: torch.optim.Adam(groups, lr=0.01, betas=(0.8, 0.99), foreach=False),
        "sgd": lambda: torch.optim.SGD(groups, lr=0.01, momentum=0.9, foreach=False),
        "adafactor": lambda: torch.optim.Adafactor(groups, lr=0.01, foreach=False),
    }[name]()
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        for mine, other in zip(ours.values(), theirs.values(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        optimizer.step()
        made.step()
    for n, p in ours.items():
        torch.testing.assert_close(p, theirs[n], rtol=1e-5, atol=1e-7)


def test_an_unknown_optimizer_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="adamw"):
        make_optimizer(parameters(), {**DEFAULTS, "optimizer": "adamx"})


# -- losses and heads


def test_terms_are_labelled_tokens_after_the_shift() -> None:
    """The first token has no predictor; the last position predicts nothing."""
    labels = torch.tensor([[5, -100, 6, 7], [-100, -100, -100, -100], [-100, 1, -100, -100]])
    assert terms_per_row(labels, "causal-lm").tolist() == [2, 0, 1]
    assert labelled_positions(labels).tolist() == [
        [False, True, True, False], [False] * 4, [True, False, False, False],
    ]  # fmt: skip
    assert terms_per_row(torch.tensor([1, 0]), "classification").tolist() == [1, 1]


def test_segment_losses_are_each_its_own_cross_entropy() -> None:
    """Label smoothing and row ranges per segment; an empty segment contributes nothing."""
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(7, 5, generator=generator), torch.randint(0, 5, (7,), generator=generator)
    got = segment_losses(logits, targets, [3, 0, 4], [0.0, 0.0, 0.2])
    one = torch.nn.functional.cross_entropy(logits[:3], targets[:3], reduction="sum")
    three = torch.nn.functional.cross_entropy(logits[3:], targets[3:], reduction="sum", label_smoothing=0.2)
    torch.testing.assert_close(torch.stack(got), torch.stack([one, torch.tensor(0.0), three]))


def test_a_fresh_head_follows_its_seed_alone() -> None:
    """The same seed gives the same head whatever the global generator did; the original is untouched."""
    original = torch.nn.Linear(64, 50)
    kept = original.weight.detach().clone()
    options: dict[str, Any] = {"name": "classifier", "std": 0.02, "device": torch.device("cpu")}
    one = fresh_head(original, seed=1, **options)
    torch.rand(5)
    again, other = fresh_head(original, seed=1, **options), fresh_head(original, seed=2, **options)
    assert torch.equal(one.weight, again.weight) and not torch.equal(one.weight, other.weight)
    assert one.weight.std().item() == pytest.approx(0.02, rel=0.1) and not one.bias.any()
    assert torch.equal(original.weight, kept)


# -- metrics


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_and_macro_f1_are_scikit_learns(seed: int) -> None:
    """Random labels, with classes missing from truth or prediction."""
    from sklearn.metrics import accuracy_score, f1_score

    generator = np.random.default_rng(seed)
    truth, predicted = generator.integers(0, 4, 63), generator.integers(1, 6, 63)
    assert accuracy(truth, predicted) == pytest.approx(accuracy_score(truth, predicted))
    assert macro_f1(truth, predicted) == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))


def test_perplexity_and_percentiles() -> None:
    assert perplexity(np.log(50.0)) == pytest.approx(50.0)
    assert perplexity(1e4) == float("inf")
    assert latency_percentiles([i / 1000 for i in range(101)]) == pytest.approx((50.0, 95.0))


def test_a_subset_is_fixed_stratified_and_within_its_limit() -> None:
    """Shares of classes are kept to a row; a rare class is not lost; a large limit takes all."""
    labels = np.array([0] * 70 + [1] * 28 + [2] * 2)
    rows = stratified_rows(labels, 100, 20)
    assert len(rows) == len(set(rows.tolist())) == 20
    assert np.bincount(labels[rows]).tolist() in ([13, 6, 1], [14, 5, 1])
    assert rows.tolist() == stratified_rows(labels, 100, 20).tolist()
    assert stratified_rows(labels, 100, 1000).tolist() == list(range(100))
    assert len(stratified_rows(None, 100, 10)) == 10
    assert len(stratified_rows(np.arange(50), 50, 7)) == 7
