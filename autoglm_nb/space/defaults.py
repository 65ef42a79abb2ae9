"""Default search spaces and default configurations, each entry with its source.

The default configuration is a published recipe, measured beside the trials so
that one sees what tuning gained. The default space is a neighbourhood of it,
wide where published sweeps found the optimum to move. The training length is a
constant: trials that train for different lengths cannot be compared at equal
cost, and the recipe gets the same budget as the trials.
"""

from __future__ import annotations

from typing import Any

from autoglm_nb.errors import SpaceError, did_you_mean
from autoglm_nb.space.cell import parse_cell
from autoglm_nb.space.space import Space

__all__ = ["SOURCES", "TASKS", "default_config", "default_space", "default_space_source"]

TASKS = ("classification", "causal-lm")

_PEFT = (
    "Hugging Face PEFT, examples/sequence_classification/LoRA.ipynb (roberta-large on MRPC): r=8, lora_alpha=16, "
    "lora_dropout=0.1, AdamW at 3e-4, batch size 32, linear schedule with 6 % warm-up"
)
_TRL = (
    "Hugging Face TRL, trl/scripts/sft.py, LoRA example (Qwen2-0.5B): r=32, lora_alpha=16, learning rate 2e-4, "
    "effective batch size 16, one epoch; lora_dropout 0.05 by ModelConfig; linear schedule by TrainingArguments"
)
_REGRET = (
    "Schulman et al. 2025, LoRA Without Regret, and the TRL guide of that name: adapt all linear layers; the best "
    "learning rate is about ten times that of full fine-tuning and hardly depends on the rank; batch sizes below 32"
)
_QLORA = (
    "Dettmers et al. 2023, QLoRA (arXiv:2305.14314), scripts/finetune_guanaco_7b.sh: r=64, alpha=16, dropout 0.1, "
    "learning rate 2e-4, all linear layers, gradient norm clipped at 0.3, batch size 16"
)
_HU = (
    "Hu et al. 2021, LoRA (arXiv:2106.09685): query and value projections; ranks 1 to 64 compared; learning rates "
    "between 1e-4 and 5e-4 for RoBERTa on GLUE"
)
_PLORA = (
    "PLoRA (arXiv:2508.02932), tables 3 and 5: changing one setting alone moves accuracy by up to 14 points for the "
    "learning rate, 13 for the rank, 11 for the batch size, 6 for alpha"
)
_OURS = "choice of this package"

SOURCES: dict[str, dict[str, str]] = {
    "classification": {
        "learning_rate": f"3e-4 from {_PEFT}. Range 5e-5 to 5e-3: {_HU}; small encoders want more ({_OURS})",
        "method": f"LoRA from {_PEFT}",
        "rank": f"8 from {_PEFT}. 4 to 32: {_HU}; {_PLORA}",
        "alpha": f"16 from {_PEFT}. 8 to 64: {_PLORA}",
        "dropout": f"0.1 from {_PEFT}. 0 to 0.2: {_OURS}",
        "target_modules": f"query and value by PEFT's default for {_PEFT}. All linear layers: {_REGRET}",
        "batch_size": f"32 from {_PEFT}. 8 and 16: {_REGRET}",
        "optimizer": f"AdamW from {_PEFT}",
        "schedule": f"linear from {_PEFT}. Cosine: {_OURS}",
        "warmup_ratio": f"0.06 from {_PEFT}",
        "weight_decay": f"0.01, torch.optim.AdamW's default, from {_PEFT}",
        "max_grad_norm": "1.0, the default of transformers.TrainingArguments",
        "epochs": f"{_OURS}: the same for recipe and trials, fewer for more rows",
    },
    "causal-lm": {
        "learning_rate": f"2e-4 from {_TRL}. Range 5e-5 to 2e-3: {_QLORA}; {_REGRET}",
        "method": f"LoRA from {_TRL}",
        "rank": f"32 from {_TRL}. 8 to 64: {_QLORA}; {_PLORA}",
        "alpha": f"16 from {_TRL}. 8 to 64: {_PLORA}",
        "dropout": f"0.05 from {_TRL}. 0 to 0.1: {_QLORA}",
        "target_modules": f"query and value by PEFT's default for {_TRL}. All linear layers: {_QLORA}; {_REGRET}",
        "batch_size": f"16 from {_TRL}. 8: {_REGRET}. 32: {_QLORA} and larger models of that script",
        "optimizer": "AdamW, the default of transformers.TrainingArguments",
        "schedule": f"linear from {_TRL}. Cosine and constant: {_QLORA} (constant); {_OURS} (cosine)",
        "warmup_ratio": f"0 from {_TRL}. 0.03: {_QLORA}",
        "weight_decay": "0, the default of transformers.TrainingArguments",
        "max_grad_norm": "1.0, the default of transformers.TrainingArguments",
        "epochs": f"1 from {_TRL}; more for few rows ({_OURS})",
    },
}
"""Per task and hyper-parameter, where the default value and the range come from."""

