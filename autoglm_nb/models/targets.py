"""Which modules of a model a method touches: layers, projections, and where adapters go.

Names differ between architectures, meanings do not: this file maps "query and
value", "attention" and "all-linear" to full module names. Only the layers
count: embeddings, pooler and heads are never targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from autoglm_nb.errors import ModelError, did_you_mean

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["TARGETS", "adapter_sites", "in_top_layers", "linear_size", "target_modules", "transformer_layers"]

TARGETS = ("qv", "attention", "all-linear")

QUERY_VALUE = ("query", "value", "q_proj", "v_proj", "q_lin", "v_lin", "q", "v", "query_proj", "value_proj")
FUSED = ("c_attn", "query_key_value", "qkv_proj", "Wqkv", "in_proj", "att_proj", "W_pack")
ATTENTION_INPUTS = (*QUERY_VALUE, *FUSED, "key", "k_proj", "k_lin", "k", "key_proj")
ATTENTION_OUTPUTS = (
    "attention.output.dense",
    "self_attn.o_proj",
    "self_attn.out_proj",
    "self_attn.dense",
    "self_attention.dense",
    "attention.dense",
    "attention.out_lin",
    "attention.o_proj",
    "attn.c_proj",
    "attn.out_proj",
    "attn.o_proj",
    "attn.attention.out_proj",
    "attn.Wo",
    "attn.o",
)
FEED_FORWARD_OUTPUTS = (
    "output.dense",
    "mlp.down_proj",
    "fc2",
    "ffn.lin2",
    "mlp.c_proj",
    "mlp.dense_4h_to_h",
    "mlp.fc_out",
    "mlp.fc2",
    "mlp.Wo",
    "intermediate.output.dense",
)


def transformer_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Full names and modules of the stack of transformer layers: the longest list of like modules.

    Raises:
        ModelError: the model has no such stack.
    """
    from torch import nn

    best: tuple[str, nn.ModuleList] | None = None
    for name, module in model.named_modules():
        like = isinstance(module, nn.ModuleList) and len({type(m) for m in module}) == 1
        if like and (best is None or len(module) > len(best[1])):
            best = (name, cast(nn.ModuleList, module))
    if best is None:
        raise ModelError(
            f"A method needs a stack of transformer layers, but {type(model).__name__} has none. Choose method = "
            '"full".'
        )
    return [(f"{best[0]}.{i}", layer) for i, layer in enumerate(best[1])]


def target_modules(model: nn.Module, targets: str | Sequence[str]) -> list[str]:
    """Full names of the linear modules that an adapter is attached to, in the model's order.

    Args:
        model: from `load_base` (unchanged).
        targets: "qv" (query and value projections), "attention" (those, key and output), "all-linear" (every
            linear module of every layer), or a list of module names or name endings (["q_proj", "mlp.down_proj"]).

    Raises:
        ModelError: an unknown word, or names that match nothing.
    """
    linear = _linear_names(model)
    if targets == "all-linear":
        return linear
    if targets == "qv":
        found = [n for n in linear if _leaf(n) in QUERY_VALUE] or [n for n in linear if _leaf(n) in FUSED]
    elif targets == "attention":
        found = [n for n in linear if _leaf(n) in ATTENTION_INPUTS or _ends(n, ATTENTION_OUTPUTS)]
    else:
        return _named(model, linear, targets)
    if not found:
        raise ModelError(
            f"target_modules={targets!r} must match linear layers, but matches none of {type(model).__name__}'s "
            f'({", ".join(_endings(linear))}). Give a list of those names, or "all-linear".'
        )
    return found


def in_top_layers(names: Sequence[str], model: nn.Module, top_layers: int) -> list[str]:
    """Of these modules, the ones in the last `top_layers` layers; all of them for 0.

    Raises:
        ModelError: none of them is in those layers.
    """
    if not top_layers:
        return list(names)
    layers = [name for name, _ in transformer_layers(model)][-top_layers:]
    found = [n for n in names if any(n.startswith(f"{layer}.") for layer in layers)]
    if not found:
        raise ModelError(
            f"`top_layers` must leave some of `target_modules`, but none is in the last {top_layers} of the model. "
            "Choose a larger `top_layers`, or leave it out."
        )
    return found


def adapter_sites(model: nn.Module) -> list[str]:
    """Full names of the modules whose output a bottleneck adapter follows: two per layer.

    These are the last linear modules of attention and of the feed-forward part,
    before the residual sum (Houlsby et al. 2019, figure 2).
    """
    linear = _linear_names(model)
    attention = [n for n in linear if _ends(n, ATTENTION_OUTPUTS)]
    feed_forward = [n for n in linear if _ends(n, FEED_FORWARD_OUTPUTS) and n not in set(attention)]
    layers = len(transformer_layers(model))
    if len(attention) != layers or len(feed_forward) != layers:
        raise ModelError(
            f"Bottleneck adapters need to find the outputs of attention and feed-forward, but {type(model).__name__} "
            "names "
            f'its layers otherwise ({", ".join(_endings(linear))}). Choose method = "lora".'
        )
    chosen = {*attention, *feed_forward}
    return [n for n in linear if n in chosen]


def linear_size(module: nn.Module) -> tuple[int, int]:
    """Input and output width of a linear module (`nn.Linear`, or GPT-2's transposed `Conv1D`)."""
    if type(module).__name__ == "Conv1D":
        rows, columns = cast("torch.Tensor", module.weight).shape
        return int(rows), int(columns)
    linear = cast("nn.Linear", module)  # its own figures, for a quantised weight has another shape
    return int(linear.in_features), int(linear.out_features)


def _linear_names(model: nn.Module) -> list[str]:
    from torch import nn

    return [
        f"{prefix}.{name}"
        for prefix, layer in transformer_layers(model)
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
    ]


def _named(model: nn.Module, linear: list[str], targets: str | Sequence[str]) -> list[str]:
    if isinstance(targets, str):
        endings = {_leaf(n) for n in linear}
        if targets not in endings and not any(_ends(n, (targets,)) for n in linear):
            raise ModelError(
                f"`target_modules` must be one of {', '.join(TARGETS)} or names of layers, but got {targets!r}. "
                f"{did_you_mean(targets, [*TARGETS, *sorted(endings)])}"
            )
        targets = [targets]
    if not targets:
        raise ModelError("`target_modules` must name at least one layer, but got an empty list. Choose 'qv'.")
    for target in targets:
        if not any(_ends(n, (str(target),)) for n in linear):
            raise ModelError(
                f"Each of `target_modules` must be a linear layer of {type(model).__name__}, but got {target!r}. "
                f"{did_you_mean(str(target), [*_endings(linear), *dict.fromkeys(_leaf(n) for n in linear)])}"
            )
    return [n for n in linear if _ends(n, tuple(str(t) for t in targets))]


def _leaf(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _ends(name: str, endings: Sequence[str]) -> bool:
    return any(name == e or name.endswith(f".{e}") for e in endings)


def _endings(linear: list[str]) -> list[str]:
    """Distinct names within a layer, such as `attention.self.query`."""
    prefix = linear[0].split(".")
    depth = next((i + 1 for i, part in enumerate(prefix) if part.isdigit()), 0)
    return list(dict.fromkeys(".".join(n.split(".")[depth:]) for n in linear))
