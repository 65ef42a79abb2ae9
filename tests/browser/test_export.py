"""A notebook with a finished record, exported by nbconvert and opened as a file: no server, no kernel, no network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autoglm_nb import record
from tests.browser.looks import faint
from tests.browser.server import Lab
from tests.record import samples


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_exported_html_shows_curve_and_tables(
    lab: Lab, browser: Any, shots: Path | None, tmp_path: Path, theme: str
) -> None:
    """Picture and tables are in sight and legible, the record asks nothing of the network, and nothing fails."""
    bundle = record.bundle(samples.finished_snapshot())
    name = lab.write(f"export-{theme}.ipynb", [("%%autotune --name reviews", [bundle])])
    options = ["--to", "html", f"--HTMLExporter.theme={theme}", "--output-dir", str(tmp_path)]
    command = [sys.executable, "-m", "jupyter", "nbconvert", *options, str(lab.folder / name)]
    subprocess.run(command, env=lab.env, check=True, capture_output=True, timeout=120)
    context = browser.new_context(viewport={"width": 1000, "height": 1500})
    try:
        page = context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.route("http*://**", lambda route: route.abort())  # MathJax and the like of nbconvert's template
        page.goto((tmp_path / f"export-{theme}.html").as_uri(), wait_until="domcontentloaded")
        picture = page.locator("img[alt*='est so far']")
        picture.wait_for(timeout=60_000)
        if shots is not None:
            page.screenshot(path=str(shots / f"export-{theme}.png"))
        assert picture.evaluate("i => i.decode().then(() => i.naturalWidth)") > 100
        assert str(picture.get_attribute("src")).startswith("data:")
        assert page.locator("table caption:visible").count() >= 3
        text = page.locator("body").inner_text()
        assert "Best 0.850 accuracy" in text
        assert "which selection never saw" in text
        assert "Traceback" not in text
        assert "Error displaying widget" not in text
        assert page.locator(".jp-RenderedHTML").count() == 1
        assert "http" not in page.locator(".jp-RenderedHTML").inner_html(), "nothing of the record lies elsewhere"
        assert faint(page, ".jp-RenderedHTML > div") == []
        assert faults == []
    finally:
        context.close()
