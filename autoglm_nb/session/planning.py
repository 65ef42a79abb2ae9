"""From a request to a checked `StudySpec`, with every fault of the request at once.

Runs in the kernel, so it stays cheap: the data's header and columns, the
model's config file, the space. Tables that live in the notebook are written to
Parquet under `.autoglm/data/`, named by their checksum, so that the worker and a
later kernel read the same rows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from autoglm_nb import data as data_room
from autoglm_nb import models, settings
from autoglm_nb.errors import DiskFullError, SpaceError, UsageError, did_you_mean
from autoglm_nb.hooks import check as check_hooks
from autoglm_nb.protocol import DataSpec, StudySpec
from autoglm_nb.session.checks import (
    TASKS,
    Faults,
    check_choices,
    check_device,
    check_numbers,
    check_objectives,
    checked_strategy,
    parse_budget,
)
from autoglm_nb.space import Dimension, Space, default_config, default_space, parse_cell
from autoglm_nb.store.studies import check_name
from autoglm_nb.tuning import goal
from autoglm_nb.tuning.context import Extras

__all__ = ["Plan", "plan"]

DEFAULT_TRIALS = 20
FALLBACK = {"decoder": "causal-lm", "encoder": "classification"}
_SOME_SPACE = parse_cell("x = uniform(0, 1)", strict_names=False)  # where the cell's own has faults of its own
_PLACES = ("source", "path", "validation", "test")  # where data lies; its checksum says what it is
_NAME = re.compile(r"\w[\w .+-]{0,63}")


@dataclass(frozen=True)
class Plan:
    """A checked request. `notes` are sentences worth showing before it starts."""

    spec: StudySpec
    home: Path
    extras: Extras = field(default_factory=Extras)
    fork: bool = False
    notes: tuple[str, ...] = ()


def plan(
    model: str | None = None,
    data: Any = None,
    *,
    target: str | None = None,
    text: str | Sequence[str] | None = None,
    space: str | Space | Mapping[str, Any] | None = None,
    names: Mapping[str, Any] | None = None,
    name: str | None = None,
    task: str | None = None,
    metric: str | None = None,
    direction: str | None = None,
    max_length: int | None = None,
    validation: Any = None,
    test: Any = None,
    max_rows: int | None = None,
    trials: int | None = None,
    budget: str | float | None = None,
    seed: int = 0,
    seeds: int = 3,
    objectives: Sequence[str] = (),
    constraints: Sequence[str] = (),
    pruner: str = "median",
    strategy: Any = "bayesian",
    pack: int | None = None,
    executor: str = "process",
    device: str = "auto",
    precision: str = "auto",
    baseline: bool = True,
    gradient_checkpointing: bool = False,
    base_dropout: bool = False,
    trust_remote_code: bool = False,
    objective: str | Callable[..., Any] | None = None,
    enqueue: Sequence[Mapping[str, Any]] = (),
    log_to: Sequence[str] = (),
    fork: bool = False,
    cell: str = "",
    first_line: int = 1,
    notebook: str | None = None,
    home: str | os.PathLike[str] | None = None,
) -> Plan:
    """Check a request and make its specification.

    Args:
        model: catalogue name, local folder or hub id; may be left out with an objective or when the space chooses it.
        data: file, folder, catalogue name, hub id, the name of a notebook variable, or a table.
        space: cell text, a `Space`, its JSON, or None / "default" for the task's own space.
        names: the notebook's variables, for the cell and for `data` / `objective` given by name.
        first_line: number of the space's first line in its cell, for the faults' line numbers.
        budget: active worker time, as seconds or like "20m", "1h30m".
        objective: a function `(config, report) -> value` in place of training, or its name in `names`.
        pack: trials trained side by side; None: as many as were measured to pay.
        log_to: trackers that are told about the study: "mlflow", "wandb", "tensorboard".

    Raises:
        UsageError: with every fault found.
    """
    faults = Faults(settings.faults())
    names = names or {}
    strategy_given = strategy
    folder = Path(home).expanduser().resolve() if home else settings.home()
    function = _find_objective(objective, names, faults)
    seconds = faults.check(lambda: parse_budget(budget))
    check_choices(
        faults, task=task, pruner=pruner, executor=executor, precision=precision, direction=direction, metric=metric
    )
    check_device(faults, device)
    task = task if task in TASKS else None  # told already
    check_numbers(faults, trials=trials, seeds=seeds, max_length=max_length, max_rows=max_rows, seed=seed, pack=pack)

    given = faults.check(lambda: _given_space(space, names, strict=function is None, first_line=first_line))
    model_names = goal.model_names(given or Space(), model or "")
    reports = [r for r in (faults.check(partial(models.check, m)) for m in model_names) if r is not None]
    if function is None and not model_names:
        faults.add("`--model` is required. Give a name such as minilm or smollm2-135m, a folder, or a hub id.")

    data_spec: DataSpec | None = DataSpec(source="")
    report = None
    if function is None:
        data_spec = faults.check(lambda: _data_spec(data, target, text, validation, test, max_rows, names, folder))
        if data_spec is not None:
            fallback = FALLBACK.get(reports[0].family) if reports else None
            report = faults.check(partial(data_room.check, data_spec, task, fallback=fallback))
            if report is not None:
                target = report.target or target
                data_spec = dataclasses.replace(data_spec, text=tuple(report.text), target=target)
    found_task = task or (report.task if report is not None else None)
    if found_task == "causal-lm":
        for r in reports:
            if r.family == "encoder":
                faults.add(
                    f"Causal language modelling needs a decoder, but {r.name!r} is an encoder. "
                    "Choose smollm2-135m, or classify with `--target`."
                )
    if given is None and not faults.sentences:
        if function is not None:
            faults.add("A custom objective needs a search space. Write one in the cell, such as `x = uniform(0, 1)`.")
        elif found_task:
            decoder = bool(reports) and reports[0].family == "decoder"
            given = default_space(found_task, rows=report.rows if report else None, decoder=decoder)
    if given is not None:
        for r in reports:
            for sentence in models.check_space_against_model(given.to_json(), r):
                faults.add(sentence)
        for entry in enqueue:
            faults.check(partial(given.validate, dict(entry), partial=True))
    if given is not None and strategy == "fixed" and found_task and function is None and not faults.sentences:
        default = default_config(found_task, decoder=bool(reports) and reports[0].family == "decoder")
        enqueue = [_completed(dict(entry), given, default) for entry in enqueue]
    strategy = faults.check(
        lambda: checked_strategy(
            strategy_given, given or _SOME_SPACE, objectives, enqueue, constrained=bool(constraints)
        ),
        "",
    )
    hooks = faults.check(lambda: check_hooks((log_to,) if isinstance(log_to, str) else log_to), ())
    check_objectives(faults, objectives, constraints, custom=function is not None, task=found_task, metric=metric)

    default_name = _default_name(data_spec, model_names, function)
    study_name = name or default_name
    if not _NAME.fullmatch(study_name) or study_name.endswith((".", " ")):
        faults.add(
            f"A study's name must be 1 to 64 letters, digits, spaces or any of `.+-_`, but got {study_name!r}. "
            "Choose one such as reviews-lora."
        )
    else:
        faults.check(partial(check_name, study_name))  # also a folder's name
    if faults.sentences:
        raise UsageError(faults.sentences[0], faults.sentences)
    if given is None or data_spec is None:
        raise UsageError("A study needs a search space and data.")

    spec = StudySpec(
        name=study_name,
        model=model_names[0] if model_names else "",
        data=data_spec,
        space=given.to_json(),
        task=found_task if function is None else None,
        metric=metric,
        direction=direction,
        objectives=tuple(objectives) if len(objectives) > 1 else (),
        constraints=tuple(constraints),
        strategy=strategy,
        pruner=pruner,
        trials=trials if trials is not None else (None if seconds is not None else max(DEFAULT_TRIALS, len(enqueue))),
        budget_seconds=seconds,
        seed=seed,
        seeds=seeds if function is None else 0,
        baseline=baseline and function is None,
        max_length=max_length,
        pack=pack,
        executor=executor,
        device=device,
        precision=precision,
        gradient_checkpointing=gradient_checkpointing,
        base_dropout=base_dropout,
        trust_remote_code=trust_remote_code,
        objective=getattr(function, "__name__", "objective") if function is not None else None,
        enqueue=tuple(dict(e) for e in enqueue),
        cell=cell,
        notebook=notebook,
        hooks=hooks,
    )
    if len(objectives) == 1 and metric is None:
        spec = dataclasses.replace(spec, metric=objectives[0])
    spec = dataclasses.replace(spec, identity=_identity(spec))
    notes = tuple(getattr(report, "notes", ()) or ())
    sampler = None if isinstance(strategy_given, str) else strategy_given
    return Plan(spec, folder, Extras(function, sampler), fork, notes)


def _data_spec(
    data: Any,
    target: str | None,
    text: str | Sequence[str] | None,
    validation: Any,
    test: Any,
    max_rows: int | None,
    names: Mapping[str, Any],
    folder: Path,
) -> DataSpec:
    if data is None:
        raise UsageError("`--data` is required. Give a file, a DataFrame's name, or sentiment-domains/movies.")
    source, path, brought = _source(data, names, folder)
    columns = (text,) if isinstance(text, str) else tuple(text or ())
    spec = DataSpec(
        source=source,
        path=path,
        text=columns,
        target=target,
        validation=_own_split(validation, names, folder) or brought.get("validation"),
        test=_own_split(test, names, folder) or brought.get("test"),
        max_rows=max_rows,
    )
    return dataclasses.replace(spec, checksum=data_room.fingerprint(spec))


def _own_split(given: Any, names: Mapping[str, Any], folder: Path) -> str | None:
    if given is None:
        return None
    source, path, _ = _source(given, names, folder)
    return path or source


def _source(given: Any, names: Mapping[str, Any], folder: Path) -> tuple[str, str | None, Mapping[str, str]]:
    """What to call the data, the path to read when that is not its name, and the paths of splits that come with it."""
    label = "table"
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if isinstance(given, str):
        if not given.strip():
            raise UsageError("`--data` is required. Give a file, a DataFrame's name, or sentiment-domains/movies.")
        found = _existing(given)
        if found is not None and _is_table(names.get(given)):
            raise UsageError(
                f"`--data` must name one thing, but {given!r} is a file or folder here and a table of the notebook. "
                f"Write ./{given} for the file, or rename the variable."
            )
        if found is not None:
            return given, str(found.resolve()), {}
        if given not in names or isinstance(names[given], str | os.PathLike):
            held = names.get(given)
            return _source(held, {}, folder) if held is not None else (given, None, {})
        label, given = given, names[given]
    try:
        stored = data_room.store_object(given, folder / "data", label)
    except DiskFullError:
        raise
    except OSError as error:
        raise UsageError(
            f"A table of the notebook is copied for the worker, but {settings.shown_path(folder / 'data')} "
            f"cannot be written ({error.strerror or error}). Set AUTOGLM_HOME to a folder that can."
        ) from error
    return label, stored["path"], stored


def _existing(name: str) -> Path | None:
    """The file or folder of that name, also with `~` in front; None for what no file is called."""
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, ~ of nobody
        return None


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple) or hasattr(value, "columns") or hasattr(value, "column_names")


def _given_space(space: Any, names: Mapping[str, Any], *, strict: bool, first_line: int) -> Space | None:
    if space is None or isinstance(space, Space):
        return space
    if isinstance(space, Mapping):
        return Space.from_json(dict(space))
    if space.strip() in ("", "default"):
        return None
    parsed = parse_cell(space, names, strict_names=strict, first_line=first_line)
    return parsed if parsed is not None and (parsed.dimensions or parsed.constants) else None


def _completed(entry: dict[str, Any], space: Space, default: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of a fixed list: what it leaves out stays as in the default one, where the space has that."""
    drawn: set[str] = set()

    def suggest(dimension: Dimension) -> Any:
        value = entry.get(dimension.name, default.get(dimension.name))
        try:
            return dimension.normalise(value)
        except ValueError:
            drawn.add(dimension.name)
            return dimension.points(1)[0]

    full = {name: value for name, value in space.walk(suggest).items() if name not in drawn}
    try:
        space.validate(full, partial=True)
    except SpaceError:  # what else is active depends on a value yet to be drawn
        return entry
    return full


