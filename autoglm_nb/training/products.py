"""Ways to multiply by a frozen weight on a CPU, and the choice between them.

A frozen weight is multiplied thousands of times, so it may be packed once into the
layout a library likes best. Which library is fastest differs between processors by
up to a factor of two (MKL is slow on AMD), so the choice is made here, by a short
measurement for each shape, and kept in the user's cache for the next time:

    plain         torch's `linear`
    plain-added   the product without bias, then the bias in place
    onednn        oneDNN with prepacked weights
    mkl           MKL with prepacked weights
    mkl-added     the same without bias, then the bias in place

Nothing wins that has not shown on this machine that it agrees with `plain`. The ops of
oneDNN and MKL know no autograd: `frozen` calls them inside a function of its own.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from autoglm_nb import settings

__all__ = ["AGREEMENT", "PRODUCTS", "Product", "ShapeClass", "agrees", "choose", "make_product", "processor"]

Product = Callable[[torch.Tensor], torch.Tensor]
"""X [rows, in_features] to X W^T + b [rows, out_features]."""

ShapeClass = tuple[int, int, bool]
"""out_features, in_features, whether there is a bias."""

AGREEMENT = 1e-3
"""Largest deviation from `plain`, relative to its largest value."""

BUDGET_SECONDS = 0.5
"""Longest measurement of one engine, packing included."""

MARGIN = 0.98
"""A library must beat `plain` by this factor to be worth its memory."""

_ROWS = 256
_MULTIPLICATIONS = 2e8  # of one measured product: a few milliseconds
_VERSION = 1


def _plain(weight: torch.Tensor, bias: torch.Tensor | None) -> Product:
    return lambda x: functional.linear(x, weight, bias)


def _plain_added(weight: torch.Tensor, bias: torch.Tensor | None) -> Product:
    turned = weight.t()
    if bias is None:
        return lambda x: torch.mm(x, turned)
    return lambda x: torch.mm(x, turned).add_(bias)


def _onednn(weight: torch.Tensor, bias: torch.Tensor | None) -> Product:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
    linear = torch.ops.mkldnn._linear_pointwise.default
    return lambda x: linear(x, packed, bias, "none", [], "")


def _mkl(weight: torch.Tensor, bias: torch.Tensor | None) -> Product:
    # The number of rows given when packing is a hint; the op compares it with the one given when multiplying.
    packed = torch.ops.mkl._mkl_reorder_linear_weight(weight.contiguous(), _ROWS)
    linear = torch.ops.mkl._mkl_linear.default
    return lambda x: linear(x, packed, weight, bias, x.shape[0])


def _mkl_added(weight: torch.Tensor, bias: torch.Tensor | None) -> Product:
    product = _mkl(weight, None)
    return product if bias is None else lambda x: product(x).add_(bias)


PRODUCTS: dict[str, Callable[[torch.Tensor, torch.Tensor | None], Product]] = {
    "plain": _plain,
    "plain-added": _plain_added,
    "onednn": _onednn,
    "mkl": _mkl,
    "mkl-added": _mkl_added,
}
"""Each takes a weight [out_features, in_features] and a bias and gives a `Product`."""


def make_product(name: str, weight: torch.Tensor, bias: torch.Tensor | None) -> tuple[str, Product]:
    """The named product of a weight, or `plain` where that one cannot be made or disagrees; and its name."""
    plain = _plain(weight, bias)
    if name == "plain":
        return name, plain
    try:
        with torch.no_grad():
            made = PRODUCTS[name](weight, bias)
            if agrees(made, plain, weight, rows=(7,)):
                return name, made
    except (RuntimeError, AttributeError):  # an op that this build of torch lacks, or that refuses the weight
        return "plain", plain
    return "plain", plain


def agrees(product: Product, plain: Product, weight: torch.Tensor, rows: Iterable[int] = (1, 33)) -> bool:
    """Whether a product gives what `plain` gives, at several numbers of rows."""
    generator = torch.Generator().manual_seed(0)
    for count in rows:
        x = torch.randn(count, weight.shape[1], generator=generator).to(weight.dtype)
        want, got = plain(x), product(x)
        if got.shape != want.shape or not torch.isfinite(got).all():
            return False
        if float((got - want).abs().max()) > AGREEMENT * max(float(want.abs().max()), 1e-30):
            return False
    return True


def choose(classes: Mapping[ShapeClass, torch.Tensor], *, seconds: float = BUDGET_SECONDS) -> dict[ShapeClass, str]:
    """The name of the best product for each class of shapes.

    Args:
        classes: one weight of each class, to measure with.
        seconds: for all of them together; what is not measured in time is `plain`.
    """
    forced = settings.cpu_products()
    if forced != "auto":
        return dict.fromkeys(classes, forced)
    path = settings.cache_dir() / "products" / f"{_machine_key()}.json"
    known = _read(path)
    chosen = {shape: known[_text(shape, w)] for shape, w in classes.items() if _text(shape, w) in known}
    missing = {shape: weight for shape, weight in classes.items() if shape not in chosen}
    if not missing:
        return chosen
    deadline = time.perf_counter() + seconds
    measured = {}
    for done, (shape, weight) in enumerate(missing.items()):
        share = (deadline - time.perf_counter()) / (len(missing) - done)
        best = _fastest(weight, shape[2], share) if share > 0 else None
        if best is not None:
            measured[shape] = best
    kept = _keep(path, {_text(shape, classes[shape]): name for shape, name in measured.items()})
    agreed = {shape: kept[_text(shape, classes[shape])] for shape in measured}
    return {**dict.fromkeys(classes, "plain"), **chosen, **agreed}


@functools.cache
def processor() -> str:
    """The processor's model name, as the system gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@torch.no_grad()
