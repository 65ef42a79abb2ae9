"""Parity is the contract: a packed run is its solo run, whatever its neighbours are and do.

The conditions under which gradients of a pack are right, and the tests that hold them
(those of the kernels are listed in `kernels/README.md`):

1. no operation crosses rows: `test_a_neighbours_texts_change_no_bit`
2. a loss is a mean over the run's own whole batch: `test_fifty_steps_in_a_pack_equal_the_solo_run` (accumulation),
   `test_accumulation_has_the_gradient_of_the_whole_batch`
3. random numbers follow the run: the same (dropout on), `test_dropout.py`
4. clipping, checks, step counts and decay are the slot's own: the same, `test_who_does_not_step_is_not_moved`
5. padding of ranks is inert: ranks 4 to 32 in the same pack
6. a NaN stays at home: `test_a_diverging_neighbour_changes_no_bit_of_the_others` in `test_packed.py`, and here
7. parity over many steps: this file
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoglm_nb.training import plan_run
from tests.training.conftest import run_losses, shared_step

pytestmark = pytest.mark.usefixtures("dear_passes")

STEPS = 50
COMMON: dict[str, Any] = {"steps": STEPS, "dropout": 0.1, "learning_rate": 1e-3}
TRIALS: tuple[dict[str, Any], ...] = (
    {"rank": 4, "batch_size": 8, "target_modules": "qv", "weight_decay": 0.1},
    {"rank": 32, "batch_size": 5, "target_modules": "all-linear", "optimizer": "sgd", "learning_rate": 1e-2,
     "use_rslora": True, "alpha": 4, "label_smoothing": 0.1, "dropout": 0.3},
    {"rank": 12, "batch_size": 13, "method": "dora", "schedule": "cosine", "max_grad_norm": 0.1, "beta1": 0.8},
    {"rank": 8, "batch_size": 12, "micro_batch": 5, "optimizer": "adam", "weight_decay": 0.01, "warmup_ratio": 0.2,
     "beta2": 0.95, "dropout": 0.5},
    {"rank": 7, "batch_size": 3, "method": "dora", "use_rslora": True, "lora_plus_ratio": 4.0, "alpha": 3,
     "target_modules": "attention", "schedule": "adaptive"},
    {"rank": 5, "batch_size": 6, "optimizer": "adafactor", "target_modules": "attention", "dropout": 0.0,
     "lora_plus_ratio": 8.0, "steps": 30},
)  # fmt: skip
JOINS = {3: 7, 4: 12, 5: 20}
"""Trials that come while others train, and the step of the pack at which they do."""

LEAVES = {1: 35}
"""Stopped before its end."""

DIVERGES = (2, 26)


@pytest.fixture(scope="module")
def curves() -> dict[str, list[list[float]]]:
    """Solo curves by kind of model, made once."""
    return {}


def plan(engine: Any, number: int, **extra: Any) -> Any:
    config = {**COMMON, **TRIALS[number], **extra}
    if engine.base.task == "causal-lm":
        config["rank"] = min(config["rank"], 16)  # the width of its narrowest layer
    micro_batch = config.pop("micro_batch", None)
    return plan_run(f"trial-{number}", config, 10 + number, engine.data, micro_batch=micro_batch)


def solo(make_engine: Callable[..., Any], kind: str, curves: dict[str, list[list[float]]]) -> list[list[float]]:
    if kind not in curves:
        engine = make_engine(kind)
        curves[kind] = []
        for number in range(len(TRIALS)):
            slot = engine.admit(plan(engine, number))
            curves[kind].append(run_losses(engine, slot, plan(engine, number).total_steps))
            engine.evict(slot)
    return curves[kind]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_fifty_steps_in_a_pack_equal_the_solo_run(
    make_engine: Callable[..., Any], kind: str, curves: dict[str, list[list[float]]]
) -> None:
    """Every loss of every trial within 1e-4: three join late, one is stopped, one diverges, one ends early.

    At each step every trial under way shares a pass with every other; all six do at the step at which one diverges.
    """
    expected = solo(make_engine, kind, curves)
    engine = make_engine(kind, capacity=len(TRIALS))
    packed: list[list[float]] = [[] for _ in TRIALS]
    slots: dict[int, int] = {}
    for step in range(STEPS + max(JOINS.values())):
        for number in range(len(TRIALS)):
            if JOINS.get(number, 0) == step:
                slots[engine.admit(plan(engine, number))] = number
            if LEAVES.get(number) == step:
                engine.evict(next(slot for slot, owner in slots.items() if owner == number))
        if step == DIVERGES[1]:
            slot = next(slot for slot, owner in slots.items() if owner == DIVERGES[0])
            with torch.no_grad():
                next(iter(engine._slots[slot].adapters.values())).lora_B.fill_(float("nan"))
        results = shared_step(engine)
        if step == DIVERGES[1]:
            assert len(results) == len(TRIALS)
        for slot, result in results.items():
            if result.failure is None:
                packed[slots[slot]].append(result.loss)
    lengths = [50, 35, 26, 50, 50, 30]
    assert [len(curve) for curve in packed] == lengths
    for got, want in zip(packed, expected, strict=True):
        np.testing.assert_allclose(got, want[: len(got)], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_checkpoint_goes_on_in_any_slot_of_any_pack(
    make_engine: Callable[..., Any], kind: str, curves: dict[str, list[list[float]]], tmp_path: Path
) -> None:
    """Saved in a pack, it goes on in another slot, among others and alone; within rounding of never having stopped."""
    expected = solo(make_engine, kind, curves)
    engine = make_engine(kind, capacity=4)
    slots = [engine.admit(plan(engine, number)) for number in (0, 2, 3, 4)]
    for _ in range(20):
        shared_step(engine)
    for number, slot in zip((0, 2, 3, 4), slots, strict=True):
        engine.save_checkpoint(slot, tmp_path / str(number))
    orders = ((4, 1, 3, 0, 2), (2,), (3, 5))
    for order in orders:
        engine = make_engine(kind, capacity=6)
        engine.admit(plan(engine, 1, steps=3))  # takes slot 0, and leaves it
        resumed = {
            engine.admit(plan(engine, n), checkpoint=tmp_path / str(n) if (tmp_path / str(n)).exists() else None): n
            for n in order
        }
        got: dict[int, list[float]] = {n: [] for n in order}
        for _ in range(30):
            for slot, result in shared_step(engine).items():
                if slot in resumed:
                    got[resumed[slot]].append(result.loss)
        for number, curve in got.items():
            first = 20 if (tmp_path / str(number)).exists() else 0
            np.testing.assert_allclose(curve, expected[number][first : first + len(curve)], rtol=1e-4)


def test_a_pack_resumed_whole_goes_on_bit_for_bit(make_engine: Callable[..., Any], tmp_path: Path) -> None:
    """The same runs in the same slots: not even rounding differs."""
    engine = make_engine(capacity=3)
    slots = [engine.admit(plan(engine, number)) for number in (0, 2, 3)]
    for _ in range(6):
        shared_step(engine)
    for slot in slots:
        engine.save_checkpoint(slot, tmp_path / str(slot))
    expected = [[r.loss for r in shared_step(engine).values()] for _ in range(6)]
    again = make_engine(capacity=3)
    for number, slot in zip((0, 2, 3), slots, strict=True):
        again.admit(plan(again, number), checkpoint=tmp_path / str(slot))
    assert [[r.loss for r in shared_step(again).values()] for _ in range(6)] == expected


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_neighbours_texts_change_no_bit(make_engine: Callable[..., Any], kind: str) -> None:
    """Other words of the same lengths in the neighbour's rows: own logits are the same to the last bit."""
    from autoglm_nb.data import collate
    from autoglm_nb.training.loss import labelled_positions, pass_logits
    from autoglm_nb.training.packed import Segment

    engine = make_engine(kind, capacity=2)
    slots = [engine.admit(plan(engine, number)) for number in (1, 2)]
    engine.step()
    model, row_map = engine.model_of(engine._slots[slots[0]])
    batch = collate(engine.data.train, np.arange(9), engine.data.pad_id)
    segments = (Segment(slots[0], 0, 4, 0, (1, 1)), Segment(slots[1], 4, 9, 0, (2, 1)))
    labelled = labelled_positions(batch["labels"]) if kind == "decoder" else None
    own = 4 if labelled is None else int(labelled[:4].sum())
    seen = []
    for shift in (0, 1):
        words = batch["input_ids"].clone()
        words[4:] = torch.where(batch["attention_mask"][4:] > 0, (words[4:] + shift) % 50 + 5, words[4:])
        with row_map.over(segments, labelled), torch.no_grad():
            seen.append(pass_logits(model, {**batch, "input_ids": words}, engine.base.task, row_map)[0])
    assert torch.equal(seen[0][:own], seen[1][:own])
    assert not torch.equal(seen[0][own:], seen[1][own:])


def test_who_does_not_step_is_not_moved(make_engine: Callable[..., Any]) -> None:
    """Weight decay and momentum of neighbours that go on reach neither a finished run's weights nor its moments."""
    engine = make_engine(capacity=2)
    short, _ = engine.admit(plan(engine, 0, steps=2)), engine.admit(plan(engine, 2, weight_decay=0.5))
    engine.step()
    engine.step()
    slot = engine._slots[short]

    def state() -> list[torch.Tensor]:
        moments = [v for entry in slot.optimizer.state.values() for v in entry.values()]
        return [t.detach().clone() for t in (*slot.parameters.values(), *moments)]

    before = state()
    for _ in range(3):
        assert short not in engine.step()
    assert all(torch.equal(a, b) for a, b in zip(before, state(), strict=True))
