"""Which task and columns follow from the data and from what the user said."""

from __future__ import annotations

from typing import Any

import pytest

from autoglm_nb.data.columns import choose_columns
from autoglm_nb.data.sources import Table
from autoglm_nb.errors import DataError
from autoglm_nb.protocol import DataSpec


def _table(**columns: Any) -> Table:
    return Table({name: [value] for name, value in columns.items()}, 1)


REVIEWS = _table(id=1, title="short", text="a longer text", label="x")
PAIRS = _table(prompt="q", completion="a")
CHAT = _table(messages=[{"role": "user", "content": "q"}])


@pytest.mark.parametrize(
    ("table", "spec", "task", "fallback", "expected"),
    [
        (REVIEWS, {"target": "label"}, None, "causal-lm", ("classification", "labelled", ("text",), "label")),
        (REVIEWS, {}, None, None, ("classification", "labelled", ("text",), "label")),
        (REVIEWS, {}, None, "causal-lm", ("causal-lm", "text", ("text",), None)),
        (REVIEWS, {}, "causal-lm", "classification", ("causal-lm", "text", ("text",), None)),
        (
            REVIEWS,
            {"text": ("title", "text"), "target": "label"},
            None,
            None,
            ("classification", "labelled", ("title", "text"), "label"),
        ),
        (PAIRS, {}, None, "classification", ("causal-lm", "pairs", ("prompt",), "completion")),
        (CHAT, {}, None, "classification", ("causal-lm", "chat", ("messages",), None)),
        (
            _table(question="q ?", answer="a"),
            {"target": "answer"},
            "causal-lm",
            None,
            ("causal-lm", "pairs", ("question",), "answer"),
        ),
        (
            _table(talk=[{"role": "user", "content": "q"}]),
            {"text": ("talk",)},
            "causal-lm",
            None,
            ("causal-lm", "chat", ("talk",), None),
        ),
        (_table(Text="t", Label="x"), {}, None, None, ("classification", "labelled", ("Text",), "Label")),
    ],
)
def test_task_and_columns(table: Table, spec: dict, task: str, fallback: str, expected: tuple) -> None:
    """What the user says wins, then the target, then telling names, then the model's own task."""
    found = choose_columns(table, DataSpec("d", **spec), task, fallback=fallback)
    assert (found.task, found.kind, found.text, found.target) == expected


def test_longest_strings_are_the_text_and_a_note_says_so() -> None:
    """Without a telling name the choice is stated."""
    found = choose_columns(_table(a="short", b="much longer", c=12, y="x"), DataSpec("d", target="y"), None)
    assert found.text == ("b",)
    assert found.notes == ("Column 'b' was taken as the text.",)


def test_all_unknown_columns_at_once() -> None:
    """Two slips, two sentences, each with the name meant."""
    with pytest.raises(DataError) as caught:
        choose_columns(REVIEWS, DataSpec("d", text=("txt",), target="lable"), None)
    assert len(caught.value.faults) == 2
    assert "has no column 'txt'. Did you mean 'text'" in caught.value.faults[0]
    assert "has no column 'lable'. Did you mean 'label'" in caught.value.faults[1]


@pytest.mark.parametrize(
    ("table", "spec", "task", "sentence"),
    [
        (_table(text="t", other=1), {}, "classification", "needs a target column, but none was named"),
        (_table(n=1, label="x"), {"target": "label"}, None, "must have a column of texts"),
        (REVIEWS, {"text": ("text",), "target": "text"}, None, "must be different columns, but both are 'text'"),
        (REVIEWS, {}, "clasification", "Did you mean 'classification'"),
    ],
)
def test_columns_that_cannot_serve(table: Table, spec: dict, task: str, sentence: str) -> None:
    """The sentence says what the task needs."""
    with pytest.raises(DataError, match=sentence):
        choose_columns(table, DataSpec("d", **spec), task)
