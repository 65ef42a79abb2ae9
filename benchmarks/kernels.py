"""What do the grouped LoRA and AdamW kernels cost, beside the frozen layer they are added to?

First the checks: outputs and gradients against PEFT's own LoRA layers, one a trial,
and the optimizer against torch's AdamW. Where there is no GPU, the Triton kernels are
checked in the interpreter, in a process of its own, and nothing is timed. On a GPU,
each line is a forward and a backward pass of one layer with mixed ranks (4 to 32),
dropout 0.05 and ragged segments:

    base        the frozen layer alone: X W^T and dY W
    kernels     the grouped kernels, base product by the library; once without atomics, once with
    fused       the grouped kernels, base product in the same kernel
    loop        training's way without the kernels: each adapter's products by torch, one adapter after the other
    peft        PEFT's LoRA layers, one adapter after the other

Times are medians, given as ratios to `base`; `kernels` also as a share of the copy
bandwidth, and `fused` of the matrix throughput, measured in the same run. If a check
fails, no time is printed and the exit status is 1.

    python benchmarks/kernels.py                 # checks; times where there is a GPU
    python benchmarks/kernels.py --device cpu    # times the twins in place of the kernels
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "kernels"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

import autoglm_kernels as kernels
from autoglm_kernels import backend, costs
from benchmarks import machine

RANKS = (4, 8, 16, 32)
DROPOUT = 0.05
LIMITS = {torch.float64: 1e-12, torch.float32: 5e-5, torch.bfloat16: 3e-2}
NOT_RUN = "not yet run on a GPU"


@dataclass(frozen=True)
class Sizes:
    """How much is timed.

    Attributes:
        widths: of the layer.
        packs: numbers of trials.
        rows: of the longest trial.
        repeats: of each call.
        adamw: trials, layers of each, and their width.
    """

    widths: tuple[int, ...] = (384, 576, 2048, 4096)
    packs: tuple[int, ...] = (1, 4, 16, 32)
    rows: int = 256
    repeats: int = 30
    adamw: tuple[int, int, int] = (16, 48, 1024)


QUICK = Sizes(widths=(384,), packs=(1, 4), repeats=5, adamw=(4, 8, 384))
TINY = Sizes(widths=(48,), packs=(1, 3), rows=128, repeats=1, adamw=(2, 2, 48))


@dataclass
class Work:
    """One layer and a pack of trials on it."""

    x: torch.Tensor
    weight: torch.Tensor
    factors: list[tuple[torch.nn.Parameter, torch.nn.Parameter]]
    sizes: list[int]
    gradient: torch.Tensor
    routing: kernels.Routing
    table: kernels.LayerTable

    def grouped(self, *, fused: bool) -> torch.Tensor:
        """Forward through the grouped op."""
        base = None if fused else torch.nn.functional.linear(self.x, self.weight)
        weight = self.weight if fused else None
        return kernels.low_rank_terms(self.x, self.factors, self.routing, self.table, base=base, weight=weight)

    def gradients(self, forward: Callable[[], torch.Tensor]) -> list[torch.Tensor]:
        """Output, and gradients of x and of all factors."""
        leaves = [self.x, *(p for pair in self.factors for p in pair)]
        for leaf in leaves:
            leaf.grad = None
        out = forward()
        out.backward(self.gradient)
        return [out.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, then time; return the exit status."""
    parser = argparse.ArgumentParser(description="Check the LoRA and AdamW kernels, then time them on a GPU.")
    parser.add_argument("--device", help="default: cuda where there is one; cpu times the twins")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repetitions")
    parser.add_argument("--tiny", action="store_true", help="toy sizes: says nothing about the kernels")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--interpret", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.interpret:
        print(json.dumps(check(torch.device("cpu"), (torch.float32, torch.float64), small=True)))
        return 0
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    timed = device.type == "cuda" or options.device is not None
    about = machine.describe()
    print(machine.sentence(about))
    types = (torch.float32, torch.bfloat16) if device.type == "cuda" else (torch.float32, torch.float64)
    checks = check(device, types) + (interpreted() if device.type != "cuda" else [])
    for item in checks:
        verdict = "ok" if item["error"] <= item["limit"] else "FAILED"
        print(f"{item['what']:<64} error {item['error']:.1e}  limit {item['limit']:.0e}  {verdict}")
    if any(not item["error"] <= item["limit"] for item in checks):
        print("refused: a check failed, so nothing is timed")
        return 1
    result: dict[str, Any] = {"machine": about, "command": machine.command(arguments), "checks": checks}
    if not timed:
        print(f"There is no GPU here: the checks above stand, and the kernels are {NOT_RUN}.")
        return 0
    result["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu (the twins)"
    sizes = TINY if options.tiny else QUICK if options.quick else Sizes()
    result["timings"] = timings(device, sizes)
    result["adamw"] = optimizer_timings(device, sizes)
    print(f"JSON: {machine.save('kernels', result, options.json)}")
    return 0


def check(device: torch.device, types: Sequence[torch.dtype], *, small: bool = False) -> list[dict[str, Any]]:
    """Relative errors against PEFT without dropout, against the float64 twin with it, and against torch's AdamW."""
    name = kernels.backend_for(device) + (" in the interpreter" if backend.interpreting() else "")
    sizes, shape = ([33, 0, 7], (63, 100)) if small else ([300, 0, 63, 129], (189, 300))
    found = []
    for dtype in types:
        for fused in (False, True):
            for deterministic in (True, False):
                label = f"{'fused' if fused else 'grouped'}, {'no atomics' if deterministic else 'atomics'}"
                label += f", {str(dtype).removeprefix('torch.')}, {name}"
                work = make(device, dtype, sizes, *shape, dropout=0.0, deterministic=deterministic)
                peft = peft_forward(work)
                error = worst(work.gradients(lambda w=work, f=fused: w.grouped(fused=f)), work.gradients(peft))
                found.append({"what": f"against PEFT: {label}", "error": error, "limit": LIMITS[dtype]})
                work = make(device, dtype, sizes, *shape, dropout=0.25, deterministic=deterministic)
                exact = make(torch.device("cpu"), torch.float64, sizes, *shape, dropout=0.25, rounded=dtype)
                mine = work.gradients(lambda w=work, f=fused: w.grouped(fused=f))
                twin = with_backend("torch", lambda w=exact: w.gradients(lambda: w.grouped(fused=True)))
                error = worst(mine, twin)
                found.append({"what": f"dropout, float64 twin: {label}", "error": error, "limit": LIMITS[dtype]})
    found.append({"what": f"against torch.optim.AdamW: {name}", "error": adamw_error(device), "limit": 1e-6})
    return found


def interpreted() -> list[dict[str, Any]]:
    """The Triton kernels' checks, in a process that interprets them; none where Triton is not installed."""
    if not backend.has_triton():
        print("triton is not installed, so its kernels are not checked: pip install triton")
        return []
    environment = {**os.environ, "TRITON_INTERPRET": "1", backend.VARIABLE: "triton"}
    command = [sys.executable, __file__, "--interpret"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    answers: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def timings(device: torch.device, sizes: Sizes) -> list[dict[str, Any]]:
    """Forward and backward of one layer by every means, as ratios to the bare base product."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    bandwidth, throughput = ceilings(device, dtype)
    print(f"copy {bandwidth / 1e9:.0f} GB/s, matrix product {throughput / 1e12:.2f} TFLOP/s in {dtype}")
    means = ("kernels", "atomics", "fused", "loop", "peft")
    print(f"{'width':>6} {'trials':>6} {'rows':>6} {'base':>10} " + " ".join(f"{name:>8}" for name in means))
    found = []
    for width in sizes.widths:
        for trials in sizes.packs:
            rows = [sizes.rows - 37 * (i % 4) for i in range(trials)]
            work, loose = (make(device, dtype, rows, width, width, deterministic=d) for d in (True, False))
            calls = passes(work, loose)
            seconds = {name: median(device, call, sizes.repeats) for name, call in calls.items()}
            moved, operations = work_done(work, width)
            ratios = {name: round(seconds[name] / seconds["base"], 3) for name in means}
            extra = max(seconds["kernels"] - seconds["base"], 1e-9)
            line = {"width": width, "trials": trials, "rows": sum(rows), "seconds": seconds, "ratios": ratios}
            line["kernels_of_bandwidth"] = round(moved / extra / bandwidth, 4)
            line["fused_of_throughput"] = round(operations / seconds["fused"] / throughput, 4)
            found.append(line)
            print(
                f"{width:>6} {trials:>6} {sum(rows):>6} {seconds['base'] * 1e6:>8.0f}us "
                + " ".join(f"{ratios[name]:>7.2f}x" for name in means)
                + f"  {line['kernels_of_bandwidth']:.0%} of copy, {line['fused_of_throughput']:.0%} of product",
                flush=True,
            )
    return found


def passes(work: Work, loose: Work) -> dict[str, Callable[[], Any]]:
    """One forward and backward pass by every means; `loose` is the same pack with atomics."""
    peft, loop = peft_forward(work, DROPOUT), loop_forward(work, DROPOUT)

    def grouped(pack: Work, fused: bool = False) -> list[torch.Tensor]:
        return pack.gradients(lambda: pack.grouped(fused=fused))

    return {
        "base": lambda: work.gradients(lambda: torch.nn.functional.linear(work.x, work.weight)),
        "kernels": lambda: grouped(work),
        "atomics": lambda: grouped(loose),
        "fused": lambda: grouped(work, True),
        "loop": lambda: work.gradients(loop),
        "peft": lambda: work.gradients(peft),
    }


def optimizer_timings(device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """One step of many trials' adapters: together, and each by torch's AdamW."""
    trials, layers, width = sizes.adamw
    found = {}
    for name in ("together", "each"):
        optimizers = [adapters(device, layers, width, RANKS[i % 4]) for i in range(trials)]
        step = (
            (lambda o=optimizers: kernels.step_together(o))
            if name == "together"
            else (lambda o=optimizers: [optimizer.step() for optimizer in o])
        )
        found[name] = median(device, step, sizes.repeats)
    together, each = found["together"] * 1e3, found["each"] * 1e3
    print(f"AdamW, {trials} trials: together {together:.2f} ms, each by itself {each:.2f} ms")
    return found


def make(
    device: torch.device,
    dtype: torch.dtype,
    sizes: list[int],
    inside: int,
    outside: int,
    *,
    dropout: float = DROPOUT,
    deterministic: bool = True,
    rounded: torch.dtype | None = None,
) -> Work:
    """A pack with fixed random contents; `rounded` gives the values they have in that type."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int, kind: torch.dtype = dtype, factor: float = 1.0) -> torch.Tensor:
        values = torch.randn(*shape, generator=draw) * factor
        return values.to(rounded if rounded is not None else dtype).to(device, kind)

    bank = torch.float64 if dtype == torch.float64 else torch.float32
    ranks = [RANKS[i % len(RANKS)] for i in range(len(sizes))]
    x = normal(sum(sizes), inside).requires_grad_(True)
    weight, gradient = normal(outside, inside, factor=inside**-0.5), normal(sum(sizes), outside)
    factors = []
    for rank in ranks:
        pair = normal(rank, inside, kind=bank, factor=inside**-0.5), normal(outside, rank, kind=bank)
        factors.append((torch.nn.Parameter(pair[0]), torch.nn.Parameter(pair[1])))
    count = len(sizes)
    tokens = torch.cat([kernels.token_ids(0, n, 1) for n in sizes])
    routing = kernels.make_routing(
        list(enumerate(sizes)), count, tokens=tokens, device=device, dtype=dtype, deterministic=deterministic,
        tile_rows=16 if backend.interpreting() and rounded is None else None,
    )  # fmt: skip
    table = kernels.layer_table(
        ranks, [1.0] * count, dropouts=[dropout] * count, keys=list(range(count)), dtype=dtype, device=device
    )
    return Work(x, weight, factors, sizes, gradient, routing, table)


def peft_forward(work: Work, dropout: float = 0.0) -> Callable[[], torch.Tensor]:
    """PEFT's LoRA layers over the same weight and factors, one a trial, in a loop."""
    from peft import LoraConfig, inject_adapter_in_model

    layers = []
    for a, b in work.factors:
        model = torch.nn.Sequential()
        model.add_module("q", torch.nn.Linear(work.weight.shape[1], work.weight.shape[0], bias=False))
        model.q.weight = torch.nn.Parameter(work.weight, requires_grad=False)
        config = LoraConfig(r=a.shape[0], lora_alpha=a.shape[0], lora_dropout=dropout, target_modules=["q"])
        layer = inject_adapter_in_model(config, model).q.train()
        layer.lora_A["default"].weight, layer.lora_B["default"].weight = a, b
        layers.append(layer)

    def forward() -> torch.Tensor:
        return torch.cat([layer(rows).to(rows.dtype) for layer, rows in zip(layers, work.x.split(work.sizes))])

    if work.x.dtype.itemsize == 2:
        return lambda: with_autocast(work.x, forward)
    return forward


def loop_forward(work: Work, dropout: float) -> Callable[[], torch.Tensor]:
    """Training's own loop over the trials with the kernels' masks; rows are plain slices, so that nothing waits."""
    from autoglm_nb.training.lowrank import LowRankTerm, SlotAdapter, add_low_rank

    terms, start = [], 0
    for key, ((a, b), count) in enumerate(zip(work.factors, work.sizes)):
        options = {"rank": a.shape[0], "scale": 1.0, "dropout": dropout, "dora": False}
        adapter = SlotAdapter(work.weight, **options, generator=torch.Generator())
        adapter.lora_A, adapter.lora_B = a, b
        terms.append(LowRankTerm(start, start + count, adapter, dropout_key=key))
        start += count
    return lambda: add_low_rank(torch.nn.functional.linear(work.x, work.weight), work.x, terms)


def with_autocast(x: torch.Tensor, forward: Callable[[], torch.Tensor]) -> torch.Tensor:
    """16-bit rows with fp32 factors: what PEFT leaves to autocast."""
    with torch.autocast(x.device.type, x.dtype):
        return forward()


def with_backend(name: str, call: Callable[[], Any]) -> Any:
    """Run with AUTOGLM_KERNELS set."""
    before = os.environ.get(backend.VARIABLE)
    os.environ[backend.VARIABLE] = name
    try:
        return call()
    finally:
        del os.environ[backend.VARIABLE]
        os.environ.update({} if before is None else {backend.VARIABLE: before})


def work_done(work: Work, width: int) -> tuple[int, int]:
    """Least bytes of the low-rank kernels, and useful operations of base and low-rank products."""
    item, block = {"item": work.x.element_size(), "bank_item": 4}, {"block_r": 32}
    narrow = [costs.shrink(work.routing, work.table, width, **item, **block, dropout=d) for d in (True, False)]
    sums = costs.reduce_rows(work.routing, work.table, width, **item, **block, block_c=64, dropout=True)
    wide = costs.expand(work.routing, work.table, width, has_base=True, **item, block_n=128, dropout=False)
    moved = sum(t.least for t in (*narrow, sums, sums, wide, wide))
    low = sum(t.operations for t in (*narrow, sums, sums, wide, wide))
    return moved, low + 4 * work.x.shape[0] * width * width


def ceilings(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """Bytes a second of a copy and operations a second of a large product, measured here."""
    large = device.type == "cuda"
    buffer = torch.empty(2**28 if large else 2**24, dtype=torch.uint8, device=device)
    other = torch.empty_like(buffer)
    side = 8192 if large else 1024
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * buffer.numel() / median(device, lambda: other.copy_(buffer), 10), 2 * side**3 / median(
        device, lambda: a @ b, 10
    )


def median(device: torch.device, call: Callable[[], Any], repeats: int) -> float:
    """Median seconds of a call, after three that are not counted."""
    seconds = []
    for i in range(repeats + 3):
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        if i >= 3:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def adapters(device: torch.device, layers: int, width: int, rank: int) -> torch.optim.AdamW:
    """The optimizer of one trial, gradients set."""
    parameters = [torch.nn.Parameter(torch.randn(rank, width, device=device)) for _ in range(2 * layers)]
    for p in parameters:
        p.grad = torch.randn_like(p)
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1)


def adamw_error(device: torch.device) -> float:
    """Largest relative difference of parameters after five steps together and each by itself."""
    results = []
    for together in (True, False):
        torch.manual_seed(0)
        optimizers = [adapters(device, 2, 63, rank) for rank in (4, 7)]
        for _ in range(5):
            if together:
                kernels.step_together(optimizers)
            else:
                for optimizer in optimizers:
                    optimizer.step()
        results.append([p for o in optimizers for group in o.param_groups for p in group["params"]])
    return worst(*results)


def worst(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """The largest relative error, tensor by tensor; infinite where something is not finite."""
    errors = [0.0]
    for one, other in zip(found, expected, strict=True):
        one, other = one.detach().double().cpu(), other.detach().double().cpu()
        if one.numel() and not torch.isfinite(one).all():
            return float("inf")
        if one.numel():
            errors.append(float((one - other).abs().max() / other.abs().max().clamp(min=1e-30)))
    return max(errors)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())
