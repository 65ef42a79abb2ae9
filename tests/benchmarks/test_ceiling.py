"""Counting a step's arithmetic, against torch's own counter, and the bare products beside it."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ceiling import counting, matrix_ceiling


def _frozen() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(13, 21), nn.Tanh(), nn.Linear(21, 9), nn.Tanh(), nn.Linear(9, 5))
    return model.requires_grad_(False)


def test_operations_are_those_that_torch_counts() -> None:
    """Forward, and backward only from the layer on whose input needs a gradient."""
    model, rows, positions = _frozen(), 3, 7
    x = torch.randn(rows, positions, 13)
    shift = torch.zeros(21, requires_grad=True)  # what trains, between the first layer and the second

    def forward() -> torch.Tensor:
        return model[2:](model[1](model[0](x)) + shift).sum()

    with counting() as operations:
        forward()
    found = operations.per_token(rows * positions)
    with FlopCounterMode(display=False) as ahead:
        loss = forward()
    with FlopCounterMode(display=False) as back:
        loss.backward()
    assert found["forward"] * rows * positions == ahead.get_total_flops()
    assert found["backward"] * rows * positions == back.get_total_flops()
    assert found["shapes"] == [[5, 9, 1], [9, 21, 1], [21, 13, 1]]


def test_padding_is_no_work_and_pooled_rows_count_as_they_are() -> None:
    """Of 21 padded positions 15 are tokens; a layer that sees 3 rows of one position sees 3 rows."""
    model = _frozen()
    with counting() as operations:
        hidden = model[0](torch.randn(3, 7, 13))
        model[2](hidden[:, :1])
        model[4](torch.randn(3, 9))
    found = operations.per_token(15)
    assert found["forward"] * 15 == 2 * 13 * 21 * 15 + 2 * 21 * 9 * 3 + 2 * 9 * 5 * 3
    assert [5, 9] not in [shape[:2] for shape in found["shapes"]]


def test_skipped_layers_are_not_counted_and_nothing_after_the_block() -> None:
    """Adapters are not part of the frozen model."""
    model = _frozen()
    with counting(skip=[model[2]]) as operations:
        model(torch.randn(2, 4, 13))
    before = operations.per_token(8)
    model(torch.randn(2, 4, 13))
    assert operations.per_token(8) == before
    assert [shape[:2] for shape in before["shapes"]] == [[5, 9], [21, 13]]


def test_the_ceiling_is_positive_and_names_its_number_format() -> None:
    """Measured with the tokens that it was asked for."""
    found = matrix_ceiling([[63, 100, 2], [100, 63, 1]], 65)
    assert found["gflops"] > 0
    assert found["dtype"] in ("float32", "bfloat16")
    assert found["tokens"] == 65
