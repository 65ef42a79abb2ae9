"""A solo run against training written with PEFT's LoRA layers and torch's AdamW.

The reference stands in `peft_reference.py`, which imports nothing of this project: it
gets the same initial weights, the same batches, and masks from the written definition.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoglm_nb.data import BatchOrder, collate
from autoglm_nb.models import target_modules
from autoglm_nb.training import plan_run
from tests.training import peft_reference
from tests.training.conftest import run_losses

STEPS = 50
CONFIG: dict[str, Any] = {
    "rank": 4,
    "alpha": 16,
    "dropout": 0.0,
    "target_modules": "attention",
    "learning_rate": 2e-3,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "beta2": 0.98,
    "schedule": "linear",
    "batch_size": 8,
    "steps": STEPS,
}
CASES: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora-everywhere": {"rank": 16, "use_rslora": True, "target_modules": "all-linear"},
    "dora": {"method": "dora", "rank": 7},
    "lora-plus": {"rank": 8, "lora_plus_ratio": 8.0, "learning_rate": 5e-4, "target_modules": "qv"},
    "masks": {"dropout": 0.3, "batch_size": 5},
    "masks-rslora": {"dropout": 0.1, "rank": 11, "use_rslora": True, "target_modules": "all-linear"},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("case", CASES)
def test_fifty_steps_equal_peft_and_torch_adamw(make_engine: Callable[..., Any], kind: str, case: str) -> None:
    """Every loss within 1e-5, at dropout 0 or with the same masks; the run learns something."""
    engine = make_engine(kind)
    config = {**CONFIG, **CASES[case]}
    names = list(target_modules(engine.base.model, config["target_modules"]))
    plan = plan_run("trial-0000", config, 3, engine.data)
    slot = engine.admit(plan)
    initial = {n: p.detach().numpy().copy() for n, p in engine._slots[slot].parameters.items()}
    ours = run_losses(engine, slot, STEPS)
    order = BatchOrder(engine.data.train.lengths, plan.batch_size, plan.seed)
    rows = [batch for epoch in range(STEPS) for batch in order.batches(epoch)][:STEPS]
    reference = peft_reference.Reference(
        folder=engine.base.resolved.path,
        classify=kind == "encoder",
        lora={
            "r": config["rank"],
            "lora_alpha": config["alpha"],
            "target_modules": names,
            "use_rslora": config.get("use_rslora", False),
            "use_dora": config.get("method") == "dora",
        },
        learning_rate=config["learning_rate"],
        weight_decay=config["weight_decay"],
        betas=(0.9, 0.98),
        steps=STEPS,
        lora_plus_ratio=config.get("lora_plus_ratio", 1.0),
        seed=plan.seed,
        dropout=config["dropout"],
    )
    theirs = reference.losses(initial, [collate(engine.data.train, r, engine.data.pad_id) for r in rows])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert np.mean(ours[-5:]) < 0.97 * np.mean(ours[:5])


def test_masks_of_the_reference_are_those_of_training() -> None:
    """Written twice from one definition; an odd width, and rows and positions beyond the first."""
    import torch

    from autoglm_nb.training.dropout import dropout_key, keep_mask

    for seed, step, layer in ((3, 0, "a.b"), (2**31 + 5, 77, "model.layers.1.self_attn.q_proj")):
        expected = keep_mask(dropout_key(seed, step, layer), 0, 5, 9, 63, 0.3, torch.device("cpu"))
        assert np.array_equal(peft_reference.mask(seed, step, layer, 5, 9, 63, 0.3), expected.numpy())


def test_the_reference_imports_nothing_of_this_project() -> None:
    """Else a shared error would go unseen."""
    tree = ast.parse(Path(peft_reference.__file__).read_text(encoding="utf-8"))
    found = {n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names}
    found |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in found if name.startswith(("autoglm", "tests"))]
