"""What a study optimises: its metrics, their directions, and the default configuration.

Pure functions of a `StudySpec` and of rows; no model, nothing read or written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoglm_nb.protocol import StudySpec, TrialState
from autoglm_nb.search.names import parse_constraint
from autoglm_nb.space import Space, default_config
from autoglm_nb.store import RunRow, directions_of, metric_of

__all__ = [
    "DIRECTIONS",
    "baseline_config",
    "choices",
    "complete_config",
    "directions",
    "eligible",
    "judged",
    "metrics_of",
    "model_names",
]

DIRECTIONS = {
    "accuracy": "maximize",
    "macro_f1": "maximize",
    "loss": "minimize",
    "perplexity": "minimize",
    "latency_ms_p50": "minimize",
    "latency_ms_p95": "minimize",
    "memory_gb": "minimize",
    "trainable_share": "minimize",
    "train_seconds": "minimize",
}
"""Every metric a run reports, and which way is better."""


def model_names(space: Space, default: str) -> list[str]:
    """The base models a space may choose, or the study's own; the first one leads."""
    for dimension in space.dimensions:
        if dimension.name == "model":
            return [str(choice) for choice in dimension.choices]
    for constant in space.constants:
        if constant.name == "model":
            return [str(constant.value)]
    return [default] if default else []


def metrics_of(spec: StudySpec) -> list[str]:
    """The metrics to optimise, the first one leading the view."""
    return list(spec.objectives) or [metric_of(spec)]


def judged(spec: StudySpec) -> set[str]:
    """The metrics that decide about a trial: optimised, or bounded by a constraint."""
    return {*metrics_of(spec), *(parse_constraint(text).metric for text in spec.constraints)}


def directions(spec: StudySpec) -> list[str]:
    """`maximize` or `minimize` for each of `metrics_of`."""
    return directions_of(spec)


def eligible(rows: Sequence[RunRow], spec: StudySpec) -> list[RunRow]:
    """The runs that may win: completed, with a value, within every constraint."""
    constraints = [parse_constraint(text) for text in spec.constraints]
    return [
        row
        for row in rows
        if row.state is TrialState.COMPLETED
        and row.value is not None
        and all(constraint.violation(row.metrics) <= 0 for constraint in constraints)
    ]


def complete_config(config: dict[str, Any], task: str, *, model: str, decoder: bool) -> dict[str, Any]:
    """Fill in what a configuration leaves out from the default one.

    A rank without an alpha gets the default configuration's ratio of the two, so
    that changing the rank alone does not also change the scale of the update.
    """
    default = default_config(task, decoder=decoder)
    full = {**default, "model": model, **config}
    if "rank" in config and "alpha" not in config:
        full["alpha"] = default["alpha"] * config["rank"] / default["rank"]
    if "steps" in config:
        full.pop("epochs", None)
    return full


def baseline_config(spec: StudySpec, *, model: str, decoder: bool) -> dict[str, Any]:
    """The default configuration with the trials' training budget (their epochs or steps)."""
    config = {**default_config(spec.task or "", decoder=decoder), "model": model}
    space = Space.from_json(spec.space)
    for key in ("epochs", "steps"):
        most = _largest(space, key)
        if most is not None:
            config.pop("epochs", None)
            config[key] = most
    return config


def choices(space: Space, name: str, default: Any) -> list[Any]:
    """What a space may set a hyper-parameter to: its constants and choices, the ends of a range, or the default."""
    values: list[Any] = [c.value for c in space.constants if c.name == name]
    for dimension in space.dimensions:
        if dimension.name == name:
            values += list(dimension.choices) or [dimension.low, dimension.high]
    return values or [default]


def _largest(space: Space, name: str) -> Any:
    values = [value for value in choices(space, name, None) if value is not None]
    return max(values) if values else None
