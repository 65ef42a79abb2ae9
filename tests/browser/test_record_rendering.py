"""The record as JupyterLab draws it: trusted and untrusted, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autoglm_nb import record
from tests.browser.pages import NotebookPage
from tests.browser.server import Lab
from tests.record import samples

Open = Callable[..., NotebookPage]


def _write(lab: Lab, name: str, snapshot: dict[str, Any], *, trust: bool) -> str:
    """The record as a page without the lab extension has it: HTML and text."""
    bundle = {mime: data for mime, data in record.bundle(snapshot).items() if mime.startswith("text/")}
    return lab.write(name, [("%%autotune --name reviews", [bundle])], trust=trust)


@pytest.mark.parametrize("trust", [True, False], ids=["trusted", "untrusted"])
def test_record_shows_curve_tables_and_styles(lab: Lab, open_notebook: Open, trust: bool) -> None:
    """Picture, tables, captions, folding and layout survive the sanitizer of an untrusted notebook."""
    kind = "trusted" if trust else "untrusted"
    page = open_notebook(_write(lab, f"record-{kind}.ipynb", samples.finished_snapshot(), trust=trust))
    output = page.output(0)
    output.locator("img").wait_for()
    page.screenshot(f"record-{kind}-light", 0)
    loaded = output.locator("img").evaluate("i => i.decode().then(() => i.naturalWidth)")
    assert loaded > 100
    assert "best so far" in (output.locator("img").get_attribute("alt") or "").lower()
    assert output.locator("table caption").count() >= 3
    assert output.locator("details[open]").count() == 2
    card = output.locator(".jp-RenderedHTML > div").first
    looks = card.evaluate("e => { const s = getComputedStyle(e); return [s.borderTopWidth, s.maxWidth]; }")
    assert looks == ["1px", "780px"]
    head = card.locator("> div").first
    assert head.evaluate("e => getComputedStyle(e).display") == "flex"
    assert "Best 0.850 accuracy" in page.text(0)


@pytest.mark.parametrize("name", ["running", "finished"])
def test_record_reads_in_the_dark_theme_and_on_a_narrow_page(lab: Lab, open_notebook: Open, name: str) -> None:
    """Nothing is wider than the page but what scrolls by itself, and text takes the theme's colour."""
    snapshot = samples.running_snapshot() if name == "running" else samples.finished_snapshot()
    page = open_notebook(_write(lab, f"record-dark-{name}.ipynb", snapshot, trust=False)).theme(dark=True)
    page.output(0).locator("img").wait_for()
    page.screenshot(f"record-{name}-dark", 0)
    colour = page.output(0).locator("strong").first.evaluate("e => getComputedStyle(e).color")
    assert sum(int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) > 450  # light on dark
    page.resize(460)
    page.screenshot(f"record-{name}-narrow-dark", 0)
    card = page.output(0).locator(".jp-RenderedHTML > div").first
    assert card.evaluate("e => e.scrollWidth <= e.clientWidth + 1")  # wide parts scroll by themselves
    picture = page.output(0).locator("img").bounding_box() or {}
    assert picture["width"] >= 500  # and stay legible


def test_hostile_strings_stay_text(lab: Lab, open_notebook: Open) -> None:
    """A trusted notebook is not sanitized, so the record itself must not let a name become markup."""
    page = open_notebook(_write(lab, "record-hostile.ipynb", samples.hostile_snapshot(), trust=True))
    page.page.evaluate("() => { window.attacked = false; window.alert = () => { window.attacked = true; }; }")
    page.output(0).locator("img").first.wait_for()
    page.page.wait_for_timeout(500)
    page.screenshot("record-hostile", 0)
    assert page.output(0).locator("img").count() == 1
    assert page.output(0).locator("script").count() == 0
    assert page.page.evaluate("() => window.attacked") is False
    assert "<script>alert(1)</script>" in page.text(0)
