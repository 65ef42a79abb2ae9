"""Which hooks there are, and whether what they need is installed. Imports no tracker."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from autoglm_nb.errors import UsageError, did_you_mean
from autoglm_nb.hooks._base import Hook

__all__ = ["HOOKS", "check", "make"]

HOOKS: dict[str, tuple[str, str, str]] = {
    "mlflow": ("MLflowHook", "mlflow", "mlflow-skinny"),
    "wandb": ("WandbHook", "wandb", "wandb"),
    "tensorboard": ("TensorBoardHook", "tensorboard", "tensorboard"),
}
"""By name: the class in the module of that name, what it imports, what installs that."""


def check(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once.

    Raises:
        UsageError: with a fault for each name that is unknown or whose library is not installed.
    """
    faults = []
    chosen = tuple(dict.fromkeys(str(n).strip() for n in names))
    for name in chosen:
        if name not in HOOKS:
            remedy = did_you_mean(name, list(HOOKS))
            faults.append(f"`--log-to` takes {', '.join(HOOKS)}, but got {name[:60]!r}. {remedy}")
        elif find_spec(HOOKS[name][1]) is None:
            _, library, package = HOOKS[name]
            faults.append(
                f"`--log-to {name}` needs the library {library}, but it is not installed. Run `%pip install {package}`."
            )
    if faults:
        raise UsageError(faults[0], faults)
    return chosen


def make(name: str, memory: dict[str, str]) -> Hook:
    """A hook of that name; its module and, when it is called, its library are imported.

    Raises:
        UsageError: no such hook.
    """
    (known,) = check([name])
    hook: Hook = getattr(import_module(f"autoglm_nb.hooks.{known}"), HOOKS[known][0])(memory)
    return hook