def _find_objective(
    objective: str | Callable[..., Any] | None, names: Mapping[str, Any], faults: Faults
) -> Callable[..., Any] | None:
    if objective is None or callable(objective):
        return objective
    found = names.get(objective)
    if callable(found):
        return found
    callables = [n for n, v in names.items() if callable(v) and getattr(v, "__module__", "") == "__main__"]
    faults.add(
        f"`--objective` must name a function of the notebook, but {objective!r} is not one. "
        + (did_you_mean(objective, callables[:50]) or "Define it in a cell above.")
    )
    return None


def _default_name(data: DataSpec | None, model_names: Sequence[str], function: Callable[..., Any] | None) -> str:
    if function is not None:
        return getattr(function, "__name__", "objective").strip("<>_")  # a lambda is called <lambda>
    source = Path(data.source).stem if data is not None and data.source else "study"
    model = re.split(r"[/\\]", model_names[0])[-1] if model_names else "model"
    return re.sub(r"[^\w.+-]+", "-", f"{source}-{model}")[:60].strip("-.") or "study"


def _identity(spec: StudySpec) -> str:
    """The hash of everything that must not change while a study is continued."""
    content = {
        "model": spec.model,
        "data": {k: v for k, v in dataclasses.asdict(spec.data).items() if k not in _PLACES},
        "source": spec.data.source if not spec.data.checksum else "",
        "space": spec.space,
        "task": spec.task,
        "metrics": [goal.metrics_of(spec), goal.directions(spec), list(spec.constraints)],
        "seed": spec.seed,
        "max_length": spec.max_length,
        "objective": spec.objective,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=list).encode()).hexdigest()[:16]
