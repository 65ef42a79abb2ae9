"""Training written a second time, with PEFT, torch's optimizer and transformers' schedule.

Nothing of this project is imported here: the reference is given a model's folder, the
batches in order and the initial weights, and returns the losses. Dropout masks can be
injected: they are computed from the definition in `kernels/README.md`, in plain
integers, by `mask` below.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    get_linear_schedule_with_warmup,
)

__all__ = ["Reference", "mask"]

WORD = 2**32


@dataclass(frozen=True)
class Reference:
    """One run.

    Attributes:
        folder: of the base model.
        classify: whether it is a classifier with two classes; else a causal language model.
        lora: arguments of `LoraConfig`; target modules by full name.
        learning_rate, weight_decay, betas, steps, max_grad_norm: of AdamW with a linear schedule.
        lora_plus_ratio: factor of the learning rate of B.
        seed, dropout: of the injected masks; 0.0 injects none.
    """

    folder: Path
    classify: bool
    lora: Mapping[str, Any]
    learning_rate: float
    weight_decay: float
    betas: tuple[float, float]
    steps: int
    max_grad_norm: float = 1.0
    lora_plus_ratio: float = 1.0
    seed: int = 0
    dropout: float = 0.0
    _masks: list[_Injected] = field(default_factory=list)

    def losses(self, initial: Mapping[str, np.ndarray[Any, Any]], batches: Sequence[Mapping[str, Any]]) -> list[float]:
        """The loss of every step; `initial` has the names that PEFT saves."""
        model = self._model()
        trained = {_saved_name(n): p for n, p in model.named_parameters() if p.requires_grad}
        assert trained.keys() == initial.keys()
        with torch.no_grad():
            for name, value in initial.items():
                trained[name].copy_(torch.from_numpy(value))
        optimizer = torch.optim.AdamW(self._groups(trained), lr=self.learning_rate, betas=self.betas, foreach=False)
        schedule = get_linear_schedule_with_warmup(optimizer, 0, self.steps)
        found = []
        for step, batch in enumerate(batches):
            for injected in self._masks:
                injected.step = step
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained.values(), self.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            found.append(loss.item())
        return found

    def _model(self) -> Any:
        config = AutoConfig.from_pretrained(self.folder)
        for key, value in config.to_dict().items():
            if "drop" in key and isinstance(value, float):
                setattr(config, key, 0.0)
        if self.classify:
            config.num_labels = 2
        auto = AutoModelForSequenceClassification if self.classify else AutoModelForCausalLM
        base = auto.from_pretrained(self.folder, config=config)
        model = get_peft_model(
            base,
            LoraConfig(
                task_type="SEQ_CLS" if self.classify else "CAUSAL_LM",
                modules_to_save=["classifier"] if self.classify else None,
                lora_dropout=0.5 if self.dropout else 0.0,  # a module to replace, its own rate is not used
                **self.lora,
            ),
        ).train()
        if self.dropout:
            for name, module in model.named_modules():
                if hasattr(module, "lora_dropout"):
                    injected = _Injected(name.removeprefix("base_model.model."), self.seed, self.dropout)
                    module.lora_dropout["default"] = injected
                    self._masks.append(injected)
            assert self._masks
        return model

    def _groups(self, trained: Mapping[str, torch.nn.Parameter]) -> list[dict[str, Any]]:
        groups = []
        for name, parameter in trained.items():
            rate = self.learning_rate * (self.lora_plus_ratio if "lora_B" in name else 1.0)
            decay = self.weight_decay if parameter.ndim == 2 else 0.0
            groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
        return groups


class _Injected(torch.nn.Module):
    """PEFT's dropout, with a mask that is known."""

    def __init__(self, layer: str, seed: int, p: float) -> None:
        super().__init__()
        self.layer, self.seed, self.p, self.step = layer, seed, p, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = mask(self.seed, self.step, self.layer, x.shape[0], x.shape[1], x.shape[2], self.p)
        return x * torch.from_numpy(kept) / (1.0 - round(self.p * 65536) / 65536)


def mask(seed: int, step: int, layer: str, rows: int, positions: int, features: int, p: float) -> Any:
    """bool [rows, positions, features] by the definition, in unsigned 64-bit integers cut to 32 bits."""
    key = _mix(int(_mix((seed % WORD) ^ 0x5BD1E995)) + step * 0x9E3779B9 ^ zlib.crc32(layer.encode()))
    row, position, feature = np.ogrid[0:rows, 0:positions, 0:features]
    where = _mix(row * 0x85EBCA6B + position * 0xC2B2AE35 + int(key))
    word = _mix(where + feature // 2 * 0x9E3779B9)
    half = (word >> (feature % 2 * 16).astype(np.uint64)) & np.uint64(0xFFFF)
    return (half ^ np.uint64(0x8000)) >= round(p * 65536)


def _mix(x: Any) -> Any:
    x = np.asarray(x).astype(np.uint64) % np.uint64(WORD)
    x = (x ^ (x >> np.uint64(16))) * np.uint64(0x7FEB352D) % np.uint64(WORD)
    x = (x ^ (x >> np.uint64(15))) * np.uint64(0x846CA68B) % np.uint64(WORD)
    return x ^ (x >> np.uint64(16))


def _saved_name(name: str) -> str:
    return (
        name.replace(".modules_to_save.default", "")
        .replace(".default", "")
        .replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
    )
