"""Fine-tuning methods as configuration: what a configuration's words mean for a given model.

`method_config` turns the flat configuration of a trial into a frozen
`MethodConfig` with defaults filled in and target modules as full names, and
refuses what does not fit. `check_space_against_model` makes the same checks on
a whole search space in the kernel, before anything is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from autoglm_nb.errors import ModelError, did_you_mean
from autoglm_nb.models.report import ModelReport, report_of
from autoglm_nb.models.targets import TARGETS, linear_size, target_modules

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from autoglm_nb.models.loading import LoadedBase
    from autoglm_nb.models.resolving import ResolvedModel

__all__ = [
    "DEFAULTS",
    "HEAD_NAMES",
    "LORA_METHODS",
    "METHODS",
    "PEFT_METHODS",
    "MethodConfig",
    "check_space_against_model",
    "method_config",
]

METHODS: dict[str, str] = {
    "lora": "low-rank update of frozen weights (Hu et al. 2021); options rank, alpha, dropout, target_modules, "
    "top_layers, use_rslora",
    "dora": "LoRA with the weights' magnitude trained apart (Liu et al. 2024)",
    "adapter": "bottleneck layers after attention and feed-forward (Houlsby et al. 2019); option adapter_width",
    "prompt": "trained embeddings before the text (Lester et al. 2021); option prompt_length",
    "p-tuning": "trained embeddings through a small network (Liu et al. 2021); option prompt_length",
    "head": "frozen model, only the classification head is trained",
    "top-k": "the last top_k layers and the head are trained; option top_k",
    "full": "everything is trained",
}
HEAD_NAMES = ("classifier", "score", "classification_head")
"""What transformers calls the freshly initialised end of a classification model."""

LORA_METHODS = ("lora", "dora")
PEFT_METHODS = ("lora", "dora", "prompt", "p-tuning")
DEFAULTS: dict[str, Any] = {
    "method": "lora",
    "rank": 8,
    "alpha": 16.0,
    "dropout": 0.0,
    "target_modules": "qv",
    "top_layers": 0,
    "use_rslora": False,
    "lora_plus_ratio": 1.0,
    "adapter_width": 64,
    "prompt_length": 20,
    "top_k": 2,
}


@dataclass(frozen=True)
class MethodConfig:
    """One fine-tuning method, complete and checked against a model.

    Fields that a method does not use keep their defaults. `target_modules` are
    full module names; `targets` is what was asked for, in the last `top_layers` layers (0: in all).
    `pooling` is what the classification
    head of an encoder reads: its first token (transformers' way), or the mean of the tokens.
    """

    method: str
    task: str
    head_modules: tuple[str, ...] = ()
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "qv"
    target_modules: tuple[str, ...] = ()
    top_layers: int = 0
    use_rslora: bool = False
    lora_plus_ratio: float = 1.0
    adapter_width: int = 64
    prompt_length: int = 20
    top_k: int = 2
    pooling: str = "first"

    @property
    def use_dora(self) -> bool:
        """Whether the magnitude of the weights is trained apart."""
        return self.method == "dora"

    @property
    def scaling(self) -> float:
        """Factor on the low-rank product: alpha / rank, with rsLoRA alpha / sqrt(rank) (Kalajdzievski 2023)."""
        return self.alpha / (math.sqrt(self.rank) if self.use_rslora else self.rank)

    def to_json(self) -> dict[str, Any]:
        """The fields that this method uses, as JSON values."""
        used = {"method", "task", "head_modules", *_USED[self.method]}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items() if k in used}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> MethodConfig:
        """Inverse of `to_json`."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        return cls(**values)


_LORA_FIELDS = ("rank", "alpha", "dropout", "targets", "target_modules", "top_layers", "use_rslora", "lora_plus_ratio")
_USED: dict[str, tuple[str, ...]] = {
    "lora": _LORA_FIELDS,
    "dora": _LORA_FIELDS,
    "adapter": ("adapter_width", "dropout", "target_modules", "pooling"),
    "prompt": ("prompt_length",),
    "p-tuning": ("prompt_length",),
    "head": ("pooling",),
    "top-k": ("top_k", "pooling"),
    "full": ("pooling",),
}


def method_config(
    config: Mapping[str, Any], base: LoadedBase | PreTrainedModel | ResolvedModel | ModelReport, *, task: str = ""
) -> MethodConfig:
    """The method part of a trial's configuration, completed and checked.

    Args:
        config: flat configuration; keys of other rooms (learning_rate, batch_size) are left alone.
        base: a `LoadedBase` (or its model) gives full target names and exact layer sizes. With a `ResolvedModel` or
            a `ModelReport` the checks go by the model's config, and `target_modules` stays empty.
        task: needed when `base` is not loaded.

    Raises:
        ModelError: everything that does not fit, in `faults`.
    """
    report = _report(base)
    faults = list(_faults(config, report))
    if faults:
        raise ModelError(faults[0] if len(faults) == 1 else "", faults)
    used = {"method", "target_modules", *_USED[config.get("method", DEFAULTS["method"])]}
    values = {**DEFAULTS, **{k: v for k, v in config.items() if k in used and k in DEFAULTS and v is not None}}
    targets = values.pop("target_modules")
    found_task, heads = _task_and_heads(base, task)
    made = MethodConfig(
        task=found_task,
        head_modules=heads,
        targets=targets if isinstance(targets, str) else tuple(targets),
        **{
            **values,
            "alpha": float(values["alpha"]),
            "dropout": float(values["dropout"]),
            "lora_plus_ratio": float(values["lora_plus_ratio"]),
        },
    )
    if made.method == "head" and made.task == "causal-lm":
        raise ModelError(
            'method = "head" needs a classification head, but the task is causal-lm. '
            'Choose "lora", or "top-k" to train the last layers.'
        )
    model: Any = base if hasattr(base, "named_children") else getattr(base, "model", None)
    if model is None:
        return made
    if made.method not in PEFT_METHODS:
        made = replace(made, pooling=getattr(model.config, "autoglm_pooling", "first"))
    return _with_targets(made, model, report)


def check_space_against_model(space: Mapping[str, Any], report: ModelReport) -> list[str]:
    """Faults of a search space (as `Space.to_json()` gives it) that come from the model's shape.

    The largest reachable value counts: of ranges, choices and constants.
    """
    reachable: dict[str, list[Any]] = {}
    for parameter in (*space.get("dimensions", ()), *space.get("constants", ())):
        reachable.setdefault(parameter["name"], []).extend(_extremes(parameter))
    targets = reachable.get("target_modules") or [DEFAULTS["target_modules"]]
    widest = "all-linear" if "all-linear" in targets else "qv"
    faults: list[str] = []
    limits = (("rank", "lora"), ("prompt_length", "prompt"), ("top_k", "top-k"), ("top_layers", "lora"))
    for name, method in limits:
        values = [v for v in reachable.get(name, ()) if isinstance(v, (int, float)) and v >= 1]
        if values:
            faults += _faults({"method": method, name: int(max(values)), "target_modules": widest}, report)
    return faults


def _report(base: Any) -> ModelReport:
    """The shape of what was given; of a bare module, from its `config`."""
    if isinstance(base, ModelReport):
        return base
    report = getattr(getattr(base, "resolved", base), "report", None)
    if isinstance(report, ModelReport):
        return report
    config = getattr(base, "config", None)
    if config is None:
        raise TypeError(
            f"method_config takes a LoadedBase, a ResolvedModel or a ModelReport, but got {type(base).__name__}."
        )
    return report_of(type(base).__name__, config.to_dict(), local=True, entry=None)


def _task_and_heads(base: Any, task: str) -> tuple[str, tuple[str, ...]]:
    if hasattr(base, "head_modules"):
        return base.task, tuple(base.head_modules)
    if hasattr(base, "named_children"):
        heads = tuple(name for name in HEAD_NAMES if hasattr(base, name))
        return task or ("classification" if heads else "causal-lm"), heads
    return task, ()


def _with_targets(made: MethodConfig, model: Any, report: ModelReport) -> MethodConfig:
    from autoglm_nb.models.targets import adapter_sites, in_top_layers

    if made.method == "adapter":
        return replace(made, target_modules=tuple(adapter_sites(model)))
    if made.method not in LORA_METHODS:
        return made
    targets: str | list[str] = made.targets if isinstance(made.targets, str) else list(made.targets)
    names = in_top_layers(target_modules(model, targets), model, made.top_layers)
    modules = dict(model.named_modules())
    smallest = min(min(linear_size(modules[name])) for name in names)
    if made.rank > smallest:
        raise ModelError(_rank_fault(made.rank, smallest, report.name))
    return replace(made, target_modules=tuple(names))


def _faults(config: Mapping[str, Any], report: ModelReport) -> Iterator[str]:
    """Everything wrong with one configuration, judged by the model's config alone."""
    method = config.get("method", DEFAULTS["method"])
    if method not in METHODS:
        remedy = did_you_mean(str(method), list(METHODS))
        yield f"`method` must be one of {', '.join(METHODS)}, but got {method!r}. {remedy}"
        return
    used = set(_USED[method])
    for name, ceiling in (
        ("rank", None),
        ("adapter_width", 8192),
        ("prompt_length", (report.max_length or 512) // 2),
        ("top_k", report.layers),
        ("top_layers", report.layers),
    ):
        value = config.get(name)
        if value is None or name not in used:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            yield f"`{name}` must be a positive integer, but got {name}={value!r}. {_USUAL[name]}"
        elif ceiling is not None and value > ceiling:
            yield _too_large(name, value, ceiling, report)
    targets = config.get("target_modules", DEFAULTS["target_modules"])
    rank = config.get("rank")
    if "rank" in used and isinstance(rank, int) and isinstance(targets, str) and targets in TARGETS:
        smallest = report.smallest_layer(targets)
        if rank > smallest:
            yield _rank_fault(rank, smallest, report.name)
    if "targets" in used and not isinstance(targets, str) and not _is_names(targets):
        yield f"`target_modules` must be one of {', '.join(TARGETS)} or a list of layer names, but got {targets!r}."
    for name, low, high, rule in _NUMBERS:
        value = config.get(name)
        if value is None or name not in used:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not low <= value < high or (name == "alpha" and value == 0):
            yield f"`{name}` must be {rule}, but got {name}={value!r}."
    if "use_rslora" in used and not isinstance(config.get("use_rslora", False), bool):
        yield f"`use_rslora` must be True or False, but got {config['use_rslora']!r}."


_NUMBERS = (
    ("alpha", 0.0, math.inf, "above 0"),
    ("dropout", 0.0, 1.0, "at least 0 and below 1"),
    ("lora_plus_ratio", 1.0, math.inf, "at least 1"),
)
_USUAL = {
    "rank": "Choose 4, 8 or 16 for most models.",
    "adapter_width": "Choose 16, 32 or 64 for most models.",
    "prompt_length": "Choose 5 to 50.",
    "top_k": "Choose 1 or 2 to begin with.",
    "top_layers": "Choose 1, 2 or 4, or leave it out to adapt every layer.",
}


def _too_large(name: str, value: int, ceiling: int, report: ModelReport) -> str:
    if name == "top_k":
        return (
            f"`top_k` must not exceed the number of layers ({ceiling} for {report.name}), but got top_k={value}. "
            f'Choose at most {ceiling}; method = "full" trains everything.'
        )
    if name == "top_layers":
        return (
            f"`top_layers` must not exceed the number of layers ({ceiling} for {report.name}), but got "
            f"top_layers={value}. Leave it out to adapt every layer."
        )
    if name == "prompt_length":
        return (
            f"`prompt_length` must leave room for the text (at most {ceiling} for {report.name}), but got "
            f"prompt_length={value}. {_USUAL[name]}"
        )
    return f"`{name}` must not exceed {ceiling}, but got {name}={value}. {_USUAL[name]}"


def _rank_fault(rank: int, smallest: int, name: str) -> str:
    return (
        f"`rank` must not exceed the smallest adapted layer ({smallest} for {name}), but got rank={rank}. "
        f"Choose at most {min(64, smallest)}: 4, 8 or 16 do for most models."
    )


def _is_names(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(v, str) and v for v in value)


def _extremes(parameter: Mapping[str, Any]) -> list[Any]:
    """The values of one entry of a space that decide whether it fits."""
    if "value" in parameter:
        return [parameter["value"]]
    return list(parameter.get("choices") or (parameter.get("low"), parameter.get("high")))
