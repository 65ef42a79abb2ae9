"""The same extension in Notebook 7: the record and the live card. Skipped where Notebook is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoglm_nb import record
from tests.browser.marks import needs_extension, needs_notebook
from tests.browser.pages import NotebookPage
from tests.browser.server import Lab, start_lab, stop_lab
from tests.record import samples

pytestmark = [needs_extension, needs_notebook]

CELL = """from tests.notebook.fakes import FakeHandle
from autoglm_nb.notebook import cards
handle = FakeHandle("acted")
card = cards.open_card(handle, live=True, cell="c")"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server whose pages are Notebook's."""
    server = start_lab(tmp_path_factory.mktemp("notebook7"), app="notebook")
    yield server
    stop_lab(server)


def test_record_and_live_card_are_those_of_the_extension(lab: Lab, browser: Any, shots: Path | None) -> None:
    """A saved record is drawn as the card; the card of a running study answers the hello, and its buttons work."""
    cells = [CELL, ("1", [record.bundle(samples.finished_snapshot())]), "print(handle.asked)"]
    name = lab.write("seven.ipynb", cells)
    context = browser.new_context(viewport={"width": 1200, "height": 1400})
    page = NotebookPage(context.new_page(), lab, name, shots)
    faults: list[str] = []
    page.page.on("pageerror", lambda error: faults.append(f"{error}\n{error.stack}"))
    page.page.goto(f"{lab.url}/notebooks/{name}")
    page.ready().kernel_idle()
    page.output(1).get_by_test_id("autoglm-card").wait_for(timeout=60_000)
    assert page.output(1).get_by_test_id("autoglm-state").inner_text().endswith("finished")
    page.run(0)
    card = page.output(0).locator(".autoglm-Widget").get_by_test_id("autoglm-card")
    card.wait_for(timeout=60_000)
    card.get_by_test_id("autoglm-pause").click()
    card.get_by_test_id("autoglm-state").filter(has_text="paused").wait_for(timeout=60_000)
    page.screenshot("notebook7")
    page.run(2).wait_text(2, "pause")
    assert [fault for fault in faults if "autoglm" in fault] == [], "Notebook's own faults are its own"
    print(*faults)
    context.close()
