"""How long until a search has found what the peer's search finds in the end?

The peer searches with Optuna (TPE, successive halving) over PEFT and transformers'
Trainer; this package with `AutoTuner` as it comes, in its own worker process, pruned by
ASHA. Same space, model, rows and number of epochs, one after the other on the same
machine, each in a process of its own whose clock starts before Python does: imports,
loading and search are all in it.

The target is the peer's best accuracy on all validation rows when its trials are used
up; its own time is when it first had that. The package searches until it has a
completed trial as good, and at least as many trials as the peer; it may go on with
further trials, but no longer than twice the peer's whole search took. Then the ratio of
the two times is printed, unless: the target was not reached; the package's best trial,
loaded anew from its saved adapter, does not give the accuracy that was stored; or on
test rows that neither search saw it is worse than the peer's by more than two standard
errors. In these cases the ratio is refused and the exit status is 1.

    python benchmarks/time_to_quality.py               # three seeds; hours
    python benchmarks/time_to_quality.py --quick       # one seed, fewer rows and trials
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import comparison, machine, workload
from benchmarks.children import ChildFailed, side_child
from benchmarks.kept import Kept
from benchmarks.tuner_search import ASIDE

SPACE: dict[str, Any] = {
    "learning_rate": ["loguniform", 1e-4, 5e-3],
    "rank": ["choice", 4, 8, 16, 32],
    "batch_size": ["choice", 8, 16, 32],
    "dropout": ["uniform", 0.0, 0.1],
    "alpha": 16,
    "epochs": 2,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
}
OURS_ONLY = 'method = "lora"\ntarget_modules = "qv"\noptimizer = "adamw"\nschedule = "linear"\nwarmup_ratio = 0.0\n'
"""What the Trainer's and PEFT's defaults are, as the package would write it."""

PARTIAL_ROWS = 200
"""Validation rows of an evaluation before the last, on both sides."""

MORE_TRIALS = 5
"""The package may make so many times the peer's trials."""

PATIENCE = 2.0
"""The package may take so many times the peer's whole time."""

RESCORE_MARGIN = 0.005


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, check, print and store; 0 if no ratio had to be refused."""
    options = _options(argv)
    about = machine.describe()
    print(machine.sentence(about), flush=True)
    result: dict[str, Any] = {"machine": about, "command": machine.command(argv), "seeds": []}
    kept = Kept(options.keep, about) if options.keep else None
    with tempfile.TemporaryDirectory(prefix="autoglm-bench-") as name:
        folder = Path(name)
        if options.tiny:
            _make_tiny(options, folder)
        request = _request(options, folder)
        shown = ("validation_rows", "test_rows", "trials", "most_trials", "space", "strategy", "partial_rows", "recipe")
        about_search = {"model": Path(options.model).name, "rows": options.rows}
        result["search"] = {**about_search, **{name: request[name] for name in shown}}
        try:
            print(f"At most about {comparison.duration(_estimate(options, request, folder))}.", flush=True)
            for seed in range(options.seeds):
                wanted = {**result["search"], "data": options.data, "seed": seed, "patience": options.patience}
                found = kept.seeds(wanted) if kept else {}
                if not found:
                    found = one_seed({**request, "seed": seed}, options, folder / f"seed-{seed}")
                    if kept:
                        kept.keep(wanted, found)
                result["seeds"].append(found)
                print(_line(found), flush=True)
        except ChildFailed as failure:
            result["failed"] = str(failure).splitlines()[0].replace(str(folder), "...")
            print(f"refused: {failure}")
    refused = [f"seed {seed['seed']}: {fault}" for seed in result["seeds"] for fault in seed["refused"]]
    ratios = [seed["ratio"] for seed in result["seeds"] if "ratio" in seed]
    if ratios and not refused and "failed" not in result:
        result["ratio"] = round(statistics.geometric_mean(ratios), 3)
        print(
            f"time to the peer's final best: {result['ratio']:.2f} times shorter (geometric mean of {len(ratios)} "
            f"seeds, {min(ratios):.2f} to {max(ratios):.2f})"
        )
    for sentence in refused:
        print(f"refused: {sentence}")
    print(f"JSON: {machine.save('time_to_quality', result, options.json)}")
    return 1 if refused or "failed" in result else 0


def one_seed(request: dict[str, Any], options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both searches with one seed; the ratio of their times unless a check failed."""
    folder.mkdir(parents=True)
    peer = _in_a_process(
        ["-m", "benchmarks.peers.optuna_search"],
        {**request, "model": request["model_folder"], "folder": str(folder / "peer")},
        folder / "peer",
    )
    target = peer["best_value"]
    limit = options.patience * (peer["ended"] - peer["started"])
    ours = _in_a_process(
        ["-m", "benchmarks.tuner_search"],
        {**request, "folder": str(folder / "ours"), "target": target, "limit_seconds": limit},
        folder / "ours",
    )
    return weigh(request, peer, ours)