_SPACES = {
    "classification": """\
learning_rate = loguniform(5e-5, 5e-3)
method = "lora"
rank = choice(4, 8, 16, 32)
alpha = choice(8, 16, 32, 64)
dropout = quniform(0, 0.2, 0.05)
target_modules = choice("qv", "all-linear")
batch_size = choice(8, 16, 32)
optimizer = "adamw"
schedule = choice("linear", "cosine")
warmup_ratio = 0.06
weight_decay = 0.01
max_grad_norm = 1.0
epochs = {epochs}
""",
    "causal-lm": """\
learning_rate = loguniform(5e-5, 2e-3)
method = "lora"
rank = choice(8, 16, 32, 64)
alpha = choice(8, 16, 32, 64)
dropout = choice(0.0, 0.05, 0.1)
target_modules = choice("qv", "all-linear")
batch_size = choice(8, 16, 32)
optimizer = "adamw"
schedule = choice("linear", "cosine", "constant")
warmup_ratio = choice(0.0, 0.03)
weight_decay = 0.0
max_grad_norm = 1.0
epochs = {epochs}
""",
}

_CONFIGS: dict[str, dict[str, Any]] = {
    "classification": {
        "learning_rate": 3e-4,
        "method": "lora",
        "rank": 8,
        "alpha": 16,
        "dropout": 0.1,
        "target_modules": "qv",
        "batch_size": 32,
        "optimizer": "adamw",
        "schedule": "linear",
        "warmup_ratio": 0.06,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
    },
    "causal-lm": {
        "learning_rate": 2e-4,
        "method": "lora",
        "rank": 32,
        "alpha": 16,
        "dropout": 0.05,
        "target_modules": "qv",
        "batch_size": 16,
        "optimizer": "adamw",
        "schedule": "linear",
        "warmup_ratio": 0.0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
    },
}


def default_space(task: str, *, rows: int | None = None, decoder: bool = False) -> Space:
    """The search space used when the cell is empty.

    Args:
        task: `"classification"` or `"causal-lm"`.
        rows: training rows, which set the number of epochs.
        decoder: the base model is a decoder. Classifying with one uses the
            learning rates of language models: they are larger than encoders.

    Raises:
        SpaceError: no default for this task.
    """
    return parse_cell(default_space_source(task, rows=rows, decoder=decoder))


def default_space_source(task: str, *, rows: int | None = None, decoder: bool = False) -> str:
    """`default_space` in the cell language, to be copied into a cell and edited."""
    _known(task)
    text = _SPACES[task].format(epochs=_epochs(task, rows))
    if task == "classification" and decoder:
        text = text.replace("loguniform(5e-5, 5e-3)", "loguniform(5e-5, 2e-3)")
    return text


def default_config(task: str, *, rows: int | None = None, decoder: bool = False) -> dict[str, Any]:
    """The published recipe that trials are compared with; a member of `default_space`.

    Args:
        task: `"classification"` or `"causal-lm"`.
        rows: as for `default_space`.
        decoder: as for `default_space`.

    Raises:
        SpaceError: no default for this task.
    """
    _known(task)
    config = {**_CONFIGS[task], "epochs": _epochs(task, rows)}
    if task == "classification" and decoder:
        config["learning_rate"] = _CONFIGS["causal-lm"]["learning_rate"]
    return config


def _known(task: str) -> None:
    if task not in TASKS:
        raise SpaceError(
            f"Default settings exist for {' and '.join(TASKS)}, but got task={task!r}. {did_you_mean(task, TASKS)}"
        )


def _epochs(task: str, rows: int | None) -> int:
    """Epochs for a data set of this size: about 300 steps at batch size 16, but one to five epochs."""
    if rows is None:
        return 3 if task == "classification" else 1
    most = 5 if task == "classification" else 3
    return int(max(1, min(most, round(5000 / max(rows, 1)))))
