"""The page of a study: several objectives, and two people in two browsers at once."""

from __future__ import annotations

from collections.abc import Callable

from autoglm_nb.store import Store
from tests.browser.acting import OBJECTIVES, Actor, act_objectives
from tests.browser.marks import needs_extension
from tests.browser.pages import LabPage
from tests.browser.server import Lab

pytestmark = needs_extension

Open = Callable[..., LabPage]


def _open(page: LabPage, name: str) -> LabPage:
    page.studies().row(name).get_by_role("button", name=f"Open the page of {name}").click()
    page.page.get_by_test_id("autoglm-page").get_by_test_id("autoglm-card").wait_for(timeout=60_000)
    return page


def test_two_objectives_have_a_pareto_front(lab: Lab, open_lab: Open) -> None:
    """The tab is there, draws something, reads the front out, and its table is the front that Optuna finds."""
    store = Store(lab.folder / ".autoglm")
    front = act_objectives(store, "rivals")
    page = _open(open_lab("pareto.ipynb"), "rivals")
    page.page.get_by_test_id("autoglm-tab-pareto").click()
    panel = page.page.locator(".autoglm-TabPanel:not([hidden])")
    panel.get_by_text("on the front").wait_for()
    chart = panel.get_by_role("application")
    page.page.wait_for_function(
        "c => c && c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0)",
        arg=panel.locator("canvas").first.element_handle(),
    )
    chart.focus()
    page.page.keyboard.press("Home")
    page.page.keyboard.press("End")
    read = page.page.get_by_test_id("autoglm-page").get_by_role("status").first
    read.filter(has_text=f"Trial {front[-1][0]}: ").wait_for(timeout=60_000)
    assert all(name in read.inner_text() for name in ("accuracy", "latency"))
    page.screenshot("page-pareto")
    panel.get_by_role("button", name="Table").click()
    rows = panel.locator("table tbody tr")
    rows.first.wait_for()
    numbers = [int(rows.nth(i).locator("th, td").first.inner_text().lstrip("#")) for i in range(rows.count())]
    assert numbers == [number for number, _ in front]
    assert panel.locator("table caption").inner_text() == "Trials on the Pareto front"
    assert panel.locator("thead th").count() == 1 + len(OBJECTIVES)
    store.delete_study("rivals")
    store.close()


def test_one_objective_has_no_pareto_tab(open_lab: Open, act: Callable[..., Actor]) -> None:
    """A front of one objective would be the best trial."""
    act("alone")
    page = _open(open_lab("alone.ipynb"), "alone")
    assert page.page.get_by_test_id("autoglm-tab-parameters").is_visible()
    assert page.page.get_by_test_id("autoglm-tab-pareto").is_hidden()


def test_two_browsers_on_one_study_lose_nothing(open_lab: Open, act: Callable[..., Actor]) -> None:
    """Two people write at once: both see both notes, and who pauses is seen by the other; the store has everything."""
    actor = act("shared")
    pages = [_open(open_lab(f"person{i}.ipynb"), "shared") for i in range(2)]
    words = ["Rank 32 does not pay.", "Try 16 next time."]
    for page in pages:
        page.page.get_by_test_id("autoglm-tab-notes").click()
    for page, said in zip(pages, words, strict=True):
        page.page.get_by_label("A note on the study").fill(said)
    for page in pages:  # neither waits for the other
        page.page.locator(".autoglm-Notes form").get_by_role("button", name="Save").click(no_wait_after=True)
    for page in pages:
        for said in words:
            page.page.locator(".autoglm-Notes-list").get_by_text(said).wait_for(timeout=60_000)
    assert sorted(note["text"] for note in actor.store.notes("shared")) == sorted(words)
    one, two = (page.page.get_by_test_id("autoglm-page") for page in pages)
    one.get_by_test_id("autoglm-pause").click()
    two.get_by_test_id("autoglm-state").filter(has_text="paused").wait_for(timeout=60_000)
    two.get_by_test_id("autoglm-pause").click()
    one.get_by_test_id("autoglm-state").filter(has_text="running").wait_for(timeout=60_000)
