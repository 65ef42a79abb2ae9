"""Schemas are made from the records, so they say what the records say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NotRequired, TypedDict

import jsonschema
import pytest

from autoglm_nb.server.schemas import schema


class Colour(StrEnum):
    RED = "red"


class Inner(TypedDict):
    n: int


@dataclass
class Record:
    text: str
    number: float | None
    colour: Colour
    many: tuple[Inner, ...]
    table: dict[str, list[bool]]
    anything: Any


class Partial(TypedDict):
    there: str
    perhaps: NotRequired[int]


GOOD = {"text": "x", "number": None, "colour": "red", "many": [{"n": 1}], "table": {"a": [True]}, "anything": {}}


def _valid(kind: Any, value: object) -> bool:
    return jsonschema.Draft202012Validator(schema(kind)).is_valid(value)


def test_a_record_is_described_field_by_field() -> None:
    """What fits is valid, and one wrong field is not."""
    assert _valid(Record, GOOD)
    wrong = {"text": 1, "number": "1", "colour": "blue", "many": [{"n": "1"}], "table": {"a": [1]}}
    for name, value in wrong.items():
        assert not _valid(Record, {**GOOD, name: value}), name
    for name in GOOD:
        assert not _valid(Record, {k: v for k, v in GOOD.items() if k != name}), name


def test_a_field_that_may_be_missing_may_be_missing() -> None:
    """But not of another type."""
    assert _valid(Partial, {"there": "x"}) and _valid(Partial, {"there": "x", "perhaps": 1})
    assert not _valid(Partial, {"there": "x", "perhaps": "1"}) and not _valid(Partial, {"perhaps": 1})


def test_a_type_without_a_form_in_json_is_refused() -> None:
    """Better at the first test than a document that allows everything."""
    with pytest.raises(TypeError, match="must be of a type that JSON has"):
        schema(complex)
