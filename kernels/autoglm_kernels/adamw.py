"""One Adam or AdamW step for many trials at once, each with its own hyper-parameters.

`step_together` takes the trials' own `torch.optim.AdamW` or `Adam` objects: their
parameter groups say what applies to whom, their state holds the moments, so that
checkpoints stay those of torch. Whoever does not step is not given to it.

Factors that cancel badly in fp32 (1 - beta^t) are computed in fp64 on the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from autoglm_kernels import twin
from autoglm_kernels.backend import backend_for, launch

__all__ = ["COLUMNS", "HyperRow", "grouped_adamw", "hyper_table", "step_together"]

COLUMNS = ("active", "clip", "l2", "decay", "keep1", "new1", "keep2", "new2", "step_size", "root", "eps")
"""Of the hyper-parameter table; `decay` multiplies the parameter, `root` is sqrt(1 - beta2^t)."""

BLOCK = 1024


@dataclass(frozen=True)
class HyperRow:
    """Hyper-parameters of one group of tensors at one step.

    Attributes:
        learning_rate, beta1, beta2, eps, weight_decay: as in `torch.optim.AdamW`.
        step: the number of this step, from 1.
        clip: what the gradient is multiplied with first.
        decoupled: AdamW's decay of the weights; False adds it to the gradient (Adam).
        active: False leaves parameters and moments as they are.
    """

    learning_rate: float
    step: int
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip: float = 1.0
    decoupled: bool = True
    active: bool = True


def hyper_table(
    rows: Sequence[HyperRow], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """[rows, len(COLUMNS)] in the parameters' type."""
    table = []
    for row in rows:
        decay = 1.0 - row.learning_rate * row.weight_decay if row.decoupled else 1.0
        l2 = 0.0 if row.decoupled else row.weight_decay
        step_size = row.learning_rate / (1.0 - row.beta1**row.step)
        root = math.sqrt(1.0 - row.beta2**row.step)
        moments = [row.beta1, 1.0 - row.beta1, row.beta2, 1.0 - row.beta2]
        table.append([float(row.active), row.clip, l2, decay, *moments, step_size, root, row.eps])
    return torch.tensor(table, dtype=torch.float64).reshape(-1, len(COLUMNS)).to(device, dtype)


@torch.library.custom_op("autoglm::grouped_adamw", mutates_args=("params", "exp_avgs", "exp_avg_sqs"))
def grouped_adamw(
    params: Sequence[torch.Tensor],
    grads: Sequence[torch.Tensor],
    exp_avgs: Sequence[torch.Tensor],
    exp_avg_sqs: Sequence[torch.Tensor],
    hyper: torch.Tensor,
    rows: torch.Tensor,
) -> None:
    """One step of all tensors whose row of `hyper` is active, in place, in one launch.

    Args:
        params, grads, exp_avgs, exp_avg_sqs: one entry a tensor, all of one type and device, contiguous.
        hyper: from `hyper_table`, on the tensors' device.
        rows: int64 [tensors] on the CPU: the row of `hyper` of each tensor.
    """
    if not params:
        return
    if backend_for(params[0].device) == "torch":
        twin.adamw(params, grads, exp_avgs, exp_avg_sqs, hyper, rows)
        return
    _launch(params, grads, exp_avgs, exp_avg_sqs, hyper, rows)


@grouped_adamw.register_fake
def _(
    params: Sequence[torch.Tensor],
    grads: Sequence[torch.Tensor],
    exp_avgs: Sequence[torch.Tensor],
    exp_avg_sqs: Sequence[torch.Tensor],
    hyper: torch.Tensor,
    rows: torch.Tensor,
) -> None:
    return None