def weigh(request: Mapping[str, Any], peer: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """What two searches came to: times relative to each one's start, checks, and the ratio if they passed."""
    target = peer["best_value"]
    theirs, mine = reached(peer, target), reached(ours, target)
    first = [row for row in ours["timeline"] if row["state"] != "running"][: request["trials"]]
    found: dict[str, Any] = {
        "seed": request["seed"],
        "target": target,
        "peer": {
            "seconds_to_target": theirs,
            "seconds": peer["ended"] - peer["started"],
            "trials": len(peer["timeline"]),
            "pruned": sum(row["state"] == "pruned" for row in peer["timeline"]),
            "best_config": peer["best_config"],
            "test_accuracy": peer["test_accuracy"],
        },
        "ours": {
            "best_value": ours["best_value"],
            "side_by_side": ours["side_by_side"],
            "trials": len(ours["timeline"]),
            "pruned": sum(row["state"] in ("pruned", ASIDE) for row in ours["timeline"]),
            "best_config": ours["best_config"],
            "test_accuracy": ours["test_accuracy"],
            "rescored": ours["rescored"],
            "best_of_as_many_trials": max((row["value"] for row in first if row["value"] is not None), default=None),
        },
        "refused": faults_of(request, peer, ours),
    }
    if not found["refused"] and mine is not None and theirs is not None:
        found["ours"] |= {
            "seconds_to_target": mine,
            "seconds_of_as_many_trials": first[-1]["at"] - ours["started"],
            "trials_to_target": sum(row["at"] - ours["started"] <= mine for row in ours["timeline"]),
        }
        found["ratio"] = theirs / mine
    return found


def reached(side: Mapping[str, Any], target: float) -> float | None:
    """Seconds from a side's start to its first completed trial of at least this value; None if there is none."""
    good = [row["at"] for row in side["timeline"] if row["value"] is not None and row["value"] >= target - 1e-9]
    return min(good) - side["started"] if good else None


def faults_of(request: Mapping[str, Any], peer: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Why the ratio may not be given; empty if it may."""
    faults = []
    if reached(ours, peer["best_value"]) is None:
        best = "no completed trial" if ours["best_value"] is None else f"{ours['best_value']:.4f}"
        faults.append(f"the peer's best, {peer['best_value']:.4f}, was not reached in time (got {best})")
        return faults
    if ours["rows_scored"] != request["validation_rows"]:
        faults.append(f"scored on {ours['rows_scored']} validation rows instead of {request['validation_rows']}")
    if not abs(ours["rescored"] - ours["best_value"]) <= RESCORE_MARGIN:
        faults.append(
            f"the saved best model has accuracy {ours['rescored']:.4f}, but {ours['best_value']:.4f} was stored"
        )
    share = peer["test_accuracy"]
    error = math.sqrt(2 * max(share * (1 - share), 1e-4) / request["test_rows"])
    if not ours["test_accuracy"] >= share - 2 * error:
        faults.append(
            f"on the test rows the best model has accuracy {ours['test_accuracy']:.4f}, the peer's {share:.4f}"
        )
    return faults


def cell(space: Mapping[str, Any]) -> str:
    """The space as the package's users write it."""
    lines = []
    for name, given in space.items():
        if isinstance(given, list):
            lines.append(f"{name} = {given[0]}({', '.join(map(repr, given[1:]))})")
        else:
            lines.append(f"{name} = {given!r}")
    return "\n".join(lines) + "\n" + OURS_ONLY


def _in_a_process(script: list[str], request: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Run one search; its answer, with the time at which its process was started.

    Raises:
        ChildFailed: it did not answer.
    """
    folder.mkdir(parents=True)
    asked, answer, log = folder / "request.json", folder / "answer.json", folder / "log"
    started = time.time()
    asked.write_text(json.dumps({**request, "started": started}), encoding="utf-8")
    command = [sys.executable, *script, "--request", str(asked), "--answer", str(answer)]
    with log.open("wb") as output:
        code = subprocess.run(command, cwd=machine.ROOT, stdout=output, stderr=output, check=False).returncode
    if code or not answer.exists():
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
        raise ChildFailed(f"{script[-1]} ended with exit status {code}.\n{tail}")
    return {**json.loads(answer.read_text(encoding="utf-8")), "started": started}


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--data", default="sentiment-domains/movies")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--validation-rows", type=int, default=1000)
    parser.add_argument("--test-rows", type=int, default=2000)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--strategy", default="bayesian", help="the package's")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="of the peer's time, when to give up")
    parser.add_argument("--plain-peer", action="store_true", help="the peer's batches at random, not by length")
    parser.add_argument("--quick", action="store_true", help="one seed, 300 rows, 6 trials")
    parser.add_argument("--tiny", action="store_true", help="a toy model and toy rows: checks the benchmark only")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="store each finished seed there, and go on from it")
    parser.add_argument("--json", type=Path, help="where to write the result (default: benchmarks/results/)")
    options = parser.parse_args(argv)
    if options.quick:
        options.rows, options.validation_rows, options.test_rows = 300, 500, 500
        options.trials, options.seeds = 6, 1
    return options


def _request(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What both searches are given."""
    files = workload.write_files(
        options.data,
        folder / "rows",
        rows=options.rows,
        validation_rows=options.validation_rows,
        test_rows=options.test_rows,
    )
    return {
        "model": options.model,
        "model_folder": workload.model_folder(options.model)[0],
        "files": files.to_json(),
        "validation_rows": options.validation_rows,
        "test_rows": options.test_rows,
        "trials": options.trials,
        "most_trials": MORE_TRIALS * options.trials,
        "space": SPACE,
        "cell": cell(SPACE),
        "strategy": options.strategy,
        "partial_rows": PARTIAL_ROWS,
        "recipe": {"group_by_length": not options.plain_peer},
    }


def _estimate(options: argparse.Namespace, request: Mapping[str, Any], folder: Path) -> float:
    """Seconds if the peer pruned nothing and the package used all its time."""
    warm_up = {**workload.configurations(1)[0], "batch_size": 16}
    given = {"files": request["files"], "folder": str(folder), "warm_up": warm_up, "task": "classification"}
    with side_child("peer", folder / "estimate.log") as peer:
        rates = peer.ask("setup", model=request["model_folder"], **given)
    trained = SPACE["epochs"] * options.rows / rates["train_rate"]
    scored = (options.validation_rows + 3 * PARTIAL_ROWS) / rates["evaluation_rate"]
    return float(2 * options.seeds * (options.trials * (trained + scored) + rates["seconds"]))


def _line(seed: Mapping[str, Any]) -> str:
    peer, ours = seed["peer"], seed["ours"]
    head = (
        f"seed {seed['seed']}: target {seed['target']:.4f}; test accuracy peer {peer['test_accuracy']:.4f}, "
        f"ours {ours['test_accuracy'] if ours['test_accuracy'] is not None else float('nan'):.4f}"
    )
    if "ratio" not in seed:
        return f"{head}; ratio refused"
    best = ours["best_of_as_many_trials"]
    return (
        f"{head}\n"
        f"  peer: had it after {peer['seconds_to_target']:.0f} s; {peer['trials']} trials in {peer['seconds']:.0f} s "
        f"({peer['pruned']} pruned)\n"
        f"  ours: had it after {ours['seconds_to_target']:.0f} s and {ours['trials_to_target']} trials; as many trials "
        f"as the peer in {ours['seconds_of_as_many_trials']:.0f} s, "
        f"{'none of them completed' if best is None else f'the best of them {best:.4f}'}; "
        f"{ours['side_by_side']} side by side\n"
        f"  ratio {seed['ratio']:.2f}"
    )


def _make_tiny(options: argparse.Namespace, folder: Path) -> None:
    from tests import tiny

    options.model = str(tiny.tiny_encoder(folder / "tiny-encoder"))
    options.data = str(folder / "reviews.csv")
    tiny.toy_reviews(1200).to_csv(options.data, index=False)
    options.rows, options.validation_rows, options.test_rows = 200, 200, 200
    options.trials, options.seeds, options.patience = min(options.trials, 4), 1, 10.0


if __name__ == "__main__":
    sys.exit(main())
