"""What can be read off a `StudySpec`: its metric, its directions, and how two of them differ."""

from __future__ import annotations

from typing import Any

from autoglm_nb.errors import UsageError
from autoglm_nb.protocol import StudySpec

__all__ = ["differences", "directions_of", "metric_of"]

_MINIMIZED = ("loss", "perplexity", "latency", "memory", "seconds", "error", "cost", "mae", "mse", "rmse", "trainable")
_SHOWN = 4


def metric_of(spec: StudySpec) -> str:
    """The first objective: as given, else `value` of a custom objective, else the task's own."""
    if spec.objectives:
        return spec.objectives[0]
    if spec.metric:
        return spec.metric
    if spec.objective is not None:
        return "value"  # what a function of the user's own returns
    language_model = spec.task == "causal-lm" or (spec.task is None and spec.data.target is None)
    return "loss" if language_model else "accuracy"


def directions_of(spec: StudySpec) -> list[str]:
    """`maximize` or `minimize` for each objective; the spec's word counts for the first."""
    names = spec.objectives or (metric_of(spec),)
    found = ["minimize" if any(word in name for word in _MINIMIZED) else "maximize" for name in names]
    if spec.direction:
        found[0] = spec.direction
    return found


def differences(stored: StudySpec, given: StudySpec) -> list[str]:
    """What sets two studies of one name apart, as clauses: what is stored, then what was given."""
    found: list[str] = []
    for label, ours, theirs in (
        ("model", stored.model, given.model),
        ("task", stored.task, given.task),
        ("data", stored.data.source, given.data.source),
        ("target column", stored.data.target, given.data.target),
        ("text columns", ", ".join(stored.data.text), ", ".join(given.data.text)),
        ("validation data", stored.data.validation, given.data.validation),
        ("test data", stored.data.test, given.data.test),
        ("max_rows", stored.data.max_rows, given.data.max_rows),
        ("metric", metric_of(stored), metric_of(given)),
        ("objectives", ", ".join(stored.objectives), ", ".join(given.objectives)),
        ("direction", stored.direction, given.direction),
        ("seed", stored.seed, given.seed),
    ):
        if ours != theirs:
            found.append(f"{label} {_word(ours)} where {_word(theirs)} is given")
    if stored.data.source == given.data.source and stored.data.checksum != given.data.checksum:
        found.append(f"other content of {_word(given.data.source)}")
    space = _space_differences(stored.space, given.space)
    if space:
        more = f" and {len(space) - _SHOWN} more" if len(space) > _SHOWN else ""
        found.append("another search space (" + "; ".join(space[:_SHOWN]) + more + ")")
    return found


def _word(value: object) -> str:
    return "none" if value in (None, "") else repr(value)


def _space_differences(stored: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """One clause a parameter; a space that cannot be read (of another version, say) differs as a whole."""
    if stored == given:
        return []
    from autoglm_nb.space import Space

    try:
        return [line.rstrip(".") for line in Space.from_json(stored).diff(Space.from_json(given))]
    except (UsageError, ValueError, KeyError, TypeError):
        return ["it has another form"]
