"""Every message has a Simplified Chinese translation that keeps its placeholders, and no translation is left over."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.labextension.messages import Use, uses

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "autoglm_nb" / "locale" / "zh_CN" / "LC_MESSAGES" / "autoglm_nb.json"
USES = uses()
# Names and symbols that Chinese readers write as they are.
SAME = re.compile(r"[\W\d_]*(%\d[\W\d_]*)*")


@pytest.fixture(scope="module")
def chinese() -> dict[str, list[str]]:
    """The catalogue without its head."""
    given = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    given.pop("")
    return given


def test_messages_are_found() -> None:
    """The reader of the sources sees what is there; an empty list would make the others pass by themselves."""
    assert len(USES) > 150
    assert {"sidebar/panel.ts", "commands.ts", "card/story.ts"} <= {use.file for use in USES}


@pytest.mark.parametrize("use", [u for u in USES if u.singular is None] or [None], ids=str)
def test_messages_are_literals(use: Use | None) -> None:
    """A message put together at run time cannot be looked up."""
    assert use is None, f"{use.file}:{use.line} gives the translator something else than a literal"


def test_every_message_is_translated(chinese: dict[str, list[str]]) -> None:
    """Complete: no English sentence between Chinese ones."""
    missing = {
        use.singular: f"{use.file}:{use.line}"
        for use in USES
        if use.singular and not any(chinese.get(use.singular, []))
    }
    assert not missing


def test_no_translation_is_left_over(chinese: dict[str, list[str]]) -> None:
    """What is no longer said is not kept."""
    assert sorted(set(chinese) - {use.singular for use in USES}) == []


def test_placeholders_are_kept(chinese: dict[str, list[str]]) -> None:
    """Each %1, %2 of a message is in its translation, once; a plural may leave out none of its own."""
    for use in USES:
        expected = sorted(re.findall(r"%\d", use.plural or use.singular or ""))
        for told in chinese.get(use.singular or "", []):
            assert sorted(re.findall(r"%\d", told)) == expected, (use, told)


def test_forms_are_as_jupyterlab_looks_them_up(chinese: dict[str, list[str]]) -> None:
    """Chinese has one form, but JupyterLab takes one form for a message without a plural, so it is there twice."""
    head = json.loads(CATALOGUE.read_text(encoding="utf-8"))[""]
    assert head["language"] == "zh-CN", "with a hyphen: JupyterLab looks messages up by its own spelling of the locale"
    assert head["plural_forms"] == "nplurals=1; plural=0;"
    counted = {use.singular for use in USES if use.plural}
    assert not counted & {use.singular for use in USES if not use.plural}, "one message, two kinds of use"
    for message, forms in chinese.items():
        assert len(forms) == (2 if message in counted else 1), message
        assert len(set(forms)) == 1


def test_translations_are_chinese(chinese: dict[str, list[str]]) -> None:
    """A translation that is the message itself is one that was forgotten, names and symbols aside."""
    names = {"CPU", "GPU", "CPU %1 %", "GPU %1 %", "%1 GB"}
    copied = [m for m, (t, *_) in chinese.items() if t == m and m not in names and not SAME.fullmatch(m)]
    assert copied == []


def test_settings_schema_is_translated() -> None:
    """Every title and description of the settings is among the messages of schema.ts."""
    schema = json.loads((ROOT / "labextension" / "schema" / "plugin.json").read_text(encoding="utf-8"))
    said = {use.singular for use in USES if use.file == "schema.ts"}
    parts = [
        schema,
        *schema["properties"].values(),
        *(o for p in schema["properties"].values() for o in p.get("oneOf", [])),
    ]
    texts = {part[key] for part in parts for key in ("title", "description") if key in part} - {"AutoGLM"}
    assert texts == said
