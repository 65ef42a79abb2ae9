"""How much arithmetic a training step does, and how much the processor could do at the very most.

Arithmetic: 2 operations for each weight of a linear layer that a token passes, once
forward, and once more backward where the layer's input needs a gradient (the frozen
weights themselves need none). Padding, attention's own products, low-rank terms, norms
and the optimizer are left out, and so is what a side found a way not to compute.

Ceiling: bare products at the shapes of these layers, with as many tokens as a pass
has, by the fastest way at hand, in bf16 where the processor (or GPU) computes in it and
in fp32 elsewhere. Measured in the same run as what is compared with it.
"""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from autoglm_nb.training import products

__all__ = ["Operations", "counting", "matrix_ceiling", "native_bf16"]

REPEATS = 9


class Operations:
    """What went through the linear layers while a `counting` block lasted."""

    def __init__(self, skip: Iterable[nn.Module]) -> None:
        self._skip = {id(module) for module in skip}
        self._seen: list[tuple[int, int, tuple[int, ...], bool]] = []

    def per_token(self, tokens: int) -> dict[str, Any]:
        """Operations of the step, for each of its `tokens` real tokens.

        Returns:
            forward, backward, and shapes: how often each (out, in) occurs on tokens, as [out, in, count].
        """
        longest = max((shape[1] for *_, shape, _ in self._seen if len(shape) == 3), default=1)
        forward = backward = 0.0
        shapes: Counter[tuple[int, int]] = Counter()
        for out, width, shape, gradient in self._seen:
            whole = len(shape) == 3 and shape[1] == longest
            operations = 2.0 * out * width * (tokens if whole else math.prod(shape[:-1]))
            forward += operations
            backward += operations * gradient
            shapes[out, width] += len(shape) == 3
        return {
            "forward": forward / tokens,
            "backward": backward / tokens,
            "shapes": [[out, width, count] for (out, width), count in sorted(shapes.items()) if count],
        }

    def see(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A global forward hook."""
        if isinstance(module, nn.Linear) and id(module) not in self._skip:
            x = inputs[0]
            self._seen.append((module.out_features, module.in_features, tuple(x.shape), x.requires_grad))


@contextmanager
def counting(skip: Iterable[nn.Module] = ()) -> Iterator[Operations]:
    """Count what goes through linear layers, whatever model they belong to.

    Inside there must be one forward pass over one batch.

    Args:
        skip: layers that are not part of the frozen model.
    """
    operations = Operations(skip)
    handle = register_module_forward_pre_hook(operations.see)
    try:
        yield operations
    finally:
        handle.remove()


def matrix_ceiling(shapes: list[list[int]], tokens: int) -> dict[str, Any]:
    """Operations per second of bare products, weighted as the layers of a model are.

    Args:
        shapes: from `Operations.per_token`.
        tokens: rows of the left factor.

    Returns:
        gflops, dtype, tokens and threads.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if native_bf16() else torch.float32
    operations = seconds = 0.0
    for out, width, count in shapes:
        x, weight = (torch.randn(rows, width, device=device, dtype=dtype) for rows in (tokens, out))
        operations += 2.0 * tokens * out * width * count
        seconds += count * min(_median_seconds(way) for way in _ways(x, weight))
    return {
        "gflops": round(operations / seconds / 1e9, 1),
        "dtype": str(dtype).removeprefix("torch."),
        "tokens": tokens,
        "threads": torch.get_num_threads(),
    }


def native_bf16() -> bool:
    """Whether the GPU, or else the processor, multiplies in bf16, rather than imitating it."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    kinds = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, kind, bool)()) for kind in kinds)


def _ways(x: torch.Tensor, weight: torch.Tensor) -> list[Callable[[], torch.Tensor]]:
    """Every product that the engine chooses between; on a GPU the library's usual one."""
    if x.is_cuda:
        return [lambda: nn.functional.linear(x, weight)]
    made = dict(products.make_product(name, weight, None) for name in products.PRODUCTS)
    return [functools.partial(product, x) for product in made.values()]


def _median_seconds(call: Callable[[], torch.Tensor]) -> float:
    with torch.no_grad():
        for _ in range(2):
            call()
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
