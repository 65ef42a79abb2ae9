"""Schedules against transformers' and against closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import get_constant_schedule, get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from autoglm_nb.errors import UsageError
from autoglm_nb.training.adaptive_lr import AdaptiveLR
from autoglm_nb.training.schedules import EXPONENTIAL_END, SCHEDULES, factor, make_schedule


def optimizer(lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(3))], lr=lr)


def rates(schedule: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("constant", lambda o: get_constant_schedule(o)),
        ("linear", lambda o: get_linear_schedule_with_warmup(o, 0, 37)),
        ("cosine", lambda o: get_cosine_schedule_with_warmup(o, 0, 37)),
    ],
)
def test_without_warmup_a_schedule_is_transformers_own(name: str, reference: Any) -> None:
    """Every step of 37, to rounding."""
    ours = make_schedule(optimizer(), {"schedule": name, "warmup_ratio": 0.0}, 37)
    assert rates(ours, 37) == pytest.approx(rates(reference(optimizer()), 37), abs=1e-15)


def test_exponential_is_torchs_with_the_stated_end() -> None:
    """gamma = end ** (1 / steps) in torch's ExponentialLR."""
    ours = make_schedule(optimizer(), {"schedule": "exponential", "warmup_ratio": 0.0}, 20)
    theirs = torch.optim.lr_scheduler.ExponentialLR(optimizer(), EXPONENTIAL_END ** (1 / 20))
    assert rates(ours, 20) == pytest.approx(rates(theirs, 20), rel=1e-12)


@pytest.mark.parametrize("name", [n for n in SCHEDULES if n != "adaptive"])
def test_warmup_is_linear_and_wastes_no_step(name: str) -> None:
    """A tenth of 30 steps: 1/3, 2/3, 3/3 of the rate, then the schedule from its beginning."""
    schedule = make_schedule(optimizer(), {"schedule": name, "warmup_ratio": 0.1}, 30)
    found = rates(schedule, 30)
    assert found[:3] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1])
    assert found[3] == pytest.approx(0.1)
    assert all(rate > 0.0 for rate in found)


def test_each_group_keeps_its_own_base_rate() -> None:
    """LoRA+ groups stay apart by their ratio all along."""
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 0.4)]
    schedule = make_schedule(torch.optim.SGD(groups, lr=0.1), {"schedule": "cosine", "warmup_ratio": 0.2}, 10)
    for _ in range(9):
        schedule.optimizer.step()
        schedule.step()
        slow, fast = (g["lr"] for g in schedule.optimizer.param_groups)
        assert fast == pytest.approx(4 * slow)


def test_adaptive_is_made_with_its_warmup() -> None:
    """The name reaches AdaptiveLR, and the ratio its warm-up."""
    schedule = make_schedule(optimizer(), {"schedule": "adaptive", "warmup_ratio": 0.5}, 8)
    assert isinstance(schedule, AdaptiveLR) and schedule.warmup_steps == 4


def test_an_unknown_schedule_names_the_known_ones() -> None:
    """The message helps with a slip of the finger."""
    with pytest.raises(UsageError, match="cosine"):
        make_schedule(optimizer(), {"schedule": "cosin", "warmup_ratio": 0.0}, 8)
    with pytest.raises(UsageError, match="schedule"):
        factor("polynomial", 5, 10, 0)
