"""Front doors: nothing is imported before its name is asked for, and an unknown name is an AttributeError."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autoglm_nb.lazy import front_door


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of two modules, which nothing has imported yet."""
    name = "a_package_of_this_test"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / name / "one.py").write_text("value = object()\n")
    (tmp_path / name / "two.py").write_text("raise ImportError('asked for too early')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__(name)
    return name


def test_a_module_is_imported_when_its_name_is_asked_for(package: str) -> None:
    """And only that module; the name is an ordinary attribute from then on."""
    find = front_door(package, {"value": "one", "other": "two"})
    assert f"{package}.one" not in sys.modules
    found = find("value")
    assert sys.modules[f"{package}.one"].value is found
    assert vars(sys.modules[package])["value"] is found
    with pytest.raises(ImportError, match="too early"):
        find("other")


def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    """As `hasattr` and `from package import name` expect."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        front_door(package, {})("nothing")
