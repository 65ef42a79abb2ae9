"""The three hooks with their real clients, without a network; what they wrote is read with other code than wrote it."""

from __future__ import annotations

import json
import struct
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoglm_nb.hooks import HookFollower
from autoglm_nb.protocol import StudyState, TrialState
from tests.hooks.conftest import Played, create

HOSTILE = "a/../b <script>\x1b[31m é"


def _course(home: Path, hook: str, *, cut: bool) -> Played:
    """Three trials, one of them failed; where `cut`, another process takes over in the middle of each trial."""
    played = create(home, hooks=(hook,))
    followers = []

    def follow() -> None:
        if cut or not followers:
            for old in followers:
                old._hook.close()
            followers[:] = [HookFollower(played.store, "reviews", hook)]
        followers[0].step()

    played.begin(0, learning_rate=1e-3, method="lora", target_modules=["q", "v"])
    played.report(0, 1, 0.7)
    follow()
    played.begin(1, learning_rate=2e-3, method=HOSTILE)
    played.report(0, 2, 0.8)
    follow()
    played.end(0, 0.8)
    played.report(1, 1, 0.6)
    follow()
    played.end(1, 0.6, TrialState.PRUNED, "Below the median.")
    played.begin(2, learning_rate=3e-3, method="dora")
    played.end(2, None, TrialState.FAILED, f"Out of memory. {HOSTILE}")
    played.finish(StudyState.FINISHED)
    follow()
    followers[0]._hook.close()
    assert followers[0].state.over == "finished", followers[0].state.failure
    return played


