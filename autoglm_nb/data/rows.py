"""From columns to examples and labels, with every fault of the data named at once."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from autoglm_nb.data.columns import Columns
from autoglm_nb.data.sources import Table
from autoglm_nb.errors import DataError

__all__ = ["Example", "Rows", "label_order", "make_rows", "single_class_fault"]

MAX_CLASSES_OF_NUMBERS = 20
"""More distinct fractional numbers than this are a quantity, not classes."""

MAX_CLASSES_OF_INTEGERS = 100

_ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Example:
    """One row: a text, a prompt with its completion, or a conversation.

    Attributes:
        text: the text, or the prompt.
        completion: what to learn after the prompt; None if there is no prompt.
        messages: turns as {"role", "content"}; empty if not a conversation.
    """

    text: str = ""
    completion: str | None = None
    messages: tuple[dict[str, str], ...] = ()

    @property
    def content(self) -> str:
        """All of it as one string, to measure and to compare."""
        if self.messages:
            return "\n".join(message["content"] for message in self.messages)
        return self.text if self.completion is None else self.text + self.completion

    @property
    def key(self) -> str:
        """The content, compared without regard to case, spacing and Unicode form."""
        return " ".join(unicodedata.normalize("NFKC", self.content).casefold().split())


@dataclass(frozen=True)
class Rows:
    """Examples in the order of the source; `labels` is None where the task has none."""

    examples: tuple[Example, ...]
    labels: tuple[str, ...] | None


def make_rows(table: Table, columns: Columns, *, what: str = "data") -> Rows:
    """Examples and labels of a table.

    Args:
        table: holds the columns.
        columns: which are text and target.
        what: "data", "validation data" or "test data", for the messages.

    Raises:
        DataError: `faults` lists all of: missing or non-string texts, missing labels,
            a target that is a quantity, a single class, conversations nobody answers.
    """
    missing = [name for name in columns.names if name not in table.columns]
    if missing:
        raise DataError(
            f"The {what} must have the columns {', '.join(columns.names)}, but lacks {', '.join(missing)}. "
            f"It has {', '.join(table.columns)}."
        )
    faults: list[str] = []
    for name in columns.text:
        check = _conversation_fault if columns.kind == "chat" else _text_fault
        faults += check(table.columns[name], name, what)
    labels: tuple[str, ...] | None = None
    if columns.kind == "pairs" and columns.target is not None:
        faults += _text_fault(table.columns[columns.target], columns.target, what)
    elif columns.kind == "labelled" and columns.target is not None:
        found = _label_faults(table.columns[columns.target], columns.target, what)
        faults += found
        labels = None if found else tuple(_label_name(value) for value in table.columns[columns.target])
    if faults:
        raise DataError("\n".join(faults), faults)
    return Rows(_examples(table, columns), labels)


def label_order(labels: Sequence[str]) -> tuple[str, ...]:
    """Distinct labels in the order of their class ids: by number if all are numbers, else by name."""
    distinct = set(labels)
    try:
        return tuple(sorted(distinct, key=lambda label: (float(label), label)))
    except ValueError:
        return tuple(sorted(distinct))


def _examples(table: Table, columns: Columns) -> tuple[Example, ...]:
    first = table.columns[columns.text[0]]
    if columns.kind == "chat":
        return tuple(Example(messages=tuple(_turn(turn) for turn in turns)) for turns in first)
    texts = (
        first
        if len(columns.text) == 1
        else ["\n".join(parts) for parts in zip(*(table.columns[name] for name in columns.text), strict=True)]
    )
    if columns.kind == "pairs" and columns.target is not None:
        return tuple(Example(t, completion=c) for t, c in zip(texts, table.columns[columns.target], strict=True))
    return tuple(Example(text) for text in texts)


def _text_fault(values: Sequence[Any], name: str, what: str) -> list[str]:
    faults = []
    empty = [i for i, value in enumerate(values) if value is None or (isinstance(value, str) and not value.strip())]
    if empty:
        faults.append(
            f"Column {name!r} of the {what} must hold a text in every row, but {len(empty)} of {len(values)} rows "
            f"have none (first: row {empty[0] + 1}). Fill or drop them."
        )
    other = [i for i, value in enumerate(values) if value is not None and not isinstance(value, str)]
    if other:
        kind = type(values[other[0]]).__name__
        faults.append(
            f"Column {name!r} of the {what} must hold strings, but {len(other)} of {len(values)} rows do not "
            f"(first: row {other[0] + 1}, {kind}). Convert them, or name another text column."
        )
    return faults


def _label_faults(values: Sequence[Any], name: str, what: str) -> list[str]:
    empty = [i for i, value in enumerate(values) if value is None or (isinstance(value, str) and not value.strip())]
    present = [value for value in values if value is not None]
    odd = next((value for value in present if not isinstance(value, str | int | float | bool)), None)
    if odd is not None:
        return [
            f"Labels must be strings or numbers, but column {name!r} of the {what} holds {type(odd).__name__}. "
            "Choose another target."
        ]
    faults = []
    if empty:
        faults.append(
            f"The target {name!r} must be filled in every row of the {what}, but {len(empty)} of {len(values)} "
            f"labels are missing (first: row {empty[0] + 1}). Fill or drop those rows."
        )
    numbers = {value for value in present if isinstance(value, int | float) and not isinstance(value, bool)}
    fractional = any(not float(value).is_integer() for value in numbers)
    limit = MAX_CLASSES_OF_NUMBERS if fractional else MAX_CLASSES_OF_INTEGERS
    if len(numbers) > limit:
        faults.append(
            f"The target must be a class, but {name!r} holds {len(numbers)} different numbers in {len(values)} rows, "
            "which looks like a quantity to be predicted. Turn it into classes (pandas.cut) or choose another target."
        )
    return faults


def _label_name(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _conversation_fault(values: Sequence[Any], name: str, what: str) -> list[str]:
    """The first broken conversation; the others are likely broken in the same way."""
    for number, turns in enumerate(values, start=1):
        reason = _broken(turns)
        if reason:
            return [
                f"Column {name!r} of the {what} must hold lists of {{'role', 'content'}} with an assistant's answer, "
                f"but row {number} {reason}. Correct or drop it."
            ]
    return []


def _broken(turns: Any) -> str:
    checks: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: isinstance(turns, list | tuple) and len(turns) > 0, "is empty or not a list"),
        (lambda: all(isinstance(turn, dict) for turn in turns), "has a turn that is not an object"),
        (lambda: all(_role(turn) in _ROLES for turn in turns), f"has a role other than {', '.join(_ROLES)}"),
        (lambda: all(isinstance(_content(turn), str) for turn in turns), "has a content that is not a string"),
        (lambda: any(_role(turn) == "assistant" and _content(turn).strip() for turn in turns), "has no answer"),
    )
    return next((reason for holds, reason in checks if not holds()), "")


def _role(turn: dict[str, Any]) -> Any:
    role = turn.get("role", turn.get("from"))
    return {"human": "user", "gpt": "assistant"}.get(role, role) if isinstance(role, str) else role


def _content(turn: dict[str, Any]) -> Any:
    return turn.get("content", turn.get("value"))


def _turn(turn: dict[str, Any]) -> dict[str, str]:
    return {"role": _role(turn), "content": _content(turn)}


def single_class_fault(labels: Sequence[str], target: str) -> list[str]:
    """The sentence for a target with one class only; empty if there are more."""
    counts = Counter(labels)
    if len(counts) > 1:
        return []
    only = next(iter(counts), "")
    return [
        f"The target must have at least two classes, but {target!r} is {only!r} in all {len(labels)} rows. "
        "Choose another target, or add rows of another class."
    ]
