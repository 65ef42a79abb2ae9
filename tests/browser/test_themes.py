"""Live card, study page and saved record in light, dark and high contrast: WCAG by axe, contrast measured, colours.

One notebook and one page are opened for all tests here; each test shows one surface in one theme, tab by tab.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoglm_nb import record
from tests.browser.acting import Actor
from tests.browser.looks import colours, contrasts, faint, violations
from tests.browser.marks import needs_axe, needs_extension
from tests.browser.pages import LabPage
from tests.browser.server import Lab
from tests.record import samples

pytestmark = [needs_extension, needs_axe]

CELL = """import os
os.environ["AUTOGLM_VIEW"] = "lab"
from autoglm_nb.notebook import cards
from autoglm_nb.store import Store, snapshot
from tests.notebook.fakes import FakeHandle
home = os.environ["AUTOGLM_HOME"]
handle = FakeHandle("retouched", snapshot(Store(home), "retouched"), home=home)
card = cards.open_card(handle, live=True, cell="c")"""
NOTEBOOK = "themes.ipynb"
THEMES = {"light": (False, False), "dark": (True, False), "contrast": (True, True)}
SURFACES = {
    "live": ".autoglm-Widget .autoglm-Card",
    "record": ".jp-CodeCell:nth-of-type(2) .autoglm-Record .autoglm-Card",
    "page": ".jp-autoglm-page",
}
AAA = 7
"""The contrast that whoever chooses a high contrast theme can expect."""


class Surfaces:
    """The three sizes of a study in one browser page."""

    def __init__(self, page: LabPage) -> None:
        self.page = page

    def show(self, surface: str, theme: str | None = None) -> str:
        """Bring a surface to the front, in a theme if one is given; its selector."""
        label = "retouched" if surface == "page" else NOTEBOOK
        self.page.page.locator(".lm-DockPanel-tabBar").get_by_text(label, exact=True).click()
        if theme is not None:
            self.page.theme(dark=THEMES[theme][0], contrast=THEMES[theme][1])
        self.page.page.locator(SURFACES[surface]).first.wait_for()
        return SURFACES[surface]

    def look(self, surface: str) -> tuple[str, str, str]:
        """Text, ground and chart of the card on a surface that is in front."""
        card = SURFACES[surface] if SURFACES[surface].endswith("Card") else f"{SURFACES[surface]} .autoglm-Card"
        self.page.page.wait_for_timeout(300)
        chart = self.page.drawn().page.locator(f"{card} canvas").first.evaluate("c => c.toDataURL()")
        return (*colours(self.page.page, card), str(chart))

    def tabs(self, selector: str) -> Iterator[str]:
        """Open one tab of a card after the other."""
        tabs = self.page.page.locator(f"{selector} [role=tab]:visible")
        for index in range(tabs.count()):
            tabs.nth(index).click()
            self.page.page.wait_for_timeout(150)
            yield str(tabs.nth(index).get_attribute("data-testid"))
        tabs.first.click()


@pytest.fixture(scope="module")
def surfaces(lab: Lab, browser: Any, shots: Path | None) -> Iterator[Surfaces]:
    """A live card and a saved record in a notebook, and the page of a study that an actor plays."""
    actor = Actor(lab.folder / ".autoglm", "retouched", device="cuda:20")
    lab.write(NOTEBOOK, [CELL, ("1", [record.bundle(samples.finished_snapshot())])])
    context = browser.new_context(viewport={"width": 1300, "height": 1500})
    opened = LabPage(context.new_page(), lab, NOTEBOOK, shots)
    opened.page.goto(f"{lab.url}/lab/tree/{NOTEBOOK}?reset")
    opened.ready().kernel_idle().run(0)
    opened.page.locator(SURFACES["live"]).wait_for(timeout=60_000)
    opened.studies().row("retouched").get_by_role("button", name="Open the page of retouched").click()
    opened.page.locator(".jp-autoglm-page .autoglm-Card").wait_for(timeout=60_000)
    yield Surfaces(opened)
    opened.theme(dark=False)
    context.close()
    actor.leave()
    actor.store.delete_study(actor.name)
    actor.store.close()


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("theme", THEMES)
def test_no_violation_of_wcag_and_no_faint_text(surfaces: Surfaces, surface: str, theme: str) -> None:
    """Each tab: nothing for axe to find, and every text in sight at 4.5:1, or at 7:1 in high contrast."""
    selector = surfaces.show(surface, theme)
    page, least = surfaces.page.page, AAA if theme == "contrast" else 0
    assert violations(page, selector) == []
    assert faint(page, selector, least) == []
    seen = []
    for tab in surfaces.tabs(selector):
        seen.append(tab)
        assert violations(page, f"{selector} .autoglm-Below") == [], tab
        assert faint(page, f"{selector} .autoglm-Below", least) == [], tab
    assert len(seen) >= 6
    lowest = contrasts(page, selector)[0]
    print(f"{surface}, {theme}: lowest contrast {lowest.ratio:.2f} ({lowest.text})")
    surfaces.page.screenshot(f"theme-{surface}-{theme}")


@pytest.mark.parametrize("surface", SURFACES)
def test_a_change_of_theme_reaches_text_ground_and_charts(surfaces: Surfaces, surface: str) -> None:
    """Nothing keeps the colours of the theme it was first drawn in: not the chart, not what was out of sight."""
    seen: dict[str, tuple[str, str, str]] = {}
    for theme in THEMES:
        surfaces.show(surface, theme)
        seen[theme] = surfaces.look(surface)
    for part in range(3):
        assert seen["light"][part] != seen["dark"][part]
    assert seen["dark"][2] != seen["contrast"][2]
    surfaces.show("live" if surface == "page" else "page", "dark")
    surfaces.show(surface)
    assert surfaces.look(surface) == seen["dark"], "the theme changed while this was behind another tab"
