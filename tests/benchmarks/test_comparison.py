"""From raw figures to a result: no speed without the checks, and the arithmetic of the rest."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import comparison, throughput
from benchmarks.comparison import Part, faults_of, weigh

PART = Part(
    model="minilm",
    source="sentiment-domains/movies",
    family="encoder",
    task="classification",
    count=4,
    complete=False,
    rows=100,
    validation_rows=200,
    seeds=2,
    recipes=("as shipped", "dropout off", "off, by length"),
)
SPEEDS = ("samples_per_second", "tokens_per_second", "seconds", "ratio", "ratio_interval", "share_of_ceiling")


def _trial(number: int, seed: int, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "trial": number,
        "seed": seed,
        "seconds": seconds,
        "tokens": 2800,
        "steps": 7,
        "parameters": 74498,
        "grad_norm": 0.5,
        "accuracy": 0.8 + 0.002 * number - 0.004 * seed,
        "loss": 0.5,
        "rows_scored": 200,
        **more,
    }


@pytest.fixture
def raw() -> dict[str, Any]:
    """Ours takes a second a trial, the peer 6, 5 and 4 seconds; accuracies agree."""
    peer: dict[str, list[dict[str, Any]]] = {}
    aside = {"setup_seconds": 0.1, "evaluation_seconds": 2.0, "memory_gb": 1.5}
    for name, seconds in zip(PART.recipes, (6.0, 5.0, 4.0), strict=True):
        seeds = (0, 1) if name == PART.yardstick else (0,)
        peer[name] = [_trial(n, s, seconds + n, **aside) for s in seeds for n in range(4)]
    totals = {
        "evaluation_seconds": 1.0,
        "memory_gb": 1.0,
        "tokens_per_step": 1600.0,
        "packing": {
            "passes_per_step": 2.0,
            "occupancy": 0.9,
            "predicted": {"seconds_per_step": 0.5},
            "measured": {"seconds_per_step": 0.6},
        },
    }
    operations = {"forward": 20e6, "backward": 19e6, "shapes": [[384, 384, 24]]}
    ceiling = {"gflops": 200.0, "dtype": "float32", "tokens": 800, "threads": 2}
    rates = {"seconds": 5.0, "train_rate": 50.0, "evaluation_rate": 100.0}
    return {
        "ours": [_trial(n, s, 1.0, failed=False) for s in (0, 1) for n in range(4)],
        "peer": peer,
        "totals": [{"seed": 0, **totals}, {"seed": 1, **totals}],
        "ceilings": [ceiling, {**ceiling, "gflops": 220.0}],
        "setup": {"ours": {**rates, "precision": "fp32"}, "peer": rates},
        "admit_seconds": 0.1,
        "arithmetic": {"ours": {**operations, "forward": 18e6}, "peer": operations},
    }


def _worse(raw: dict[str, Any], points: float) -> None:
    for trial in raw["ours"]:
        trial["accuracy"] -= points / 100


def test_speeds_and_ratios_follow_from_the_same_trials_on_both_sides(raw: dict[str, Any]) -> None:
    """Seconds are summed over configurations and seeds; a variant with one seed meets that seed's trials alone."""
    found = weigh(PART, raw)
    assert found["refused"] == []
    assert found["ours"]["samples_per_second"] == 100.0
    assert found["peer"]["as shipped"]["ratio"] == pytest.approx((6 + 7 + 8 + 9) / 4)
    assert found["peer"]["off, by length"]["ratio"] == pytest.approx((4 + 5 + 6 + 7) / 4)
    low, high = found["peer"]["as shipped"]["ratio_interval"]
    assert 6.0 <= low < 7.5 < high <= 9.0
    # 2,800 tokens a second with 37e6 operations each, of the middle of 200 and 220 GFLOP/s
    assert found["ours"]["share_of_ceiling"] == pytest.approx(2800 * 37e6 / 210e9, rel=1e-3)
    assert found["peer"]["as shipped"]["share_of_ceiling"] == pytest.approx(2800 * 39e6 / 210e9 / 7.5, rel=1e-3)


