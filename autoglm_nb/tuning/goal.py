"""What a study optimises: its metrics, their directions, and the default configuration.

Pure functions of a `StudySpec`; no model, no store.
"""

from __future__ import annotations

from typing import Any

from autoglm_nb.protocol import StudySpec
from autoglm_nb.space import Space, default_config

__all__ = [
    "DEFAULT_METRIC",
    "DIRECTIONS",
    "baseline_config",
    "complete_config",
    "directions",
    "metrics_of",
    "model_names",
]

DEFAULT_METRIC = {"classification": "accuracy", "causal-lm": "loss"}

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
    if spec.objectives:
        return list(spec.objectives)
    return [spec.metric or DEFAULT_METRIC.get(spec.task or "", "value")]


def directions(spec: StudySpec) -> list[str]:
    """`maximize` or `minimize` for each of `metrics_of`."""
    if len(spec.objectives) > 1:
        return [DIRECTIONS.get(metric, "maximize") for metric in spec.objectives]
    return [spec.direction or DIRECTIONS.get(metrics_of(spec)[0], "maximize")]


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


def _largest(space: Space, name: str) -> Any:
    values: list[Any] = [c.value for c in space.constants if c.name == name]
    for dimension in space.dimensions:
        if dimension.name == name:
            values += list(dimension.choices) or [dimension.high]
    return max(values) if values else None
