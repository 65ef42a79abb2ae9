"""How long do the pictures of a large study take? Snapshot, list, points and pages, beside Optuna's own calls.

The studies are filled with SQL in the shape the worker leaves: Optuna's rows
with five reports a trial, and a run row for each. Refused, with exit status 1,
if the picture's best value, counts or states, the points or the order of a
sorted page differ from what Optuna reads from the same file. The last lines are
what the server does for a request, without HTTP: made anew after a change, and
asked again while nothing has changed.

    python benchmarks/store.py                   # 10,000 trials
    python benchmarks/store.py --trials 1000
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoglm_nb.protocol import DataSpec, StudySpec
from autoglm_nb.server.desk import Desk
from autoglm_nb.server.places import place_id
from autoglm_nb.store import LiveState, Overview, Store, points, snapshot, trial_page
from benchmarks import machine

STATES = ("COMPLETE", "COMPLETE", "COMPLETE", "PRUNED", "FAIL")
OURS = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed"}
REPORTS = 5


def fill(store: Store, name: str, trials: int, *, seed: int = 0) -> None:
    """A study of that many ended trials, as a worker would have left it."""
    store.create_study(
        StudySpec(name=name, model="minilm", data=DataSpec("reviews.csv", target="label"), space={}, trials=trials)
    )
    store.optuna_study(name, ["maximize"])
    draw = random.Random(seed)
    with store._write() as connection:
        study = connection.execute("SELECT study_id FROM studies WHERE study_name = ?", (name,)).fetchone()[0]
        first = (connection.execute("SELECT MAX(trial_id) FROM trials").fetchone()[0] or 0) + 1
        values, reports, runs, rows = [], [], [], []
        for number in range(trials):
            state, value = STATES[number % len(STATES)], draw.random()
            rows.append((first + number, number, study, state, "2026-01-01 00:00:00"))
            reports += [(first + number, rung, value * rung / REPORTS, "FINITE") for rung in range(1, REPORTS + 1)]
            kept = None if state == "FAIL" else value
            if kept is not None:
                values.append((first + number, 0, kept, "FINITE"))
            config = f'{{"learning_rate": {draw.random()}, "method": "lora", "rank": 8}}'
            runs.append((name, f"trial-{number:04d}", number, OURS[state], config, kept, 60.0, number, number + 60))
        connection.executemany(
            "INSERT INTO trials (trial_id, number, study_id, state, datetime_start) VALUES (?, ?, ?, ?, ?)", rows
        )
        connection.executemany(
            "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, ?, ?, ?)", values
        )
        connection.executemany(
            "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
            "VALUES (?, ?, ?, ?)",
            reports,
        )
        connection.executemany(
            "INSERT INTO autoglm_runs (study, run, role, trial, state, config, value, seconds, started_at, ended_at, "
            "proposed_by) VALUES (?, ?, 'trial', ?, ?, ?, ?, ?, ?, ?, 'expected improvement')",
            runs,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, checks, prints; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--json", type=Path, help="where to write the result")
    options = parser.parse_args(arguments)
    where = machine.describe()
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / ".autoglm") as store:
        fill(store, "large", options.trials)
        result, faults = measure(store, "large")
    for fault in faults:
        print(f"refused: {fault}")
    if faults:
        return 1
    print(machine.sentence(where))
    print(f"{options.trials} trials, {REPORTS} reports each; milliseconds, best of 5 (Optuna: once, cold)")
    for label, milliseconds in result.items():
        print(f"  {label:<40} {milliseconds:9.1f}")
    stored = {"machine": where, "command": machine.command(arguments), "trials": options.trials, "milliseconds": result}
    print(f"JSON: {machine.save('store', stored, options.json)}")
    return 0


def measure(store: Store, name: str) -> tuple[dict[str, float], list[str]]:
    """Milliseconds by label, and what does not agree with Optuna's reading of the same file."""
    import optuna

    result = {
        "snapshot, newest 500 trials": _best_of_5(lambda: snapshot(store, name, live=LiveState())),
        "snapshot, all trials": _best_of_5(lambda: snapshot(store, name, live=LiveState(), limit=None)),
        "list of studies": _best_of_5(store.studies),
        "list of studies with sparks, first time": _best_of_5(lambda: Overview(store).lines()),
        "points of all trials": _best_of_5(lambda: points(store, name)),
        "points with parameters": _best_of_5(lambda: points(store, name, parameters=True)),
        "100 trials sorted by value": _best_of_5(lambda: _page(store, name, sort="value", order="desc")),
        "100 trials sorted by a parameter": _best_of_5(lambda: _page(store, name, sort="config.learning_rate")),
        "100 trials of a filter": _best_of_5(lambda: _page(store, name, filter="completed lora value>0.5")),
        **_served(store, name),
    }
    picture = snapshot(store, name, live=LiveState(), limit=None)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    started = time.perf_counter()
    study = optuna.load_study(study_name=name, storage=store.optuna_storage())
    trials = study.get_trials(deepcopy=False)
    result["Optuna: load_study and get_trials"] = (time.perf_counter() - started) * 1000
    faults = []
    if [OURS[t.state.name] for t in trials] != [t["state"] for t in picture["trials"]]:
        faults.append("states differ from Optuna's")
    if study.best_value != picture["headline"]["best_value"]:
        faults.append(f"best value {picture['headline']['best_value']} differs from Optuna's {study.best_value}")
    reports = [[[k, v] for k, v in t.intermediate_values.items()] for t in trials]
    if reports != [t["reports"] for t in picture["trials"]]:
        faults.append("reports differ from Optuna's")
    theirs = [None if t.state.name == "FAIL" else float(f"{_value(t):.6g}") for t in trials]
    if points(store, name)["values"] != theirs:
        faults.append("points differ from Optuna's values")
    best = sorted((t for t in trials if t.state.name != "FAIL"), key=lambda t: (-_value(t), t.number))[:100]
    if [t["number"] for t in _page(store, name, sort="value", order="desc")["trials"]] != [t.number for t in best]:
        faults.append("the trials sorted by value are not Optuna's sorted by value")
    line = Overview(store).lines()[0][0]
    if (line.best_value, line.finished) != (study.best_value, len(trials)):
        faults.append("the list's best value or count differs from Optuna's")
    return {label: round(value, 2) for label, value in result.items()}, faults


