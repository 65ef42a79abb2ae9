"""Sidebar, status bar, pages and commands in a real JupyterLab, with workers that act."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autoglm_nb.protocol import StudyState
from tests.browser.acting import Actor
from tests.browser.looks import faint, violations
from tests.browser.marks import needs_axe, needs_extension
from tests.browser.pages import LabPage
from tests.browser.server import Lab, start_lab, stop_lab

IN_KERNEL = """from tests.browser.acting import Actor
actor = Actor({home!r}, {name!r}, device={device!r}, notebook={notebook!r})"""

pytestmark = needs_extension

Open = Callable[..., LabPage]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab of its own, whose studies are those of these tests alone."""
    server = start_lab(tmp_path_factory.mktemp("sidebar"))
    yield server
    stop_lab(server)


def _set(lab: Lab, plugin: str, values: dict[str, Any]) -> None:
    """Store settings as the settings editor does."""
    body = json.dumps({"raw": json.dumps(values)}).encode()
    request = urllib.request.Request(f"{lab.url}/lab/api/settings/{plugin}", body, method="PUT")
    urllib.request.urlopen(request, timeout=60).close()


def test_studies_of_two_notebooks_are_in_one_list(lab: Lab, open_lab: Open) -> None:
    """Two kernels, one list: running first, with the notebook each came from; the status bar counts them."""
    home = str(lab.folder / ".autoglm")
    pages = []
    for name, notebook, device in (("alpha", "one.ipynb", "cuda:6"), ("beta", "two.ipynb", "cuda:7")):
        cell = IN_KERNEL.format(home=home, name=name, notebook=notebook, device=device)
        page = open_lab(notebook, cell, "actor.finish()", "actor.store.delete_study(actor.name)")
        page.kernel_idle().run(0)
        pages.append(page)
    one, two = pages
    one.studies()
    one.shows("alpha", "running")
    one.shows("beta", "two.ipynb")
    assert one.page.get_by_test_id("autoglm-study-row").count() == 2
    one.page.wait_for_function(
        "() => document.querySelector('[data-running]')?.dataset.running === '2'", timeout=60_000
    )
    assert "2" in one.status.inner_text()
    row = one.row("alpha").inner_text()
    assert "0.803 accuracy" in row
    assert "+0.063" in row
    assert "6 of 12" in row
    one.screenshot("sidebar-light")
    one.theme(dark=True).screenshot("sidebar-dark")
    one.theme(dark=False)
    one.row("beta").get_by_role("button", name="Open the notebook two.ipynb").or_(
        one.row("beta").get_by_text("two.ipynb")
    ).first.click()
    one.in_front("two.ipynb")
    two.run(1)
    one.shows("beta", "finished")
    first = one.page.get_by_test_id("autoglm-study-row").first
    assert "alpha" in first.inner_text(), "what runs stands above what is finished"
    one.page.get_by_role("searchbox", name="Filter studies").fill("two.ipynb")
    one.row("alpha").wait_for(state="detached")
    assert one.row("beta").count() == 1
    one.command("docmanager:open", path="one.ipynb")
    one.in_front("one.ipynb")
    one.run(1).run(2)
    two.run(2)
    lab.shut_kernels()


def test_pause_resume_and_stop_from_the_sidebar(open_lab: Open, act: Callable[..., Actor]) -> None:
    """What one browser asks for, the worker does and the other browser sees; a stop is asked about first."""
    act("gamma")
    one, two = open_lab("p1.ipynb").studies(), open_lab("p2.ipynb").studies()
    one.shows("gamma", "running")
    one.row("gamma").get_by_role("button", name="Pause gamma").click()
    one.shows("gamma", "paused")
    two.shows("gamma", "paused")
    two.row("gamma").get_by_role("button", name="Resume gamma").click()
    one.shows("gamma", "running")
    one.row("gamma").get_by_role("button", name="Stop gamma").click()
    dialog = one.page.get_by_role("dialog")
    dialog.get_by_text("Stop gamma?").wait_for()
    one.screenshot("sidebar-stop")
    dialog.get_by_role("button", name="Let it run").click()
    one.page.wait_for_timeout(1500)
    one.shows("gamma", "running")
    one.row("gamma").get_by_role("button", name="Stop gamma").click()
    one.page.get_by_role("dialog").get_by_role("button", name="Stop", exact=True).click()
    two.shows("gamma", "stopped")
    assert two.row("gamma").get_by_role("button", name="Pause gamma").count() == 0


def test_attach_shows_the_study_in_the_active_notebook(open_lab: Open, act: Callable[..., Actor]) -> None:
    """One click: a cell that loads the magics where that is missing, run at once, with the study below it."""
    act("delta force")
    page = open_lab("attach.ipynb", "1 + 1").studies().kernel_idle()
    page.row("delta force").get_by_role("button", name="Show delta force in the active notebook").click()
    page.page.locator(".jp-Notebook .jp-OutputArea").get_by_text("delta force").locator("visible=true").first.wait_for(
        timeout=60_000
    )
    assert page.sources()[1] == '%load_ext autoglm_nb\n%autotune attach "delta force"'
    page.screenshot("sidebar-attached")


