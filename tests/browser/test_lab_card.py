"""The lab extension's card in JupyterLab: live from the kernel, from the server, and standing still.

The first test trains a tiny model; the others use studies written into the store, because what they
check is the drawing. `AUTOGLM_SCREENSHOTS` keeps the pictures, which were looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from autoglm_nb import record
from autoglm_nb.protocol import STUDY_MIME
from autoglm_nb.store import Store, snapshot
from benchmarks.store import fill
from tests import tiny
from tests.browser.looks import colours, faint
from tests.browser.marks import needs_extension
from tests.browser.pages import NotebookPage
from tests.browser.server import Lab
from tests.record import samples

pytestmark = needs_extension

Open = Callable[..., NotebookPage]

OPTIONS = "--model ./tiny --data reviews.csv --target label --strategy random --seeds 2"
BODY = """
learning_rate = loguniform(1e-4, 1e-2)
method        = choice("lora", "head")
if method == "lora":
    rank      = choice(2, 4)
epochs        = {epochs}"""
TABS = ("parameters", "curves", "space", "resources", "notes", "provenance")
TRIALS = 10_000
PAINT = """async () => {
  const cell = window.jupyterapp.shell.currentWidget.content.widgets[0];
  const outputs = cell.model.outputs;
  const data = outputs.get(0).toJSON();
  outputs.clear();
  await new Promise(r => setTimeout(r, 300));
  const long = [];
  const watch = new PerformanceObserver(l => l.getEntries().forEach(e => long.push(e.duration)));
  watch.observe({ type: 'longtask' });
  const started = performance.now();
  outputs.add(data);
  const rows = '[data-testid=autoglm-trials] tbody tr.autoglm-Row[data-trial]';
  const painted = () => document.querySelector('.uplot canvas') && document.querySelectorAll(rows).length > 5;
  while (!painted()) { await new Promise(r => requestAnimationFrame(r)); }
  await new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)));
  const paint = performance.now() - started;
  const live = () => document.body.innerText.includes('live, from the server');
  while (!live() && performance.now() < started + 20000) { await new Promise(r => setTimeout(r, 20)); }
  const table = () => document.querySelector('[data-testid=autoglm-trials]');
  const rowcount = () => table()?.getAttribute('aria-rowcount');
  const late = () => performance.now() - started > 20000;
  while (rowcount() !== '10001' && !late()) { await new Promise(r => setTimeout(r, 20)); }
  return { paint, whole: performance.now() - started, long };
}"""
"""Puts the first cell's output there once more: milliseconds to its first picture, and to the server's figures."""
TIDY = """mime => {
  const found = window.jupyterapp.shell.currentWidget.content.widgets[1].model.outputs.toJSON().map(o => o.data ?? {});
  const dead = found.some(data => String(data['text/plain'] ?? '').includes('Live view of'));
  return !dead && found.some(data => data[mime]?.study.state === 'finished');
}"""
"""Whether the second cell's outputs are the finished record, and no live view any more."""


@pytest.fixture(scope="module")
def data(lab: Lab) -> Path:
    """A tiny model and a learnable data set beside the notebooks."""
    if not (lab.folder / "tiny").exists():
        tiny.tiny_encoder(lab.folder / "tiny")
        tiny.toy_reviews(120).to_csv(lab.folder / "reviews.csv", index=False)
    return lab.folder


@pytest.fixture(scope="module")
def large(lab: Lab) -> Iterator[Store]:
    """A study of 10,000 trials in the store of the lab."""
    store = Store(lab.folder / ".autoglm")
    if not store.has_study("large"):
        fill(store, "large", TRIALS)
    yield store
    store.close()


def _start(name: str, *, trials: int, epochs: int) -> str:
    return f"%%autotune {OPTIONS} --name {name} --trials {trials}" + BODY.format(epochs=epochs)


def _card(page: NotebookPage, cell: int) -> Any:
    return page.output(cell).get_by_test_id("autoglm-card").first


