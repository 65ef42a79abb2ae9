"""Hand-made snapshots: a study under way, a finished one, and one whose every string is hostile."""

from __future__ import annotations

import copy
import math
from typing import Any

CELL = """learning_rate = loguniform(1e-5, 1e-2)
method        = choice("lora", "dora", "adapter")
if method in ("lora", "dora"):
    rank      = choice(4, 8, 16, 32)"""

SPACE: dict[str, Any] = {
    "version": 1,
    "dimensions": [
        {
            "name": "learning_rate", "key": "learning_rate", "place": 0, "kind": "float", "low": 1e-5, "high": 1e-2,
            "step": None, "log": True,
        },
        {"name": "method", "key": "method", "place": 1, "kind": "categorical", "choices": ["lora", "dora", "adapter"]},
        {
            "name": "rank", "key": "rank", "place": 2, "kind": "categorical", "choices": [4, 8, 16, 32],
            "condition": {"name": "method", "op": "in", "value": ["lora", "dora"]},
        },
    ],
    "constants": [{"name": "batch_size", "key": "batch_size", "place": 3, "value": 16}],
}  # fmt: skip


def trial(number: int, state: str = "completed", value: float | None = None, **changes: Any) -> dict[str, Any]:
    """One trial; its configuration follows from its number."""
    method = ("lora", "dora", "adapter")[number % 3]
    config: dict[str, Any] = {"learning_rate": 8.1e-4 / (1 + number % 7), "method": method, "batch_size": 16}
    if method != "adapter":
        config["rank"] = (4, 8, 16, 32)[number % 4]
    return {
        "number": number, "state": state, "value": value, "values": [] if value is None else [value],
        "config": config, "proposed_by": "random start" if number < 5 else "expected improvement",
        "because": "", "reports": [] if value is None else [[0, value - 0.05], [1, value]],
        "progress": 1.0, "step": 100, "total_steps": 100, "loss": 0.31, "seconds": 12.5, "attempts": 1,
        "metrics": {"accuracy": value, "memory_gb": 1.2}, "starred": False, **changes,
    }  # fmt: skip


def running_snapshot() -> dict[str, Any]:
    """Eleven trials done (three pruned, one failed), two running, of 24."""
    values = [0.749, 0.768, 0.741, 0.785, 0.802, 0.731, 0.811, 0.842, 0.847, 0.829, 0.846]
    trials = [trial(i, value=v) for i, v in enumerate(values)]
    for i in (2, 5, 9):
        trials[i].update(
            state="pruned", value=None, values=[],
            reports=[[0, values[i] - 0.1], [1, values[i] - 0.04]],
            because="below the median of 4 trials at evaluation 2 of 4",
        )  # fmt: skip
    trials[3].update(
        state="failed", value=None, values=[], reports=[],
        because="The loss became NaN at step 41. Lower learning_rate or max_grad_norm.",
    )  # fmt: skip
    trials[7]["starred"] = True
    trials.append(trial(11, "running", None, progress=0.62, step=62, reports=[[0, 0.79], [1, 0.81]], seconds=8.0))
    trials.append(trial(12, "running", None, progress=0.31, step=31, reports=[[0, 0.79]], seconds=4.0))
    return {
        "version": 1,
        "study": {
            "name": "reviews", "identity": "ab12", "state": "running", "reason": "", "model": "smollm2-135m",
            "task": "classification", "data": "sentiment-domains/movies", "metric": "accuracy",
            "direction": "maximize", "objectives": [], "strategy": "bayesian", "pruner": "median",
            "executor": "process", "device": "cpu", "seed": 0, "created_at": 1.79e9, "active_seconds": 312.0,
            "notebook": "01_quickstart.ipynb", "cell": "%%autotune --model smollm2-135m --name reviews\n" + CELL,
        },
        "headline": {
            "best_value": 0.847, "best_trial": 8, "best_config": trials[8]["config"], "baseline_value": 0.785,
            "gain": 0.062, "finished": 11, "total": 24, "seconds_left": 372.0, "next": "",
        },
        "trials": trials,
        "trials_total": len(trials),
        "curve": [[0, 0.749], [1, 0.768], [4, 0.802], [6, 0.811], [7, 0.842], [8, 0.847], [10, 0.847]],
        "space": SPACE,
        "readings": [
            {
                "t": 1.79e9 + i, "cpu_percent": 182.0, "memory_gb": 3.1, "machine_cpu_percent": 91.0,
                "machine_memory_percent": 40.0, "gpu_percent": None, "gpu_memory_gb": None,
            }
            for i in range(3)
        ],
        "notes": [
            {"id": "n1", "trial": 7, "kind": "star", "text": "", "author": "ada", "created_at": 1.79e9},
            {
                "id": "n2", "trial": None, "kind": "comment", "author": "ada", "created_at": 1.79e9,
                "text": "Rank 32 does not pay here.\nTry 16 next time.",
            },
        ],
        "final": None,
        "front": [],
        "provenance": {
            "model": {"source": "package index", "version": "0.1.2", "checksum": "sha256:5d41402abc4b2a76"},
            "data": {"rows": 10605, "train": 8484, "validation": 1060, "test": 1061},
            "versions": {"autoglm_nb": "0.1.0", "torch": "2.13.0"},
        },
        "messages": [],
    }  # fmt: skip


