"""Synthetic studies, stored the way a worker stores them: Optuna trials, runs, events, confirmation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from autoglm_nb.protocol import DataSpec, RunRole, StudySpec, StudyState, TrialState
from autoglm_nb.space import Space, parse_cell
from autoglm_nb.store import EventWriter, Store
from autoglm_nb.surrogates.population import _at

CELL = """
learning_rate = loguniform(1e-5, 1e-2)
method        = choice("lora", "dora", "adapter")
batch_size    = choice(8, 16, 32)
dropout       = uniform(0.0, 0.3)
if method in ("lora", "dora"):
    rank      = choice(4, 8, 16, 32)
"""
RUNGS, STEPS = 4, 80


def accuracy(config: dict[str, Any], rng: np.random.Generator) -> float:
    """A response with a known shape: learning rate first, rank and method a little, dropout not at all."""
    value = 0.84 - 0.06 * (math.log10(config["learning_rate"]) + 2.9) ** 2
    value += {"lora": 0.02, "dora": 0.025, "adapter": 0.0}.get(config.get("method", ""), 0.0)
    value += 0.008 * math.log2(config.get("rank", 4) / 4)
    return float(value + 0.01 * rng.normal())


@dataclass
class Made:
    """A stored study and where it is."""

    home: Path
    name: str
    store: Store
    space: Space


def make(
    home: Path,
    trials: int = 24,
    *,
    name: str = "reviews",
    cell: str = CELL,
    objective: Callable[[dict[str, Any], np.random.Generator], Any] = accuracy,
    direction: str = "maximize",
    objectives: Sequence[str] = (),
    directions: Sequence[str] = (),
    seed: int = 0,
    prune: bool = True,
    fail: Callable[[int], str | None] = lambda n: None,
    final: bool = True,
    state: StudyState = StudyState.FINISHED,
    model: str = "minilm",
    source: str = "sentiment-domains/movies",
) -> Made:
    """Store a study whose trials are drawn at random and valued by `objective`; NaN values are kept."""
    store = Store(home)
    space = parse_cell(cell, {}, strict_names=False)
    spec = StudySpec(
        name=name,
        model=model,
        data=DataSpec(source, target="label", checksum="ab" * 32),
        space=space.to_json(),
        task="classification",
        metric=objectives[0] if objectives else "accuracy",
        direction=direction,
        objectives=tuple(objectives),
        strategy="random",
        trials=trials,
        seed=seed,
        cell=f"%%autotune --name {name}\n{cell}",
        identity="c0ffee" * 8,
    )
    store.create_study(spec)
    study = store.optuna_study(name, list(directions) or [direction])
    rng = np.random.default_rng(seed)
    configs = [space.walk(lambda d: _at(d, rng.random())) for _ in range(trials)]
    sign = 1.0 if direction == "maximize" else -1.0
    finals: list[tuple[float, dict[str, Any]]] = []
    frozen: list[optuna.trial.FrozenTrial] = []
    rows: list[tuple[int, dict[str, Any], str, float | None, str, int]] = []
    for number, config in enumerate(configs):
        value = objective(config, rng)
        values = list(value) if isinstance(value, tuple) else [float(value)]
        reports = {
            r: values[0] - sign * 0.12 * (1 - r / RUNGS) ** 2 + 0.004 * rng.normal() for r in range(1, RUNGS + 1)
        }
        reason = fail(number)
        worse = [sign * v for v, _ in finals]
        pruned = prune and len(worse) >= 5 and sign * reports[2] < np.median(worse) - 0.1
        end = TrialState.FAILED if reason is not None else TrialState.PRUNED if pruned else TrialState.COMPLETED
        if not math.isfinite(values[0]) or end is not TrialState.COMPLETED:
            values_stored: list[float] | None = None
        else:
            values_stored = values
            finals.append((values[0], config))
        optuna_state = {
            TrialState.FAILED: optuna.trial.TrialState.FAIL,
            TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
        }.get(end, optuna.trial.TrialState.COMPLETE if values_stored else optuna.trial.TrialState.FAIL)
        shown = {r: v for r, v in reports.items() if math.isfinite(v) and (end is TrialState.COMPLETED or r <= 2)}
        frozen.append(
            optuna.trial.create_trial(
                state=optuna_state, values=values_stored, intermediate_values={} if reason is not None else shown
            )
        )
        because = reason or ("Below the median of the others at evaluation 2." if pruned else "")
        steps = STEPS if end is TrialState.COMPLETED else STEPS // 2
        rows.append((number, config, str(end), values[0] if end is TrialState.COMPLETED else None, because, steps))
    study.add_trials(frozen)
    for number, config, end, value, because, steps in rows:
        run = f"trial-{number:04d}"
        by = "random start" if number < 8 else "expected improvement"
        store.start_run(
            name, run, RunRole.TRIAL, config=config, proposed_by=by, trial=number, seed=seed, total_steps=STEPS
        )
        store.update_run(name, run, step=steps, seconds=0.5 * steps)
        share = {"lora": 0.004, "dora": 0.0045, "adapter": 0.03}.get(config.get("method", ""), 0.01)
        metrics = {"accuracy": value, "trainable_share": share, "memory_gb": 0.9 + 10 * share}
        store.end_run(name, run, TrialState(end), value=value, metrics=metrics, because=because)
    store.add_active_seconds(name, 0.5 * sum(r[5] for r in rows))
    store.set_provenance(
        name, {"models": {model: {"source": "package index", "checksum": "ef" * 32}}, "versions": {"torch": "2.13.0"}}
    )
    if finals and final:
        _confirm(store, name, direction, finals, sign, rng)
    store.set_state(name, state)
    return Made(home, name, store, space)


def _confirm(
    store: Store,
    name: str,
    direction: str,
    finals: list[tuple[float, dict[str, Any]]],
    sign: float,
    rng: np.random.Generator,
) -> None:
    best, config = (max if direction == "maximize" else min)(finals, key=lambda f: f[0])
    number = next(r.trial for r in store.runs(name, RunRole.TRIAL) if r.value == best)
    base = best - sign * 0.06
    store.start_run(name, "baseline", RunRole.BASELINE, config={"learning_rate": 2e-4, "method": "lora"}, seed=0)
    store.end_run(name, "baseline", TrialState.COMPLETED, value=base, metrics={})
    scores: dict[str, list[float]] = {"winner": [], "baseline": []}
    with_events = EventWriter(store.study_dir(name) / "events.jsonl")
    for group, level in (("winner", best - sign * 0.01), ("baseline", base)):
        for seed in (1, 2, 3):
            run = f"winner-{number}-seed-{seed}" if group == "winner" else f"baseline-seed-{seed}"
            value = level + 0.004 * rng.normal()
            scores[group].append(value)
            store.start_run(name, run, RunRole.CONFIRM, config=config, seed=seed, total_steps=STEPS)
            folder = store.run_dir(name, run)
            folder.mkdir(parents=True, exist_ok=True)
            losses = [
                0.7 * math.exp(-s / 40) + (0.25 if group == "winner" else 0.33) + 0.05 * rng.normal()
                for s in range(STEPS)
            ]
            lines = [json.dumps({"step": s + 1, "loss": loss, "learning_rate": 1e-3}) for s, loss in enumerate(losses)]
            (folder / "losses.jsonl").write_text("\n".join(lines) + '\n{"step": 81, "lo')
            store.end_run(name, run, TrialState.COMPLETED, value=value, metrics={})
    with_events.close()
    differences = sign * (np.array(scores["winner"]) - np.array(scores["baseline"]))
    store.set_final(
        name,
        {
            "metric": "accuracy",
            "split": "test",
            "rows": 1060,
            "seeds": [1, 2, 3],
            "winner": _interval(scores["winner"]),
            "baseline": _interval(scores["baseline"]),
            "majority": 0.52,
            "difference": {**{k: v for k, v in _interval(differences.tolist()).items() if k != "values"}, "p": 0.002},
        },
    )


def _interval(values: Sequence[float]) -> dict[str, Any]:
    from scipy import stats

    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    mean = float(np.mean(values))
    return {"values": list(values), "mean": mean, "low": mean - half, "high": mean + half}
