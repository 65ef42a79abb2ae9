"""JupyterLab's own server finds the translations, with a language pack of its own and without one."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from jupyterlab_server import translation_utils

from autoglm_nb import locale

HERE = Path(locale.__file__).parent


def test_chinese_can_be_chosen_without_a_language_pack() -> None:
    """The menu of languages lists it, and the answer holds our messages."""
    found, message = translation_utils.get_language_packs()
    assert not message.strip()
    assert "zh_CN" in found
    data, message = translation_utils.get_language_pack("zh_CN")
    assert not message.strip()
    assert data["autoglm_nb"]["Trials"] == ["试验"]


def test_jupyterlabs_own_pack_keeps_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With JupyterLab's pack installed its messages stay, and ours come along."""
    pack = tmp_path / "jupyterlab_language_pack_zh_CN"
    (pack / "locale" / "zh_CN" / "LC_MESSAGES").mkdir(parents=True)
    (pack / "__init__.py").touch()
    head = {"": {"domain": "jupyterlab", "language": "zh-CN", "plural_forms": "nplurals=1; plural=0;", "version": "4"}}
    messages = pack / "locale" / "zh_CN" / "LC_MESSAGES" / "jupyterlab.json"
    messages.write_text(json.dumps({**head, "File": ["文件"]}))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    monkeypatch.setattr(locale, "zh_CN", locale._pack("zh_CN"))
    assert Path(locale.zh_CN.__file__).parent == pack
    data, message = translation_utils.get_language_pack("zh_CN")
    assert not message.strip()
    assert data["jupyterlab"]["File"] == ["文件"]
    assert data["autoglm_nb"]["Trials"] == ["试验"]


def test_every_language_has_a_catalogue_and_an_attribute() -> None:
    """What the entry points name exists."""
    for language in locale.LANGUAGES:
        catalogue = HERE / language / locale.CATALOGUE
        assert json.loads(catalogue.read_text(encoding="utf-8"))[""]["domain"] == "autoglm_nb"
        assert Path(getattr(locale, language).__file__).is_absolute()
    assert sorted(p.name for p in HERE.iterdir() if p.is_dir() and p.name != "__pycache__") == sorted(locale.LANGUAGES)


def test_nothing_but_catalogues_lies_in_the_folder() -> None:
    """JupyterLab's server takes every JSON file below a language pack for a catalogue named after its domain."""
    assert {path.name for path in HERE.rglob("*.json")} == {"autoglm_nb.json"}


def test_the_module_is_light() -> None:
    """JupyterLab's server imports it at its start."""
    assert isinstance(sys.modules["autoglm_nb.locale"], ModuleType)
    source = Path(locale.__file__).read_text(encoding="utf-8")
    imported = {line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert imported <= {"__future__", "importlib.util", "pathlib", "types"}
