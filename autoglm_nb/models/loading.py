"""A resolved model read into memory once: frozen, without dropout, ready for any method.

The standard classes of transformers are used as they are
(`AutoModelForSequenceClassification`, `AutoModelForCausalLM`), so that an
adapter trained here loads with plain PEFT elsewhere. Every parameter is frozen;
methods unfreeze or add their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoglm_nb.errors import ModelError
from autoglm_nb.models.four_bit import FOUR_BIT, check_four_bit, four_bit_arguments
from autoglm_nb.models.methods import HEAD_NAMES
from autoglm_nb.models.resolving import ResolvedModel

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["TASKS", "LoadedBase", "load_base", "load_tokenizer", "quiet_transformers"]

TASKS = ("classification", "causal-lm")
PRECISIONS = {"auto": "float32", "fp32": "float32", "bf16": "bfloat16", "fp16": "float16"} | dict.fromkeys(
    FOUR_BIT, "bfloat16"
)


@dataclass
class LoadedBase:
    """A base model in memory, shared by all trials of a worker.

    Attributes:
        model: a `...ForSequenceClassification` or `...ForCausalLM`, all parameters frozen.
        tokenizer: with a pad token, padding on the right.
        resolved: where it came from.
        task: "classification" or "causal-lm".
        head_modules: names of the freshly initialised modules every method trains and saves beside its
            own parameters (such as ["classifier"]); empty for language modelling.
        label_names: by class id; empty for language modelling.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    resolved: ResolvedModel
    task: str
    head_modules: list[str]
    label_names: list[str]


def load_base(
    resolved: ResolvedModel,
    *,
    task: str,
    num_labels: int | None = None,
    label_names: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    precision: str = "auto",
    base_dropout: bool = False,
    head_seed: int = 0,
) -> LoadedBase:
    """Load a base model for a task.

    Args:
        resolved: from `resolve`.
        task: "classification" or "causal-lm".
        num_labels: number of classes; follows `label_names` when left out.
        label_names: class names in the order of class ids.
        device: where the weights go.
        dtype: type of the frozen weights ("float32", "bfloat16", "float16"; "auto" keeps the file's);
            follows `precision` when left out.
        precision: a study's precision, "auto" (float32), "fp32", "bf16" or "fp16"; "nf4" (or "4bit") holds the
            linear layers in 4 bits, on an NVIDIA GPU with bitsandbytes.
        base_dropout: keep the model's own dropout; off by default, so that equal seeds give equal
            losses however trials are packed.
        head_seed: seed of the new classification head (a trial draws its own).

    Raises:
        ModelError: the task does not fit the model, or it needs code the user has not allowed.
        UsageError: 4 bits are asked for where they cannot be had.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    from autoglm_nb.models.pooling import own_pooling

    check_four_bit(precision, device)
    names = _label_names(task, num_labels, label_names)
    config = _config(resolved, base_dropout=base_dropout)
    if task == "causal-lm" and resolved.family != "decoder":
        raise ModelError(
            f"Causal language modelling needs a decoder, but {resolved.name!r} is an encoder. "
            "Choose smollm2-135m, or give a target column for classification."
        )
    if task == "classification":
        config.num_labels = len(names)
        config.id2label = dict(enumerate(names))
        config.label2id = {name: i for i, name in enumerate(names)}
        config.problem_type = "single_label_classification"
    tokenizer = load_tokenizer(resolved)
    # classifiers of decoders read the last token that is no padding, so theirs must be the padding of our batches
    decodes = task == "classification" and resolved.family == "decoder" and tokenizer.pad_token_id is not None
    if config.pad_token_id is None or decodes:
        config.pad_token_id = tokenizer.pad_token_id
    auto = AutoModelForSequenceClassification if task == "classification" else AutoModelForCausalLM
    dtype = dtype or _precision(precision)
    kind = getattr(torch, dtype) if isinstance(dtype, str) and dtype != "auto" else dtype
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(head_seed)
        model = _from_pretrained(auto, resolved, config, kind, four_bit_arguments(precision, device))
    model.config.autoglm_pooling = own_pooling(resolved.path, model)
    model.requires_grad_(False)
    model.to(device)
    model.eval()
    heads = [name for name in HEAD_NAMES if hasattr(model, name)] if task == "classification" else []
    return LoadedBase(model, tokenizer, resolved, task, heads, names)


def load_tokenizer(resolved: ResolvedModel) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with a pad token and padding on the right."""
    from transformers import AutoTokenizer

    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(resolved.path, trust_remote_code=resolved.trust_remote_code)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    tokenizer.padding_side = "right"
    longest = resolved.report.max_length
    if longest is not None and tokenizer.model_max_length > longest:
        tokenizer.model_max_length = longest
    return tokenizer


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no advice on stderr while loading (which would land in a notebook's output)."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _precision(precision: str) -> str:
    if precision not in PRECISIONS:
        raise ModelError(f"`precision` must be one of {', '.join(PRECISIONS)}, but got {precision!r}.")
    return PRECISIONS[precision]


def _label_names(task: str, num_labels: int | None, label_names: Sequence[str] | None) -> list[str]:
    if task not in TASKS:
        raise ModelError(f"`task` must be one of {', '.join(TASKS)}, but got {task!r}.")
    if task == "causal-lm":
        return []
    names = [str(n) for n in label_names] if label_names else [f"LABEL_{i}" for i in range(num_labels or 0)]
    if len(names) < 2:
        raise ModelError(f"Classification needs at least two classes, but got {len(names)}. Check the target column.")
    if num_labels is not None and num_labels != len(names):
        raise ModelError(f"`num_labels` must be the number of label names ({len(names)}), but got {num_labels}.")
    return names


def _config(resolved: ResolvedModel, *, base_dropout: bool) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(resolved.path, trust_remote_code=resolved.trust_remote_code)
    except (ValueError, ImportError) as error:
        raw = (resolved.path / "config.json").read_text(encoding="utf-8")
        if '"auto_map"' in raw and not resolved.trust_remote_code:
            raise ModelError(
                f"{resolved.name!r} needs Python code of its own, and that runs only when you say so. "
                "Add --trust-remote-code if you trust its author."
            ) from error
        raise ModelError(
            f"{resolved.name!r} is of a kind that the installed transformers does not know ({error}). "
            "Upgrade transformers, or choose another model."
        ) from error
    if not base_dropout:
        for key, value in config.to_dict().items():
            if "drop" in key and (value is None or (isinstance(value, float) and value > 0)):
                setattr(config, key, 0.0)
    return config


def _from_pretrained(auto: Any, resolved: ResolvedModel, config: Any, dtype: Any, more: dict[str, Any]) -> Any:
    """Load with PyTorch's fused attention, or the plain one where a model lacks it."""
    arguments = {
        "config": config,
        "dtype": dtype,
        "use_safetensors": True,
        "trust_remote_code": resolved.trust_remote_code,
        **more,
    }
    try:
        return auto.from_pretrained(resolved.path, attn_implementation="sdpa", **arguments)
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error) and "attn_implementation" not in str(error):
            raise ModelError(
                f"{resolved.name!r} cannot be used for this task ({error}). Choose another model or task."
            ) from error
        return auto.from_pretrained(resolved.path, attn_implementation="eager", **arguments)
