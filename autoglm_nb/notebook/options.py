"""The options of `%%autotune`: their help, and how a line becomes keyword arguments of `session.plan`.

Values stay what the person wrote wherever `session` checks them, so that one
place words the faults. All faults of a line are collected, not the first alone.
"""

from __future__ import annotations

import argparse
import keyword
import shlex
from collections.abc import Callable
from typing import Any, NoReturn

from IPython.core.magic_arguments import argument

from autoglm_nb.errors import UsageError, did_you_mean

__all__ = ["DESCRIPTION", "OPTIONS", "CellRequest", "Parser", "add_options", "is_variable", "read", "split"]

DESCRIPTION = """Tune a model in the background.

    %%autotune --model minilm --data reviews.csv --target label --trials 24 --budget 20m --name reviews
    learning_rate = loguniform(1e-5, 1e-2)
    method        = choice("lora", "dora", "adapter")
    if method in ("lora", "dora"):
        rank      = choice(4, 8, 16, 32)

The cell returns at once. The same cell with the same name continues a study. An
empty body means the default search space of the task. On a line of its own:

    %autotune list                   the stored studies
    %autotune status [NAME]          what is running
    %autotune pause|resume|stop NAME
    %autotune wait NAME              blocks; Ctrl-C stops only the waiting
    %autotune attach NAME            the live view again, after a refresh or a restart
    %autotune best NAME [-o VAR]     the best configuration and its adapter
    %autotune note NAME TEXT         a comment; --trial N, --tag TAG, --star, --remove ID
    %autotune share NAME --zip FILE  one file for a teammate (--html FILE: a page to read)
    %autotune open FILE              a teammate's file, brought into this store
    %autotune logs|rename|clean|delete NAME
    %autotune help [COMMAND]
"""

_FLAGS = ("no_baseline", "fork", "dry_run", "gradient_checkpointing", "base_dropout", "trust_remote_code")
_WHOLE = ("trials", "seed", "seeds", "max_length", "max_rows", "pack")
_LISTS = ("objectives", "text", "log_to")

OPTIONS: dict[str, dict[str, Any]] = {
    "--model": {"help": "catalogue name (minilm, smollm2-135m), local folder or hub id"},
    "--data": {"help": "file, folder, catalogue name, hub id, or the name of a DataFrame"},
    "--target": {"help": "column with the labels"},
    "--text": {"help": "column (or columns, with commas) with the texts; found by itself otherwise"},
    "--task": {"help": "classification or causal-lm; follows the target column otherwise"},
    "--name": {"help": "the study's name; the same name continues it"},
    "--trials": {"help": "total number of trials (20 unless a budget is given)"},
    "--budget": {"help": "active training time, such as 90s, 20m or 1h30m"},
    "--strategy": {"help": "bayesian, tpe, random, grid, genetic, cmaes or fixed (default: bayesian)"},
    "--pruner": {"help": "median, asha or none (default: median)"},
    "--metric": {"help": "what to optimise; the task's own otherwise"},
    "--direction": {"help": "maximize or minimize; follows the metric otherwise"},
    "--objectives": {"help": "several metrics with commas, for a Pareto front"},
    "--constraint": {"action": "append", "help": "such as 'memory_gb <= 10'; may be repeated"},
    "--validation": {"help": "a validation set of your own"},
    "--test": {"help": "a test set of your own"},
    "--max-rows": {"help": "at most this many training rows"},
    "--max-length": {"help": "longest text in tokens"},
    "--seed": {"help": "seed of splits, search and training (default: 0)"},
    "--seeds": {"help": "how often winner and default settings are run again for the test (default: 3)"},
    "--no-baseline": {"action": "store_true", "help": "do not measure the default settings"},
    "--objective": {"help": "name of a function (config, report) -> value in place of training"},
    "--pack": {"help": "trials trained side by side; 1 turns packing off (default: as many as pay)"},
    "--executor": {"help": "process (survives the kernel) or thread (default: process)"},
    "--device": {"help": "auto, cpu, cuda, cuda:1 (default: auto)"},
    "--precision": {"help": "auto, fp32, bf16, fp16, or nf4: QLoRA on an NVIDIA GPU (default: auto)"},
    "--gradient-checkpointing": {"action": "store_true", "help": "less memory, slower"},
    "--base-dropout": {"action": "store_true", "help": "keep the base model's own dropout"},
    "--trust-remote-code": {"action": "store_true", "help": "run code that comes with a hub model"},
    "--log-to": {"help": "mlflow, wandb, tensorboard (with commas): trackers that are told about the study"},
    "--fork": {"action": "store_true", "help": "a new study where the name is taken by another one"},
    "--dry-run": {"action": "store_true", "help": "say what would run, and how long, without starting it"},
    "--view": {"choices": None, "help": "live or record: whether to show the live view (default: live)"},
    "--notebook": {"help": argparse.SUPPRESS},
}


