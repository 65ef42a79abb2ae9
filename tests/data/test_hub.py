"""Data sets of the hub, with stand-ins for the hub itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from autoglm_nb import probe
from autoglm_nb.data import hub
from autoglm_nb.data.sources import read_table
from autoglm_nb.errors import DataError


@pytest.mark.parametrize(
    ("name", "expected"),
    [("imdb", True), ("org/set", True), ("org/set:config", True), ("a b", False), ("a/b/c", False), ("", False)],
)
def test_what_could_be_a_hub_id(name: str, expected: bool) -> None:
    """One or two parts, with an optional configuration."""
    assert hub.looks_like_hub_id(name) is expected


def test_rows_of_a_hub_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Class numbers become names; the split and the configuration are passed on."""
    import datasets

    asked: list[Any] = []
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    table = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)

    def load(*args: Any, **kwargs: Any) -> Any:
        asked.append((*args, kwargs["split"]))
        return table

    monkeypatch.setattr(probe, "hub_reachable", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", load)
    assert read_table("org/set:small").columns == {"text": ["a", "b", "c"], "label": ["yes", "no", None]}
    assert read_table("org/set", limit=2).total == 3
    assert asked == [("org/set", "small", "train"), ("org/set", None, "train")]


def test_hub_without_that_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's reason is quoted in one sentence."""
    import datasets

    monkeypatch.setattr(probe, "hub_reachable", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", SimpleNamespace(__call__=None))
    with pytest.raises(DataError, match="The hub has no data set 'org/none'"):
        read_table("org/none")
