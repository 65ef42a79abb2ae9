"""What is left for the card: only where there is evidence, whoever computed it, and never at a price."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoglm_nb import settings
from autoglm_nb.explain import explain
from autoglm_nb.explain.__main__ import main
from autoglm_nb.explain.kept import keep_importance
from autoglm_nb.protocol import Action
from autoglm_nb.session import plan
from autoglm_nb.store import EventTail, Store, snapshot
from autoglm_nb.surrogates import importance
from autoglm_nb.tuning.worker import run_worker
from tests.explain.studies import Made, make

SMALL = "x = uniform(0, 1)\ny = uniform(0, 1)"


def _only_x(config: dict[str, float], rng: np.random.Generator) -> float:
    return config["x"] + 0.01 * float(rng.normal())


def _noise(config: dict[str, float], rng: np.random.Generator) -> float:
    return float(rng.normal())


@pytest.fixture(scope="module")
def clear(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A study in which x alone matters."""
    return make(tmp_path_factory.mktemp("clear") / ".autoglm", 40, cell=SMALL, objective=_only_x, prune=False)


def test_what_matters_is_kept_with_its_interval(clear: Made) -> None:
    """Shares are those of the explanation, to the fourth digit; intervals are wider."""
    assert keep_importance(clear.home, clear.name)
    x, y = snapshot(clear.store, clear.name)["importance"]
    assert (x["parameter"], x["matters"], y["parameter"], y["matters"]) == ("x", True, "y", False)
    assert 0.8 < x["low"] <= x["value"] <= x["high"] <= 1.0 and y["value"] < 0.1
    [section] = [s for s in explain(clear.home, clear.name, ("importance",)).sections if s.key == "importance"]
    told = {s["name"]: s for s in section.facts["objectives"][0]["shares"]}
    assert {p["parameter"]: p["value"] for p in (x, y)} == {n: round(s["share"], 4) for n, s in told.items()}


def test_without_evidence_nothing_is_kept(tmp_path: Path) -> None:
    """Pure noise, and too few trials."""
    noise = make(tmp_path / "noise", 40, cell=SMALL, objective=_noise, prune=False)
    few = make(tmp_path / "few", 8, cell=SMALL, objective=_only_x, prune=False)
    for made in (noise, few):
        assert not keep_importance(made.home, made.name)
        assert "importance" not in snapshot(made.store, made.name)
        assert not (made.store.study_dir(made.name) / "importance.json").exists()


def test_the_command_keeps_what_it_computed(clear: Made, tmp_path: Path) -> None:
    """`%explain` in the middle of a study is as good as its end; a part that says nothing of it changes nothing."""
    file = clear.store.study_dir(clear.name) / "importance.json"
    file.unlink(missing_ok=True)
    asked = ["--home", str(clear.home), "--study", clear.name, "--out", str(tmp_path / "bundle.json")]
    assert main([*asked, "--what", "convergence"]) == 0
    assert not file.exists()
    assert main([*asked, "--what", "importance"]) == 0
    assert [p["parameter"] for p in snapshot(clear.store, clear.name)["importance"]] == ["x", "y"]


def test_explain_itself_writes_nothing(clear: Made) -> None:
    """The function is one from the store to a document."""
    file = clear.store.study_dir(clear.name) / "importance.json"
    file.unlink(missing_ok=True)
    explain(clear.home, clear.name, ("importance",))
    assert not file.exists()


def test_a_fault_costs_the_study_nothing(clear: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker calls this before it says that the study is finished."""
    assert not keep_importance(tmp_path / "nowhere", "reviews")

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a library of another version")

    monkeypatch.setattr("autoglm_nb.surrogates.importance", broken)
    assert not keep_importance(clear.home, clear.name)


@pytest.mark.slow
def test_a_large_study_is_judged_by_a_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evenly over its course; the card counts all that had ended."""
    made = make(tmp_path / ".autoglm", 250, cell=SMALL, objective=_only_x, prune=False)
    seen: list[int] = []

    def watched(trials: Sequence[Mapping[str, Any]], *rest: Any, **more: Any) -> Any:
        seen.extend(t["number"] for t in trials)
        return importance(trials[:40], *rest, **more)

    monkeypatch.setattr("autoglm_nb.surrogates.importance", watched)
    assert keep_importance(made.home, made.name)
    assert len(seen) == 200 and seen[0] == 0 and seen[-1] > 240
    assert {b - a for a, b in itertools.pairwise(seen)} == {1, 2}
    assert json.loads((made.store.study_dir(made.name) / "importance.json").read_text())["trials"] == 250


@pytest.mark.slow
def test_five_hundred_trials_take_less_than_three_seconds(tmp_path: Path) -> None:
    """The study is over; a person waits for its last word. CPU time, so that neighbours do not count."""
    made = make(tmp_path / ".autoglm", 500)
    keep_importance(made.home, made.name)  # imports once
    since = time.thread_time()
    assert keep_importance(made.home, made.name)
    assert time.thread_time() - since < 3.0


@pytest.mark.parametrize("stopped", [False, True])
def test_a_worker_keeps_it_before_it_says_that_the_study_has_ended(home: Path, stopped: bool) -> None:
    """So that the last picture that a follower draws, and the record, have it."""
    stop_at = 24

    def objective(config: dict[str, float], report: Callable[..., None]) -> float:
        if stopped and len(store.runs("toy")) == stop_at:
            store.request("toy", Action.STOP)
            time.sleep(1.2 * settings.CONTROL_POLL_SECONDS)
            report(config["x"])  # the worker looks for requests here
        return config["x"]

    asked = plan(objective=objective, space=SMALL, home=home, trials=30, strategy="random", pruner="none", name="toy")
    store = Store(home)
    store.create_study(asked.spec)
    run_worker(home, "toy", extras=asked.extras)
    picture = snapshot(store, "toy")
    assert picture["study"]["state"] == ("stopped" if stopped else "finished")
    assert picture["importance"][0]["parameter"] == "x" and picture["importance"][0]["matters"]
    ended = [e for e in EventTail(store.study_dir("toy") / "events.jsonl").poll() if e.type == "state"][-1]
    assert (store.study_dir("toy") / "importance.json").stat().st_mtime <= ended.t + 0.05
