"""One spelling for the tensors of a method, whoever trained it.

Three spellings reach us: parameters of a PEFT model in memory (with the
adapter's name in them), PEFT's file format, and the base model's own names from
the packed layers. Files have PEFT's format for methods that PEFT has, else the
base model's names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoglm_nb.errors import DivergedError, ModelError
from autoglm_nb.models.methods import LORA_METHODS, PEFT_METHODS, MethodConfig

if TYPE_CHECKING:
    import torch

__all__ = ["canonical_state"]

PROMPT = "prompt_embeddings"
_ENCODER = "prompt_encoder.default."


def canonical_state(state: Mapping[str, torch.Tensor], method: MethodConfig) -> dict[str, torch.Tensor]:
    """`state` under the names that are stored: on the CPU, contiguous, sharing no storage.

    Raises:
        ModelError: a tensor the method needs is missing, or one is left over.
        DivergedError: a tensor is not finite.
    """
    tensors = _prompt_computed(state) if method.method in ("prompt", "p-tuning") else dict(state)
    prefix = "base_model.model." if method.method in LORA_METHODS else "base_model."
    named = {
        _plain_name(name) if method.method not in PEFT_METHODS else _peft_name(name, prefix): t
        for name, t in tensors.items()
    }
    if method.method in PEFT_METHODS:
        _require_complete(named.keys(), method, prefix)
    for name, tensor in named.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise DivergedError(f"A saved tensor must be finite, but {name!r} is not. Lower the learning rate.")
    return {name: t.detach().to("cpu", copy=True).contiguous() for name, t in named.items()}


def _peft_name(name: str, prefix: str) -> str:
    if name == PROMPT:
        return name
    name = name.replace(".modules_to_save.default.", ".")
    name = re.sub(r"\.(lora_[AB])\.default\.weight$", r".\1.weight", name)
    name = re.sub(r"\.lora_magnitude_vector(\.default)?(\.weight)?$", ".lora_magnitude_vector", name)
    return name if name.startswith("base_model.") else prefix + name


def _plain_name(name: str) -> str:
    return name.removeprefix("base_model.model.")


def _prompt_computed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Replace the parameters of PEFT's prompt encoder by the embeddings they give.

    P-tuning's network (linear, ReLU, linear, ReLU, linear) is needed for training only.
    """
    import torch

    rest = {name: t for name, t in state.items() if not name.startswith(_ENCODER)}
    encoder = {name.removeprefix(_ENCODER): t for name, t in state.items() if name.startswith(_ENCODER)}
    if encoder:
        prompt = encoder["embedding.weight"]
        for layer in (0, 2, 4):
            weight = encoder.get(f"mlp_head.{layer}.weight")
            if weight is not None:
                prompt = torch.nn.functional.linear(prompt, weight, encoder[f"mlp_head.{layer}.bias"])
                prompt = torch.relu(prompt) if layer < 4 else prompt
        rest[PROMPT] = prompt
    return rest


def _require_complete(names: object, method: MethodConfig, prefix: str) -> None:
    found = set(names)  # type: ignore[call-overload]
    if method.method in LORA_METHODS:
        parts = ["lora_A.weight", "lora_B.weight", *(["lora_magnitude_vector"] if method.use_dora else [])]
        expected = {f"{prefix}{module}.{part}" for module in method.target_modules for part in parts}
    else:
        expected = {PROMPT}
    heads = tuple(f"{prefix}{head}." for head in method.head_modules)
    missing = expected - found or {h for h in heads if not any(n.startswith(h) for n in found)}
    extra = {n for n in found - expected if not n.startswith(heads)}
    if missing or extra:
        what = f"{sorted(missing)[0]!r} is missing" if missing else f"{sorted(extra)[0]!r} does not belong to it"
        raise ModelError(
            f"The tensors of a {method.method!r} adapter must be complete, but {what}. Save the run again."
        )
