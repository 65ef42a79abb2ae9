"""AdaptiveLR: warm-up, bounds, noise, plateaus, state."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from autoglm_nb import AdaptiveLR as PublicAdaptiveLR
from autoglm_nb.errors import UsageError
from autoglm_nb.training.adaptive_lr import AdaptiveLR


def setup(warmup: int = 0, size: int = 600, **options: float) -> tuple[torch.nn.Parameter, AdaptiveLR]:
    parameter = torch.nn.Parameter(torch.zeros(size))
    return parameter, AdaptiveLR(torch.optim.SGD([parameter], lr=0.1), warmup_steps=warmup, **options)  # type: ignore[arg-type]


def advance(
    parameter: torch.nn.Parameter, schedule: AdaptiveLR, grad: torch.Tensor, loss: float | None = None
) -> float:
    parameter.grad = grad
    schedule.optimizer.step()
    schedule.step(loss=loss)
    return float(schedule.optimizer.param_groups[0]["lr"])


def test_it_is_public_and_an_lr_scheduler() -> None:
    """`from autoglm_nb import AdaptiveLR; AdaptiveLR(optimizer, warmup_steps=500)`."""
    assert PublicAdaptiveLR is AdaptiveLR
    schedule = AdaptiveLR(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1), warmup_steps=500)
    assert isinstance(schedule, torch.optim.lr_scheduler.LRScheduler)
    assert schedule.get_last_lr() == [pytest.approx(0.1 / 500)]


def test_warmup_is_linear_whatever_the_gradient() -> None:
    """Noise and loss have no say before the warm-up is over."""
    parameter, schedule = setup(warmup=10)
    found = [schedule.get_last_lr()[0]]
    generator = torch.Generator().manual_seed(0)
    found += [advance(parameter, schedule, torch.randn(600, generator=generator), loss=5.0) for _ in range(9)]
    assert found == pytest.approx([0.1 * (i + 1) / 10 for i in range(10)])


def test_the_noise_share_is_that_of_the_theory() -> None:
    """For signal s and noise sigma the share tends to s^2 / (s^2 + sigma^2) (Schaul et al. 2013)."""
    generator = torch.Generator().manual_seed(0)
    for signal, sigma in ((1.0, 1.0), (1.0, 0.5), (0.5, 1.0)):
        parameter, schedule = setup(size=4096)
        shares = []
        for step in range(400):
            advance(parameter, schedule, signal + sigma * torch.randn(4096, generator=generator))
            if step >= 100:
                shares.append(schedule.noise_share)
        assert np.mean(shares) == pytest.approx(signal**2 / (signal**2 + sigma**2), rel=0.05)


def test_more_noise_lowers_the_rate_and_less_raises_it_within_bounds() -> None:
    """The factor starts at 1 after settling, follows the noise, and never leaves its bounds."""
    generator = torch.Generator().manual_seed(1)
    parameter, schedule = setup(min_factor=0.2, max_factor=1.5)

    def run(sigma: float, steps: int) -> list[float]:
        noise = (torch.randn(600, generator=generator) for _ in range(steps))
        return [advance(parameter, schedule, 1.0 + sigma * n) / 0.1 for n in noise]

    settled = run(1.0, 200)
    assert np.mean(settled[100:]) == pytest.approx(1.0, abs=0.1)
    quiet = run(0.1, 200)
    assert 1.2 < quiet[-1] <= 1.5
    noisy = run(20.0, 300)
    assert noisy[-1] == pytest.approx(0.2)
    assert all(0.2 <= f <= 1.5 for f in settled + quiet + noisy)


def test_a_plateau_lowers_the_rate_and_progress_does_not() -> None:
    """Halved after `patience` steps without improvement; untouched while the loss falls."""
    parameter, schedule = setup(patience=20, smoothing=0.5)
    one = torch.ones(600)
    falling = [advance(parameter, schedule, one.clone(), loss=10.0 * 0.97**i) for i in range(100)]
    assert falling == pytest.approx([0.1] * 100)
    flat = [advance(parameter, schedule, one.clone(), loss=10.0 * 0.97**100) for _ in range(100)]
    assert flat[-1] <= 0.1 / 8
    assert flat[-1] >= 0.1 * schedule.min_factor
    assert set(np.round(np.array(flat) / 0.1, 6)) <= {1.0, 0.5, 0.25, 0.125, 0.1}


def test_state_goes_through_json_and_continues_exactly() -> None:
    """After a round trip the next 30 rates are identical."""
    generator = torch.Generator().manual_seed(2)
    grads = [1.0 + torch.randn(600, generator=generator) for _ in range(120)]
    parameter, schedule = setup(warmup=5, patience=10)
    for i, grad in enumerate(grads[:90]):
        advance(parameter, schedule, grad.clone(), loss=3.0 + (i % 7) / 10)
    state = json.loads(json.dumps(schedule.state_dict()))
    other_parameter, other = setup(warmup=5, patience=10)
    other.load_state_dict(state)
    for i, grad in enumerate(grads[90:]):
        args = (grad.clone(), 3.0 + (i % 5) / 10)
        assert advance(parameter, schedule, *args) == advance(other_parameter, other, *args)


def test_observing_before_clipping_sees_the_whole_gradient() -> None:
    """Clipping a few large gradients to norm 1 would look like less noise; `observe` comes first."""
    generator = torch.Generator().manual_seed(3)
    shares = []
    for early in (True, False):
        generator.manual_seed(3)
        parameter, schedule = setup()
        for i in range(200):
            parameter.grad = (1.0 + torch.randn(600, generator=generator)) * (20.0 if i % 10 == 0 else 1.0)
            if early:
                schedule.observe()
            torch.nn.utils.clip_grad_norm_([parameter], 1.0)
            schedule.optimizer.step()
            schedule.step()
        shares.append(schedule.noise_share)
    assert shares[0] != shares[1]
    assert shares[0] < shares[1]


def test_gradients_that_are_not_finite_are_left_out() -> None:
    """One NaN gradient does not poison the running means."""
    parameter, schedule = setup()
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        advance(parameter, schedule, 1.0 + torch.randn(600, generator=generator))
    before = schedule.noise_share
    parameter.grad = torch.full((600,), float("nan"))
    schedule.step(loss=float("nan"))
    assert schedule.noise_share == before
    assert np.isfinite(schedule.get_last_lr()[0])


@pytest.mark.parametrize(
    "wrong",
    [{"warmup": -1}, {"min_factor": 0.0}, {"max_factor": 0.5}, {"patience": 0}, {"decay": 1.0}, {"smoothing": 1.0}],
)
def test_values_outside_their_range_are_refused(wrong: dict[str, float]) -> None:
    """Each with a sentence that names it."""
    with pytest.raises(UsageError):
        setup(**wrong)  # type: ignore[arg-type]
