"""LoRA with PEFT and transformers' Trainer, the way their documentation teaches it.

Dynamic padding by a data collator, tokenised once for all trials, logging that
costs nothing, no checkpoints, no progress bars, no reports. `Recipe` holds what a
user may choose on top: rows grouped by length, the base model's own dropout off,
bf16 autocast. Works for classification and for language modelling.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features, Value, disable_progress_bars, load_dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    DataCollatorWithPadding,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

__all__ = ["Data", "Recipe", "evaluate", "language_model_loss", "make_trainer", "read_data", "release"]

MAX_LENGTH = {"classification": 128, "causal-lm": 256}
EVALUATION_BATCH = 64

logging.set_verbosity_error()
logging.disable_progress_bar()
disable_progress_bars()


@dataclass(frozen=True)
class Recipe:
    """What a user may turn on or off.

    Attributes:
        base_dropout: keep the dropout that the base model ships with.
        group_by_length: batches of rows of similar length.
        bf16: mixed precision.
    """

    base_dropout: bool = True
    group_by_length: bool = False
    bf16: bool = False


@dataclass(frozen=True)
class Data:
    """Tokenised splits, with what trainers need beside them."""

    task: str
    train: Dataset
    validation: Dataset
    test: Dataset
    labels: tuple[str, ...]
    tokenizer: Any
    collator: Any


def read_data(
    model: str, files: Mapping[str, str], labels: tuple[str, ...], *, task: str = "classification", cache: Path
) -> Data:
    """Read CSV files with the columns text and label and tokenise them.

    Args:
        model: folder or hub id, for its tokenizer.
        files: path by split.
        labels: names in the order of class ids.
        task: "classification" or "causal-lm" (then labels are not read).
        cache: where the data sets library keeps its files.
    """
    tokenizer = AutoTokenizer.from_pretrained(model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    length = MAX_LENGTH[task]

    def classify(rows: dict[str, list[Any]]) -> dict[str, Any]:
        encoded = dict(tokenizer(rows["text"], truncation=True, max_length=length))
        return {**encoded, "labels": [labels.index(str(label)) for label in rows["label"]]}

    def continue_text(rows: dict[str, list[Any]]) -> dict[str, Any]:
        ids = tokenizer(rows["text"], truncation=True, max_length=length - 1)["input_ids"]
        ids = [[*row, tokenizer.eos_token_id] for row in ids]
        return {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids], "labels": ids}

    columns = Features({"text": Value("string"), "label": Value("string")})
    splits = load_dataset("csv", data_files=dict(files), cache_dir=str(cache), features=columns, keep_default_na=False)
    splits = splits.map(
        classify if task == "classification" else continue_text, batched=True, remove_columns=["text", "label"]
    )
    splits = splits.map(lambda rows: {"length": [len(ids) for ids in rows["input_ids"]]}, batched=True)
    # The second collator pads labels with -100, so that an end token that is also the pad token is learned.
    collator = (DataCollatorWithPadding if task == "classification" else DataCollatorForSeq2Seq)(tokenizer)
    return Data(task, splits["train"], splits["validation"], splits["test"], labels, tokenizer, collator)


def make_trainer(
    model: str,
    data: Data,
    config: Mapping[str, Any],
    recipe: Recipe,
    *,
    seed: int,
    output: Path,
    evaluation: Dataset | None = None,
    evaluations: int = 0,
    callbacks: tuple[TrainerCallback, ...] = (),
    max_steps: int = -1,
) -> Trainer:
    """A trainer for one configuration, ready for `.train()`.

    Args:
        model: folder or hub id.
        data: from `read_data`.
        config: rank, alpha, dropout, batch_size, learning_rate, epochs, weight_decay, max_grad_norm.
        recipe: what is turned on.
        seed: of initial weights, data order and dropout.
        output: a folder that the trainer may use.
        evaluation: rows to evaluate on during training.
        evaluations: how often to do that, evenly spaced; 0 for never.
        callbacks: called by the trainer.
        max_steps: end after so many steps; -1 for the epochs of the configuration.
    """
    steps = math.ceil(config["epochs"] * math.ceil(len(data.train) / config["batch_size"]))
    arguments = TrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=config["batch_size"],
        per_device_eval_batch_size=EVALUATION_BATCH,
        num_train_epochs=config["epochs"],
        max_steps=max_steps,
        learning_rate=config["learning_rate"],
        lr_scheduler_type="linear",
        weight_decay=config.get("weight_decay", 0.0),
        max_grad_norm=config.get("max_grad_norm", 1.0),
        train_sampling_strategy="group_by_length" if recipe.group_by_length else "random",
        bf16=recipe.bf16,
        eval_strategy="steps" if evaluations else "no",
        eval_steps=max(1, round(steps / evaluations)) if evaluations else None,
        save_strategy="no",
        logging_steps=max(1, min(50, steps // 4)),
        prediction_loss_only=data.task != "classification",
        report_to=[],
        disable_tqdm=True,
        log_level="error",
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    set_seed(seed)
    trainer = Trainer(
        model=_lora(model, data, config, recipe),
        args=arguments,
        train_dataset=data.train,
        eval_dataset=evaluation,
        data_collator=data.collator,
        processing_class=data.tokenizer,
        compute_metrics=_accuracy if data.task == "classification" else None,
        callbacks=list(callbacks),
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    return trainer


def evaluate(trainer: Trainer, rows: Dataset) -> dict[str, float]:
    """Loss, and accuracy for classification, on some rows; in order of length, so that little is padded."""
    metrics = trainer.evaluate(eval_dataset=rows.select(np.argsort(rows["length"], kind="stable")))
    return {key.removeprefix("eval_"): float(value) for key, value in metrics.items()}


def language_model_loss(trainer: Trainer, rows: Dataset) -> float:
    """Mean loss of a language model per token, over all tokens (the trainer's own is a mean over batches)."""
    model, device = trainer.model, trainer.args.device
    model.eval()
    total, count = 0.0, 0
    order = np.argsort(rows["length"])
    with torch.no_grad():
        for start in range(0, len(order), 16):
            features = [rows[int(i)] for i in order[start : start + 16]]
            for feature in features:
                feature.pop("length")
            batch = trainer.data_collator(features).to(device)
            labels = batch.pop("labels")[:, 1:]
            logits = model(**batch).logits[:, :-1].float()
            kept = labels != -100
            total += float(torch.nn.functional.cross_entropy(logits[kept], labels[kept], reduction="sum"))
            count += int(kept.sum())
    return total / max(1, count)


def release(trainer: Trainer) -> None:
    """Let go of a finished trial's memory."""
    trainer.model = trainer.model_wrapped = trainer.optimizer = None
    gc.collect()


def _lora(model: str, data: Data, config: Mapping[str, Any], recipe: Recipe) -> Any:
    base_config = AutoConfig.from_pretrained(model)
    base_config.pad_token_id = data.tokenizer.pad_token_id
    if not recipe.base_dropout:
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout", "classifier_dropout"):
            if hasattr(base_config, name):
                setattr(base_config, name, 0.0)
    if data.task == "classification":
        base_config.num_labels = len(data.labels)
        base = AutoModelForSequenceClassification.from_pretrained(model, config=base_config, dtype=torch.float32)
    else:
        base = AutoModelForCausalLM.from_pretrained(model, config=base_config, dtype=torch.float32)
        base.config.use_cache = False
    lora = LoraConfig(
        task_type="SEQ_CLS" if data.task == "classification" else "CAUSAL_LM",
        r=config["rank"],
        lora_alpha=config["alpha"],
        lora_dropout=config["dropout"],  # targets are PEFT's defaults: query and value
    )
    return get_peft_model(base, lora)


def _accuracy(predictions: Any) -> dict[str, float]:
    logits, labels = predictions
    logits = logits[0] if isinstance(logits, tuple) else logits
    return {"accuracy": float((np.argmax(logits, axis=-1) == labels).mean())}
