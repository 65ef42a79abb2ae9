"""Each measure that makes training faster, and how to do without it, one at a time.

A measure is turned off where the package has a switch for it, and otherwise by putting
the plain way in its place before the engine is made. It happens in a child process, so
nothing has to be put back.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import comparison, fidelity
from benchmarks.children import Child, one_busy_core, side_child
from benchmarks.comparison import Part, quality

__all__ = ["MEASURES", "Measure", "applicable", "apply", "measure"]

SLICES = 6
"""Alternating slices that a run with and a run without a measure are cut into."""


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        what: what is done without it, for the table.
        turn_off: does it; returns what the engine is to be made with ("capacity", "precision", "threads").
        tasks: where it matters.
    """

    what: str
    turn_off: Callable[[], dict[str, Any]]
    tasks: tuple[str, ...] = ("classification", "causal-lm")


def apply(name: str) -> dict[str, Any]:
    """Turn one measure off; "" turns off nothing.

    Returns:
        what the engine is to be made with.

    Raises:
        ValueError: there is no measure of that name.
    """
    if not name:
        return {}
    if name not in MEASURES:
        raise ValueError(f"A measure must be one of {', '.join(MEASURES)}, but got {name!r}.")
    return MEASURES[name].turn_off()


def applicable(task: str) -> list[str]:
    """The measures that matter for a task."""
    return [name for name, measure in MEASURES.items() if task in measure.tasks]


def measure(part: Part, folder: Path, say: comparison.Say) -> dict[str, Any]:
    """The engine with everything against the engine without one measure, for each measure of `part.without`.

    Returns:
        `refused` (sentences) and `measures`: the gain of each, as the ratio of training times, left out where
        the accuracies do not agree.

    Raises:
        ChildFailed: a run could not be made.
    """
    given, _ = comparison.prepared(part, folder)
    given |= {"model": part.model, "capacity": part.count, "precision": part.precision}
    lines: list[dict[str, Any]] = []
    refused: list[str] = []
    differences: list[float] = []
    rows = part.validation_rows if part.task == "classification" else None
    with one_busy_core(part.busy), side_child("engine", folder / "engine.log") as full:
        rates = full.ask("setup", **given)
        say(f"This part takes about {comparison.duration(comparison.estimate(part, {'ours': rates}))}.")
        for name in part.without:
            log = folder / f"without-{len(lines)}.log"
            with side_child("engine", log) as lacking:
                lacking.ask("setup", without=name, **given)
                with_it, without_it = _side_by_side(part, full, lacking, seed=0)
            if not differences:
                full.ask("admit", configs=part.configs, seed=1)
                again = full.ask("advance", share=1.0)["trials"]
                pairs = zip(*(quality(t, again, part.task) for t in (with_it["trials"], again)), strict=True)
                differences = [one - other for one, other in pairs]
            plain, full_quality = (quality(s["trials"], with_it["trials"], part.task) for s in (without_it, with_it))
            verdict = fidelity.judge(plain, full_quality, differences, reduced=part.reduced, rows=rows)
            line: dict[str, Any] = {
                "measure": name,
                "without": MEASURES[name].what,
                "check": verdict.to_json(),
                "quality": round(sum(full_quality) / len(full_quality), 4),
                "quality_without": round(sum(plain) / len(plain), 4),
            }
            if verdict.passed:
                line |= {
                    "gain": round(without_it["seconds"] / with_it["seconds"], 3),
                    "seconds": round(with_it["seconds"], 2),
                    "seconds_without": round(without_it["seconds"], 2),
                }
            else:
                refused.append(f"without {name}: {verdict.because}")
            say(f"{name}: done")
            lines.append(line)
    return {"part": part.to_json(), "refused": refused, "measures": lines}


def _side_by_side(part: Part, *sides: Child, seed: int) -> list[dict[str, Any]]:
    """Train the same trials on each side, in slices that alternate; what `advance` answered last."""
    for side in sides:
        side.ask("admit", configs=part.configs, seed=seed)
    for number in range(SLICES):
        order = sides if number % 2 else sides[::-1]
        answers = {id(side): side.ask("advance", share=(number + 1) / SLICES) for side in order}
    return [answers[id(side)] for side in sides]


def _one_at_a_time() -> dict[str, Any]:
    return {"capacity": 1}


def _without_cpu_measure(name: str) -> Callable[[], dict[str, Any]]:
    """Leave one of the measures of `AUTOGLM_CPU_PATH` out."""

    def turn_off() -> dict[str, Any]:
        from autoglm_nb import settings

        os.environ["AUTOGLM_CPU_PATH"] = ",".join(sorted(settings.cpu_path() - {name})) or "none"
        return {}

    return turn_off


def _batches_at_random() -> dict[str, Any]:
    from autoglm_nb.data.batching import BatchOrder
    from autoglm_nb.data.splitting import permutation

    def batches(self: BatchOrder, epoch: int) -> list[Any]:
        order = permutation(len(self.lengths), self.seed, epoch)
        return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]

    BatchOrder.batches = batches  # type: ignore[method-assign]
    return {}


def _masks_drawn_by_torch() -> dict[str, Any]:
    import torch

    def drawn(
        key: int, first_row: int, rows: int, positions: int, features: int, p: float, device: torch.device
    ) -> torch.Tensor:
        return torch.empty(rows, positions, features, device=device).bernoulli_(1.0 - p).bool()

    _replace("autoglm_nb.training.lowrank", "keep_mask", drawn)
    return {}


def _one_thread() -> dict[str, Any]:
    return {"threads": 1}


def _logits_everywhere() -> dict[str, Any]:
    _replace("autoglm_nb.training.build", "keep_labelled", lambda output, row_map: None)
    return {}


def _replace(module: str, name: str, value: Any) -> None:
    """Put a function in the place of another that must be there already."""
    found = importlib.import_module(module)
    if not hasattr(found, name):
        raise AttributeError(f"{module} has no {name} any more: tell this benchmark where it went.")
    setattr(found, name, value)


MEASURES = {
    "packing": Measure("one trial after the other", _one_at_a_time),
    "bucketing": Measure("batches of rows of any length", _batches_at_random),
    "prepacked weights": Measure("frozen layers by torch's linear", _without_cpu_measure("products")),
    "short attention": Measure("attention by torch's fused kernel", _without_cpu_measure("attention")),
    "first token": Measure(
        "the last layer at every position", _without_cpu_measure("first-token"), ("classification",)
    ),
    "cheap masks": Measure("dropout masks drawn by torch's generator", _masks_drawn_by_torch),
    "threads": Measure("a single thread", _one_thread),
    "labelled logits": Measure("logits at every position", _logits_everywhere, ("causal-lm",)),
}
"""By name, as on the command line."""
