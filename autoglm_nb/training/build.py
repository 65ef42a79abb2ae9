"""Making slots: the packed model, and a model of its own for methods that cannot share one.

LoRA and DoRA train in the pack: one frozen copy of the base's modules (over the same
weights) in which targeted layers and heads are replaced by packed ones. Every other
method gets a copy of its own from `models.apply_method`, in which only what it trains
takes new memory. The base itself is never changed, so there is nothing to restore.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autoglm_nb import settings
from autoglm_nb.errors import ModelError
from autoglm_nb.training.attention import use_short_attention
from autoglm_nb.training.frozen import freeze_linears
from autoglm_nb.training.heads import HeadRouter, fresh_head, keep_labelled, seeded_generator
from autoglm_nb.training.lastlayer import read_first_token_only
from autoglm_nb.training.lowrank import SlotAdapter
from autoglm_nb.training.packed import PackedLinear, RowMap, is_packable, linear_weight
from autoglm_nb.training.plan import RunPlan
from autoglm_nb.training.quantised import check_method
from autoglm_nb.training.slots import LossScale, Slot

if TYPE_CHECKING:
    from autoglm_nb.data import EncodedData
    from autoglm_nb.models import LoadedBase, MethodConfig

__all__ = ["PACKED_METHODS", "PackedModel", "has_dropout", "make_packed_slot", "make_solo_slot"]

PACKED_METHODS = ("lora", "dora")


class PackedModel:
    """The frozen model that all packed slots share; layers are wrapped when first targeted.

    On a CPU its frozen products, its attention and its last layer are replaced by quicker
    ones that give the same numbers.
    """

    def __init__(self, base: LoadedBase, dtype: torch.dtype, checkpointing: bool) -> None:
        self.row_map = RowMap()
        self.model = _bare_copy(base, checkpointing)
        _cast_frozen(self.model, dtype)
        self.measures = _on_cpu(self.model, base)
        _keep_labelled(self.model, base, self.row_map)
        self.layers: dict[str, PackedLinear] = {}
        self.heads: dict[str, HeadRouter] = {}
        for name in base.head_modules:
            self.heads[name] = HeadRouter(self.model.get_submodule(name), name, self.row_map)
            _set_module(self.model, name, self.heads[name])

    def layer(self, name: str) -> PackedLinear:
        """The packed layer at a module name.

        Raises:
            ModelError: there is no linear layer of that name.
        """
        if name not in self.layers:
            module = dict(self.model.named_modules()).get(name)
            if module is None or not is_packable(module):
                what = "none of them" if module is None else f"a {type(module).__name__}"
                raise ModelError(
                    f"`target_modules` must name linear layers of the model, but {name!r} is {what}. "
                    "Use 'qv', 'attention' or 'all-linear'."
                )
            self.layers[name] = PackedLinear(module, name, self.row_map)
            _set_module(self.model, name, self.layers[name])
        return self.layers[name]

    def describe(self) -> dict[str, Any]:
        """What was done to the frozen model on this processor, for the record; empty on a GPU."""
        return dict(self.measures)

    def attach(self, slot: Slot) -> None:
        for name, adapter in slot.adapters.items():
            self.layer(name).adapters[slot.number] = adapter
        for name, head in slot.heads.items():
            self.heads[name].copies[slot.number] = head

    def detach(self, number: int) -> None:
        for layer in self.layers.values():
            layer.adapters.pop(number, None)
        for head in self.heads.values():
            head.copies.pop(number, None)


def make_packed_slot(
    number: int, plan: RunPlan, base: LoadedBase, packed: PackedModel, method: MethodConfig, scaled: bool
) -> Slot:
    """A slot of the pack: low-rank parameters at its targets and its own heads.

    Parameters bear the names that PEFT gives them in a saved adapter.
    """
    parameters: dict[str, nn.Parameter] = {}
    adapters: dict[str, SlotAdapter] = {}
    for name in method.target_modules:
        adapter = adapters[name] = SlotAdapter(
            linear_weight(packed.layer(name).base).detach(),
            rank=method.rank,
            scale=method.scaling,
            dropout=method.dropout,
            dora=method.use_dora,
            generator=seeded_generator(plan.seed, name, "lora_A"),
        )
        parameters[f"base_model.model.{name}.lora_A.weight"] = adapter.lora_A
        parameters[f"base_model.model.{name}.lora_B.weight"] = adapter.lora_B
        if adapter.magnitude is not None:
            parameters[f"base_model.model.{name}.lora_magnitude_vector"] = adapter.magnitude
    heads = {}
    for name in base.head_modules:
        heads[name] = _fresh(base, name, plan.seed)
        parameters.update({f"base_model.model.{name}.{path}": p for path, p in heads[name].named_parameters()})
    return Slot(
        number, plan, parameters, adapters=adapters, heads=heads, method=method, scale=LossScale() if scaled else None
    )


def make_solo_slot(
    number: int,
    plan: RunPlan,
    base: LoadedBase,
    data: EncodedData,
    row_map: RowMap,
    method: MethodConfig,
    checkpointing: bool,
    scaled: bool,
) -> Slot:
    """A slot with a model of its own."""
    from autoglm_nb.models import apply_method

    check_method(method.method, base.model)
    _check_positions(method, base, data)
    prepared = _prepared_copy(base, row_map, checkpointing)
    for name in base.head_modules:
        head = _fresh(base, name, plan.seed)
        head.requires_grad_(False)  # apply_method decides what trains
        _set_module(prepared, name, head)
    device = next(base.model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seeded_generator(plan.seed, "method").initial_seed())
        model = apply_method(dataclasses.replace(base, model=prepared), method)
    model.to(device)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise ModelError(
            f"Method {method.method!r} must train something, but no parameter of {plan.run} is trainable. "
            "Choose another method."
        )
    return Slot(number, plan, parameters, model=model, method=method, scale=LossScale() if scaled else None)


def has_dropout(model: nn.Module) -> bool:
    """Whether the base brings dropout of its own (`--base-dropout`)."""
    if any(isinstance(m, nn.Dropout) and m.p > 0.0 for m in model.modules()):
        return True
    config = getattr(model, "config", None)
    values = config.to_dict() if config is not None else {}
    return any("drop" in key and isinstance(value, float) and value > 0.0 for key, value in values.items())


def _check_positions(method: MethodConfig, base: LoadedBase, data: EncodedData) -> None:
    """Refuse a trained prompt that leaves no room for the longest text.

    Raises:
        ModelError: prompt and text together have more tokens than the model has positions.
    """
    if method.method not in ("prompt", "p-tuning"):
        return
    own = (getattr(base.model.config, "max_position_embeddings", None), base.tokenizer.model_max_length)
    most = min(int(limit) for limit in own if limit)
    longest = max(int(max(split.lengths, default=0)) for split in (data.train, data.validation, data.test) if split)
    if method.prompt_length + longest > most:
        raise ModelError(
            f"A prompt and the longest text must fit into the model's {most} positions, but {method.prompt_length} and "
            f"{longest} tokens do not. Use `--max-length {most - method.prompt_length}` or a smaller `prompt_length`."
        )


def _prepared_copy(base: LoadedBase, row_map: RowMap, checkpointing: bool) -> nn.Module:
    """The base's modules over the same weights, without a KV cache, logits only where labelled."""
    copy = _bare_copy(base, checkpointing)
    if next(copy.parameters()).device.type == "cpu" and "attention" in settings.cpu_path():
        use_short_attention(copy)
    _keep_labelled(copy, base, row_map)
    return copy