def _fastest(weight: torch.Tensor, has_bias: bool, seconds: float) -> str | None:
    """The fastest product that agrees with `plain`; None if there was no time for two rounds."""
    deadline = time.perf_counter() + seconds
    bias = torch.zeros(weight.shape[0], dtype=weight.dtype) if has_bias else None
    rows = int(min(_ROWS, max(16, _MULTIPLICATIONS // weight.numel())))
    x = torch.randn(rows, weight.shape[1], generator=torch.Generator().manual_seed(0)).to(weight.dtype)
    made: dict[str, Product] = {}
    for name in PRODUCTS:
        if time.perf_counter() > deadline:
            return None
        with contextlib.suppress(RuntimeError, AttributeError):
            product = PRODUCTS[name](weight, bias)
            if name == "plain" or agrees(product, made["plain"], weight):
                made[name] = product
    times = dict.fromkeys(made, float("inf"))
    rounds = 0
    while rounds < 2 or (rounds < 20 and time.perf_counter() < deadline):
        for name, product in made.items():  # in turn, so that a burst of other work hits all of them
            product(x)
            began = time.perf_counter()
            product(x)
            times[name] = min(times[name], time.perf_counter() - began)
        rounds += 1
        if rounds == 1 and time.perf_counter() > deadline:
            return None
    best = min(times, key=lambda name: times[name])
    return best if times[best] < MARGIN * times["plain"] else "plain"


def _text(shape: ShapeClass, weight: torch.Tensor) -> str:
    return f"{shape[0]}x{shape[1]}{'+' if shape[2] else ''} {str(weight.dtype).removeprefix('torch.')}"


def _machine_key() -> str:
    parts = [_VERSION, processor(), torch.__version__, torch.get_num_threads()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, str]:
    """What was measured before; a file that cannot be read is measured anew."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(k): str(v) for k, v in found.items() if v in PRODUCTS}


def _keep(path: Path, measured: Mapping[str, str]) -> dict[str, str]:
    """Add choices to the file and return all of its; what another process chose meanwhile stays, so that both agree.

    A cache that cannot be written is no reason to stop.
    """
    kept = {**measured, **_read(path)}
    scratch = path.with_suffix(f".{time.time_ns()}.part")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(kept, indent=1, sort_keys=True), encoding="utf-8")
        scratch.replace(path)
    return kept