def _errors(page: NotebookPage) -> list[str]:
    """Uncaught errors of the page from here on."""
    found: list[str] = []
    page.page.on("pageerror", lambda error: found.append(str(error)))
    return found


def _state(page: NotebookPage, cell: int, state: str, seconds: float = 90) -> None:
    page.page.wait_for_function(
        "([i, s]) => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')[i]"
        ".querySelectorAll('[data-testid=autoglm-card]')].some(c => c.dataset.state === s)",
        arg=[cell, state],
        timeout=seconds * 1000,
    )


def test_card_is_live_pauses_returns_after_refresh_and_ends_as_a_record(
    lab: Lab, data: Path, open_notebook: Open
) -> None:
    """One real study: the card follows it, Pause and Resume reach it, F5 brings it back, no dead widget is left."""
    cells = ["%load_ext autoglm_nb", _start("carded", trials=8, epochs=30), "%autotune wait carded"]
    page = open_notebook(lab.write("card.ipynb", cells), width=1200).kernel_idle()
    errors = _errors(page)
    page.run(0).run(1, 60)
    _card(page, 1).wait_for(timeout=60_000)
    assert page.output(1).locator(".autoglm-Widget").count() == 1
    assert page.output(1).get_by_test_id("autoglm-card").count() == 1  # the record beside it is folded away
    _state(page, 1, "running")
    page.output(1).locator(".autoglm-Run progress").first.wait_for(timeout=60_000)
    page.page.wait_for_function(
        "() => document.querySelectorAll('[data-testid=autoglm-trials] tbody tr').length >= 2", timeout=90_000
    )
    page.screenshot("card-running", 1)
    page.output(1).get_by_test_id("autoglm-pause").click()
    _state(page, 1, "paused", 60)
    page.screenshot("card-paused", 1)
    page.save().refresh().kernel_idle()
    _card(page, 1).wait_for(timeout=60_000)
    _state(page, 1, "paused")
    page.output(1).get_by_test_id("autoglm-pause").click()
    _state(page, 1, "running", 60)
    page.screenshot("card-refreshed", 1)
    _state(page, 1, "finished", 240)
    page.wait_text(1, "which selection never saw")
    assert "Error displaying widget" not in page.text(1)
    page.output(1).locator(".autoglm-Widget .autoglm-Card").wait_for(state="detached", timeout=60_000)
    for tab in TABS:
        page.output(1).get_by_test_id(f"autoglm-tab-{tab}").click()
        page.output(1).locator(".autoglm-TabPanel:not([hidden])").wait_for()
        page.page.wait_for_timeout(200)
        page.screenshot(f"card-{tab}", 1)
    page.output(1).get_by_test_id("autoglm-tab-trials").click()
    page.screenshot("card-finished", 1)
    if page.shots is not None:
        page.theme(dark=True).screenshot("card-finished-dark", 1)
        page.resize(520).screenshot("card-finished-dark-narrow", 1)
        page.resize(1200).theme(dark=False)
    # The page was reloaded in mid-run, so the kernel could not bring the record up to date: the page does.
    page.page.wait_for_function(TIDY, arg=STUDY_MIME, timeout=60_000)
    page.save()
    saved = lab.read("card.ipynb").cells[1].outputs
    records = [o.data[STUDY_MIME] for o in saved if STUDY_MIME in o.get("data", {})]
    assert [r["study"]["state"] for r in records] == ["finished"]
    assert "folded" not in records[0]
    assert any("✓ finished" in o.data.get("text/plain", "") for o in saved if "data" in o)
    assert not any("Live view of" in o.data.get("text/plain", "") for o in saved if "data" in o)
    assert errors == []
    page.close()
    lab.shut_kernels()
    again = open_notebook("card.ipynb", width=1200)
    _state(again, 1, "finished")
    again.page.wait_for_timeout(1000)
    assert "Error displaying widget" not in again.text(1)
    assert again.output(1).get_by_test_id("autoglm-card").count() == 1


