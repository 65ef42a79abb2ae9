"""`--dry-run`: what would run, and about how much time, memory and disk it would take.

Time comes from counting: a forward and backward pass through frozen weights
costs about 4 operations per parameter and token (2 forward, 2 for the gradient
with respect to activations; Kaplan et al. 2020, section 2.1, count 2 per
forward pass), divided by what a short matrix product reaches on this machine
now. It is an estimate for the CPU; on a GPU the time is left out.
"""

from __future__ import annotations

import time
from typing import Any

from autoglm_nb import data, models
from autoglm_nb.resources import disk_free
from autoglm_nb.session.planning import Plan
from autoglm_nb.space import Space
from autoglm_nb.tuning import goal

__all__ = ["dry_run"]

EFFICIENCY = 0.4
"""Share of the matrix product's speed that training reaches (short texts, small products)."""

MICRO_BATCH_TOKENS = 32 * 64
BYTES = {"fp32": 4, "auto": 4, "bf16": 2, "fp16": 2, "nf4": 0.6, "4bit": 0.6}
EVALUATION_SHARE = 0.25
TOKENS_PER_TEXT = 32
"""Where nothing is known about the length of the texts."""

VOCABULARY = 40_000.0


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
    parameters = _parameters(report)
    if parameters is None:
        return described
    tokens = min(spec.max_length or 128, TOKENS_PER_TEXT)
    config = goal.baseline_config(spec, model=spec.model, decoder=report.family == "decoder")
    epochs = float(config.get("epochs", 1))
    train_rows = 0.8 * min(rows.rows, spec.data.max_rows or rows.rows)
    runs = (spec.trials or 0) + (1 if spec.baseline else 0) + spec.seeds * (2 if spec.baseline else 1)
    operations = 4 * parameters["matrices"] * tokens * train_rows * epochs * (1 + EVALUATION_SHARE)
    if spec.device in ("auto", "cpu") and spec.trials is not None:
        described["seconds"] = round(runs * operations / (EFFICIENCY * _operations_per_second()))
    width = BYTES[spec.precision]
    activations = MICRO_BATCH_TOKENS * parameters["hidden"] * parameters["layers"] * 16 * 4
    described["memory_gb"] = round((parameters["all"] * width + activations) / 2**30 + 0.6, 2)
    adapter = 2 * 16 * parameters["hidden"] * 2 * parameters["layers"] * 4
    described["disk_mb"] = round(runs * 3 * adapter / 2**20 + 1, 1)
    described["training_rows"] = round(train_rows)
    return described


def _parameters(report: models.ModelReport) -> dict[str, float] | None:
    hidden, layers = report.hidden_size, report.layers
    if not hidden or not layers:
        return None
    matrices = 12.0 * layers * hidden * hidden
    vocabulary = VOCABULARY * hidden
    return {"matrices": matrices, "all": matrices + vocabulary, "hidden": hidden, "layers": layers}


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
