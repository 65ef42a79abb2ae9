"""Which live view a card gets, and a record that finds its study again in the kernel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ipywidgets.widgets import widget as widget_module

from autoglm_nb import settings
from autoglm_nb.notebook import cards, lab_comm, lab_parts, views
from autoglm_nb.notebook.lab_view import PANELS, LabView, StudyModel
from autoglm_nb.notebook.live import LiveView
from autoglm_nb.store import Store, snapshot
from benchmarks.store import fill
from tests.notebook.conftest import Notebook
from tests.notebook.fakes import FakeHandle

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """No page has said hello yet; whatever is left open is closed."""
    views._known.clear()
    yield
    cards.close_all()
    views._known.clear()


def _wait(condition: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# -- who draws --------------------------------------------------------------------------------------------


@pytest.fixture
def page(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """A notebook with a kernel, whose front end may or may not answer."""
    monkeypatch.setattr(notebook.shell, "kernel", SimpleNamespace(), raising=False)
    monkeypatch.delenv("AUTOGLM_VIEW", raising=False)
    monkeypatch.delenv("VSCODE_PID", raising=False)
    return notebook


def _shown(page: Notebook) -> dict[str, Any]:
    """The last data of the display that is not the record."""
    first = page.recorder.sent[0]["id"]
    return [m for m in page.recorder.sent if m["id"] != first][-1]["data"]


def _model_of(data: dict[str, Any]) -> Any:
    return widget_module._instances.get(data.get(WIDGET, {}).get("model_id"))


@pytest.mark.alone
def test_a_hello_brings_the_lab_view_into_the_empty_place(page: Notebook, fake: FakeHandle) -> None:
    """The cell does not wait; the next card of this kernel is shown at once."""
    started = time.monotonic()
    card = cards.open_card(fake)
    assert time.monotonic() - started < 1.0
    assert _shown(page) == {"text/plain": ""}
    card._view._lab._on_message(None, {"kind": "hello"}, [])
    _wait(lambda: WIDGET in _shown(page))
    assert isinstance(_model_of(_shown(page)), StudyModel)
    again = cards.open_card(fake)
    assert isinstance(again._view, LabView)


def test_silence_brings_the_stock_view(page: Notebook, fake: FakeHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hello in time: ordinary widgets in the same place, and the lab model is gone; a late hello changes nothing."""
    monkeypatch.setattr(views, "HELLO_SECONDS", 0.2)
    card = cards.open_card(fake)
    lab = card._view._lab
    _wait(lambda: WIDGET in _shown(page))
    assert not isinstance(_model_of(_shown(page)), StudyModel)
    assert lab.model.comm is None
    assert len({m["id"] for m in page.recorder.sent}) == 2
    lab._on_message(None, {"kind": "hello"}, [])
    fake.tell(finished=12)
    fake.finish()
    assert _shown(page) == {"text/plain": ""}


def test_a_study_that_ends_before_the_answer_leaves_nothing(
    page: Notebook, fake: FakeHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timer is stopped and no widget is left."""
    monkeypatch.setattr(views, "HELLO_SECONDS", 0.2)
    before = set(widget_module._instances)
    cards.open_card(fake)
    fake.finish()
    time.sleep(0.4)
    assert set(widget_module._instances) == before
    assert WIDGET not in _shown(page)


@pytest.mark.parametrize("host", ["vscode", "vscode-environment", "colab", "terminal"])
def test_other_hosts_get_the_stock_view_at_once(
    page: Notebook, fake: FakeHandle, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """VS Code and Colab have no lab extension; a shell without a kernel has no page."""
    if host == "vscode":
        page.shell.user_ns["__vsc_ipynb_file__"] = "a.ipynb"
    elif host == "vscode-environment":
        monkeypatch.setenv("VSCODE_PID", "1")
    elif host == "colab":
        monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    else:
        monkeypatch.setattr(page.shell, "kernel", None, raising=False)
    views._known.set()
    assert isinstance(views.open_view(fake, fake.snapshot()), LiveView)
    page.shell.user_ns.pop("__vsc_ipynb_file__", None)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_is_told_to_the_page(
    page: Notebook, fake: FakeHandle, monkeypatch: pytest.MonkeyPatch, panel: str
) -> None:
    """Whether the page is known already or asked first, its model says which panel to draw."""
    monkeypatch.setenv("AUTOGLM_VIEW", "lab")
    view = views.open_view(fake, fake.snapshot(), panel=panel)
    assert isinstance(view, LabView)
    assert view.model.panel == panel
    view.close()
    asking = views._Asking(fake, fake.snapshot(), panel)
    assert asking._lab.model.panel == panel
    asking.close()


@pytest.mark.parametrize(("setting", "kind"), [("stock", LiveView), ("lab", LabView), ("LAB", LabView)])
def test_the_setting_decides(
    page: Notebook, fake: FakeHandle, monkeypatch: pytest.MonkeyPatch, setting: str, kind: type
) -> None:
    """`AUTOGLM_VIEW` names a view; anything else means `auto`."""
    monkeypatch.setenv("AUTOGLM_VIEW", setting)
    view = views.open_view(fake, fake.snapshot())
    assert isinstance(view, kind)
    view.close()
    monkeypatch.setenv("AUTOGLM_VIEW", "pretty")
    assert settings.view() == "auto"


# -- a record that looks for its study --------------------------------------------------------------------


class FakeComm:
    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.closed = False
        self.asked: Any = None

    def send(self, data: Any, buffers: Any = None) -> None:
        self.sent.append(data)

    def on_msg(self, callback: Any) -> None:
        self.asked = callback

    def on_close(self, callback: Any) -> None:
        self.ended = callback

    def close(self) -> None:
        self.closed = True


def test_a_record_finds_its_study_in_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts come at once, requests are answered, a study of another identity or moment is not shown."""
    store = Store(tmp_path / ".autoglm")
    fill(store, "large", 20)
    monkeypatch.setenv("AUTOGLM_HOME", str(store.home))
    study = snapshot(store, "large", limit=1)["study"]
    identity, made = study["identity"], study["created_at"]
    comm = FakeComm()
    lab_comm._opened(comm, {"content": {"data": {"name": "large", "identity": identity, "created_at": round(made)}}})
    assert comm.sent[0]["kind"] == "parts"
    assert set(comm.sent[0]["parts"]) == set(lab_parts.PARTS)
    comm.asked({"content": {"data": {"kind": "page", "id": 3, "limit": 2}}})
    _wait(lambda: any(m.get("id") == 3 for m in comm.sent))
    comm.ended(None)
    later = {"name": "large", "identity": identity, "created_at": made + 90}
    for asked in (later, {"name": "large", "identity": "other"}, {"name": "absent", "identity": ""}, {}):
        other = FakeComm()
        lab_comm._opened(other, {"content": {"data": asked}})
        assert other.closed
        assert other.sent == []