def test_ten_thousand_trials_are_painted_within_half_a_second(lab: Lab, large: Store, open_notebook: Open) -> None:
    """First paint from the click to the chart; scrolling to the end and sorting ask for pages; updates are short."""
    page = open_notebook(lab.write("large.ipynb", [("1", [record.bundle(samples.finished_snapshot())])]), width=1200)
    page.page.wait_for_timeout(1500)
    _card(page, 0).wait_for()
    bundle = record.bundle(snapshot(large, "large"))
    name = lab.write("large2.ipynb", [("1", [bundle])])
    page = open_notebook(name, width=1200)
    errors = _errors(page)
    page.page.get_by_text("live, from the server").wait_for(timeout=60_000)
    paints = [page.page.evaluate(PAINT) for _ in range(2)]
    took = min(paints, key=lambda found: float(found["paint"]))
    page.screenshot("card-10000", 0)
    print(f"10,000 trials: first paint {took['paint']:.0f} ms, all from the server {took['whole']:.0f} ms")
    assert took["paint"] <= 500
    table = page.output(0).get_by_test_id("autoglm-trials")
    assert table.get_attribute("aria-rowcount") == str(TRIALS + 1)
    assert table.locator("tbody tr").count() < 60  # only what is in view exists
    page.output(0).locator(".autoglm-Trials-scroll").evaluate("e => { e.scrollTop = e.scrollHeight; }")
    table.locator('tr[data-trial="0"]').wait_for(timeout=60_000)
    table.get_by_role("button", name="Value").or_(table.get_by_role("button", name="Accuracy")).first.click()
    best = snapshot(large, "large", limit=1)["headline"]["best_trial"]
    page.until(lambda: table.locator("tr.autoglm-Row").first.get_attribute("data-trial") == str(best))
    page.output(0).get_by_label("Filter trials").fill("state:failed")
    page.page.get_by_text(f"{TRIALS // 5} of {TRIALS} trials").wait_for(timeout=60_000)
    assert errors == []


def test_updates_of_a_large_study_are_short_and_small(lab: Lab, large: Store, open_notebook: Open) -> None:
    """Live from the kernel at 10,000 trials: main-thread time and bytes of each update, measured and printed."""
    cells = [
        "import os, time\nos.environ['AUTOGLM_VIEW'] = 'lab'\n"
        "from pathlib import Path\nfrom autoglm_nb.store import Store, snapshot\n"
        "from tests.notebook.fakes import FakeHandle\nfrom autoglm_nb.notebook import cards\n"
        "store = Store(Path('.autoglm'))\npicture = snapshot(store, 'large', limit=200)\n"
        "picture['study']['state'] = 'running'\n"
        "handle = FakeHandle('large', picture, home='.autoglm')\ncard = cards.open_card(handle, cell='c')",
        "step = globals().get('step', 0)\nfor _ in range(8):\n    step += 1\n"
        "    trial = handle.current['trials'][-1 - step]\n"
        "    trial.update(state='running', progress=step / 24, step=step)\n"
        "    handle.tell(finished=9_000 + step)\n    time.sleep(0.5)",
        "for _ in range(8):\n    time.sleep(0.5)",
    ]
    page = open_notebook(lab.write("updates.ipynb", cells), width=1200).kernel_idle()
    errors, received = _errors(page), [0]
    page.page.on("websocket", lambda s: s.on("framereceived", lambda f: received.__setitem__(0, received[0] + len(f))))
    page.refresh().kernel_idle()
    page.run(0)
    _card(page, 0).wait_for(timeout=60_000)
    page.page.wait_for_timeout(2500)
    session = page.page.context.new_cdp_session(page.page)
    session.send("Performance.enable")

    def busy() -> float:
        found = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
        return float(found["ScriptDuration"] + found["LayoutDuration"] + found["RecalcStyleDuration"])

    spent: list[float] = []
    bytes_each: list[int] = []
    for _ in range(3):  # the machine may be busy with something else in one of them
        before, bytes_before = busy(), received[0]
        page.run(1, 60)
        bytes_each.append(received[0] - bytes_before)
        spent.append(busy() - before)
    before = busy()
    page.run(2, 60)  # what JupyterLab itself spends on a cell of that length
    milliseconds = 1000 * (sorted(spent)[1] - (busy() - before)) / 8
    rate = sum(bytes_each) / 12 / 1000
    page.screenshot("card-10000-live", 0)
    print(f"10,000 trials, live: {milliseconds:.1f} ms of main thread an update, {rate:.1f} kB/s received")
    assert milliseconds <= 16
    assert rate <= 50
    assert errors == []


