"""This package's side of `time_to_quality.py`: `AutoTuner` as a user would call it, in a process of its own.

    python -m benchmarks.tuner_search --request request.json --answer answer.json

The study runs until it has a completed trial of the target value and has tried as many
configurations as the peer (completed them, or set them aside), or until its time is up.
The clock of a trial that ended is the store's. When the study has ended, outside the
clock, the best trial's saved adapter is loaded anew and scored on the validation rows
(the same accuracy must come out) and on the test rows.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["ASIDE", "search"]

POLL_SECONDS = 0.25
STUDY = "time-to-quality"
ASIDE = "set aside"
"""The state of a trial that the pruner has paused: tried, and not among the best."""


def search(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run the study; returns what stands in the answer."""
    from autoglm_nb import AutoTuner
    from autoglm_nb.protocol import RunRole, TrialState
    from autoglm_nb.store import Store

    home, files = Path(request["folder"]) / ".autoglm", request["files"]
    tuner = AutoTuner(
        request["model"],
        request["cell"],
        request["strategy"],
        seed=request["seed"],
        home=home,
        pruner="asha",
        baseline=False,
        seeds=0,
    )
    study = tuner.start(
        files["train"],
        target="label",
        validation=files["validation"],
        test=files["test"],
        name=STUDY,
        max_trials=request["most_trials"],
    )
    store = Store(home, create=False)

    aside: dict[int | None, float] = {}

    def timeline() -> list[dict[str, Any]]:
        found = []
        for row in store.runs(STUDY, RunRole.TRIAL):
            over = row.state.final and row.ended_at is not None
            if not over and not (row.state is TrialState.WAITING and row.step):
                continue
            found.append(
                {
                    "at": row.ended_at if over else aside.setdefault(row.trial, time.time()),
                    "trial": row.trial,
                    "state": str(row.state) if over else ASIDE,
                    "value": row.value if row.state is TrialState.COMPLETED else None,
                    "rows_scored": row.metrics.get("rows"),
                }
            )
        return sorted(found, key=lambda row: row["at"])

    def enough() -> bool:
        found = timeline()
        best = max((row["value"] for row in found if row["value"] is not None), default=float("-inf"))
        return bool(best >= request["target"] - 1e-9 and len(found) >= request["trials"])

    deadline = request["started"] + request["limit_seconds"]
    while not study.ended and not enough() and time.time() < deadline:
        time.sleep(POLL_SECONDS)
    ended = time.time()
    study.stop()
    study.wait(timeout=120)
    found = [row for row in timeline() if row["at"] <= ended]
    completed = [row for row in found if row["value"] is not None]
    answer: dict[str, Any] = {
        "timeline": found,
        "ended": ended,
        "side_by_side": _side_by_side(store.provenance(STUDY)),
        "best_value": max((row["value"] for row in completed), default=None),
        "best_config": None,
        "rows_scored": min((row["rows_scored"] for row in completed), default=0),
        "rescored": None,
        "test_accuracy": None,
    }
    if completed:
        results = study.results()
        model = results.best_model()
        answer |= {
            "best_value": results.best_value,
            "best_config": results.best_config,
            "rescored": _accuracy(model, files["validation"]),
            "test_accuracy": _accuracy(model, files["test"]),
        }
    return answer


def _side_by_side(provenance: Mapping[str, Any]) -> int | None:
    """How many trials the worker trained at once at most; None if it never came to that."""
    return max((engine["side_by_side"] for engine in provenance.get("engines", {}).values()), default=None)


def _accuracy(model: Any, path: str) -> float:
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    predicted = model.predict([row["text"] for row in rows])
    return float(sum(label == row["label"] for label, row in zip(predicted, rows, strict=True)) / len(rows))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--request", type=Path, required=True)
    parser.add_argument("--answer", type=Path, required=True)
    options = parser.parse_args()
    answer = search(json.loads(options.request.read_text(encoding="utf-8")))
    options.answer.write_text(json.dumps(answer), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
