"""A model cache of its own for every test but the real ones, and a probe that remembers nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from autoglm_nb import probe


@pytest.fixture(autouse=True)
def model_cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "cache"
    if request.node.get_closest_marker("real") is None:
        monkeypatch.setenv("AUTOGLM_CACHE", str(folder))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    probe.forget()
    yield folder
    probe.forget()