def test_without_the_server_extension_a_record_asks_the_kernel(lab: Lab, large: Store, open_notebook: Open) -> None:
    """No route answers: the notebook's kernel does; without a kernel that knows the study, the record stands still."""
    bundle = record.bundle(snapshot(large, "large"))
    name = lab.write("kernel.ipynb", ["%load_ext autoglm_nb", ("1", [])])
    page = open_notebook(name, width=1200).kernel_idle()
    page.page.route("**/autoglm/api/**", lambda route: route.abort())
    page.run(0)
    show = """data => {
      const outputs = window.jupyterapp.shell.currentWidget.content.widgets[1].model.outputs;
      outputs.clear();
      outputs.add({ output_type: 'display_data', data, metadata: {} });
    }"""
    page.page.evaluate(show, bundle)
    page.page.get_by_text("live, from the kernel").wait_for(timeout=60_000)
    table = page.output(1).get_by_test_id("autoglm-trials")
    page.page.wait_for_function(
        f"() => document.querySelector('[data-testid=autoglm-trials]').getAttribute('aria-rowcount') === '{TRIALS + 1}'"
    )
    assert table.locator("tr[data-trial]").count() > 5
    other = {**bundle, STUDY_MIME: {**bundle[STUDY_MIME], "study": {**bundle[STUDY_MIME]["study"], "identity": "x"}}}
    page.page.evaluate(show, other)
    page.page.get_by_text("snapshot of large").wait_for(timeout=60_000)
    page.page.wait_for_timeout(4000)
    page.wait_text(1, "not live")
    assert page.output(1).get_by_test_id("autoglm-pause").is_hidden()


def test_hostile_strings_stay_text_in_the_card(lab: Lab, open_notebook: Open) -> None:
    """Every string of a trusted record attacks; nothing runs and no element comes of it."""
    page = open_notebook(
        lab.write("hostile-card.ipynb", [("1", [record.bundle(samples.hostile_snapshot())])], trust=True), width=1200
    )
    page.page.evaluate("() => { window.attacked = false; window.alert = () => { window.attacked = true; }; }")
    card = _card(page, 0)
    card.wait_for(timeout=60_000)
    for tab in ("trials", *TABS):
        card.get_by_test_id(f"autoglm-tab-{tab}").click()
        page.page.wait_for_timeout(300)
        assert card.locator("script, img, iframe, a").count() == 0
    assert page.page.evaluate("() => window.attacked") is False
    assert "<script>alert(1)</script>" in card.inner_text()
    page.screenshot("card-hostile", 0)


