"""Twenty deaths of the worker, uniformly over training and inside checkpoints and commits.

The study must end with every finished trial as it was, no trial repeated or
renumbered, and loss curves equal to those of a study that was never killed: to
the bit for trials one at a time, and to rounding for trials that share passes,
where a death changes who shares them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoglm_nb.store import EventTail
from tests import tiny
from tests.forked import Forked
from tests.tuning import doomed_worker
from tests.tuning.conftest import Study

SPACE = """
learning_rate = loguniform(1e-4, 1e-1)
rank = choice(2, 4)
dropout = choice(0.0, 0.1)
batch_size = 4
epochs = 4
"""
CONFIGS = [
    {"learning_rate": 3e-3, "rank": 2, "dropout": 0.1},
    {"learning_rate": 1e-2, "rank": 4, "dropout": 0.0},
    {"learning_rate": 5e-3, "rank": 4, "dropout": 0.1},
]
ALIKE = {"AUTOGLM_THREADS": "1", "AUTOGLM_CPU_PRODUCTS": "onednn"}
"""Every worker computes in the same way, whatever it would have measured."""

INSIDE = [
    ("checkpoint", 2),
    ("store", 6),
    ("optuna", 3),
    ("checkpoint", 4),
    ("store", 11),
    ("optuna", 2),
    ("checkpoint", 1),
]


def losses(study: Study) -> dict[str, list[tuple[int, float]]]:
    """Every run's loss curve as stored."""
    curves = {}
    for row in study.store.runs(study.name):
        path = study.store.run_dir(study.name, row.run) / "losses.jsonl"
        curves[row.run] = [(entry["step"], entry["loss"]) for entry in map(json.loads, path.read_text().splitlines())]
    return curves


def start(study: Study, place: str, count: int, checkpoint_seconds: float) -> Forked:
    environment = {**os.environ, **ALIKE, "AUTOGLM_CHECKPOINT_SECONDS": f"{checkpoint_seconds:.3f}"}
    arguments = ["--home", str(study.home), "--study", study.name]
    return Forked(doomed_worker.main, place, count, arguments, environment=environment)


def steps_seen(tail: EventTail) -> int:
    return sum(event.type == "step" for event in tail.poll())


def finished(study: Study) -> dict[int, dict[str, Any]]:
    return {t["number"]: dict(t) for t in study.snapshot()["trials"] if t["state"] == "completed"}


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("pack", "kills"), [(1, 20), (3, 9)])
def test_kills_lose_nothing(make_study: Callable[..., Study], tmp_path: Path, pack: int, kills: int) -> None:
    """Seven deaths inside a checkpoint or a commit, the others at random moments of training."""
    data = tmp_path / "long.csv"
    tiny.toy_reviews(240).to_csv(data, index=False)
    options = {
        "data": data,
        "space": SPACE,
        "strategy": "fixed",
        "enqueue": CONFIGS,
        "trials": 3,
        "pack": pack,
        "precision": "fp32",
    }
    calm = make_study(name="calm", **options)
    environment = {**os.environ, **ALIKE}
    calm_worker = [sys.executable, "-m", "autoglm_nb.tuning.worker", "--home", str(calm.home), "--study", "calm"]
    subprocess.run(calm_worker, check=True, env=environment)
    trials = calm.snapshot()["trials"]
    step = sum(t["seconds"] for t in trials) / sum(t["step"] for t in trials)  # seconds, on this machine
    study = make_study(name="killed", **options)

    chance, deaths, inside = random.Random(0), 0, 0
    plans = [*INSIDE, *[("never", 1)] * (kills - len(INSIDE))]
    chance.shuffle(plans)
    known: dict[int, dict[str, Any]] = {}
    for place, count in plans:
        tail = EventTail(study.store.study_dir("killed") / "events.jsonl")
        tail.poll()
        worker = start(study, place, count, 8 * step)
        if place == "never":
            while worker.poll() is None and steps_seen(tail) == 0:
                time.sleep(0.02)
            time.sleep(chance.uniform(0.0, 20 * step))
            worker.send_signal(signal.SIGKILL)
        code = worker.wait(timeout=120)
        deaths += code == -signal.SIGKILL
        inside += code == -signal.SIGKILL and place != "never"
        now = finished(study)
        assert {n: now[n]["value"] for n in known} == {n: t["value"] for n, t in known.items()}
        known = now
    assert deaths == kills, f"only {deaths} of {kills} workers were killed; the study was over too early"
    assert inside >= 5

    assert start(study, "never", 1, 15.0).wait(timeout=300) == 0
    shot = study.snapshot()
    assert shot["study"]["state"] == "finished", shot["study"]["reason"]
    assert [t["number"] for t in shot["trials"]] == [0, 1, 2]
    assert [t["state"] for t in shot["trials"]] == ["completed"] * 3
    if pack == 1:
        assert losses(study) == losses(calm)
    for run, curve in losses(calm).items():
        assert losses(study)[run] == [(step, pytest.approx(loss, rel=1e-3)) for step, loss in curve], run
    assert [t["value"] for t in shot["trials"]] == [t["value"] for t in calm.snapshot()["trials"]]