def _served(store: Store, name: str) -> dict[str, float]:
    """What a request costs the server: after nothing, after a note elsewhere in the store, after one on the study."""
    store.create_study(StudySpec(name="other", model="minilm", data=DataSpec("reviews.csv"), space={}))
    desk, home = Desk(store.home.parent), place_id(store.home)
    asked: dict[str, Callable[[], Any]] = {
        "list": desk.studies,
        "head": lambda: desk.head(home, name),
        "points": lambda: desk.points(home, name, parameters=False, objectives=False),
        "page": lambda: desk.page(home, name, sort="value", order="desc", limit=100),
    }
    result = {}
    for label, call in asked.items():
        call()
        result[f"served {label}, unchanged"] = _best_of_5(call)
        result[f"served {label}, another study changed"] = _best_of_5(call, lambda: store.add_note("other", "x"))
        result[f"served {label}, study changed"] = _best_of_5(call, lambda: store.add_note(name, "x"))
    desk.close()
    store.delete_study("other")
    return result


def _page(store: Store, name: str, **asked: Any) -> Any:
    return trial_page(store, name, live=LiveState(), **asked)


def _value(trial: Any) -> float:
    """Optuna's value of a completed or pruned trial; a pruned one has its value in another place."""
    return float(trial.values[0]) if trial.values else float("nan")


def _best_of_5(call: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> float:
    """Milliseconds of a call; what is done `before` each is not counted."""
    times = []
    for _ in range(5):
        before()
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times) * 1000


if __name__ == "__main__":
    sys.exit(main())
