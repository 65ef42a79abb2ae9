"""A notebook executed without a browser: what is saved, and what nbconvert makes of it."""

from __future__ import annotations

from typing import Any

import nbclient
import nbformat
import pytest

CELLS = (
    "from tests.notebook.fakes import FakeHandle\nfrom autoglm_nb.notebook import cards\nhandle = FakeHandle()",
    "card = cards.open_card(handle, live=True)",
    "handle.play(ticks=4, seconds=0.2).join()",
)


@pytest.fixture(scope="module")
def executed() -> Any:
    """The notebook after nbclient ran it from start to end."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return notebook


@pytest.mark.slow
def test_executed_notebook_holds_the_finished_record_and_no_widget(executed: Any) -> None:
    """The record is updated in its own cell from a later one, and the widget's output is empty."""
    outputs = executed.cells[1].outputs
    assert "✓ finished" in outputs[0].data["text/plain"]
    assert not outputs[0].data["text/html"].startswith("<details")
    assert [dict(output.data) for output in outputs[1:]] == [{"text/plain": ""}]
    assert not any("stream" in output.output_type for cell in executed.cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_nbconvert_page_shows_the_record(executed: Any) -> None:
    """HTML export has the tables and the picture, also where widget state was stored beside them."""
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter().from_notebook_node(executed)
    assert "Best 0.850 accuracy" in page
    assert "which selection never saw" in page
    assert "data:image/svg+xml;base64," in page
