"""Make the pictures of the README: a real study in a real JupyterLab, photographed by a headless Chromium.

The quick start's study, with fewer rows and trials, runs in a notebook of a JupyterLab whose files all lie in a
temporary folder. Each picture is taken in the light and in the dark theme and reduced to 256 colours, which keeps
it small. Needs the built extension (`make`), Chromium and the test dependencies; takes about five minutes.

    .venv/bin/python docs/screenshots.py                # docs/images/*.png
    .venv/bin/python docs/screenshots.py --out folder   # somewhere else
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.browser.pages import LabPage
from tests.browser.server import BUILT, CHROMIUM, FLAGS, Lab, start_lab, stop_lab

IMAGES = Path(__file__).resolve().parent / "images"
MOST_BYTES = 150_000
WINDOW = {"width": 1440, "height": 1000}
TALL = {"width": 1440, "height": 1400}
NOTEBOOK = "movie-reviews.ipynb"
CELLS = [
    "%load_ext autoglm_nb",
    """%%autotune --name reviews --model minilm --data sentiment-domains/movies {options}
learning_rate = loguniform(1e-4, 1e-2)
method        = choice("lora", "dora", "head")
if method in ("lora", "dora"):
    rank      = choice(4, 8, 16)
epochs        = 2""",
    "%autotune note reviews Try more rows next.",
]
STUDY_SECONDS = 300
TRIALS_SEEN = 4
"""So many trials have ended when the running card is photographed."""


class Camera:
    """Takes each picture in both themes."""

    def __init__(self, page: LabPage, out: Path) -> None:
        self.page, self.out = page, out
        self.heavy: list[str] = []

    def both(self, name: str, selector: str | None = None) -> None:
        """Photograph the window, or one element of it, in light and dark."""
        for dark in (False, True):
            self.page.theme(dark=dark)
            self.page.page.wait_for_timeout(600)
            target = self.page.page.locator(selector).first if selector else self.page.page
            self.save(f"{name}-{'dark' if dark else 'light'}", target.screenshot())
        self.page.theme(dark=False)

    def save(self, name: str, png: bytes) -> None:
        """Write a picture with a palette of its own."""
        from PIL import Image

        path = self.out / f"{name}.png"
        picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        picture.save(path, optimize=True)
        size = path.stat().st_size
        print(f"{path.name:<28} {picture.width} x {picture.height}  {size / 1000:.0f} kB", flush=True)
        if size > MOST_BYTES:
            self.heavy.append(path.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, take the pictures; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures (default: docs/images)")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--rows", type=int, default=240)
    options = parser.parse_args(arguments)
    if CHROMIUM is None or not BUILT.exists():
        parser.error("Chromium and the built extension are needed: install the package chromium and run make.")
    from playwright.sync_api import sync_playwright

    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = start_lab(Path(folder) / "jupyter", {"AUTOGLM_AUTHOR": "ada"})
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            size = f"--trials {options.trials} --max-rows {options.rows} --pack 2"
            lab.write(NOTEBOOK, [cell.format(options=size) for cell in CELLS])
            page = LabPage(browser.new_page(viewport=WINDOW), lab, NOTEBOOK)
            camera = Camera(page, options.out)
            _lab(page, camera)
            _record(lab, browser, Path(folder), camera)
        finally:
            browser.close()
            stop_lab(lab)
    if camera.heavy:
        print(f"More than {MOST_BYTES} bytes: {', '.join(camera.heavy)}. Make the window smaller.", file=sys.stderr)
    return 1 if camera.heavy else 0


def _lab(page: LabPage, camera: Camera) -> None:
    """The study from its start to its page."""
    page.page.goto(f"{page.lab.url}/lab/tree/{NOTEBOOK}?reset")
    page.ready().studies().kernel_idle()
    page.run(0, 120).run(1, 120).run(2, 60)
    card = ".jp-Notebook .autoglm-Card"
    page.page.locator(card).first.wait_for(timeout=60_000)
    page.page.wait_for_function(
        "n => [...document.querySelectorAll('[data-testid=autoglm-trials] tbody tr[data-trial]')]"
        ".filter(row => /completed|pruned/.test(row.textContent)).length >= n",
        arg=TRIALS_SEEN,
        timeout=1000 * STUDY_SECONDS,
    )
    page.cell(1).evaluate("e => e.scrollIntoView({ block: 'start' })")
    camera.both("lab")
    page.page.locator(f"{card}[data-state=finished]").first.wait_for(timeout=1000 * STUDY_SECONDS)
    page.page.wait_for_timeout(3000)  # the live view goes, the record takes its place
    page.page.set_viewport_size(TALL)
    camera.both("card", f"{card}[data-state=finished]")
    page.page.set_viewport_size(WINDOW)
    page.row("reviews").get_by_role("button", name="Open the page of reviews").click()
    shown = page.page.get_by_test_id("autoglm-page").get_by_test_id("autoglm-card")
    shown.wait_for(timeout=20_000)
    shown.get_by_test_id("autoglm-tab-parameters").click()
    page.page.wait_for_timeout(1500)
    camera.both("page")
    page.page.locator(".lm-DockPanel-tabBar").get_by_text(NOTEBOOK, exact=True).click()
    page.page.wait_for_timeout(1000)
    page.save()


def _record(lab: Lab, browser: Any, folder: Path, camera: Camera) -> None:
    """The saved notebook as nbconvert shows it: no extension, no script, no kernel."""
    for theme in ("light", "dark"):
        options = ["--to", "html", f"--HTMLExporter.theme={theme}", "--output", theme, "--output-dir", str(folder)]
        command = [sys.executable, "-m", "jupyter", "nbconvert", *options, str(lab.folder / NOTEBOOK)]
        subprocess.run(command, env=lab.env, check=True, capture_output=True)
        page = browser.new_page(viewport={"width": 1000, "height": 1300})
        page.route("http*://**", lambda route: route.abort())
        page.goto((folder / f"{theme}.html").as_uri(), wait_until="domcontentloaded")
        page.locator("img[alt*='est so far']").first.wait_for()
        camera.save(f"record-{theme}", page.locator(".jp-RenderedHTML > div").first.screenshot())
        page.close()


if __name__ == "__main__":
    sys.exit(main())
