"""One comparison of the engine with the peer: the same trials on both sides, checked, then weighed.

`measure` runs it in slices that alternate (see `throughput.py`), `weigh` turns the
raw figures into a result: checks first, and speeds only where they passed. Nothing
here imports torch; the work is done by `sides.py` in child processes.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import fidelity, workload
from benchmarks.children import Child, one_busy_core, side_child
from benchmarks.kept import Kept

__all__ = [
    "RECIPES",
    "TWIN",
    "Part",
    "duration",
    "estimate",
    "faults_of",
    "measure",
    "prepared",
    "quality",
    "tokens_of_a_pass",
    "weigh",
]

RECIPES: dict[str, dict[str, bool]] = {
    "as shipped": {"base_dropout": True},
    "dropout off": {"base_dropout": False},
    "off, by length": {"base_dropout": False, "group_by_length": True},
    "off, by length, bf16": {"base_dropout": False, "group_by_length": True, "bf16": True},
}
"""The peer's variants: with the base model's own dropout and without, then what makes the latter faster."""

TWIN = "dropout off"
"""The variant that computes what the engine computes."""

COMPLETE_ROWS = 4000
"""Validation rows below which a run counts as reduced."""

RESAMPLES = 4000

CEILING_EVERY = 4
"""Configurations between two measurements of the ceiling: a machine's speed may change within an hour."""

