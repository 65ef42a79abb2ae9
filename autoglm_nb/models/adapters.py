"""What a trial learned, on disk and back: PEFT's layout where PEFT has the method.

A folder holds

- `adapter_config.json` and `adapter_model.safetensors` for LoRA, DoRA, prompt and P-tuning, readable by
  plain `PeftModel.from_pretrained` in a process without this package; the classification head is in
  there too, as PEFT's `modules_to_save`. The base is named by id and revision, never by a path;
- `method.safetensors` for bottleneck adapters, head, top-k and full, under the base model's names;
- `autoglm.json`: the card (method, task, label names, base with checksum, metrics, versions);
- the tokenizer.

A folder is made beside its place and renamed, so that it is there whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoglm_nb.errors import DiskFullError, ModelError, no_room
from autoglm_nb.models.methods import LORA_METHODS, PEFT_METHODS, MethodConfig
from autoglm_nb.models.state_names import canonical_state

if TYPE_CHECKING:
    import torch
    from torch import nn

    from autoglm_nb.models.loading import LoadedBase

__all__ = ["CARD_VERSION", "AdapterCard", "load_adapter", "read_card", "save_adapter"]

CARD_VERSION = 1
CARD_FILE, OWN_WEIGHTS, PEFT_WEIGHTS, PEFT_CONFIG = (
    "autoglm.json",
    "method.safetensors",
    "adapter_model.safetensors",
    "adapter_config.json",
)


@dataclass(frozen=True)
class AdapterCard:
    """What stands in `autoglm.json`.

    Attributes:
        method: `MethodConfig.to_json()`.
        task: "classification" or "causal-lm".
        label_names: by class id.
        base: `ResolvedModel.provenance()`: id, revision, source, version, checksum.
        max_length: longest input in tokens, at training.
        metrics: as measured when it was saved.
        versions: of the libraries that made it.
        extra: whatever the caller adds (study, run, seed, configuration).
    """

    method: dict[str, Any]
    task: str
    label_names: list[str]
    base: dict[str, Any]
    max_length: int | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    version: int = CARD_VERSION

    @property
    def config(self) -> MethodConfig:
        return MethodConfig.from_json(self.method)


def save_adapter(
    folder: Path,
    *,
    method: MethodConfig,
    state: Mapping[str, torch.Tensor],
    loaded: LoadedBase,
    label_names: Sequence[str] | None = None,
    max_length: int | None = None,
    metrics: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> AdapterCard:
    """Write a trained method to `folder`, replacing what is there.

    Args:
        folder: made with its parents.
        method: the run's `MethodConfig`.
        state: the trained tensors, under any of these names: of `apply.trainable_state` (parameters of a
            module made by `apply_method`), of `apply.adapter_state` (PEFT's own), or of the base model
            ("bert.encoder.layer.0.attention.self.query.lora_A.weight", "....lora_B.weight",
            "....lora_magnitude_vector", "classifier.weight").
        loaded: the base it was trained on.
        label_names: class names; the base's own when left out.
        max_length: longest input in tokens; `extra["max_length"]` counts too.
        metrics: measured with these tensors; `extra["metrics"]` counts too.
        extra: further JSON values for the card.

    Raises:
        ModelError: tensors are missing, left over or not finite.
        DiskFullError: no room; what was there before is untouched.
    """
    from safetensors import SafetensorError

    tensors = canonical_state(state, method)
    rest = dict(extra or {})
    given_length, given_metrics = rest.pop("max_length", None), rest.pop("metrics", None)
    card = AdapterCard(
        method=method.to_json(),
        task=loaded.task,
        label_names=list(loaded.label_names if label_names is None else label_names),
        base=loaded.resolved.provenance(),
        max_length=max_length or given_length,
        metrics=dict(metrics or given_metrics or {}),
        versions=_versions(),
        extra=rest,
    )
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.parent / f".{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"
    work.mkdir()
    try:
        _write(work, card, method, tensors, loaded)
        _swap(work, folder)
    except (OSError, SafetensorError) as error:
        if no_room(error):
            raise DiskFullError(
                f"Saving the adapter needs {_megabytes(tensors):.0f} MB, but the disk is full. Free some space; "
                "the study can go on from its last checkpoint."
            ) from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return card


def read_card(folder: Path) -> AdapterCard:
    """The card of a saved adapter.

    Raises:
        ModelError: no card there, a damaged one, or one from a newer version.
    """
    try:
        raw = json.loads((Path(folder) / CARD_FILE).read_text(encoding="utf-8"))
        version = int(raw["version"])
        if version > CARD_VERSION:
            raise ModelError(
                f"A saved adapter of version {version} was given, but this package reads up to {CARD_VERSION}. "
                "Upgrade autoglm_nb."
            )
        return AdapterCard(**raw)
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"A saved adapter must be a folder with {CARD_FILE}, but {Path(folder).name!r} has none that can be read "
            f"({type(error).__name__}). Give the folder `adapter` of a run."
        ) from error


def load_adapter(folder: Path, base: LoadedBase) -> nn.Module:
    """The module that was saved, in evaluation mode, on a base loaded for the same task.

    LoRA, DoRA and prompts go through `PeftModel.from_pretrained`, the others through `apply_method`.

    Raises:
        ModelError: the tensors do not fit the base.
    """
    import torch

    from autoglm_nb.models.apply import apply_method, load_trainable_state, share_frozen

    folder = Path(folder)
    config = read_card(folder).config
    model: nn.Module
    if config.method in PEFT_METHODS:
        from peft import PeftModel

        own: Any = share_frozen(base.model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between PEFT and transformers, not for the caller
            model = PeftModel.from_pretrained(own, str(folder))
        if config.method not in LORA_METHODS:
            from autoglm_nb.models.prompts import align_outputs

            align_outputs(model, config.prompt_length)
    else:
        from safetensors.torch import load_file

        with torch.random.fork_rng(devices=[]):
            model = apply_method(base, config)
        device = str(next(base.model.parameters()).device)
        load_trainable_state(model, load_file(folder / OWN_WEIGHTS, device=device))
    model.requires_grad_(False)
    return model.eval()


def _write(
    work: Path, card: AdapterCard, method: MethodConfig, tensors: dict[str, torch.Tensor], loaded: LoadedBase
) -> None:
    from safetensors.torch import save_file

    peft = method.method in PEFT_METHODS
    if peft:
        _dump(work / PEFT_CONFIG, _peft_config(method, loaded))
    meta = {"format": "pt", "autoglm": str(CARD_VERSION), "method": method.method}
    weights = work / (PEFT_WEIGHTS if peft else OWN_WEIGHTS)
    save_file(tensors, weights, metadata=meta)
    loaded.tokenizer.save_pretrained(work)
    _dump(work / CARD_FILE, asdict(card))
    shutil.copymode(work / CARD_FILE, weights)  # safetensors makes its files unreadable for others


def _peft_config(method: MethodConfig, loaded: LoadedBase) -> dict[str, Any]:
    """`adapter_config.json`, written without importing PEFT (which takes seconds)."""
    resolved = loaded.resolved
    config: dict[str, Any] = {
        "base_model_name_or_path": resolved.base_id,
        "revision": resolved.revision,
        "task_type": "SEQ_CLS" if method.task == "classification" else "CAUSAL_LM",
        "inference_mode": True,
    }
    heads = list(method.head_modules) or None
    if method.method in LORA_METHODS:
        return config | {
            "peft_type": "LORA",
            "r": method.rank,
            "lora_alpha": _plain(method.alpha),
            "lora_dropout": method.dropout,
            "target_modules": sorted(method.target_modules),
            "use_rslora": method.use_rslora,
            "use_dora": method.use_dora,
            "bias": "none",
            "fan_in_fan_out": _transposed(loaded, method),
            "modules_to_save": heads,
            "init_lora_weights": True,
        }
    inner: Any = loaded.model.config
    config |= {
        "num_virtual_tokens": method.prompt_length,
        "token_dim": int(loaded.model.get_input_embeddings().weight.shape[1]),
        "num_transformer_submodules": 1,
        "num_attention_heads": inner.num_attention_heads,
        "num_layers": inner.num_hidden_layers,
        "modules_to_save": heads,
    }
    if method.method == "prompt":
        return config | {"peft_type": "PROMPT_TUNING", "prompt_tuning_init": "RANDOM"}
    from autoglm_nb.models.prompts import P_TUNING_WIDTH

    return config | {
        "peft_type": "P_TUNING",
        "encoder_reparameterization_type": "MLP",
        "encoder_hidden_size": P_TUNING_WIDTH,
    }


def _transposed(loaded: LoadedBase, method: MethodConfig) -> bool:
    first = loaded.model.get_submodule(method.target_modules[0])
    return type(getattr(first, "base", first)).__name__ == "Conv1D"


def _plain(number: float) -> float | int:
    return int(number) if float(number).is_integer() else number


def _swap(work: Path, folder: Path) -> None:
    """Put `work` where `folder` is. An older folder is moved aside first and removed last."""
    aside = work.with_suffix(".old")
    if folder.exists():
        os.replace(folder, aside)
    os.replace(work, folder)
    shutil.rmtree(aside, ignore_errors=True)


def _dump(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    found = {}
    for package in ("autoglm_nb", "torch", "transformers", "peft", "safetensors"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _megabytes(tensors: Mapping[str, torch.Tensor]) -> float:
    return sum(t.numel() * t.element_size() for t in tensors.values()) / 1e6
