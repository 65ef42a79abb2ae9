"""A method put on a loaded base: a module of which only the method's parameters train.

The base is never changed: the result is a new tree of modules that shares the
frozen weights with it, and has copies of those that will train. LoRA and DoRA
go through PEFT here; this is the reference and the form used for inference
(training has packed layers of its own with the same mathematics).

Naming of tensors, also what `save_adapter` takes:

- `trainable_state(module)`: every trainable parameter by its name in the module; for checkpoints.
- `adapter_state(module, config)`: what is stored. For methods that PEFT has, PEFT's names
  ("base_model.model.<module>.lora_A.weight" (rank, in), "....lora_B.weight" (out, rank),
  "....lora_magnitude_vector" (out) for DoRA, "base_model.model.<head>.weight", "prompt_embeddings");
  for the others, names of the base model, adapters as "<module>.adapter.down.weight".
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from autoglm_nb.errors import CheckpointError
from autoglm_nb.models.bottleneck import insert_adapters
from autoglm_nb.models.loading import LoadedBase
from autoglm_nb.models.methods import LORA_METHODS, PEFT_METHODS, MethodConfig
from autoglm_nb.models.pooling import pool_by_mean
from autoglm_nb.models.targets import transformer_layers

__all__ = [
    "adapter_state",
    "apply_method",
    "load_trainable_state",
    "share_frozen",
    "trainable_share",
    "trainable_state",
]


def apply_method(base: LoadedBase | nn.Module, config: MethodConfig) -> nn.Module:
    """`base` with the method's trainable parameters, everything else frozen.

    New parameters are drawn from torch's global generator: seed it before the call.

    Args:
        base: a `LoadedBase`, or its model.
        config: from `method_config` with the loaded base (so that target modules are full names).

    Returns:
        A module called like the model: `module(input_ids=..., attention_mask=..., labels=...)`. Its
        `.logits` line up with `input_ids` for every method.
    """
    source: Any = base.model if isinstance(base, LoadedBase) else base
    model = share_frozen(source)
    if config.method in LORA_METHODS:
        return _with_lora(model, config)
    if config.method in ("prompt", "p-tuning"):
        from autoglm_nb.models.prompts import add_prompt

        return add_prompt(model, config)
    if config.pooling == "mean":
        pool_by_mean(model)
    heads = [model.get_submodule(name) for name in config.head_modules]
    parts: list[nn.Module] = heads
    if config.method == "top-k":
        parts = [*(layer for _, layer in transformer_layers(model)[-config.top_k :]), *heads]
    elif config.method == "full":
        parts = [model]
    copies: dict[int, nn.Parameter] = {}
    for part in parts:
        _own(part, copies)
    if config.method == "adapter":
        insert_adapters(model, config.target_modules, config.adapter_width, config.dropout)
    return model


def share_frozen(model: nn.Module) -> nn.Module:
    """A copy of the tree of modules over the same tensors: cheap, and free to be changed in structure."""
    memo: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, memo)


def trainable_share(module: nn.Module) -> float:
    """Trainable parameters over all parameters of the module (shared ones counted once), 0 to 1."""
    total = sum(p.numel() for p in module.parameters())
    return sum(p.numel() for p in module.parameters() if p.requires_grad) / total


def trainable_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Every trainable parameter by name, detached; tied ones once."""
    return {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}


def load_trainable_state(module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Inverse of `trainable_state`, in place.

    Raises:
        CheckpointError: a name or a shape does not match.
    """
    own = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if own.keys() != state.keys():
        odd = sorted(own.keys() ^ state.keys())
        raise CheckpointError(
            f"A checkpoint must hold the method's own tensors, but {len(odd)} differ (first {odd[0]!r}). "
            "It belongs to another configuration; start the trial again."
        )
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != state[name].shape:
                raise CheckpointError(
                    f"A checkpoint's {name!r} must have the shape {tuple(parameter.shape)}, but has "
                    f"{tuple(state[name].shape)}. It belongs to another configuration; start the trial again."
                )
            parameter.copy_(state[name])


def adapter_state(module: nn.Module, config: MethodConfig) -> dict[str, torch.Tensor]:
    """What `save_adapter` stores of a module made by `apply_method`; see above for the names."""
    if config.method not in PEFT_METHODS:
        return trainable_state(module)
    from peft import get_peft_model_state_dict

    state: dict[str, torch.Tensor] = get_peft_model_state_dict(module, save_embedding_layers=False)
    return {name: tensor.detach() for name, tensor in state.items()}


def _with_lora(model: nn.Module, config: MethodConfig) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    made = LoraConfig(
        task_type="SEQ_CLS" if config.task == "classification" else "CAUSAL_LM",
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.target_modules),
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
        modules_to_save=list(config.head_modules) or None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: nn.Module = get_peft_model(model, made)
    return module


def _own(part: nn.Module, copies: dict[int, nn.Parameter]) -> None:
    """Replace the shared parameters of `part` by trainable copies of their own; tied ones stay tied."""
    for module in part.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None:
                continue
            if id(parameter) not in copies:
                made = nn.Parameter(parameter.detach().clone(), requires_grad=parameter.is_floating_point())
                copies[id(parameter)] = made
                copies[id(made)] = made
            module._parameters[name] = copies[id(parameter)]
