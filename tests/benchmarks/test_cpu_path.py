"""The benchmark of the CPU path, on a toy model: that it runs, and that other losses are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import cpu_path

MEASURES = "AUTOGLM_CPU_PATH"


@pytest.fixture
def arguments(tmp_path: Path, tiny_encoder_path: Path, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command line for the toys; the variable that the benchmark sets is put back afterwards."""
    monkeypatch.setenv(MEASURES, "all")
    given = ["--model", str(tiny_encoder_path), "--data", str(reviews_csv), "--rows", "60", "--steps", "16"]
    return [*given, "--batch-sizes", "8", "--json", str(tmp_path / "result.json")]


@pytest.mark.slow
def test_each_measure_is_timed_and_the_losses_agree(arguments: list[str]) -> None:
    """With all layers adapted and with the last two; and the evaluation."""
    assert cpu_path.main(arguments) == 0
    found = json.loads(Path(arguments[-1]).read_text(encoding="utf-8"))
    assert [part["top_layers"] for part in found["ablation"]] == [None, 2]
    for part in found["ablation"]:
        assert part["deviation"] <= cpu_path.LIMIT
        assert all(row["tokens_per_second"] > 0 for row in part["rows"])
    assert found["evaluation"]["rows"] > 0


@pytest.mark.slow
def test_engines_whose_losses_differ_are_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However little is allowed: no table, no file."""
    monkeypatch.setattr(cpu_path, "LIMIT", -1.0)
    assert cpu_path.main(arguments) == 1
    printed = capsys.readouterr().out
    assert "refused: losses of two engines differ" in printed
    assert "tokens/s" not in printed and not Path(arguments[-1]).exists()
