"""The single checks behind `plan`: options, numbers, strategy, metrics, budget.

Each finds its own faults; `Faults` gathers them so that a request with three
mistakes says so once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from autoglm_nb.errors import AutoGLMError, StrategyError, UsageError, did_you_mean
from autoglm_nb.search.names import check_strategy, parse_constraint
from autoglm_nb.space import Space
from autoglm_nb.tuning import goal
from autoglm_nb.tuning.executors import EXECUTORS

__all__ = [
    "PRECISIONS",
    "PRUNERS",
    "TASKS",
    "Faults",
    "check_choices",
    "check_device",
    "check_numbers",
    "check_objectives",
    "checked_strategy",
    "parse_budget",
]

TASKS = ("classification", "causal-lm")
PRUNERS = ("median", "asha", "none")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "nf4", "4bit")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass
class Faults:
    """Collects the faults of independent checks."""

    sentences: list[str] = field(default_factory=list)

    def check(self, do: Callable[[], Any], default: Any = None) -> Any:
        try:
            return do()
        except UsageError as error:
            self.sentences += [f for f in error.faults if f not in self.sentences]
        except AutoGLMError as error:
            self.sentences.append(str(error))
        return default

    def add(self, sentence: str) -> None:
        self.sentences.append(sentence)


def parse_budget(budget: str | float | None) -> float | None:
    """Seconds from a number or from text such as "90s", "20m", "1h30m".

    Raises:
        UsageError: not a positive length of time.
    """
    if budget is None:
        return None
    seconds = -1.0
    if isinstance(budget, int | float):
        seconds = float(budget)
    else:
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", budget.strip())
        if parts and "".join(n + u for n, u in parts) == budget.strip():
            seconds = sum(float(n) * _UNITS[u] for n, u in parts)
        elif re.fullmatch(r"\d+(\.\d+)?", budget.strip()):
            seconds = float(budget)
    if seconds <= 0:
        raise UsageError(f"`--budget` must be a positive length of time, but got {budget!r}. Write 90s, 20m or 1h30m.")
    return seconds


def checked_strategy(
    strategy: Any, space: Space, objectives: Sequence[str], enqueue: Sequence[Any], *, constrained: bool = False
) -> str:
    """The strategy's name to store; a sampler object gets a name of its own."""
    check_strategy(strategy, space, objectives, constraints=constrained)
    if strategy == "fixed" and not enqueue:
        raise StrategyError(
            "Strategy 'fixed' tries a given list of configurations, but none was given. "
            "Enqueue some with `tuner.enqueue([{...}])`."
        )
    return strategy if isinstance(strategy, str) else f"sampler:{type(strategy).__name__}"


def check_choices(faults: Faults, **given: str | None) -> None:
    """Options that take one of a few words."""
    known: dict[str, Sequence[str]] = {
        "task": TASKS,
        "pruner": PRUNERS,
        "executor": EXECUTORS,
        "precision": PRECISIONS,
        "direction": ("maximize", "minimize"),
    }
    for option, choices in known.items():
        value = given[option]
        if value is not None and value not in choices:
            faults.add(
                f"`--{option}` must be one of {', '.join(choices)}, but got {value!r}. " + did_you_mean(value, choices)
            )


def check_device(faults: Faults, device: str) -> None:
    """A device by its form; whether this machine has it, the worker finds out."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        faults.add(f"`--device` must be auto, cpu, cuda or cuda:N, but got {device!r}. Leave it out for auto.")


def check_numbers(faults: Faults, **given: int | None) -> None:
    """Options that take a whole number with a least value."""
    least = {"trials": 1, "seeds": 0, "max_length": 8, "max_rows": 10, "seed": 0, "pack": 1}
    for option, value in given.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least[option]):
            faults.add(
                f"`--{option.replace('_', '-')}` must be a whole number of at least {least[option]}, but got {value!r}."
            )


def check_objectives(
    faults: Faults,
    objectives: Sequence[str],
    constraints: Sequence[str],
    *,
    custom: bool,
    task: str | None,
    metric: str | None,
) -> None:
    """Metrics and constraints that the task can measure."""
    known = [m for m in goal.DIRECTIONS if custom or _fits(m, task)]
    for name in [*objectives, *([metric] if metric else [])]:
        if not custom and name not in known:
            faults.add(
                f"A metric of this task must be one of {', '.join(known)}, but got {name!r}. "
                + did_you_mean(name, known)
            )
    for text in constraints:
        constraint = faults.check(partial(parse_constraint, text))
        if constraint is not None and not custom and constraint.metric not in known:
            faults.add(f"A constraint must be on one of {', '.join(known)}, but got {constraint.metric!r}.")


def _fits(metric: str, task: str | None) -> bool:
    if task == "causal-lm":
        return metric not in ("accuracy", "macro_f1")
    return metric != "perplexity" or task is None
