"""Which task the data can serve, and which of its columns are text and target.

What the user says wins. Else names in common use decide (`messages`; `prompt`
and `completion`; `text`; `label`), else the column with the longest strings is
the text, and a note says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoglm_nb.data.sources import Table
from autoglm_nb.errors import DataError, did_you_mean
from autoglm_nb.protocol import DataSpec

__all__ = ["TASKS", "Columns", "choose_columns"]

TASKS = ("classification", "causal-lm")

_TEXT_NAMES = ("text", "sentence", "review", "content", "body", "document")
_TARGET_NAMES = ("label", "labels", "class", "category", "sentiment", "target")
_CHAT_NAMES = ("messages", "conversations")


@dataclass(frozen=True)
class Columns:
    """The columns a task reads.

    Attributes:
        task: "classification" or "causal-lm".
        kind: "labelled", "text", "pairs" (prompt and completion) or "chat".
        text: text columns; several are joined by a line break.
        target: the label, or the completion of pairs; else None.
        notes: what was decided without being told.
    """

    task: str
    kind: str
    text: tuple[str, ...]
    target: str | None
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All columns to be read."""
        return self.text if self.target is None else (*self.text, self.target)


def choose_columns(sample: Table, data: DataSpec, task: str | None, *, fallback: str | None = None) -> Columns:
    """Settle the task and its columns.

    Args:
        sample: the first rows, all columns.
        data: what the user said about text and target.
        task: what the user said; None to follow the target column, then the columns, then `fallback`.
        fallback: the task of the model's own config, if it has one.

    Raises:
        DataError: a column that was named does not exist, or one the task needs cannot be found.
    """
    names = list(sample.columns)
    given = [*data.text, *([data.target] if data.target is not None else [])]
    faults = [
        f"The data must have every column that is named, but has no column {name!r}. {did_you_mean(name, names)}"
        for name in dict.fromkeys(given)
        if name not in names
    ]
    if data.target is not None and data.target in data.text:
        faults.append(f"Text and target must be different columns, but both are {data.target!r}. Choose another one.")
    if task is not None and task not in TASKS:
        faults.append(f"The task must be one of {', '.join(TASKS)}, but got {task!r}. {did_you_mean(task, TASKS)}")
    if faults:
        raise DataError("\n".join(faults), faults)
    settled = task or _infer_task(names, data, fallback)
    return _for_classification(sample, data) if settled == "classification" else _for_causal_lm(sample, data)


def _infer_task(names: Sequence[str], data: DataSpec, fallback: str | None) -> str:
    if data.target is not None:
        return "classification"
    if any(name in names for name in _CHAT_NAMES) or {"prompt", "completion"} <= set(names):
        return "causal-lm"
    if fallback in TASKS:
        return str(fallback)
    return "classification" if _first(_TARGET_NAMES, names) else "causal-lm"


def _for_classification(sample: Table, data: DataSpec) -> Columns:
    names = list(sample.columns)
    target, notes = data.target, []
    if target is None:
        target = _first(_TARGET_NAMES, [n for n in names if n not in data.text])
        if target is None:
            raise DataError(
                f"Classification needs a target column, but none was named. Say target= one of {', '.join(names)}."
            )
        notes.append(f"Column {target!r} was taken as the target.")
    text, more = (data.text, []) if data.text else _find_text(sample, exclude=target)
    return Columns("classification", "labelled", text, target, (*notes, *more))


def _for_causal_lm(sample: Table, data: DataSpec) -> Columns:
    names = list(sample.columns)
    if data.target is not None:
        text, notes = (data.text, []) if data.text else _find_text(sample, exclude=data.target, preferred=("prompt",))
        return Columns("causal-lm", "pairs", text, data.target, tuple(notes))
    if len(data.text) == 2:
        return Columns("causal-lm", "pairs", data.text[:1], data.text[1])
    if data.text:
        first = next((v for v in sample.columns[data.text[0]] if v is not None), None)
        return Columns("causal-lm", "chat" if isinstance(first, list | tuple) else "text", data.text, None)
    chat = _first(_CHAT_NAMES, names)
    if chat:
        return Columns("causal-lm", "chat", (chat,), None)
    if {"prompt", "completion"} <= set(names):
        return Columns("causal-lm", "pairs", ("prompt",), "completion")
    text, notes = _find_text(sample, exclude=None)
    return Columns("causal-lm", "text", text, None, tuple(notes))


def _find_text(
    sample: Table, *, exclude: str | None, preferred: Sequence[str] = ()
) -> tuple[tuple[str, ...], list[str]]:
    """The text column: by name, else the one with the longest strings."""
    names = [name for name in sample.columns if name != exclude]
    known = _first((*preferred, *_TEXT_NAMES), names)
    if known:
        return (known,), []
    lengths = {name: _mean_length(sample.columns[name]) for name in names}
    lengths = {name: length for name, length in lengths.items() if length > 0}
    if not lengths:
        raise DataError(
            f"The data must have a column of texts, but none of {', '.join(sample.columns)} "
            f"{'(the target set aside) ' if exclude else ''}holds strings. Name it 'text', or say text=."
        )
    best = max(lengths, key=lambda name: lengths[name])
    return (best,), [f"Column {best!r} was taken as the text."] if len(lengths) > 1 else []


def _mean_length(values: Sequence[Any]) -> float:
    present = [value for value in values if value is not None]
    if not present or not all(isinstance(value, str) for value in present):
        return 0.0
    return sum(map(len, present)) / len(present)


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    """The first wanted name that is there, whatever its case."""
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in wanted if name in by_lower), None)
