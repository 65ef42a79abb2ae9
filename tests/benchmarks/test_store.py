"""The benchmark of the store: it agrees with Optuna's reading, or says so and prints no figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import store


def test_pictures_of_a_study_are_timed_where_they_agree_with_optuna(tmp_path: Path) -> None:
    """Every picture has a time, and the command stands beside it."""
    out = tmp_path / "result.json"
    assert store.main(["--trials", "150", "--json", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["trials"] == 150 and {"machine", "command"} <= set(found)
    assert len(found["milliseconds"]) > 8 and all(value > 0 for value in found["milliseconds"].values())


def test_a_picture_that_differs_from_optunas_reading_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Points that are off by one value: the fault is told, no figure is printed or stored."""
    real, out = store.points, tmp_path / "result.json"

    def wrong(*given: Any, **options: Any) -> Any:
        found = real(*given, **options)
        return {**found, "values": [0.123, *found["values"][1:]]}

    monkeypatch.setattr(store, "points", wrong)
    assert store.main(["--trials", "20", "--json", str(out)]) == 1
    printed = capsys.readouterr().out
    assert "refused: points differ from Optuna's values" in printed
    assert "milliseconds" not in printed and not out.exists()
