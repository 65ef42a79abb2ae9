"""A GGUF file made into an ordinary model folder, once.

transformers reads and dequantises the file; the result still calls itself
quantised and refuses to be saved, so its weights are copied into a fresh model
of the same configuration. They are stored in bfloat16, the type such models
are published in: its rounding is far below that of the 4-bit blocks.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

__all__ = ["dequantise"]


def dequantise(folder: Path, gguf_file: str, into: Path) -> None:
    """Write the model of `folder/gguf_file` to `into` as config, bfloat16 safetensors and tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from autoglm_nb.models.loading import quiet_transformers

    with quiet_transformers(), _no_bar():
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf_file)
        quantised = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf_file, dtype=torch.float32)
        odd = ("quantization_config", "_model_name_or_path")
        config = type(quantised.config).from_dict({k: v for k, v in quantised.config.to_dict().items() if k not in odd})
        config.dtype = torch.bfloat16
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        model.load_state_dict({k: v.to(torch.bfloat16) for k, v in quantised.state_dict().items()})
        model.tie_weights()
        tokenizer.model_max_length = config.max_position_embeddings
        model.save_pretrained(into)
        tokenizer.save_pretrained(into)
        for weights in into.glob("*.safetensors"):  # safetensors makes its files unreadable for others
            shutil.copymode(into / "config.json", weights)


@contextlib.contextmanager
def _no_bar() -> Iterator[None]:
    """The reader has a progress bar of its own that no setting turns off."""
    from functools import partial

    from transformers import modeling_gguf_pytorch_utils as reader

    bar = getattr(reader, "tqdm", None)
    if bar is None:
        yield
        return
    reader.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        reader.tqdm = bar
