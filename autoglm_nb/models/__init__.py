"""Base models and fine-tuning methods: from a name in a cell to an adapter on disk, and back.

Data flow: `check` (in the kernel, no torch) says whether a name can be used;
`resolve` (in the worker) finds the files, verifies checksums and gives a
`ResolvedModel`; `load_base` reads it once as a frozen `LoadedBase`;
`method_config` turns a configuration into a checked `MethodConfig`, and
`apply_method` adds the trainable parameters; `save_adapter` writes what was
learned, and `TunedModel.load` answers with it. Nothing here trains.

Failure modes: an unknown or unreachable model, weights that are not
safetensors, and a method that does not fit the model raise `ModelError`; a
full disk raises `DiskFullError`. Downloads go to a temporary folder and are
moved into the cache in one rename under a file lock, so that a killed process
leaves nothing half-made and two processes fetch once.

Everything is exported lazily: importing this room loads neither torch nor
transformers, and `check` never does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoglm_nb.lazy import front_door

if TYPE_CHECKING:
    from autoglm_nb.models.adapters import AdapterCard, load_adapter, read_card, save_adapter
    from autoglm_nb.models.apply import apply_method, trainable_share, trainable_state
    from autoglm_nb.models.catalogue import CATALOGUE, CatalogueEntry
    from autoglm_nb.models.loading import LoadedBase, load_base
    from autoglm_nb.models.methods import METHODS, PEFT_METHODS, MethodConfig, check_space_against_model, method_config
    from autoglm_nb.models.report import ModelReport, check
    from autoglm_nb.models.resolving import ResolvedModel, resolve
    from autoglm_nb.models.targets import target_modules
    from autoglm_nb.models.tuned import TunedModel

__all__ = [
    "CATALOGUE",
    "METHODS",
    "PEFT_METHODS",
    "AdapterCard",
    "CatalogueEntry",
    "LoadedBase",
    "MethodConfig",
    "ModelReport",
    "ResolvedModel",
    "TunedModel",
    "apply_method",
    "check",
    "check_space_against_model",
    "load_adapter",
    "load_base",
    "method_config",
    "read_card",
    "resolve",
    "save_adapter",
    "target_modules",
    "trainable_share",
    "trainable_state",
]

_LAZY = {
    "adapters": ("AdapterCard", "load_adapter", "read_card", "save_adapter"),
    "apply": ("apply_method", "trainable_share", "trainable_state"),
    "catalogue": ("CATALOGUE", "CatalogueEntry"),
    "loading": ("LoadedBase", "load_base"),
    "methods": ("METHODS", "PEFT_METHODS", "MethodConfig", "check_space_against_model", "method_config"),
    "report": ("ModelReport", "check"),
    "resolving": ("ResolvedModel", "resolve"),
    "targets": ("target_modules",),
    "tuned": ("TunedModel",),
}
_MODULE_OF = {name: module for module, names in _LAZY.items() for name in names}

__getattr__ = front_door(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return sorted(__all__)