def finished_snapshot(trials: int = 24) -> dict[str, Any]:
    """All trials done, the winner confirmed on three seeds."""
    snapshot = running_snapshot()
    snapshot["trials"] = [t for t in snapshot["trials"] if t["state"] != "running"]
    for number in range(len(snapshot["trials"]), trials):
        value = round(0.80 + 0.05 * math.sin(number), 4)
        snapshot["trials"].append(trial(number, value=value))
    snapshot["trials_total"] = trials
    best = max((t for t in snapshot["trials"] if t["value"] is not None), key=lambda t: t["value"])
    snapshot["study"]["state"] = "finished"
    snapshot["headline"].update(
        finished=trials, total=trials, seconds_left=None, best_value=best["value"], best_trial=best["number"],
        best_config=best["config"], gain=round(best["value"] - 0.785, 4),
        next="Adapter: .autoglm/runs/reviews/trial-0008/adapter. %autotune best reviews -o best, then "
        "best.best_model().predict([...]); %explain reviews says why it won.",
    )  # fmt: skip
    snapshot["curve"] = [*snapshot["curve"][:-1], [best["number"], best["value"]], [trials - 1, best["value"]]]
    snapshot["final"] = {
        "metric": "accuracy", "split": "test", "rows": 1061, "seeds": [1, 2, 3],
        "winner": {"values": [0.841, 0.838, 0.846], "mean": 0.8417, "low": 0.8316, "high": 0.8517},
        "baseline": {"values": [0.789, 0.781, 0.792], "mean": 0.7873, "low": 0.7735, "high": 0.8012},
        "majority": 0.512,
        "difference": {"mean": 0.0543, "low": 0.0446, "high": 0.0641, "p": 0.002},
    }  # fmt: skip
    return snapshot


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31mred\u202egnp.exe'


def hostile_snapshot() -> dict[str, Any]:
    """A finished study in which every string that a person or a file can choose attacks the view."""
    snapshot = copy.deepcopy(finished_snapshot())
    snapshot["study"].update(
        name=HOSTILE, model=HOSTILE, data=HOSTILE, reason=HOSTILE, notebook=HOSTILE, cell=HOSTILE, metric=HOSTILE,
        strategy=HOSTILE,
    )  # fmt: skip
    snapshot["headline"]["next"] = HOSTILE
    snapshot["provenance"] = {HOSTILE: {HOSTILE: [HOSTILE]}}
    snapshot["space"]["dimensions"].append({"name": HOSTILE, "key": "h", "kind": "categorical", "choices": [HOSTILE]})
    for item in snapshot["trials"]:
        item.update(because=HOSTILE, proposed_by=HOSTILE, config={**item["config"], HOSTILE: HOSTILE})
    for note in snapshot["notes"]:
        note.update(text=HOSTILE, author=HOSTILE)
    snapshot["final"]["metric"] = HOSTILE
    return snapshot
