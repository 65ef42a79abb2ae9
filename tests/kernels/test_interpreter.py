"""Every Triton kernel, run in the interpreter, against the twins in float64.

Sizes are odd (63 and 100 wide, 128 rows in five groups), one group is empty, one
comes in two pieces, one does not adapt the layer; ranks are 4, 17, 0, 8 and 1. Fresh
buffers are full of NaN, and so is the memory around every input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

TOLERANCE = {"float64": 1e-13, "float32": 2e-6}
MODES = ("base", "weight")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "mode", "deterministic"),
    [
        ("float64", "base", True),
        ("float64", "weight", False),
        ("float32", "base", False),
        ("float32", "weight", True),
    ],
)
def test_output_and_gradients_equal_the_twin(
    interpreted: Callable[..., Any], dtype: str, mode: str, deterministic: bool
) -> None:
    """Forward and backward with dropout; the launches are those the README promises."""
    result = interpreted("against_twin", dtype=dtype, mode=mode, deterministic=deterministic)
    assert result["error"] < TOLERANCE[dtype]
    if deterministic:
        assert result["launches"] == {"shrink": 2, "expand": 2, "reduce_rows": 2}
    else:
        assert result["launches"] == {"shrink": 1, "expand": 2, "reduce_rows": 1, "shrink_reduce": 1}


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.slow
def test_ranks_beyond_a_block_are_worked_off_in_blocks(interpreted: Callable[..., Any], deterministic: bool) -> None:
    """Rank 40 needs two blocks of ranks in fp32 where rank 3 needs one; no dropout here."""
    result = interpreted(
        "against_twin", dtype="float32", mode="base", deterministic=deterministic, ranks=[3, 40], dropout=False
    )
    assert result["error"] < TOLERANCE["float32"]


@pytest.mark.parametrize(
    ("in_features", "out_features", "segments", "ranks", "tile_rows"),
    [
        (1, 1, [[0, 1]], [1], 16),  # the smallest there is
        (7, 130, [[0, 65]], [3], 64),  # one group, a row more than a tile
        (100, 3, [[2, 1], [0, 1], [1, 1]], [16, 15, 33], 16),  # rows in another order than the groups
        (5, 9, [[0, 0], [1, 18], [2, 0]], [4, 2, 0], 16),  # nothing before and after
        (33, 31, [[0, 17], [1, 2], [0, 16], [1, 31]], [0, 5], 16),  # interleaved, and the first adapts nothing
    ],
)
def test_any_size_equals_the_twin(
    interpreted: Callable[..., Any],
    in_features: int,
    out_features: int,
    segments: list[list[int]],
    ranks: list[int],
    tile_rows: int,
) -> None:
    """Single rows and columns, tiles that are just too small, empty groups at both ends, groups in turns."""
    sizes = {"in_features": in_features, "out_features": out_features, "segments": segments, "ranks": ranks}
    assert max(interpreted("sizes", **sizes, tile_rows=tile_rows)["errors"]) < TOLERANCE["float32"]


@pytest.mark.slow
def test_two_deterministic_runs_agree_in_every_bit(interpreted: Callable[..., Any]) -> None:
    """No sum depends on the order in which programs run."""
    assert interpreted("twice", mode="base")["equal"]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "deterministic"), [("base", True), ("weight", False)])
def test_a_group_full_of_nan_changes_no_bit_of_the_others(
    interpreted: Callable[..., Any], mode: str, deterministic: bool
) -> None:
    """Rows and factors of one group are NaN: the outputs and gradients of all others stay as they were."""
    result = interpreted("isolation", mode=mode, deterministic=deterministic)
    assert result["spoiled"]
    assert all(result["same"])


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "deterministic"), [("base", True), ("weight", False)])
def test_gradients_equal_finite_differences(interpreted: Callable[..., Any], mode: str, deterministic: bool) -> None:
    """torch.autograd.gradcheck in fp64, every entry, dropout on: masks regenerated in backward are those of forward."""
    assert interpreted("gradcheck", mode=mode, deterministic=deterministic)["passed"]


def test_the_mask_in_the_kernel_is_the_twins(interpreted: Callable[..., Any]) -> None:
    """Bit by bit, for an odd number of features and a key beyond 2^31."""
    result = interpreted("masks")
    assert result["equal"]
    assert 0.7 < result["share"] < 0.8


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_adamw_steps_all_tensors_in_one_launch(interpreted: Callable[..., Any], dtype: str) -> None:
    """Three steps with clipping, decay, L2; the inactive row's NaN parameters and moments stay."""
    result = interpreted("adamw", dtype=dtype)
    assert result["error"] < TOLERANCE[dtype]
    assert result["untouched"]
    assert result["launches"] == {"grouped_adamw": 3}


@pytest.mark.parametrize(
    ("kernel", "deterministic", "dtype", "most"),
    [
        ("shrink", True, "float32", 1.5),
        ("shrink", True, "float64", 1.85),  # rank 17 is two blocks in fp64: X is read twice
        ("expand base", True, "float32", 1.2),
        ("expand weight bias", True, "float32", 3.2),  # four blocks of columns, and each reads X
        ("expand weight dropout", True, "float32", 3.2),
        ("expand dropout", True, "float32", 1.35),  # dX of the low-rank term alone
        ("expand dropout", True, "float64", 1.35),  # blocks of ranks cost nothing here
        ("reduce_rows", True, "float32", 1.15),
        ("reduce_rows", True, "float64", 1.55),
        ("reduce_rows", False, "float32", 1.45),
        ("shrink_reduce", False, "float32", 1.9),
        ("shrink_reduce", False, "float64", 2.2),
        ("grouped_adamw", True, "float32", 1.01),
    ],
)
def test_bytes_moved_are_those_of_the_formula(
    interpreted: Callable[..., Any], kernel: str, deterministic: bool, dtype: str, most: float
) -> None:
    """Counted in the interpreter: equal to `costs` to the byte, and from the theoretical minimum to `most` times it."""
    result = interpreted("traffic", kernel=kernel, deterministic=deterministic, dtype=dtype)
    assert result["counted"] == result["formula"]
    assert result["least"] <= sum(result["counted"]) <= most * result["least"]
    assert result["rank_blocks"] == (2 if dtype == "float64" else 1)
