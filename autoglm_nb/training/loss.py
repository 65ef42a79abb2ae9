"""Losses of the slots of a pass: each the mean over the slot's own whole batch.

A slot's loss at one optimizer step is the sum of its terms (one per labelled token,
or per row in classification) divided by the number of terms in its *whole*
accumulation window. So a batch split into micro-batches has the gradient of the
unsplit one, and packing neighbours with more tokens does not rescale anything.
Cross entropy is computed in fp32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from autoglm_nb.training.packed import RowMap

__all__ = ["IGNORE", "labelled_positions", "pass_logits", "segment_losses", "terms_per_row"]

IGNORE = -100
"""The label of a token that is not scored."""


def labelled_positions(labels: torch.Tensor) -> torch.Tensor:
    """Positions whose next token is labelled: bool [rows, positions] for labels of that shape."""
    labelled = torch.zeros_like(labels, dtype=torch.bool)
    labelled[:, :-1] = labels[:, 1:] != IGNORE
    return labelled


def terms_per_row(labels: torch.Tensor, task: str) -> torch.Tensor:
    """How many loss terms each row has: int64 [rows]."""
    if task == "causal-lm":
        return (labels[:, 1:] != IGNORE).sum(dim=1)
    return torch.ones(labels.shape[0], dtype=torch.int64, device=labels.device)


def pass_logits(
    model: nn.Module, batch: Mapping[str, torch.Tensor], task: str, row_map: RowMap
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and their targets: [terms, classes] and [terms], in row order.

    Must be called inside `row_map.over(...)`, and so must the backward pass, which may
    recompute the forward one.
    """
    inputs: dict[str, Any] = {k: v for k, v in batch.items() if k != "labels"}
    logits: torch.Tensor = model(**inputs).logits
    labels = batch["labels"]
    if task != "causal-lm":
        return logits, labels
    labelled = labelled_positions(labels) if row_map.labelled is None else row_map.labelled
    targets = labels.roll(-1, dims=1)[labelled]
    if logits.dim() == 3:  # the model has no output embedding to select at
        logits = logits[:, logits.shape[1] - labelled.shape[1] :][labelled]
    return logits, targets


def segment_losses(
    logits: torch.Tensor,
    targets: torch.Tensor,
    terms: Sequence[int],
    smoothing: Sequence[float],
) -> list[torch.Tensor]:
    """The summed loss of each segment.

    Args:
        logits, targets: from `pass_logits`.
        terms: loss terms of each segment, in row order.
        smoothing: label smoothing of each segment.
    """
    losses = []
    start = 0
    for count, epsilon in zip(terms, smoothing, strict=True):
        rows = logits[start : start + count].float()
        losses.append(
            nn.functional.cross_entropy(rows, targets[start : start + count], reduction="sum", label_smoothing=epsilon)
        )
        start += count
    return losses