def test_no_speed_survives_a_failed_accuracy_check(raw: dict[str, Any]) -> None:
    """Neither of ours nor of the peer, nor in the list of trials; what was seen of accuracies stays."""
    _worse(raw, 12.0)
    found = weigh(PART, raw)
    assert len(found["refused"]) == 3
    for line in (found["ours"], *found["peer"].values()):
        assert not set(SPEEDS) & set(line)
        assert "accuracy" in line
    assert all("seconds" not in trial for row in found["trials"] for trial in row["ours"])


def test_a_variant_that_fails_alone_is_refused_alone(raw: dict[str, Any]) -> None:
    """The check against the variant that computes the same decides about this package's own speed."""
    for trial in raw["peer"]["off, by length"]:
        trial["accuracy"] -= 0.12
    found = weigh(PART, raw)
    assert [sentence.split(":")[0] for sentence in found["refused"]] == ["off, by length"]
    assert "ratio" in found["peer"]["dropout off"]
    assert "samples_per_second" in found["ours"]
    assert "samples_per_second" not in found["peer"]["off, by length"]


def _set(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(trial: dict[str, Any]) -> None:
        trial[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("tokens", 2700), "tokens read differ"),
        (_set("steps", 6), "optimizer steps differ"),
        (_set("parameters", 1), "trainable parameters differ"),
        (_set("rows_scored", 199), "not scored on 200 rows"),
        (_set("grad_norm", 0.0), "gradient is zero"),
        (_set("grad_norm", float("nan")), "not finite"),
        (_set("loss", float("inf")), "not finite"),
        (_set("failed", True), "not finite"),
    ],
)
def test_other_work_is_refused_whatever_its_accuracy(
    raw: dict[str, Any], change: Callable[[dict[str, Any]], None], said: str
) -> None:
    """Rows skipped, steps left out, nothing trained: a speed that such work has is no speed."""
    assert faults_of(raw["ours"], raw["peer"][PART.yardstick], 200) == []
    change(raw["ours"][2])
    (fault,) = faults_of(raw["ours"], raw["peer"][PART.yardstick], 200)
    assert said in fault
    found = weigh(PART, raw)
    assert len(found["refused"]) == 3
    assert not set(SPEEDS) & set(found["ours"])


def test_a_language_model_is_judged_by_its_loss(raw: dict[str, Any]) -> None:
    """Accuracies do not exist there; a loss half as high again is other work."""
    part = replace(PART, task="causal-lm")
    for trial in (*raw["ours"], *(t for trials in raw["peer"].values() for t in trials)):
        trial |= {"accuracy": float("nan"), "loss": 3.0 + 0.01 * trial["seed"]}
    assert weigh(part, raw)["refused"] == []
    for trial in raw["ours"]:
        trial["loss"] = 4.5
    assert len(weigh(part, raw)["refused"]) == 3


def test_the_estimate_counts_every_variant_and_seed() -> None:
    """Four configurations of 100 rows at 50 a second and 200 rows to score at 100: 4 s each, 7 times 4, twice 5 s."""
    rates = {"seconds": 5.0, "train_rate": 50.0, "evaluation_rate": 100.0}
    assert comparison.estimate(PART, {"ours": rates, "peer": rates}) == pytest.approx((2 + 4) * 4 * 4.0 + 10.0)
    ablation = replace(PART, without=("packing", "bucketing"))  # with and without each of two, and once for the spread
    assert comparison.estimate(ablation, {"ours": rates}) == pytest.approx((2 * 2 + 1) * 4 * 4.0 + 3 * 5.0)


def test_a_stored_part_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    """Results are shared."""
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n", encoding="utf-8")
    shown = replace(PART, model=str(tmp_path / "model"), source=str(rows)).to_json()
    assert str(tmp_path) not in json.dumps(shown)
    assert (shown["model"], shown["source"]) == ("model", "rows.csv")


