"""`--dry-run`: what would run, and about how much time, memory and disk it would take.

Time comes from counting: a forward and backward pass through frozen weights
costs about 4 operations per parameter and token (2 forward, 2 for the gradient
with respect to activations; Kaplan et al. 2020, section 2.1, count 2 per
forward pass), divided by what a short matrix product reaches on this machine
now. It is an estimate for the CPU; on a GPU the time is left out.

Memory is the frozen base in its number format, what the trials side by side
hold (adapters, or copies of all weights, with gradients and Adam's moments), and
the largest pass by the engine's own model of activations before it has measured
any. An engine that finds less room makes its passes smaller.
"""

from __future__ import annotations

import time
from typing import Any

from autoglm_nb import data, models
from autoglm_nb.models import ModelReport
from autoglm_nb.models.methods import LORA_METHODS
from autoglm_nb.protocol import StudySpec
from autoglm_nb.resources import available_memory_gb, disk_free, gpu_free_gb
from autoglm_nb.session.planning import Plan
from autoglm_nb.space import Space
from autoglm_nb.training.costs import SHARE_OF_MEMORY, MemoryModel, PassShape, activation_bytes
from autoglm_nb.tuning import goal

__all__ = ["dry_run"]

EFFICIENCY = 0.4
"""Share of the matrix product's speed that training reaches (short texts, small products)."""

NF4_BYTES = 0.516
"""Of a number in 4 bits with its share of the doubly quantised scales (Dettmers et al. 2023, section 3)."""

PACKED_COPIES = 3
"""Frozen matrices on a CPU: as loaded, and laid out for products with W and with its transpose."""

PROCESS_GB = 0.6
"""Of a worker with its libraries, before a model."""

SIDE_BY_SIDE = 4
"""Trials at once, where their number is to be measured."""

STATE_BYTES = 16.0
"""Of a trained parameter: itself, its gradient and Adam's two moments in fp32."""

EVALUATION_SHARE = 0.25
TOKENS_PER_TEXT = 32
"""Where nothing is known about the length of the texts."""


def dry_run(plan: Plan) -> dict[str, Any]:
    """A description as plain JSON: study, space, predicted seconds, GB of memory and MB of disk.

    Figures that cannot be predicted are None.
    """
    spec = plan.spec
    space = Space.from_json(spec.space)
    described: dict[str, Any] = {
        "study": spec.name,
        "task": spec.task or "custom objective",
        "model": spec.model,
        "data": spec.data.source,
        "metric": goal.metrics_of(spec),
        "strategy": spec.strategy,
        "trials": spec.trials,
        "budget_seconds": spec.budget_seconds,
        "space": space.describe(),
        "configurations": space.cardinality(),
        "seconds": None,
        "memory_gb": None,
        "disk_mb": None,
        "disk_free_mb": round(disk_free(plan.home.parent if not plan.home.exists() else plan.home) / 2**20),
    }
    if spec.objective is not None:
        return described
    report = models.check(spec.model)
    rows = data.check(spec.data, spec.task)
    tokens = min(spec.max_length or 128, TOKENS_PER_TEXT)
    config = goal.baseline_config(spec, model=spec.model, decoder=report.family == "decoder")
    epochs = float(config.get("epochs", 1))
    train_rows = 0.8 * min(rows.rows, spec.data.max_rows or rows.rows)
    runs = (spec.trials or 0) + (1 if spec.baseline else 0) + spec.seeds * (2 if spec.baseline else 1)
    operations = 4 * report.matrices * tokens * train_rows * epochs * (1 + EVALUATION_SHARE)
    on_gpu = gpu_free_gb(spec.device)
    if on_gpu is None and spec.device in ("auto", "cpu") and spec.trials is not None:
        described["seconds"] = round(runs * operations / (EFFICIENCY * _operations_per_second()))
    free = available_memory_gb() if on_gpu is None else on_gpu
    described["memory_gb"] = round(memory_gb(spec, report, free, gpu=on_gpu is not None), 2)
    described["memory_free_gb"] = round(free, 2)
    adapter = 4 * adapter_parameters(space, report)
    described["disk_mb"] = round(runs * 3 * adapter / 2**20 + 1, 1)
    described["training_rows"] = round(train_rows)
    return described


def memory_gb(spec: StudySpec, report: ModelReport, free: float, *, gpu: bool) -> float:
    """What a study's worker needs at its largest pass, in GiB: of the device's memory on a GPU.

    Args:
        free: GiB. Trials share a pass as far as it goes; one whose batch alone needs more is split.
        gpu: it trains on one. Elsewhere `auto` is taken for fp32.
    """
    space = Space.from_json(spec.space)
    widths = {"fp32": 4.0, "auto": 2.0 if gpu else 4.0}
    width = widths.get(spec.precision, 2.0)
    methods = set(goal.choices(space, "method", "lora"))
    packs = bool(methods & set(LORA_METHODS))
    copies = PACKED_COPIES if packs and not gpu else 1
    matrix_width = NF4_BYTES if spec.precision in ("nf4", "4bit") else width
    base = report.matrices * matrix_width * copies + report.embeddings * width

    alone = not packs or spec.base_dropout or "memory_gb" in goal.judged(spec)
    side_by_side = 1 if alone else spec.pack or SIDE_BY_SIDE
    held = side_by_side * adapter_parameters(space, report)
    if "top-k" in methods:
        deepest = max(int(count) for count in goal.choices(space, "top_k", 2))
        held = max(held, report.matrices * min(1.0, deepest / report.layers))
    if "full" in methods:
        held = float(report.matrices + report.embeddings)
    held *= STATE_BYTES

    default = goal.baseline_config(spec, model=spec.model, decoder=report.family == "decoder")
    batch = max(int(size) for size in goal.choices(space, "batch_size", default.get("batch_size", 16)))
    positions = min(spec.max_length or (256 if spec.task == "causal-lm" else 128), report.max_length or 10**9)
    layers = 1 if spec.gradient_checkpointing else report.layers
    prior = activation_bytes(report.hidden_size, layers, report.intermediate_size, report.heads, width)
    one = MemoryModel(*prior).predict(PassShape(batch, positions))
    if spec.gradient_checkpointing:  # the input of each layer is kept
        one += batch * positions * report.hidden_size * report.layers * width
    standing = PROCESS_GB * 2**30 + base + held
    room = SHARE_OF_MEMORY * (free * 2**30 - standing)
    return (standing + max(one, min(side_by_side * one, room))) / 2**30


def adapter_parameters(space: Space, report: ModelReport) -> float:
    """Parameters of the largest LoRA adapter of a space."""
    rank = max(int(rank) for rank in goal.choices(space, "rank", 16))
    hidden, values, wide = report.hidden_size, report.key_value_size, report.intermediate_size
    ends = 2 * hidden + hidden + values  # query and value
    if "all-linear" in goal.choices(space, "target_modules", "qv"):
        ends += 2 * hidden + hidden + values + 3 * (hidden + wide)
    return float(rank * ends * report.layers)


def _operations_per_second() -> float:
    """Speed of a matrix product on this machine now, from about 0.1 s of it."""
    import numpy

    size = 384
    a = numpy.ones((size, size), dtype=numpy.float32)
    a @ a
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < 0.1:
        a @ a
        done += 1
    return 2.0 * size**3 * done / (time.perf_counter() - began)
