"""The live view in JupyterLab with an acted study: running, pausing, finished, reopened, refreshed."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.pages import NotebookPage
from tests.browser.server import Lab

Open = Callable[..., NotebookPage]

SETUP = """import os
os.environ["AUTOGLM_VIEW"] = "stock"
from tests.notebook.fakes import FakeHandle
from autoglm_nb.notebook import cards
handle = FakeHandle()"""
SHOW = "card = cards.open_card(handle, live=True, cell='c1')"


def _opened(lab: Lab, open_notebook: Open, name: str, *cells: str) -> NotebookPage:
    page = open_notebook(lab.write(name, [SETUP, SHOW, *cells])).kernel_idle()
    page.run(0).run(1)
    page.output(1).locator("progress").first.wait_for(timeout=60_000)
    return page


def test_card_shows_record_and_live_view_and_ends_with_the_record_alone(lab: Lab, open_notebook: Open) -> None:
    """While running: both. Finished: the record says so, the widget is gone, and a reopened notebook is clean."""
    page = _opened(lab, open_notebook, "live.ipynb", "handle.play(ticks=6, seconds=0.4).join()", "1 + 1")
    page.screenshot("live-running", 1)
    if page.shots is not None:
        page.theme(dark=True).screenshot("live-running-dark", 1)
        page.theme(dark=False)
    page.run(2, wait=False)
    page.wait_text(1, "✓ finished")
    page.until(lambda: page.output(1).locator("progress:visible").count() == 0)
    page.screenshot("live-finished", 1)
    assert page.output(1).locator("table caption").count() >= 2
    page.kernel_idle().save()
    saved = lab.read("live.ipynb")
    assert "widget-view" not in str(saved.cells[1].outputs)
    assert "widgets" not in saved.metadata
    page.close()
    lab.shut_kernels()
    again = open_notebook("live.ipynb")
    again.wait_text(1, "✓ finished")
    again.page.wait_for_timeout(1500)
    again.screenshot("live-reopened", 1)
    assert "Error displaying widget" not in again.text(1)
    assert "model not found" not in again.text(1).lower()


def test_buttons_answer_while_a_cell_runs(lab: Lab, open_notebook: Open) -> None:
    """Pause is handled on a subshell thread, so a kernel that waits in a cell does not delay it."""
    asleep = "import time; print('asleep', flush=True); time.sleep(600)"
    page = _opened(lab, open_notebook, "busy.ipynb", asleep, "print(handle.asked)")
    page.run(2, wait=False).wait_text(2, "asleep")
    page.output(1).get_by_role("button", name="Pause", exact=True).click()
    page.output(1).get_by_role("button", name="Resume", exact=True).wait_for(timeout=60_000)
    page.wait_text(1, "‖ paused")
    page.screenshot("live-paused", 1)
    page.command("notebook:interrupt-kernel")
    page.wait_text(2, "KeyboardInterrupt")
    page.run(3).wait_text(3, "['pause']")


def test_view_returns_after_a_refresh_and_ends_without_an_error(lab: Lab, open_notebook: Open) -> None:
    """F5 in mid-run: the widgets come back from the kernel; at the end nothing broken is left on the page."""
    page = _opened(lab, open_notebook, "refresh.ipynb", "handle.finish()")
    page.save().refresh().kernel_idle()
    page.output(1).locator("progress").first.wait_for(timeout=60_000)
    page.screenshot("live-refreshed", 1)
    page.run(2)
    page.output(1).locator("progress").first.wait_for(state="detached", timeout=60_000)
    page.page.wait_for_timeout(500)
    page.screenshot("live-refreshed-finished", 1)
    assert "Error displaying widget" not in page.text(1)
    page.save().close()
    lab.shut_kernels()
    again = open_notebook("refresh.ipynb")
    # JupyterLab forgets display ids on a reload, so what is saved is the record as of the refresh: it tells the story.
    again.wait_text(1, "Best so far 0.847 accuracy")
    again.screenshot("live-refreshed-reopened", 1)


def test_view_is_gone_after_the_kernel_is_shut_down(lab: Lab, open_notebook: Open) -> None:
    """A kernel that ends in mid-run empties its views, so the notebook saved afterwards reopens clean."""
    page = _opened(lab, open_notebook, "shutdown.ipynb")
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.page.wait_for_function(
        "() => !JSON.stringify(window.jupyterapp.shell.currentWidget.content.widgets[1].model.outputs.toJSON())"
        ".includes('widget-view')",
        timeout=60_000,
    )
    page.save()
    assert "widget-view" not in str(lab.read("shutdown.ipynb").cells[1].outputs)


def test_ticks_cost_few_messages(lab: Lab, open_notebook: Open) -> None:
    """Ten ticks of two running trials stay far below the rate at which a server drops messages."""
    page = open_notebook(lab.write("rate.ipynb", [SETUP, SHOW, "handle.play(ticks=10, seconds=0.5).join()"]))
    counted: list[int] = []

    def listen(socket: object) -> None:
        socket.on("framereceived", lambda payload: counted.append(1))  # type: ignore[attr-defined]

    page.page.on("websocket", listen)
    page.refresh().kernel_idle()
    page.run(0).run(1)
    page.output(1).locator("progress").first.wait_for(timeout=60_000)
    page.page.wait_for_timeout(500)
    before = len(counted)
    page.run(2, wait=False)
    page.wait_text(1, "✓ finished")
    assert 10 <= len(counted) - before <= 200