class _Side:
    """Stands for a child process: trials of one accuracy, a little more with each seed; notes what it was asked."""

    def __init__(self, accuracy: float) -> None:
        self.accuracy = accuracy
        self.asked: list[tuple[str, Any]] = []

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        self.asked.append((do, what.get("seed")))
        if do == "train":
            return {**_trial(0, what["seed"], 6.0), "accuracy": self.accuracy + 0.001 * what["seed"]}
        return {"trials": [{**_trial(n, 0, 1.0), "accuracy": self.accuracy + 0.001 * n} for n in range(6)]}


@pytest.mark.parametrize(("points", "passes"), [(0.0, True), (8.0, False)])
def test_a_doubtful_configuration_is_trained_again_with_further_seeds_on_both_sides(
    raw: dict[str, Any], points: float, passes: bool
) -> None:
    """Its own variants only; then they decide, and what was trained for it counts for no speed."""
    part = replace(PART, complete=True, validation_rows=4000)
    for trial in (*raw["ours"], *(t for trials in raw["peer"].values() for t in trials)):
        trial["rows_scored"] = 4000
    raw["ours"][1]["accuracy"] -= 0.035
    raw["ours"][2]["accuracy"] += 0.035
    assert comparison._to_look_at(part, raw) == {1: list(part.recipes), 2: list(part.recipes)}
    assert len(weigh(part, raw)["refused"]) == 3
    ours, peer = _Side(0.8), _Side(0.8 + points / 100)
    for number, names in comparison._to_look_at(part, raw).items():
        look = comparison._second_look(part, part.configs[number], names, ours, peer)
        raw.setdefault("looks", {})[str(number)] = look
        assert [t["seed"] for t in look["ours"]] == [2, 3, 4, 5, 6, 7]
    assert {seed for do, seed in peer.asked if do == "train"} == {2, 3, 4, 5, 6, 7}
    assert comparison._to_look_at(part, raw) == {}
    found = weigh(part, raw)
    assert (found["refused"] == []) == passes, found["refused"]
    assert set(found["second_looks"]["1"]) == {"ours", *part.recipes}
    assert "seconds" not in json.dumps(found["second_looks"])
    if passes:
        assert found["ours"]["samples_per_second"] == 100.0


def test_no_second_look_at_work_that_is_worse_throughout(raw: dict[str, Any]) -> None:
    """Hours of further seeds would not clear it."""
    part = replace(PART, complete=True, validation_rows=4000)
    for trial in (*raw["ours"], *(t for trials in raw["peer"].values() for t in trials)):
        trial["rows_scored"] = 4000
    _worse(raw, 5.0)
    assert comparison._to_look_at(part, raw) == {}


@pytest.mark.parametrize("points", [0.0, 12.0])
def test_the_command_prints_no_speed_after_a_failed_check(
    points: float,
    raw: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The table has them when all is well; after a failure it says "refused" and the exit status is 1."""
    given = copy.deepcopy(raw)
    _worse(given, points)

    def measured(part: Part, folder: Path, say: Callable[[str], None], kept: object) -> Mapping[str, Any]:
        return given

    monkeypatch.setattr(comparison, "measure", measured)
    monkeypatch.setattr(throughput, "_parts", lambda options, folder: [PART])
    out = tmp_path / "result.json"
    status = throughput.main(["--subset", "4", "--json", str(out)])
    printed, stored = capsys.readouterr().out, json.loads(out.read_text(encoding="utf-8"))
    assert (status, "100.0" in printed) == ((0, True) if points == 0 else (1, False))
    assert ("7.50 (" in printed) == (points == 0)
    assert printed.count("refused") >= (4 if points else 0)
    assert "samples_per_second" in json.dumps(stored) or points
    assert stored["machine"]["packages"]["torch"]
    assert str(tmp_path) not in out.read_text(encoding="utf-8")