def _bare_copy(base: LoadedBase, checkpointing: bool) -> nn.Module:
    from autoglm_nb.models.apply import share_frozen

    copy: Any = share_frozen(base.model)
    if hasattr(copy, "config"):
        copy.config.use_cache = False
    if checkpointing:
        if hasattr(copy, "activation_checkpointing_enable"):  # its name since transformers 5
            copy.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        else:
            copy.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return copy


def _keep_labelled(copy: Any, base: LoadedBase, row_map: RowMap) -> None:
    output = copy.get_output_embeddings() if base.task == "causal-lm" else None
    if output is not None:
        keep_labelled(output, row_map)


def _on_cpu(model: Any, base: LoadedBase) -> dict[str, Any]:
    """The measures of the CPU path that apply to a frozen model, and what they came to."""
    from autoglm_nb.models.targets import transformer_layers

    wanted = settings.cpu_path()
    if next(model.parameters()).device.type != "cpu":
        return {}
    done: dict[str, Any] = {}
    if "products" in wanted:
        done |= freeze_linears(model, skip=tuple(base.head_modules))
    if "attention" in wanted:
        done["short_attention"] = use_short_attention(model)
    if "first-token" in wanted and base.task == "classification" and not has_dropout(model):
        with contextlib.suppress(ModelError):  # a model without a stack of layers has no last one
            done["first_token_only"] = read_first_token_only(model, transformer_layers(model)[-1][1])
    return done


def _cast_frozen(model: nn.Module, dtype: torch.dtype) -> None:
    """Replace parameters of another float type by casts; never in place, for the base has them too."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None or not parameter.is_floating_point() or parameter.dtype == dtype:
                continue
            if id(parameter) not in made:
                made[id(parameter)] = nn.Parameter(parameter.detach().to(dtype), requires_grad=False)
            module._parameters[name] = made[id(parameter)]


def _fresh(base: LoadedBase, name: str, seed: int) -> nn.Module:
    std = getattr(getattr(base.model, "config", None), "initializer_range", None) or 0.02
    device = next(base.model.parameters()).device
    return fresh_head(base.model.get_submodule(name), seed=seed, name=name, std=float(std), device=device)


def _set_module(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent) if parent else model, child, module)