MOST_LOOKS = 3
"""Of more doubtful configurations than these no second look is taken: they are no accident."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """What is compared.

    Attributes:
        model, source: names or paths of model and rows.
        family: "encoder" or "decoder"; decides the list of configurations.
        task: "classification" or "causal-lm".
        count: how many of the configurations.
        complete: whether these are all.
        rows, validation_rows: of each trial.
        seeds: how many times everything is done, with another seed each time.
        recipes: the peer's variants.
        precision: the engine's.
        busy: one core is kept busy meanwhile.
        without: for the ablation, the measures to do without, one at a time.
    """

    model: str
    source: str
    family: str
    task: str
    count: int
    complete: bool
    rows: int
    validation_rows: int
    seeds: int
    recipes: tuple[str, ...]
    precision: str = "auto"
    busy: bool = False
    without: tuple[str, ...] = ()

    @property
    def configs(self) -> list[dict[str, Any]]:
        """The configurations, the same for both sides."""
        return workload.configurations(self.count, family=self.family)

    @property
    def yardstick(self) -> str:
        """The variant that runs with every seed, for differences are judged by its own; others run with the first."""
        return TWIN if TWIN in self.recipes else self.recipes[0]

    @property
    def reduced(self) -> bool:
        """Whether too few trials or rows are compared to judge a mean to half a point."""
        return not self.complete or self.validation_rows < COMPLETE_ROWS

    def to_json(self) -> dict[str, Any]:
        """As plain data, without the place of a file on this machine."""
        return {**asdict(self), "model": Path(self.model).name, "source": _name(self.source), "reduced": self.reduced}


def measure(part: Part, folder: Path, say: Say, kept: Kept | None = None) -> dict[str, Any]:
    """Train and score everything on both sides, in alternating slices.

    Args:
        part: what is compared.
        folder: for files of the run.
        say: told how far it is.
        kept: where each finished seed is stored, and those of an earlier run are taken from.

    Returns:
        raw figures: `ours` and `peer` (by variant) as lists of trials with their seed, and totals.

    Raises:
        ChildFailed: a side could not do it.
    """
    given, model = prepared(part, folder)
    configs = part.configs
    raw: dict[str, Any] = {"ours": [], "peer": {name: [] for name in part.recipes}, "totals": [], "ceilings": []}
    raw |= kept.seeds(part.to_json()) if kept else {}
    done = {total["seed"] for total in raw["totals"]}
    if len(done) == part.seeds and not _to_look_at(part, raw):
        return raw
    with (
        one_busy_core(part.busy),
        side_child("engine", folder / "engine.log") as ours,
        side_child("peer", folder / "peer.log") as peer,
    ):
        raw["setup"] = {
            "ours": ours.ask("setup", model=part.model, capacity=part.count, precision=part.precision, **given),
            "peer": peer.ask("setup", model=model, **given),
        }
        say(f"This part takes about {duration(estimate(part, raw['setup']))}.")
        raw["arithmetic"] = {
            "ours": ours.ask("arithmetic", config=configs[0]),
            "peer": peer.ask("arithmetic", config=configs[0]),
        }
        for seed in [seed for seed in range(part.seeds) if seed not in done]:
            raw["admit_seconds"] = ours.ask("admit", configs=configs, seed=seed)["seconds"]
            for number, config in enumerate(configs):
                recipes = [name for name in part.recipes if seed == 0 or name == part.yardstick]
                for name in recipes if number % 2 else reversed(recipes):
                    trial = peer.ask("train", config=config, recipe=RECIPES[name], seed=seed)
                    raw["peer"][name].append({"trial": number, "seed": seed, **trial})
                slice_ = ours.ask("advance", share=(number + 1) / len(configs))
                if number % CEILING_EVERY == CEILING_EVERY - 1 or number == len(configs) - 1:
                    tokens = max(1, round(tokens_of_a_pass(ours.ask("totals"))))
                    shapes = raw["arithmetic"]["peer"]["shapes"]
                    raw["ceilings"].append(ours.ask("ceiling", shapes=shapes, tokens=tokens))
                say(f"seed {seed}: {number + 1} of {len(configs)} configurations done")
            totals = ours.ask("totals")
            raw["totals"].append({"seed": seed, **totals})
            raw["ours"] += [{"seed": seed, **trial} for trial in _scaled(slice_["trials"], totals["seconds"])]
            if kept:
                kept.keep(part.to_json(), raw)
        for number, names in _to_look_at(part, raw).items():
            say(f"configuration {number + 1} differs by more than the peer from itself: a second look")
            raw.setdefault("looks", {})[str(number)] = _second_look(part, configs[number], names, ours, peer)
            if kept:
                kept.keep(part.to_json(), raw)
    return raw


def _second_look(part: Part, config: Mapping[str, Any], recipes: Sequence[str], *sides: Child) -> dict[str, Any]:
    """One configuration with further seeds on both sides; no speed is taken from it."""
    ours, peer = sides
    seeds = range(part.seeds, part.seeds + fidelity.SECOND_LOOK)
    ours.ask("admit", configs=[config] * len(seeds), seed=list(seeds))
    mine = [{**t, "seed": seeds[t["trial"]]} for t in ours.ask("advance", share=1.0)["trials"]]
    theirs = {
        name: [{"seed": s, **peer.ask("train", config=config, recipe=RECIPES[name], seed=s)} for s in seeds]
        for name in recipes
    }
    return {"ours": mine, "peer": theirs}


def _to_look_at(part: Part, raw: Mapping[str, Any]) -> dict[int, list[str]]:
    """The configurations whose difference to a variant is doubtful, with those variants, not looked at yet."""
    found: dict[int, list[str]] = {}
    for name in part.recipes:
        theirs = raw["peer"][name]
        mine = [_find(raw["ours"], trial) for trial in theirs]
        if faults_of(mine, theirs, part.validation_rows):
            continue
        values = quality(mine, theirs, part.task), quality(theirs, theirs, part.task)
        for place in fidelity.doubtful(*values, _self_differences(part, raw), **_certainty(part)):
            names = found.setdefault(theirs[place]["trial"], [])
            names += [] if name in names else [name]
    if len(found) > MOST_LOOKS:
        return {}
    known = {int(number): look["peer"].keys() for number, look in raw.get("looks", {}).items()}
    return {number: names for number, names in found.items() if not set(names) <= set(known.get(number, ()))}


def _looks(part: Part, raw: Mapping[str, Any], name: str) -> dict[int, fidelity.Look]:
    """What second looks at a variant's trials gave, by the trial's place among them."""
    theirs = raw["peer"][name]
    known = {int(number): look for number, look in raw.get("looks", {}).items() if name in look["peer"]}
    found = {}
    for place, trial in enumerate(theirs):
        look = known.get(trial["trial"])
        if look is not None:
            again = look["peer"][name]
            found[place] = quality(look["ours"], theirs, part.task), quality(again, theirs, part.task)
    return found


def _certainty(part: Part) -> dict[str, Any]:
    """How well the accuracies of a part are known, for `fidelity`."""
    return {"reduced": part.reduced, "rows": part.validation_rows if part.task == "classification" else None}


def estimate(part: Part, setups: Mapping[str, Mapping[str, Any]]) -> float:
    """Seconds that a part will take, from the rates seen in the warm-up (an ablation needs the engine's alone)."""
    if part.without:
        sides = {"ours": 2.0 * len(part.without) + 1}
    else:
        sides = {"ours": part.seeds, "peer": sum(part.seeds if name == part.yardstick else 1 for name in part.recipes)}
    seconds = 0.0
    for side, times in sides.items():
        rates = setups[side]
        one = part.rows / rates["train_rate"] + part.validation_rows / rates["evaluation_rate"]
        seconds += times * part.count * one + rates["seconds"] * (1 + len(part.without))
    return seconds * (2 if part.busy else 1)


def weigh(part: Part, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Checks, and speeds where they passed.

    Returns:
        `refused` (sentences), `checks` by variant, `ours` and `peer` (by variant) with the figures of
        each side; speeds and what follows from them are left out where a check failed.
    """
    differences = _self_differences(part, raw)
    lines: dict[str, dict[str, Any]] = {}
    checks: dict[str, Any] = {}
    refused: list[str] = []
    for name in part.recipes:
        theirs = raw["peer"][name]
        mine = [_find(raw["ours"], trial) for trial in theirs]
        faults = faults_of(mine, theirs, part.validation_rows)
        if not faults:
            verdict = fidelity.judge(
                quality(mine, theirs, part.task),
                quality(theirs, theirs, part.task),
                differences,
                **_certainty(part),
                looks=_looks(part, raw, name),
            )
            checks[name] = verdict.to_json()
            if not verdict.passed:
                faults = [verdict.because]
        if faults:
            refused += [f"{name}: {fault}" for fault in faults]
        lines[name] = {**_described(theirs, part.task), **({} if faults else _speed(theirs, raw, part, mine))}
    alike = [name for name in part.recipes if "samples_per_second" in lines[name]]
    sound = TWIN in alike if TWIN in part.recipes else len(alike) == len(part.recipes)
    ours = _described(raw["ours"], part.task)
    ours |= {
        "setup_seconds": raw["setup"]["ours"]["seconds"] + raw["admit_seconds"],
        "evaluation_seconds": sum(total["evaluation_seconds"] for total in raw["totals"]),
        "memory_gb": max(total["memory_gb"] for total in raw["totals"]),
        "tokens_per_step": statistics.mean(total["tokens_per_step"] for total in raw["totals"]),
        "packing": raw["totals"][0]["packing"],
        "precision": raw["setup"]["ours"]["precision"],
    }
    if sound:
        ours |= _speed(raw["ours"], raw, part, None)
    return {
        "part": part.to_json(),
        "compared": "seconds inside the training loop; set-up and evaluation are listed beside",
        "refused": refused,
        "checks": checks,
        "self_differences": [round(d, 5) for d in differences],
        "ceiling": _middle(raw["ceilings"]),
        "operations_per_token": raw["arithmetic"],
        "ours": _rounded(ours),
        "peer": {name: _rounded(line) for name, line in lines.items()},
        "trials": _trials(part, raw, show_speed=sound),
        "second_looks": {
            number: {
                side: [_shown(trial, "accuracy", "loss") for trial in trials]
                for side, trials in {"ours": look["ours"], **look["peer"]}.items()
            }
            for number, look in raw.get("looks", {}).items()
        },
    }


def faults_of(ours: Sequence[Mapping[str, Any]], peer: Sequence[Mapping[str, Any]], rows_scored: int) -> list[str]:
    """What shows that two lists of trials were not the same work; empty if nothing does."""
    faults = []
    for mine, theirs in zip(ours, peer, strict=True):
        where = f"configuration {theirs['trial']}, seed {theirs['seed']}"
        for key, meaning in (
            ("tokens", "tokens read"),
            ("steps", "optimizer steps"),
            ("parameters", "trainable parameters"),
        ):
            if mine[key] != theirs[key]:
                faults.append(f"{where}: {meaning} differ, {mine[key]} against {theirs[key]}")
        if min(mine["rows_scored"], theirs["rows_scored"]) < rows_scored:
            faults.append(f"{where}: not scored on {rows_scored} rows")
        if mine["failed"] or not all(
            math.isfinite(side[key]) for side in (mine, theirs) for key in ("loss", "grad_norm")
        ):
            faults.append(f"{where}: a loss or gradient is not finite")
        elif min(mine["grad_norm"], theirs["grad_norm"]) <= 0:
            faults.append(f"{where}: a gradient is zero, so nothing was trained")
    return faults


def quality(trials: Sequence[Mapping[str, Any]], reference: Sequence[Mapping[str, Any]], task: str) -> list[float]:
    """What is compared, the larger the better: accuracy; for a language model 1 - loss / the reference's mean loss."""
    if task == "classification":
        return [float(trial["accuracy"]) for trial in trials]
    middle = statistics.mean(float(trial["loss"]) for trial in reference)
    return [1 - float(trial["loss"]) / middle for trial in trials]


def prepared(part: Part, folder: Path) -> tuple[dict[str, Any], str]:
    """What both sides' `setup` is given, the rows written, and the folder of the model."""
    folder.mkdir(parents=True, exist_ok=True)
    model, _ = workload.model_folder(part.model)
    files = workload.write_files(
        part.source, folder / "rows", rows=part.rows, validation_rows=part.validation_rows, test_rows=100
    )
    warm_up = {**part.configs[0], "batch_size": 16}
    return {"files": files.to_json(), "folder": str(folder), "warm_up": warm_up, "task": part.task}, model


def tokens_of_a_pass(totals: Mapping[str, Any]) -> float:
    """Real tokens of one forward and backward pass of the engine."""
    passes = (totals.get("packing") or {}).get("passes_per_step") or 1.0
    return float(totals["tokens_per_step"]) / max(1.0, passes)


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _self_differences(part: Part, raw: Mapping[str, Any]) -> list[float]:
    """The peer against itself with another seed, per configuration."""
    trials = raw["peer"][part.yardstick]
    seeds = {seed: quality([t for t in trials if t["seed"] == seed], trials, part.task) for seed in (0, 1)}
    return [one - other for one, other in zip(seeds[0], seeds[1], strict=True)]


def _speed(
    trials: Sequence[Mapping[str, Any]], raw: Mapping[str, Any], part: Part, ours: Sequence[Mapping[str, Any]] | None
) -> dict[str, Any]:
    """The figures that are only for a side that passed; with the ratio to `ours` if given."""
    seconds = sum(trial["seconds"] for trial in trials)
    tokens = sum(trial["tokens"] for trial in trials)
    arithmetic = raw["arithmetic"]["ours" if ours is None else "peer"]
    operations = arithmetic["forward"] + arithmetic["backward"]
    found: dict[str, Any] = {
        "samples_per_second": part.rows * len(trials) / seconds,
        "tokens_per_second": tokens / seconds,
        "seconds": seconds,
        "share_of_ceiling": operations * tokens / seconds / (_middle(raw["ceilings"])["gflops"] * 1e9),
    }
    if ours is not None:
        by_config: dict[int, list[float]] = {}
        for mine, theirs in zip(ours, trials, strict=True):
            sums = by_config.setdefault(theirs["trial"], [0.0, 0.0])
            sums[0] += theirs["seconds"]
            sums[1] += mine["seconds"]
        found["ratio"] = seconds / sum(trial["seconds"] for trial in ours)
        found["ratio_interval"] = _interval(list(by_config.values()))
    return found


def _interval(pairs: Sequence[Sequence[float]]) -> list[float] | None:
    """A 95 % bootstrap interval, over configurations, of all firsts over all seconds; None for fewer than three."""
    if len(pairs) < 3:
        return None
    draw = random.Random(0)
    ratios = []
    for _ in range(RESAMPLES):
        sample = draw.choices(pairs, k=len(pairs))
        ratios.append(sum(pair[0] for pair in sample) / sum(pair[1] for pair in sample))
    ratios.sort()
    return [round(ratios[int(0.025 * RESAMPLES)], 3), round(ratios[int(0.975 * RESAMPLES)], 3)]


def _described(trials: Sequence[Mapping[str, Any]], task: str) -> dict[str, Any]:
    """The figures of a side that are no speeds."""
    found = {
        "trials": len(trials),
        "accuracy" if task == "classification" else "loss": statistics.mean(
            trial["accuracy" if task == "classification" else "loss"] for trial in trials
        ),
        "grad_norm": statistics.median(trial["grad_norm"] for trial in trials),
    }
    if trials and "setup_seconds" in trials[0]:
        found |= {
            "setup_seconds": sum(trial["setup_seconds"] for trial in trials),
            "evaluation_seconds": sum(trial["evaluation_seconds"] for trial in trials),
            "memory_gb": max(trial["memory_gb"] for trial in trials),
            "tokens_per_step": sum(t["tokens"] for t in trials) / sum(t["steps"] for t in trials),
        }
    return found


def _trials(part: Part, raw: Mapping[str, Any], *, show_speed: bool) -> list[dict[str, Any]]:
    """Every configuration with what each side made of it."""
    keys = ("accuracy", "loss", "grad_norm", *(("seconds",) if show_speed else ()))

    rows = []
    for number, config in enumerate(part.configs):
        sides = {"ours": raw["ours"], **raw["peer"]}
        rows.append(
            {
                "config": config,
                **{name: [_shown(t, *keys) for t in trials if t["trial"] == number] for name, trials in sides.items()},
            }
        )
    return rows


def _shown(trial: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return _rounded({"seed": trial["seed"], **{key: trial[key] for key in keys}})


def _scaled(trials: Sequence[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """The engine's trials with shares of the time that add up to the clock's, loop included."""
    shares = sum(trial["seconds"] for trial in trials) or 1.0
    return [{**trial, "seconds": trial["seconds"] * seconds / shares} for trial in trials]


def _find(trials: Sequence[Mapping[str, Any]], like: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(trial for trial in trials if (trial["trial"], trial["seed"]) == (like["trial"], like["seed"]))


def _middle(ceilings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {**ceilings[0], "gflops": statistics.median(ceiling["gflops"] for ceiling in ceilings)}


def _rounded(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()}


def _name(source: str) -> str:
    return Path(source).name if Path(source).exists() else source