@torch.no_grad()
def step_together(optimizers: Sequence[torch.optim.Adam], clips: Sequence[float] | None = None) -> None:
    """What `optimizer.step()` of each would do, in one launch for each type and device of parameters.

    Args:
        optimizers: `torch.optim.AdamW` or `Adam`, without amsgrad, maximize or a tensor learning
            rate. Made with fused=False on a GPU, their step counts stay on the host.
        clips: a factor for all gradients of each optimizer, 1 where not clipped.

    Raises:
        ValueError: an optimizer of another kind, or with an option that is not supported.
    """
    clips = clips if clips is not None else [1.0] * len(optimizers)
    hyper: list[HyperRow] = []
    counts: list[torch.Tensor] = []
    batches: dict[tuple[torch.device, torch.dtype], list[tuple[torch.Tensor, ...]]] = {}
    rows: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for optimizer, clip in zip(optimizers, clips, strict=True):
        _check_optimizer(optimizer)
        for group in optimizer.param_groups:
            by_step: dict[int, int] = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = optimizer.state[p]
                if not state:
                    # made whole before it is kept: memory may run out between the two
                    moments = [torch.zeros_like(p, memory_format=torch.preserve_format) for _ in range(2)]
                    state |= {"step": torch.tensor(0.0), "exp_avg": moments[0], "exp_avg_sq": moments[1]}
                step = int(state["step"].item()) + 1
                if step not in by_step:
                    by_step[step] = len(hyper)
                    hyper.append(_row(optimizer, group, step, clip))
                grad = p.grad if p.grad.is_contiguous() else p.grad.contiguous()
                batches.setdefault((p.device, p.dtype), []).append((p, grad, state["exp_avg"], state["exp_avg_sq"]))
                rows.setdefault((p.device, p.dtype), []).append(by_step[step])
                counts.append(state["step"])
    for (device, dtype), tensors in batches.items():
        columns = [list(column) for column in zip(*tensors)]
        grouped_adamw(*columns, hyper_table(hyper, dtype, device), torch.tensor(rows[device, dtype]))
    for count in counts:  # last, so that a failed allocation leaves no step counted that was not made
        count += 1


def _row(optimizer: torch.optim.Adam, group: dict[str, Any], step: int, clip: float) -> HyperRow:
    beta1, beta2 = group["betas"]
    decoupled = isinstance(optimizer, torch.optim.AdamW) or bool(group.get("decoupled_weight_decay"))
    return HyperRow(
        learning_rate=float(group["lr"]),
        step=step,
        beta1=float(beta1),
        beta2=float(beta2),
        eps=float(group["eps"]),
        weight_decay=float(group["weight_decay"]),
        clip=clip,
        decoupled=decoupled,
    )


def _check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    if not isinstance(optimizer, torch.optim.Adam):
        raise ValueError(
            f"`step_together` steps torch.optim.Adam and AdamW, but got {type(optimizer).__name__}. "
            "Call its own step() instead."
        )
    for group in optimizer.param_groups:
        bad = [name for name in ("amsgrad", "maximize", "differentiable") if group.get(name)]
        if bad:
            raise ValueError(f"`step_together` cannot have {bad[0]}, but it is on. Call the optimizer's own step().")


def _launch(
    params: Sequence[torch.Tensor],
    grads: Sequence[torch.Tensor],
    exp_avgs: Sequence[torch.Tensor],
    exp_avg_sqs: Sequence[torch.Tensor],
    hyper: torch.Tensor,
    rows: torch.Tensor,
) -> None:
    import triton.language as tl

    from autoglm_kernels import adamw_kernel

    device, dtype = params[0].device, params[0].dtype
    types = {torch.float32: tl.float32, torch.float64: tl.float64}
    tensors = [*params, *grads, *exp_avgs, *exp_avg_sqs]
    fits = all(t.dtype == dtype and t.device == device and t.is_contiguous() for t in tensors)
    if dtype not in types or not fits or hyper.dtype != dtype:
        raise ValueError(
            "`grouped_adamw` needs contiguous fp32 tensors of one device, but got "
            f"{sorted({str(t.dtype) for t in tensors})} on {sorted({str(t.device) for t in tensors})}, "
            f"{sum(not t.is_contiguous() for t in tensors)} not contiguous, and hyper-parameters in {hyper.dtype}. "
            "Bring all to one type and device, or call the optimizer's own step()."
        )
    lengths = torch.tensor([p.numel() for p in params])
    addresses = torch.tensor([[t.data_ptr() for t in four] for four in zip(params, grads, exp_avgs, exp_avg_sqs)])
    table = torch.cat([addresses, lengths[:, None], rows[:, None]], dim=1)
    counts = (lengths + BLOCK - 1) // BLOCK
    owner = torch.repeat_interleave(torch.arange(len(params)), counts)
    within = torch.arange(int(counts.sum())) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    pieces = torch.stack([owner, within], dim=1).to(torch.int32)
    launch(
        adamw_kernel.grouped_adamw,
        (pieces.shape[0],),
        device,
        (pieces.to(device), table.to(device), hyper),
        TYPE=types[dtype],
        COLUMNS=len(COLUMNS),
        ALIGNED=bool((addresses % 16 == 0).all()),
        BLOCK=BLOCK,
        num_warps=4,
    )