def test_page_and_sidebar_come_back_after_a_reload(lab: Lab, open_lab: Open, act: Callable[..., Actor]) -> None:
    """The layout restorer knows both, the page in front; it is the whole card, live from the server."""
    actor = act("epsilon")
    page = open_lab("restore.ipynb", workspace="restore").studies()
    page.row("epsilon").get_by_role("button", name="Open the page of epsilon").click()
    card = page.page.get_by_test_id("autoglm-page").get_by_test_id("autoglm-card")
    card.get_by_text("0.803").first.wait_for(timeout=60_000)
    page.screenshot("page-light")
    page.theme(dark=True).screenshot("page-dark")
    page.theme(dark=False)

    def saved() -> bool:
        with urllib.request.urlopen(f"{lab.url}/lab/api/workspaces/restore", timeout=60) as answer:
            layout = json.load(answer)["data"].get("layout-restorer:data", {})
        return str((layout.get("main") or {}).get("current")).endswith(":epsilon")

    page.until(saved)  # JupyterLab saves its layout a moment after a change
    page.page.reload()
    page.in_front("epsilon")
    card.get_by_text("0.803").first.wait_for(timeout=60_000)
    page.sidebar.wait_for(timeout=60_000)
    # The page asks again by itself: the next answer to come is the first that could tell of an end.
    page.page.wait_for_event("response", lambda answer: answer.url.split("?")[0].endswith("/epsilon"), timeout=60_000)
    actor.finish()
    card.get_by_test_id("autoglm-state").filter(has_text="finished").wait_for(timeout=60_000)
    page.screenshot("page-restored")


def test_everything_by_keyboard(open_lab: Open, act: Callable[..., Actor]) -> None:
    """Palette, arrow keys between studies, Tab to a study's buttons, Enter for each; the focus stays visible."""
    act("zeta")
    act("eta")
    page = open_lab("keys.ipynb").kernel_idle()
    page.page.keyboard.press("Control+Shift+C")
    page.page.wait_for_function("() => document.activeElement?.closest('.lm-CommandPalette') != null")
    page.page.keyboard.type("Show Studies")
    page.page.locator(".lm-CommandPalette-item.lm-mod-active").filter(has_text="Show Studies").wait_for()
    page.page.keyboard.press("Enter")
    page.shows("eta", "running")
    focused = "() => document.activeElement?.getAttribute('aria-label') ?? ''"
    page.page.wait_for_function("() => document.activeElement?.closest('.jp-autoglm-sidebar') !== null", timeout=60_000)
    for _ in range(12):
        if page.page.evaluate("() => document.activeElement?.tagName === 'LI'"):
            break
        page.page.keyboard.press("Tab")
    assert page.page.evaluate(focused).startswith("eta, running, 0.803 accuracy"), "the youngest comes first"
    page.page.keyboard.press("ArrowDown")
    assert page.page.evaluate(focused).startswith("zeta")
    outline = page.page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    for _ in range(8):
        page.page.keyboard.press("Tab")
        if page.page.evaluate(focused) == "Pause zeta":
            break
    page.page.keyboard.press("Enter")
    page.shows("zeta", "paused")
    page.shows("eta", "running")
    page.page.keyboard.press("ArrowUp")
    page.page.keyboard.press("Enter")
    page.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget?.title.label !== 'keys.ipynb'", timeout=60_000
    )


def test_chinese_needs_no_language_pack(lab: Lab, open_lab: Open, act: Callable[..., Actor]) -> None:
    """With the locale set to Chinese, sidebar, palette, page and settings are Chinese."""
    act("theta")
    with urllib.request.urlopen(f"{lab.url}/lab/api/translations", timeout=60) as answer:
        assert "zh_CN" in json.load(answer)["data"], "Chinese can be chosen in the Language menu"
    plugin = "@jupyterlab/translation-extension:plugin"
    _set(lab, plugin, {"locale": "zh_CN"})
    try:
        page = open_lab("chinese.ipynb").studies()
        page.shows("theta", "运行中")
        assert page.row("theta").get_by_role("button", name="暂停 theta").inner_text() == "暂停"
        assert page.sidebar.get_by_role("heading", name="研究", exact=True).count() == 1
        page.row("theta").get_by_role("button", name="打开 theta 的页面").click()
        page.page.get_by_test_id("autoglm-page").get_by_text("目前最佳").first.wait_for(timeout=60_000)
        page.screenshot("sidebar-chinese")
        label = page.page.evaluate("() => window.jupyterapp.commands.label('autoglm:show-studies')")
        assert label == "显示研究"
        page.command("settingeditor:open", query="AutoGLM")
        page.page.get_by_text("更新间隔（秒）").first.wait_for(timeout=60_000)
        page.screenshot("settings-chinese")
    finally:
        _set(lab, plugin, {"locale": "en"})