def test_keyboard_alone_reaches_tabs_rows_and_the_table_behind_the_chart(
    lab: Lab, large: Store, open_notebook: Open
) -> None:
    """Arrow keys walk over tabs, rows and points; the live region speaks; the chart has a real table."""
    page = open_notebook(lab.write("keys.ipynb", [("1", [record.bundle(snapshot(large, "large"))])]), width=1200)
    page.page.get_by_text("live, from the server").wait_for(timeout=60_000)
    keys = page.page.keyboard
    card = _card(page, 0)
    chart = card.get_by_role("application", name="Best so far goes from").first
    chart.wait_for(timeout=60_000)
    page.page.wait_for_timeout(1500)
    chart.focus()
    keys.press("End")
    page.until(lambda: card.get_by_role("status").inner_text().startswith(f"Trial {TRIALS - 1}: "))
    card.get_by_role("button", name="Table").first.press("Enter")
    assert card.locator(".autoglm-Figure table caption").first.inner_text().startswith("500 of 10000 trials")
    card.get_by_role("button", name="Table").first.press("Enter")
    tab = card.get_by_role("tab", name="Trials")
    tab.focus()
    keys.press("ArrowRight")
    assert page.page.evaluate("() => document.activeElement.dataset.testid") == "autoglm-tab-parameters"
    page.page.wait_for_timeout(800)
    axis = card.get_by_role("slider").first
    axis.focus()
    keys.press("ArrowUp")
    card.get_by_text("trials selected").first.wait_for(timeout=60_000)
    page.screenshot("card-brushed", 0)
    tab.focus()
    keys.press("Enter")
    row = card.locator("tr.autoglm-Row[tabindex='0']")
    row.focus()
    for _ in range(30):
        keys.press("ArrowDown")
    page.page.wait_for_function(f"() => document.activeElement.dataset.trial === '{TRIALS - 31}'")
    keys.press("s")
    page.until(lambda: any(n["trial"] == TRIALS - 31 for n in large.notes("large")))


def test_transfer_comparison_is_drawn_and_watermarked(lab: Lab, open_notebook: Open) -> None:
    """Gains and losses by sign, shape and word; made-up figures say so across the card."""
    same = None
    gains = [
        [same, {"mean": 0.021, "low": -0.004, "high": 0.046}, {"mean": -0.014, "low": -0.021, "high": -0.007},
         {"mean": 0.064, "low": 0.045, "high": 0.083}],
        [{"mean": 0.008, "low": -0.01, "high": 0.026}, same, {"mean": 0.003, "low": -0.02, "high": 0.026},
         {"mean": 0.039, "low": 0.011, "high": 0.067}],
    ]  # fmt: skip
    given = {
        "version": 1, "example": True, "name": "sentiment transfer", "state": "finished", "model": "minilm",
        "metric": "accuracy", "unit": "percent", "seeds": [0, 1, 2], "sources": ["movies", "products"],
        "targets": ["movies", "products", "editorials", "tweets"], "gains": gains,
        "methods": [
            {"name": "dann", "effect": {"mean": 0.04, "low": 0.02, "high": 0.06}},
            {"name": "mmd", "effect": {"mean": 0.022, "low": -0.002, "high": 0.046}},
            {"name": "frozen", "effect": {"mean": -0.018, "low": -0.03, "high": -0.006}},
        ],
        "best": {"source": "movies", "target": "tweets", "method": "domain pre-training + DANN", "value": 0.81,
                 "effect": gains[0][3]},
    }  # fmt: skip
    page = open_notebook(
        lab.write("transfer.ipynb", [("1", [{"application/vnd.autoglm.transfer.v1+json": given, "text/plain": "x"}])]),
        width=1100,
    )
    card = page.output(0).get_by_test_id("autoglm-transfer")
    card.wait_for(timeout=60_000)
    selector, seen = "[data-testid=autoglm-transfer]", []
    for dark in (True, False):
        page.theme(dark=dark).screenshot("transfer-dark" if dark else "transfer", 0)
        seen.append(colours(page.page, selector))
        assert faint(page.page, selector) == []
    assert seen[0][0] != seen[1][0]
    assert seen[0][1] != seen[1][1]
    assert card.locator("td[data-verdict=negative]").count() == 2
    assert card.locator("td[data-verdict=gain]").count() == 3
    assert "negative transfer" in card.locator("td[data-verdict=negative]").first.inner_text()
    assert card.get_by_test_id("autoglm-watermark").inner_text().lower() == "example data"