class Parser(argparse.ArgumentParser):
    """A parser whose faults are `UsageError`s and that never ends the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"`{self.prog}` was not understood: {message}. `{self.usage or self.prog}` is its form.")


class CellRequest:
    """What a line asks for: `plan` goes to `session.plan`, the rest is the notebook's own business."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.output: str | None = given.pop("output", None)
        self.dry_run: bool = bool(given.pop("dry_run", False))
        self.view: str = given.pop("view", None) or "live"
        constraints = given.pop("constraint", None)
        no_baseline = given.pop("no_baseline", False)
        # by identity: 0 is a value (`--seeds 0`), though it equals False
        self.plan: dict[str, Any] = {
            key: value for key, value in given.items() if value is not None and value is not False
        }
        if constraints:
            self.plan["constraints"] = constraints
        if no_baseline:
            self.plan["baseline"] = False


def add_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Apply every option to a magic, in the order in which help shows them."""
    function = argument("-o", "--output", metavar="VAR", help="bind the study's handle to this variable")(function)
    for name, settings in reversed(OPTIONS.items()):
        settings = {key: value for key, value in settings.items() if value is not None}
        if settings.get("action") is None:
            settings["metavar"] = name.lstrip("-").replace("-", "_").upper()
        function = argument(name, **settings)(function)
    return function


def split(line: str) -> list[str]:
    """A line in words, quotes respected.

    Raises:
        UsageError: a quotation mark is not closed, or the line ends in a backslash.
    """
    if line.rstrip().endswith("\\"):
        raise UsageError(
            "The options of a magic must stand on one line, but this one ends in a backslash. Join the lines."
        )
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"A quotation mark is not closed in {line.strip()!r} ({error}). Close it.") from None


def read(parser: argparse.ArgumentParser, line: str) -> tuple[CellRequest, list[str]]:
    """The request of a line and the faults of the line itself (unknown options, missing values)."""
    faults: list[str] = []
    words = split(line)
    known = {name: action for action in parser._actions for name in action.option_strings}
    kept: list[str] = []
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            faults.append(f"Options begin with `--`, but {word!r} was given. Quote a value that holds spaces.")
        elif name not in known:
            faults.append(f"There is no option `{name}`. {did_you_mean(name, _shown())}")
            while words and not words[0].startswith("-"):
                words.pop(0)
        elif known[name].nargs == 0:
            kept.append(name)
            if equals:
                faults.append(f"`{name}` takes no value, but got {value!r}. Leave it out.")
        elif equals and value:
            kept += [name, value]
        elif not equals and words and words[0] and not _is_option(words[0]):
            kept += [name, words.pop(0)]
        else:
            if not equals and words and not words[0]:
                words.pop(0)
            meaning = known[name].help or ""
            faults.append(f"`{name}` needs a value, but none was given. It is: {meaning}".strip() + ".")
    given = vars(parser.parse_args([f"{n}={v}" if v is not None else n for n, v in _pairs(kept, known)]))
    for name in _WHOLE:
        given[name] = _whole(given.get(name))
    for name in _LISTS:
        if given.get(name):
            given[name] = [part.strip() for part in given[name].split(",") if part.strip()]
    if given.get("view") not in (None, "live", "record"):
        faults.append(f"`--view` must be live or record, but got {given['view']!r}. {_view_remedy(given['view'])}")
        given["view"] = None
    if given.get("output") and not is_variable(given["output"]):
        faults.append(f"`-o` needs a variable's name, but got {given['output']!r}. Write one such as study.")
    return CellRequest(given), faults


def is_variable(name: str) -> bool:
    """Whether a notebook can have a variable of this name."""
    return name.isidentifier() and not keyword.iskeyword(name)


def _shown() -> list[str]:
    """The options that help lists."""
    return [name for name, given in OPTIONS.items() if given.get("help") is not argparse.SUPPRESS] + ["-o"]


def _view_remedy(given: str) -> str:
    return did_you_mean(given, ["live", "record"])


def _is_option(word: str) -> bool:
    """`-1` is a value, `--name` and `-o` are options."""
    return word.startswith("-") and not word[1:2].isdigit() and len(word) > 1


def _pairs(kept: list[str], known: dict[str, argparse.Action]) -> list[tuple[str, str | None]]:
    pairs: list[tuple[str, str | None]] = []
    words = iter(kept)
    for name in words:
        if known[name].nargs == 0:
            pairs.append((name, None))
        else:
            long = max(known[name].option_strings, key=len)
            pairs.append((long, next(words)))
    return pairs


def _whole(given: str | None) -> int | str | None:
    """A whole number where it is one; otherwise as written, for `session` to refuse."""
    if given is None:
        return None
    try:
        return int(given.replace("_", ""))
    except ValueError:
        return given
