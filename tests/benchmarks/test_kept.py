"""Figures of an interrupted run: taken up where they are of the same request and machine, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import comparison
from benchmarks.comparison import Part
from benchmarks.kept import Kept

MACHINE: dict[str, Any] = {
    "processor": "one",
    "cores": 2,
    "python": "3.11",
    "packages": {"torch": "2"},
    "date": "today",
}
PART = Part("minilm", "movies", "encoder", "classification", 2, False, 100, 200, 2, ("dropout off",))


def test_what_was_kept_comes_back_for_the_same_request_and_machine_alone(tmp_path: Path) -> None:
    """Another date is no other machine; another processor or another request is."""
    path = tmp_path / "raw.json"
    Kept(path, MACHINE).keep(PART.to_json(), {"totals": [{"seed": 0}]})
    assert Kept(path, {**MACHINE, "date": "tomorrow"}).seeds(PART.to_json()) == {"totals": [{"seed": 0}]}
    assert Kept(path, {**MACHINE, "processor": "two"}).seeds(PART.to_json()) == {}
    assert Kept(path, MACHINE).seeds({**PART.to_json(), "rows": 101}) == {}


def test_a_later_seed_replaces_what_was_kept_before(tmp_path: Path) -> None:
    """One entry a request; others stay."""
    kept = Kept(tmp_path / "raw.json", MACHINE)
    kept.keep({"a": 1}, {"totals": [0]})
    kept.keep({"a": 2}, {"totals": [5]})
    kept.keep({"a": 1}, {"totals": [0, 1]})
    again = Kept(tmp_path / "raw.json", MACHINE)
    assert again.seeds({"a": 1}) == {"totals": [0, 1]}
    assert again.seeds({"a": 2}) == {"totals": [5]}


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    """Its name may have been mistyped."""
    (tmp_path / "result.json").write_text('{"machine": {}}')
    with pytest.raises(ValueError, match="--keep"):
        Kept(tmp_path / "result.json", MACHINE)


def test_a_comparison_goes_on_with_the_seed_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first seed is not measured again, the second one is, and both are kept."""
    asked: list[tuple[str, Any]] = []

    class Side:
        def __init__(self, *_: Any) -> None: ...

        def __enter__(self) -> Side:
            return self

        def __exit__(self, *_: object) -> None: ...

        def ask(self, what: str, **given: Any) -> dict[str, Any]:
            asked.append((what, given.get("seed")))
            return {
                "seconds": 1.0,
                "train_rate": 1.0,
                "evaluation_rate": 1.0,
                "shapes": [],
                "trials": [],
                "gflops": 1.0,
                "tokens_per_step": 10.0,
                "packing": {},
            }

    monkeypatch.setattr(comparison, "side_child", Side)
    monkeypatch.setattr(comparison, "_to_look_at", lambda part, raw: {})
    monkeypatch.setattr(comparison, "prepared", lambda part, folder: ({}, "model"))
    path, first = tmp_path / "raw.json", {"ours": [], "peer": {"dropout off": [{"trial": 0, "seed": 0}]}}
    Kept(path, MACHINE).keep(PART.to_json(), {**first, "totals": [{"seed": 0}], "ceilings": [{}]})
    raw = comparison.measure(PART, tmp_path, lambda _: None, Kept(path, MACHINE))
    assert {seed for what, seed in asked if what in ("train", "admit")} == {1}
    assert [total["seed"] for total in raw["totals"]] == [0, 1]
    assert [t["seed"] for t in raw["peer"]["dropout off"]] == [0, 1, 1]
    asked.clear()
    assert comparison.measure(PART, tmp_path, lambda _: None, Kept(path, MACHINE))["totals"] == raw["totals"]
    assert asked == []
