"""A real study from a cell in JupyterLab: running, finished, refreshed, reopened, explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import tiny
from tests.browser.pages import NotebookPage
from tests.browser.server import Lab

Open = Callable[..., NotebookPage]

OPTIONS = "--model ./tiny --data reviews.csv --target label --strategy random --seeds 2"
BODY = """
learning_rate = loguniform(1e-4, 1e-2)
method        = choice("lora", "head")
if method == "lora":
    rank      = choice(2, 4)
epochs        = {epochs}"""


@pytest.fixture(scope="module")
def data(lab: Lab) -> Path:
    """A tiny model and a learnable data set beside the notebooks."""
    tiny.tiny_encoder(lab.folder / "tiny")
    tiny.toy_reviews(120).to_csv(lab.folder / "reviews.csv", index=False)
    return lab.folder


def _start(name: str, *, trials: int, epochs: int) -> str:
    return f"%%autotune {OPTIONS} --name {name} --trials {trials}" + BODY.format(epochs=epochs)


def test_a_study_from_the_cell_to_the_explanation(lab: Lab, data: Path, open_notebook: Open) -> None:
    """The cell returns, `1 + 1` answers, the record ends finished, `%explain` fills its place, reopening is clean."""
    cells = ["%load_ext autoglm_nb", _start("one", trials=5, epochs=24), "1 + 1", "%autotune wait one", "%explain one"]
    page = open_notebook(lab.write("study.ipynb", cells)).kernel_idle()
    page.run(0).run(1, 60).run(2)
    page.wait_text(2, "2")
    page.wait_text(1, "running", 90)
    page.screenshot("study-running", 1)
    page.run(3, wait=False).wait_text(3, "✓ finished", 240)
    page.wait_text(1, "✓ finished")
    page.screenshot("study-finished", 1)
    assert "which selection never saw" in page.text(1)
    assert "jupyter-widgets" not in page.output(1).inner_html()
    page.run(4).wait_text(4, "The answer", 120)
    page.screenshot("study-explained", 4)
    page.kernel_idle().save().close()
    lab.shut_kernels()
    again = open_notebook("study.ipynb")
    again.wait_text(1, "✓ finished").wait_text(4, "The answer")
    again.screenshot("study-reopened", 1)
    assert "Error displaying widget" not in again.text(1)


def test_attach_after_refresh_and_kernel_restart(lab: Lab, data: Path, open_notebook: Open) -> None:
    """A study goes on without its kernel; another kernel attaches, stops it, and the record says so."""
    cells = ["%load_ext autoglm_nb", _start("two", trials=500, epochs=60), "%autotune attach two"]
    page = open_notebook(lab.write("restart.ipynb", cells)).kernel_idle()
    page.run(0).run(1, 60)
    page.output(1).locator("progress").first.wait_for(timeout=120_000)
    page.save().refresh().kernel_idle()
    page.output(1).locator("progress").first.wait_for(timeout=60_000)
    page.screenshot("study-refreshed", 1)
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.page.wait_for_timeout(1000)
    page.kernel_idle(90)
    page.run(0).run(2, 60)
    page.output(2).locator("progress").first.wait_for(timeout=60_000)
    page.screenshot("study-attached", 2)
    page.output(2).get_by_role("button", name="Stop", exact=True).first.click()
    page.wait_text(2, "■ stopped", 60)
    page.screenshot("study-stopped", 2)


def test_mistakes_are_sentences_in_the_cell(lab: Lab, data: Path, open_notebook: Open) -> None:
    """All faults of a cell at once, without a traceback, on the page."""
    wrong = "%%autotune --modle x --data reviews.csv --target lable --trials -3\nrank = choice()"
    cells = ["%load_ext autoglm_nb", wrong]
    page = open_notebook(lab.write("mistakes.ipynb", cells)).kernel_idle()
    page.run(0).run(1)
    page.wait_text(1, "things to change before this can run:")
    page.screenshot("study-mistakes", 1)
    for part in ("There is no option `--modle`", "Did you mean '--model'", "`--trials`", "rank"):
        assert part in page.text(1)
    assert "Traceback" not in page.text(1)
