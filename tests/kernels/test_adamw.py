"""The grouped optimizer step against torch's own AdamW and Adam."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import autoglm_kernels as kernels
from autoglm_nb.training.optimizers import make_optimizer


@pytest.fixture(autouse=True)
def twins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGLM_KERNELS", "torch")


CONFIG = {"optimizer": "adamw", "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.1}
CONFIGS = (
    {**CONFIG, "learning_rate": 1e-2, "lora_plus_ratio": 8.0},
    {**CONFIG, "learning_rate": 3e-4, "beta1": 0.8, "beta2": 0.95},
    {**CONFIG, "learning_rate": 1e-3, "optimizer": "adam"},
)


def trial(config: dict[str, object], seed: int) -> tuple[dict[str, torch.nn.Parameter], torch.optim.Optimizer]:
    draw = torch.Generator().manual_seed(seed)
    shapes = {"q.lora_A": (4, 63), "q.lora_B": (100, 4), "head.bias": (7,)}
    parameters = {
        name: torch.nn.Parameter(torch.randn(shape, generator=draw, dtype=torch.float64))
        for name, shape in shapes.items()
    }
    return parameters, make_optimizer(parameters, config)


def test_stepping_together_is_stepping_each() -> None:
    """Three trials with other rates, betas, LoRA+ and L2, clipped, one pausing at times: as torch's, over 20 steps."""
    ours, theirs = [[trial(config, i) for i, config in enumerate(CONFIGS)] for _ in range(2)]
    draw = torch.Generator().manual_seed(9)
    for step in range(20):
        stepping = [i for i in range(3) if not (i == 1 and step % 3 == 0)]
        clips = [1.0, 0.5, 0.1 * (step + 1)]
        for i in stepping:
            for (name, p), q in zip(ours[i][0].items(), theirs[i][0].values()):
                if step == 5 and name == "head.bias":
                    p.grad = q.grad = None
                    continue
                p.grad = torch.randn(p.shape, generator=draw, dtype=p.dtype)
                q.grad = p.grad * clips[i]
            theirs[i][1].step()
        kernels.step_together([ours[i][1] for i in stepping], [clips[i] for i in stepping])
    for (mine, my_optimizer), (other, optimizer) in zip(ours, theirs):
        for p, q in zip(mine.values(), other.values()):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)
            for key in ("step", "exp_avg", "exp_avg_sq"):
                torch.testing.assert_close(my_optimizer.state[p][key], optimizer.state[q][key], rtol=1e-12, atol=1e-14)


def test_memory_that_runs_out_between_the_moments_leaves_no_half_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step may be repeated, and is then the first one."""
    (parameters, optimizer), (others, expected) = trial(CONFIGS[0], 0), trial(CONFIGS[0], 0)
    for p, q in zip(parameters.values(), others.values()):
        p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
    real, made = torch.zeros_like, []

    def zeros_like(*args: Any, **options: Any) -> torch.Tensor:
        made.append(args)
        if len(made) == 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "zeros_like", zeros_like)
        with pytest.raises(RuntimeError, match="allocate"):
            kernels.step_together([optimizer])
    kernels.step_together([optimizer])
    expected.step()
    for p, q in zip(parameters.values(), others.values()):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)


def test_an_inactive_row_is_not_touched() -> None:
    """Neither decay nor momentum nor a NaN gradient reaches a trial that does not step."""
    tensors = [[torch.ones(5), torch.ones(5)] for _ in range(4)]
    tensors[1][1].fill_(float("nan"))
    hyper = kernels.hyper_table([kernels.HyperRow(0.1, 1), kernels.HyperRow(0.1, 1, weight_decay=1.0, active=False)])
    kernels.grouped_adamw(*tensors, hyper, torch.tensor([0, 1]))
    assert not torch.equal(tensors[0][0], torch.ones(5))
    for column in (0, 2, 3):
        assert torch.equal(tensors[column][1], torch.ones(5))


def test_the_first_step_keeps_its_precision_in_fp32() -> None:
    """1 - beta2^t at t = 1 loses four digits if taken in fp32; the table is made in fp64."""
    hyper = kernels.hyper_table([kernels.HyperRow(1e-3, 1)])
    root = hyper[0, 9].double().item()
    assert abs(root - 0.001**0.5) / root < 1e-7


@pytest.mark.slow
def test_registered_as_an_op_that_torch_can_trace() -> None:
    """torch.library.opcheck: the schema says what is changed, and tracing keeps it."""
    tensors = [[torch.ones(3, 4), torch.ones(7)] for _ in range(4)]
    hyper = kernels.hyper_table([kernels.HyperRow(0.1, 1)])
    torch.library.opcheck(torch.ops.autoglm.grouped_adamw.default, (*tensors, hyper, torch.tensor([0, 0])))


def test_other_optimizers_are_refused() -> None:
    """SGD and amsgrad step by themselves."""
    p = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match="got SGD"):
        kernels.step_together([torch.optim.SGD([p], lr=0.1)])
    with pytest.raises(ValueError, match="cannot have amsgrad"):
        kernels.step_together([torch.optim.AdamW([p], amsgrad=True)])
