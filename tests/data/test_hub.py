"""The probe that keeps an unreachable hub from costing more than its time."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest

from autoglm_nb.data import hub
from autoglm_nb.data.sources import read_table
from autoglm_nb.errors import DataError


@pytest.fixture
def silent_endpoint(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An address that accepts connections and never answers."""
    from huggingface_hub import constants

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.delenv("AUTOGLM_OFFLINE", raising=False)
        yield


def test_silent_hub_costs_no_more_than_the_probe(silent_endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds although the server accepted the connection."""
    monkeypatch.setenv("AUTOGLM_HUB_PROBE", "0.3")
    start = time.perf_counter()
    assert hub.reachable() is False
    assert time.perf_counter() - start < 1.0


def test_offline_asks_nobody(silent_endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With HF_HUB_OFFLINE=1 the answer is immediate."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    start = time.perf_counter()
    assert hub.reachable() is False
    assert time.perf_counter() - start < 0.1


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

    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", load)
    assert read_table("org/set:small").columns == {"text": ["a", "b", "c"], "label": ["yes", "no", None]}
    assert read_table("org/set", limit=2).total == 3
    assert asked == [("org/set", "small", "train"), ("org/set", None, "train")]


def test_hub_without_that_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's reason is quoted in one sentence."""
    import datasets

    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", SimpleNamespace(__call__=None))
    with pytest.raises(DataError, match="The hub has no data set 'org/none'"):
        read_table("org/none")
