"""The table of memory: what was measured, what a line predicts, and what is refused."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import memory
from benchmarks.children import ChildFailed
from benchmarks.memory import Readings, predicted, table


def _row(what: str, trials: int, gb: float, **more: Any) -> dict[str, Any]:
    return {"arrangement": what, "trials": trials, "gb": gb, "measured": True, **more}


def test_what_was_not_measured_lies_on_the_line_through_what_was() -> None:
    """Exactly on it when the measured figures are, and marked as not measured."""
    rows = [_row("peers", k, 0.2 + 0.9 * k) for k in (1, 2, 4)]
    found = {row["trials"]: row for row in predicted(rows, (1, 2, 4, 8, 32))}
    assert set(found) == {8, 32}
    assert found[32]["gb"] == pytest.approx(0.2 + 0.9 * 32)
    assert not found[8]["measured"]


def test_nothing_is_predicted_from_one_figure_and_no_prediction_falls() -> None:
    """One point has no slope; more trials never take less."""
    assert predicted([_row("peers", 1, 1.0)], (1, 2)) == []
    (found,) = predicted([_row("packed", 1, 1.02), _row("packed", 2, 1.0)], (1, 2, 32))
    assert found["gb"] == pytest.approx(1.01)


def test_the_table_marks_what_is_not_measured_and_its_ratios() -> None:
    """A ratio of a measured and a predicted figure is a predicted ratio."""
    rows = [_row("packed", 1, 1.0, engine_predicted_gb=0.9), _row("packed", 2, 1.5), _row("peers", 1, 1.5)]
    rows.append({**_row("peers", 2, 3.0), "measured": False})
    lines = {line[:30].strip(): line[30:].split() for line in table(rows, (1, 2, 4)).splitlines()}
    assert lines["K trials in one engine"] == ["1.00", "1.50", "-"]
    assert lines["K PEFT + Trainer processes"] == ["1.50", "~3.00", "-"]
    assert lines["predicted by the engine"] == ["0.90", "-", "-"]
    assert lines["peers over packed"] == ["1.5x", "~2.0x", "-"]


def test_readings_are_of_every_process_and_of_the_highest_moment() -> None:
    """Also when all ends before the first interval is over; a process that is not there reads zero."""
    with Readings([os.getpid()]) as readings:
        pass
    assert readings.highest[os.getpid()] > 0
    with Readings([os.getpid(), 2**22 + 1]) as readings:
        before = readings.highest[os.getpid()]
        ballast = bytearray(b"x") * (64 * 2**20)
        end = time.monotonic() + 60
        while readings.highest[os.getpid()] <= before + 0.05 and time.monotonic() < end:
            time.sleep(0.05)
        del ballast
    assert readings.highest[os.getpid()] > before + 0.05
    assert readings.highest[2**22 + 1] == 0.0


def test_what_would_not_fit_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the free memory stays free."""
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * 2**30))
    rows = [_row("peers", 1, 1.0), _row("peers", 2, 2.0)]
    assert memory._fits(rows, "peers", 5)
    assert not memory._fits(rows, "peers", 7)


@pytest.mark.parametrize(
    ("norms", "said"), [([0.5], "1 trials trained"), ([0.5, 0.0], "gradient norms"), ([0.5, float("nan")], "gradient")]
)
def test_trials_that_did_not_train_take_no_memory_worth_printing(
    norms: list[float], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too few, or one without a gradient, and the figure is refused."""
    answers = [{}, {"memory_gb": 0.5}, {}, {"grad_norms": norms, "packing": {}}]
    monkeypatch.setattr(memory, "side_child", lambda *_: _Fake(list(answers)))
    row = memory.measure("packed", 2, {}, "model", tmp_path)
    assert said in row["faults"][0]


def test_a_failed_arrangement_is_refused_and_the_exit_status_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other arrangements are still measured."""

    def measured(what: str, count: int, *_: Any) -> dict[str, Any]:
        if what == "peers":
            raise ChildFailed("a peer ended\nwith a long log")
        faults = ["packed, 2 trials: nothing was trained"] if count == 2 else []
        return {**_row(what, count, 1.2345), "faults": faults}

    monkeypatch.setattr(memory, "measure", measured)
    monkeypatch.setattr(memory, "_inputs", lambda options, folder: ({}, "model"))
    out = tmp_path / "out.json"
    arguments = ["--measured", "1", "2", "--counts", "1", "2", "--arrangements", "packed", "peers", "--json", str(out)]
    assert memory.main(arguments) == 1
    stored, printed = json.loads(out.read_text(encoding="utf-8")), capsys.readouterr().out
    assert [(row["arrangement"], row["trials"]) for row in stored["rows"]] == [("packed", 1)]
    assert stored["refused"] == ["packed, 2 trials: nothing was trained", "peers, 1 trials: a peer ended"]
    assert "refused: packed, 2" in printed


class _Fake:
    """A child that answers from a list; its memory is this process's."""

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        self.pid, self._answers = os.getpid(), answers

    def send(self, do: str, **what: Any) -> None:
        """Nothing to do."""

    def receive(self) -> dict[str, Any]:
        return self._answers.pop(0)

    def __enter__(self) -> _Fake:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to do."""
