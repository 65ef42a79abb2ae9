"""Decisions about shared passes: how many neighbours, which passes, what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autoglm_nb.training import packing
from autoglm_nb.training.costs import PassShape
from autoglm_nb.training.packing import MOST_RUNS, Packer, measured_overhead

CPU = torch.device("cpu")


def packer(overhead: float) -> Packer:
    return Packer(nn.Linear(4, 4), CPU, lambda: overhead)


@pytest.mark.parametrize(
    ("overhead", "tokens", "expected"),
    [(1.0, 2000.0, 1), (64.0, 200.0, 2), (128.0, 200.0, 4), (1024.0, 100.0, MOST_RUNS), (32.0, 640.0, 1)],
)
def test_neighbours_are_worth_their_share_of_the_pass(overhead: float, tokens: float, expected: int) -> None:
    """Sharing a fixed cost of 5 % gains less than coming later loses; one of ten times the tokens is worth 16."""
    assert packer(overhead).good_capacity(tokens) == expected


def test_the_overhead_is_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second engine of the same model on this machine reads the figure, so both decide alike."""
    monkeypatch.setenv("AUTOGLM_CACHE", str(tmp_path))
    timed: list[tuple[int, int]] = []

    def seconds(_: Any, __: Any, rows: int, positions: int) -> float:
        timed.append((rows, positions))
        return 1e-3 + 1e-5 * rows * positions

    monkeypatch.setattr(packing, "_seconds", seconds)
    first = measured_overhead(nn.Linear(1, 1), CPU, ["model", "fp32"])
    assert first == pytest.approx(100.0)
    assert measured_overhead(nn.Linear(1, 1), CPU, ["model", "fp32"]) == first
    assert len(timed) == 2
    measured_overhead(nn.Linear(1, 1), CPU, ["another", "fp32"])
    assert len(timed) == 4


def test_an_overhead_that_another_process_measured_meanwhile_counts_for_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has measured first decides, so that two workers of one study's machine decide alike."""
    monkeypatch.setenv("AUTOGLM_CACHE", str(tmp_path))

    def seconds(_: Any, __: Any, rows: int, positions: int) -> float:
        key = ["model", str(CPU), packing._device_name(CPU), torch.__version__, torch.get_num_threads()]
        file = packing._overhead_file([*key, *packing._OVERHEAD_PASSES])
        file.parent.mkdir(exist_ok=True)
        file.write_text('{"overhead_tokens": 640.0}')
        return 1e-3 + 1e-5 * rows * positions

    monkeypatch.setattr(packing, "_seconds", seconds)
    assert measured_overhead(nn.Linear(1, 1), CPU, ["model"]) == 640.0


def test_shrinking_halves_joined_passes_only() -> None:
    """After memory ran out in a joined pass the limit falls; a single micro-batch is for its run to halve."""
    one = packer(1024.0)
    shapes = [PassShape(8, 10)] * 4
    assert one.groups(shapes) == [[0, 1, 2, 3]]
    one.planned([(PassShape(32, 10), 4)])
    assert one.shrink() and one.cap == 160
    assert one.groups(shapes) == [[0, 1], [2, 3]]
    one.planned([(PassShape(8, 10), 1)])
    assert not one.shrink()


def test_what_runs_out_of_memory_between_passes_does_not_shrink_them_for_ever() -> None:
    """An evaluation after the last step asks again and again without a pass between; then its run must give way."""
    one = packer(1024.0)
    one.planned([(PassShape(32, 10), 4)])
    assert one.shrink()
    assert not one.shrink() and one.cap == 160


def test_training_corrects_a_measurement_that_is_far_off() -> None:
    """On a machine that got busy a pass costs far more than when it was measured: passes are joined again."""
    one = packer(4.0)
    shapes = [PassShape(8, 10), PassShape(8, 20)]
    assert one.groups(shapes) == [[0], [1]]
    for step in range(80):
        passes = [PassShape(8, 8 + step % 40), PassShape(16, 8 + (7 * step) % 50)][: 1 + step % 2]
        one.observe(passes, 2, 100, sum(1e-2 + 2e-5 * p.tokens for p in passes))
    assert one.overhead_tokens >= 128
    assert one.groups(shapes) == [[0, 1]]


def test_the_report_has_prediction_beside_measurement() -> None:
    one = packer(64.0)
    assert one.groups([PassShape(8, 10), PassShape(8, 10)]) == [[0, 1]]
    for _ in range(20):
        one.observe([PassShape(16, 10)], 2, 120, 0.01)
    one.observe_memory(PassShape(16, 10), 5e6)
    report = one.report()
    assert report["tokens_per_step"] == 120 and report["occupancy"] == 0.75
    assert report["measured"]["seconds_per_step"] == pytest.approx(0.01)
    assert report["predicted"]["seconds_per_step"] > 0 and report["measured"]["pass_memory_gb"] > 0
