"""Spaces and trials with known answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from autoglm_nb.space import Space, parse_cell
from autoglm_nb.surrogates.population import _at

CONDITIONAL = """
learning_rate = loguniform(1e-5, 1e-2)
method = choice("lora", "dora", "adapter")
if method in ("lora", "dora"):
    rank = choice(4, 8, 16, 32)
"""


def space_of(cell: str) -> Space:
    return parse_cell(cell, {}, strict_names=False)


def trials_of(
    space: Space, value: Callable[[dict[str, Any]], float], n: int, *, seed: int = 0, noise: float = 0.0
) -> list[dict[str, Any]]:
    """`n` completed trials drawn at random, with Gaussian noise on the value."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        config = space.walk(lambda d: _at(d, rng.random()))
        v = float(value(config) + noise * rng.normal())
        found.append(
            {"number": number, "state": "completed", "value": v, "values": [v], "config": config, "reports": []}
        )
    return found
