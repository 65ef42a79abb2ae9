"""Prompt tuning and P-tuning through PEFT, with outputs that line up with the input.

PEFT puts the trained embeddings before the text, which has two effects that
the caller should not have to know: logits per token come back longer than the
input, and a decoder's classification head, no longer seeing token ids, reads
the last position even where that is padding. The hooks here give logits for
the input's own tokens, and read the last token that is not padding. A row
without padding gives the same answer in plain PEFT.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from autoglm_nb.models.methods import MethodConfig

__all__ = ["P_TUNING_WIDTH", "add_prompt", "align_outputs"]

P_TUNING_WIDTH = 128
"""Inner width of the small network of P-tuning: about half a percent of the parameters of small models."""


def add_prompt(model: nn.Module, config: MethodConfig) -> nn.Module:
    """`model` as a `PeftModel` with a trained prompt.

    A plain prompt starts from the embeddings of sampled tokens, which is better than random numbers
    (Lester et al. 2021, figure 3b).
    """
    from peft import PromptEncoderConfig, PromptTuningConfig, PromptTuningInit, get_peft_model

    task_type = "SEQ_CLS" if config.task == "classification" else "CAUSAL_LM"
    extra: dict[str, Any] = {"modules_to_save": list(config.head_modules)} if config.head_modules else {}
    peft_config: Any
    if config.method == "prompt":
        peft_config = PromptTuningConfig(
            task_type=task_type,
            num_virtual_tokens=config.prompt_length,
            prompt_tuning_init=PromptTuningInit.SAMPLE_VOCAB,
            **extra,
        )
    else:
        peft_config = PromptEncoderConfig(
            task_type=task_type, num_virtual_tokens=config.prompt_length, encoder_hidden_size=P_TUNING_WIDTH, **extra
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: nn.Module = get_peft_model(model, peft_config)
    align_outputs(made, config.prompt_length)
    return made


def align_outputs(peft_model: nn.Module, prompt_length: int) -> None:
    """Make the outputs of a PEFT prompt model line up with its input; see the module's docstring."""
    inner: Any = peft_model.base_model
    score = getattr(inner, "score", None)
    if score is not None:
        _read_last_token(inner, score)

    def strip(_: nn.Module, __: Any, output: Any) -> Any:
        if getattr(output, "logits", None) is not None and output.logits.dim() == 3:
            output.logits = output.logits[:, prompt_length:]
        return output

    peft_model.register_forward_hook(strip)


def _read_last_token(inner: Any, score: nn.Module) -> None:
    per_token: list[torch.Tensor] = []

    def keep(_: nn.Module, __: Any, output: torch.Tensor) -> None:
        per_token[:] = [output]

    def pick(_: nn.Module, __: Any, arguments: dict[str, Any], output: Any) -> Any:
        mask = arguments.get("attention_mask")
        if mask is None or not per_token:
            return output
        logits = per_token.pop()
        last = (mask.long() * torch.arange(mask.shape[1], device=mask.device)).argmax(-1)
        output.logits = logits[torch.arange(len(logits), device=logits.device), last]
        if arguments.get("labels") is not None:
            output.loss = nn.functional.cross_entropy(output.logits.float(), arguments["labels"])
        return output

    score.register_forward_hook(keep)
    inner.register_forward_hook(pick, with_kwargs=True)
