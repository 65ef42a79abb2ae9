"""Loading, training a few steps and measuring, for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoglm_nb.models import LoadedBase, load_base, resolve
from tests import tiny

LABELS = ["negative", "positive"]


def load(path: Path, task: str = "classification") -> LoadedBase:
    return load_base(resolve(str(path)), task=task, label_names=LABELS if task == "classification" else None)


def reviews(n: int = 60, seed: int = 0) -> tuple[list[str], list[int]]:
    frame = tiny.toy_reviews(n, seed=seed)
    return list(frame["text"]), [LABELS.index(label) for label in frame["label"]]


def train(model: nn.Module, base: LoadedBase, *, steps: int = 15, learning_rate: float = 1e-2, seed: int = 0) -> None:
    """A plain AdamW loop on toy reviews (classification) or on their texts (language modelling)."""
    texts, labels = reviews()
    batch = base.tokenizer(texts, padding=True, return_tensors="pt")
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    torch.manual_seed(seed)
    model.train()
    for _ in range(steps):
        logits = model(**inputs).logits
        if base.task == "classification":
            loss = nn.functional.cross_entropy(logits, torch.tensor(labels))
        else:
            wanted = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
            loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), wanted[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


def logits_of(model: nn.Module, tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    """Logits text by text, without padding."""
    rows = []
    with torch.no_grad():
        for text in texts:
            ids = tokenizer(text, return_tensors="pt")
            rows.append(model(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"]).logits[0])
    return torch.cat([r.reshape(-1, r.shape[-1]) for r in rows])