@pytest.fixture(params=[False, True], ids=["one process", "a new process each time"])
def cut(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_mlflow_has_a_run_a_trial_below_the_studys_own(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    """Parameters, every evaluation once with its step, how each ended; read back by the client."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path / 'mlruns'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    _course(home, "mlflow", cut=cut)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"file://{tmp_path / 'mlruns'}")
    experiment = client.get_experiment_by_name("reviews")
    runs = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"reviews", "trial-0000", "trial-0001", "trial-0002"}
    parent = runs["reviews"]
    assert parent.info.status == "FINISHED" and parent.data.metrics == {"best_value": 0.8}
    assert parent.data.params["model"] == "minilm" and parent.data.tags["autoglm.best_trial"] == "0"
    first = runs["trial-0000"]
    assert first.data.params == {"learning_rate": "0.001", "method": "lora", "target_modules": "['q', 'v']"}
    history = client.get_metric_history(first.info.run_id, "accuracy")
    assert [(m.step, m.value) for m in history] == [(1, 0.7), (2, 0.8)]
    assert first.data.metrics["value"] == 0.8 and first.data.metrics["final.memory_gb"] == 1.5
    assert {n: r.info.status for n, r in runs.items() if n != "reviews"} == {
        "trial-0000": "FINISHED", "trial-0001": "KILLED", "trial-0002": "FAILED",
    }  # fmt: skip
    for name in ("trial-0000", "trial-0001", "trial-0002"):
        assert runs[name].data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert runs[name].data.tags["autoglm.proposed_by"] == "random start"
    assert runs["trial-0001"].data.tags["autoglm.because"] == "Below the median."
    assert "\x1b" not in json.dumps([dict(r.data.tags) for r in runs.values()])


def test_tensorboard_has_curves_and_hyper_parameters(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    """A folder a run; scalars and HParams records read by TensorBoard's own accumulator."""
    monkeypatch.delenv("AUTOGLM_TENSORBOARD_DIR", raising=False)
    _course(home, "tensorboard", cut=cut)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    root = home / "tensorboard" / "reviews"
    assert {p.name for p in root.iterdir()} == {"study", "trial-0000", "trial-0001", "trial-0002"}
    found: dict[str, Any] = {}
    for folder in root.iterdir():
        points: dict[str, list[tuple[int, float]]] = defaultdict(list)
        plugin = []
        for path in sorted(folder.iterdir(), key=lambda path: int(path.suffix[1:])):  # one file a process, in order
            board = EventAccumulator(str(path)).Reload()
            for tag in board.Tags()["scalars"]:
                points[tag] += [(s.step, round(s.value, 6)) for s in board.Scalars(tag)]
            for content in board.summary_metadata.values():
                if content.plugin_data.plugin_name == "hparams":
                    plugin.append(plugin_data_pb2.HParamsPluginData.FromString(content.plugin_data.content))
        found[folder.name] = (dict(points), plugin)
    points, plugin = found["trial-0000"]
    assert points["accuracy"] == [(1, 0.7), (2, 0.8)]
    assert points["value"] == [(0, 0.8)] and points["final/memory_gb"] == [(0, 1.5)]
    starts = [p.session_start_info for p in plugin if p.HasField("session_start_info")]
    ends = [p.session_end_info for p in plugin if p.HasField("session_end_info")]
    assert len(starts) == len(ends) == 1
    assert starts[0].hparams["learning_rate"].number_value == 1e-3
    assert starts[0].hparams["method"].string_value == "lora"
    statuses = {
        n: [p.session_end_info.status for p in f[1] if p.HasField("session_end_info")] for n, f in found.items()
    }
    assert statuses == {"study": [], "trial-0000": [1], "trial-0001": [1], "trial-0002": [2]}
    assert found["study"][0] == {"best_value": [(0, 0.8)]}


def _records(path: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: LevelDB's log format with a header of seven bytes
    (https://github.com/google/leveldb/blob/main/doc/log_format.md)."""
    from wandb.proto import wandb_internal_pb2

    data = path.read_bytes()
    assert data[:4] == b":W&B"
    at, whole = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # the rest of a block is padding
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if kind == 0:
            break
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


@pytest.mark.slow
def test_wandb_has_a_run_a_trial_in_one_group(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    """Offline files: the same identifier however often a run was opened, each evaluation once, state in the summary."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "else"))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    _course(home, "wandb", cut=cut)
    runs: dict[str, dict[str, Any]] = {}
    for path in sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb")):
        records = list(_records(path))
        (opened,) = [r.run for r in records if r.HasField("run")][:1]
        run = runs.setdefault(
            opened.display_name, {"ids": set(), "history": [], "summary": {}, "group": opened.run_group, "config": {}}
        )
        run["ids"].add(opened.run_id)
        run["project"] = opened.project
        run["config"] |= {u.key: json.loads(u.value_json) for u in opened.config.update}
        for record in records:
            if record.HasField("history"):
                items = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item}
                run["history"].append((items.get("_step"), items.get("accuracy")))
            if record.HasField("summary"):
                run["summary"] |= {i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.summary.update}
    assert set(runs) == {"reviews/study", "reviews/trial-0000", "reviews/trial-0001", "reviews/trial-0002"}
    assert all(len(r["ids"]) == 1 and r["group"] == "reviews" and r["project"] == "autoglm" for r in runs.values())
    first = runs["reviews/trial-0000"]
    assert first["history"] == [(1, 0.7), (2, 0.8)]
    assert first["config"]["learning_rate"] == 1e-3
    assert first["summary"]["state"] == "completed" and first["summary"]["value"] == 0.8
    assert runs["reviews/trial-0002"]["summary"]["state"] == "failed"
    assert runs["reviews/study"]["summary"]["best_trial"] == 0


def _objective(config: dict[str, Any], report: Any) -> float:
    for step in range(3):
        report(config["x"] * (step + 1) / 3)
    return float(config["x"])


@pytest.mark.slow
def test_a_real_study_is_told_to_all_three_at_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker, follower and trackers as processes of their own: every trial has arrived when the study is over."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path / 'mlruns'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    from autoglm_nb import AutoTuner
    from autoglm_nb.store import Store, snapshot
    from autoglm_nb.store.hook_state import hook_state

    names = ("mlflow", "wandb", "tensorboard")
    tuner = AutoTuner(search_space="x = uniform(0, 1)", objective=_objective, strategy="random", log_to=names)
    handle = tuner.start(max_trials=5, name="reviews")
    assert handle.spec.hooks == names
    handle.wait(120)
    store = Store(home)
    end = time.monotonic() + 120
    while [hook_state(store, "reviews", n).over for n in names] != ["finished"] * 3:
        assert time.monotonic() < end, [hook_state(store, "reviews", n) for n in names]
        time.sleep(0.1)
    runs = [f"trial-{n:04d}" for n in range(5)]
    assert [sorted(hook_state(store, "reviews", n).ended) for n in names] == [runs] * 3
    assert snapshot(store, "reviews")["messages"] == []
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 6
    assert len(list((home / "tensorboard" / "reviews").iterdir())) == 6
