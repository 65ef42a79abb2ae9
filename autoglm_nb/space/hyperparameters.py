"""The hyper-parameters this package knows, each with its own rule.

A rule is checked wherever a value can come from: a constant, every choice, both
ends of a range, a given configuration. Rules that need the model or the data
(a rank larger than a layer, say) are not here but in the rooms that know them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autoglm_nb.errors import did_you_mean
from autoglm_nb.space.dimensions import Constant, Dimension, Parameter
from autoglm_nb.space.values import Value, from_json_value, source

__all__ = [
    "HYPERPARAMETERS",
    "METHODS",
    "OPTIMIZERS",
    "SCHEDULES",
    "Hyperparameter",
    "config_faults",
    "name_fault",
    "parameter_faults",
]

METHODS = ("lora", "dora", "adapter", "prompt", "p-tuning", "head", "top-k", "full")
OPTIMIZERS = ("adamw", "adam", "sgd", "adafactor")
SCHEDULES = ("constant", "linear", "cosine", "exponential", "adaptive")
TARGETS = ("qv", "attention", "all-linear")


@dataclass(frozen=True)
class Hyperparameter:
    """One name: the kind of its values, its rule, and what it does.

    Attributes:
        kind: `"float"`, `"int"`, `"bool"`, `"string"` or `"modules"`.
        rule: what a value must be, for the sentence "`rank` must be …".
        remedy: which values to take.
        check: whether one value obeys the rule.
        doc: what it does, one line.
    """

    kind: str
    rule: str
    remedy: str
    check: Callable[[Any], bool]
    doc: str

    def fault(self, name: str, value: Value, shown: str | None = None) -> str | None:
        """The sentence about a value that breaks the rule; None when it does not."""
        if self.check(value):
            return None
        given = shown if shown is not None else f"{name}={source(value)}"
        return f"`{name}` must be {self.rule}, but got {given}. {self.remedy}"


def name_fault(name: str) -> str | None:
    """The sentence about a name this package does not know; None when it does."""
    if name in HYPERPARAMETERS:
        return None
    return f"`{name}` is not a hyper-parameter. {did_you_mean(name, list(HYPERPARAMETERS))}"


def parameter_faults(parameter: Parameter) -> list[str]:
    """What the rules say against a dimension or a constant; unknown names have no rule."""
    name = parameter.name
    known = HYPERPARAMETERS.get(name)
    if known is None:
        return []
    if isinstance(parameter, Constant):
        fault = known.fault(name, parameter.value)
        return [fault] if fault else []
    if parameter.kind == "categorical":
        found = [known.fault(name, choice) for choice in parameter.choices]
        return [fault for fault in found if fault]
    if known.kind not in ("int", "float") or (known.kind == "int" and parameter.kind == "float"):
        return [f"`{name}` must be {known.rule}, but got {parameter.source()}. {_instead(name, known, parameter)}"]
    for end in (parameter.low, parameter.high):
        value = int(end or 0) if parameter.kind == "int" else end
        fault = known.fault(name, value, f"{name} from {parameter.low!r} to {parameter.high!r}")
        if fault:
            return [fault]
    return []


def config_faults(config: Mapping[str, Any], *, strict_names: bool = True) -> list[str]:
    """What the rules say against a configuration of plain values."""
    found = []
    for name, value in config.items():
        unknown = name_fault(name)
        if unknown is not None:
            found += [unknown] if strict_names else []
        else:
            fault = HYPERPARAMETERS[name].fault(name, from_json_value(value))
            found += [fault] if fault else []
    if "epochs" in config and "steps" in config:
        found.append("A trial's length is given by `epochs` or by `steps`, but got both. Leave one out.")
    return found


def _instead(name: str, known: Hyperparameter, given: Dimension) -> str:
    if known.kind == "int":
        low, high = max(1, round(given.low or 1)), max(1, round(given.high or 1))
        return f"Write {name} = randint({low}, {high}) or choose from a list of integers."
    return f"Write {name} = choice(…) with the values to try."


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _real(rule: str, remedy: str, doc: str, test: Callable[[float], bool]) -> Hyperparameter:
    return Hyperparameter("float", rule, remedy, lambda v: _number(v) and test(v), doc)


def _count(remedy: str, doc: str, smallest: int = 1) -> Hyperparameter:
    rule = "a positive integer" if smallest == 1 else f"an integer of at least {smallest}"
    return Hyperparameter(
        "int", rule, remedy, lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= smallest, doc
    )


def _one_of(known: tuple[str, ...], what: str, doc: str) -> Hyperparameter:
    return _Named("string", f"the name of {what}", "", lambda v: isinstance(v, str) and v in known, doc, known)


def _switch(doc: str) -> Hyperparameter:
    return Hyperparameter(
        "bool", "True or False", "Write choice(True, False) to try both.", lambda v: isinstance(v, bool), doc
    )


def _modules(value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(isinstance(item, str) and item for item in value)
    return isinstance(value, str) and value in TARGETS


@dataclass(frozen=True)
class _Named(Hyperparameter):
    """A name from a fixed list; the remedy depends on what was written."""

    known: tuple[str, ...] = ()

    def fault(self, name: str, value: Value, shown: str | None = None) -> str | None:
        if self.check(value):
            return None
        given = shown if shown is not None else f"{name}={source(value)}"
        return f"`{name}` must be {self.rule}, but got {given}. {did_you_mean(str(value), self.known)}"


HYPERPARAMETERS: dict[str, Hyperparameter] = {
    "model": Hyperparameter(
        "string",
        "a model's name or folder",
        "Write it in quotes.",
        lambda v: isinstance(v, str) and bool(v.strip()),
        "The base model.",
    ),
    "method": _one_of(METHODS, "a fine-tuning method", "Which weights are trained, and how."),
    "learning_rate": _real(
        "a positive number",
        "Most models train well between 1e-5 and 1e-2.",
        "Step size at the peak of the schedule.",
        lambda v: v > 0,
    ),
    "rank": _count("Choose 4, 8 or 16 for most models.", "Width of the low-rank update of LoRA and DoRA."),
    "alpha": _real(
        "a positive number",
        "One to two times the rank is usual.",
        "LoRA's scale: the update is multiplied by alpha / rank.",
        lambda v: v > 0,
    ),
    "dropout": _real(
        "at least 0 and below 1",
        "Choose 0, 0.05 or 0.1 for most models.",
        "Share of the adapter's inputs dropped while training.",
        lambda v: 0 <= v < 1,
    ),
    "target_modules": Hyperparameter(
        "modules",
        '"qv", "attention", "all-linear" or a list of module names',
        'Choose "all-linear" when unsure.',
        _modules,
        "Which layers get an adapter.",
    ),
    "top_layers": _count(
        "Choose 1, 2 or 4, or leave it out to adapt every layer.",
        "LoRA and DoRA: adapt only so many of the last layers; what lies below is computed once for all trials.",
    ),
    "use_rslora": _switch("Scale by alpha / sqrt(rank) instead of alpha / rank (rank-stabilised LoRA)."),
    "lora_plus_ratio": _real(
        "at least 1",
        "1 is plain LoRA; 4 to 16 are usual for LoRA+.",
        "LoRA+: learning rate of B over that of A.",
        lambda v: v >= 1,
    ),
    "adapter_width": _count("Choose 16, 32 or 64 for most models.", "Bottleneck width of an adapter."),
    "prompt_length": _count("Choose 10 to 50 for most models.", "Number of learned prompt tokens."),
    "top_k": _count("Choose 1, 2 or 4 for most models.", "How many of the last layers are trained."),
    "optimizer": _one_of(OPTIMIZERS, "an optimizer", "The optimizer."),
    "schedule": _one_of(SCHEDULES, "a schedule", "How the learning rate goes on after warm-up."),
    "warmup_ratio": _real(
        "at least 0 and below 1",
        "Choose 0 to 0.1 for most models.",
        "Share of the steps over which the learning rate rises.",
        lambda v: 0 <= v < 1,
    ),
    "weight_decay": _real(
        "zero or a positive number",
        "Choose 0, 0.01 or 0.1 for most models.",
        "Weight decay, of matrices alone; adamw decouples it from the gradient.",
        lambda v: v >= 0,
    ),
    "max_grad_norm": _real(
        "a positive number", "1.0 is usual.", "Gradients are scaled down to this norm.", lambda v: v > 0
    ),
    "batch_size": _count("Choose 8, 16 or 32 for most models.", "Examples per optimizer step."),
    "epochs": _real(
        "a positive number",
        "Choose 1 to 5 for most data sets.",
        "Passes over the training rows; a fraction is allowed.",
        lambda v: v > 0,
    ),
    "steps": _count("Choose 100 or more.", "Optimizer steps, instead of epochs."),
    "seed": _count("Any integer from 0 on will do.", "Seed of initial weights, dropout and order of rows.", 0),
    "label_smoothing": _real(
        "at least 0 and below 1",
        "Choose 0, 0.05 or 0.1.",
        "Share of the target spread over all classes.",
        lambda v: 0 <= v < 1,
    ),
    "beta1": _real("at least 0 and below 1", "0.9 is usual.", "Adam's first-moment decay.", lambda v: 0 <= v < 1),
    "beta2": _real("at least 0 and below 1", "0.999 is usual.", "Adam's second-moment decay.", lambda v: 0 <= v < 1),
}
"""Every hyper-parameter by name."""