def test_settings_take_effect_at_once(lab: Lab, open_lab: Open, act: Callable[..., Actor]) -> None:
    """The sidebar changes sides and the status item goes as soon as the editor has them, without a reload."""
    act("iota")
    page = open_lab("settings.ipynb").studies()
    page.status.wait_for(timeout=60_000)
    page.command("settingeditor:open", query="AutoGLM")
    form = page.page.locator(".jp-SettingsForm")
    form.locator("select").first.select_option(label="Right")
    page.page.locator("#jp-right-stack #autoglm-studies").wait_for(state="attached", timeout=60_000)
    form.get_by_text("Show running studies in the status bar").click()
    page.status.wait_for(state="hidden", timeout=60_000)
    page.screenshot("settings")
    _set(lab, "autoglm-nb:plugin", {})


def test_without_studies_the_list_teaches_and_without_a_server_it_says_so(open_lab: Open) -> None:
    """No extension: a sentence with its remedy and Try again. No study: an example cell, which Insert inserts."""
    page = open_lab("empty.ipynb", "1 + 1").kernel_idle()
    page.page.route("**/autoglm/api/**", lambda route: route.fulfill(status=404, body="not here"))
    page.studies()
    alert = page.sidebar.locator(".jp-autoglm-fault")
    alert.get_by_text("jupyter server extension enable autoglm_nb").wait_for(timeout=60_000)
    page.screenshot("sidebar-fault")
    page.page.unroute("**/autoglm/api/**")
    page.page.route("**/autoglm/api/studies?*", lambda route: route.fulfill(json=_answer({"studies": [], "etag": ""})))
    alert.get_by_role("button", name="Try again").click()
    page.page.get_by_test_id("autoglm-empty").wait_for(timeout=60_000)
    page.screenshot("sidebar-empty")
    page.page.get_by_test_id("autoglm-insert").click()
    page.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.length === 3", timeout=60_000
    )
    page.until(lambda: page.sources()[1] == "%load_ext autoglm_nb")
    assert page.sources()[2].startswith("%%autotune --model minilm")


def test_hostile_text_stays_text_and_nothing_is_asked_unseen(open_lab: Open, act: Callable[..., Actor]) -> None:
    """A model called like a script runs nothing, in the list or on the page; a closed sidebar asks nothing."""
    hostile = "<img src=x onerror=window.hacked=1>"
    act("kappa", model=hostile, notebook=f"{hostile}.ipynb")
    page = open_lab("hostile.ipynb").studies()
    page.shows("kappa", hostile)
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url) if "/autoglm/api/" in request.url else None)
    page.page.wait_for_timeout(5000)
    assert sum("/studies" in url for url in asked) <= 4, "every two seconds while one looks"
    page.until(lambda: sum("/studies" in url for url in asked) >= 2)
    page.command("application:toggle-left-area")
    page.sidebar.wait_for(state="hidden")
    page.page.wait_for_timeout(500)
    asked.clear()
    page.page.wait_for_timeout(4000)
    assert len(asked) <= 1, "and hardly while nobody does: only the status bar is shown"
    assert not any("resources" in url for url in asked)
    page.studies().row("kappa").get_by_role("button", name="Open the page of kappa").click()
    page.page.get_by_test_id("autoglm-page").get_by_text("0.803").first.wait_for(timeout=60_000)
    assert page.page.evaluate("() => window.hacked") is None


def test_a_table_becomes_a_study_cell(open_lab: Open) -> None:
    """The cell toolbar's button asks the kernel what the names are and writes the cell below."""
    table = "import pandas as pd\nreviews = pd.DataFrame({'text': ['good', 'bad'], 'Label': [1, 0]})\nreviews.head()"
    page = open_lab("tune.ipynb", table, "1 + 1").kernel_idle()
    page.run(0).kernel_idle()
    page.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0; }")
    button = page.cell(0).locator('[data-jp-item-name="autoglm-tune"] :is(button, jp-button)').first
    button.wait_for(timeout=60_000)
    page.screenshot("cell-toolbar")
    button.click()
    page.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.length === 4", timeout=60_000
    )
    sources = page.sources()
    assert sources[1] == "%load_ext autoglm_nb"
    assert sources[2].startswith("%%autotune --model minilm --data reviews --target Label --trials 12\n")


@needs_axe
def test_axe_finds_nothing(open_lab: Open, act: Callable[..., Actor]) -> None:
    """No violation of WCAG 2.1 A and AA in sidebar and status item, contrast included, in all three themes."""
    act("mu")
    act("nu").finish()
    act("xi").finish(StudyState.FAILED)
    page = open_lab("axe.ipynb").studies()
    page.shows("nu", "finished")
    shown = (".jp-autoglm-sidebar", ".jp-autoglm-status")
    for dark, contrast in ((False, False), (True, False), (True, True)):
        page.theme(dark=dark, contrast=contrast)
        assert violations(page.page, *shown) == [], (dark, contrast)
        assert [faint(page.page, selector) for selector in shown] == [[], []], (dark, contrast)
    page.theme(dark=False)


def _answer(data: dict[str, Any]) -> dict[str, Any]:
    return {"code": 0, "message": "ok", "data": data}
