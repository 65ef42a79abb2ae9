"""The record and the live view below a cell, with acted studies and counted messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import ipywidgets
import pytest
from ipywidgets.widgets import widget as widget_module

from autoglm_nb.errors import StoreError
from autoglm_nb.notebook import cards
from autoglm_nb.notebook.live import ROWS, LiveView
from tests.notebook.conftest import Notebook
from tests.notebook.fakes import FakeHandle
from tests.record import samples

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    cards.close_all()


def _wait(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_record_comes_first_then_the_widget(notebook: Notebook, fake: FakeHandle) -> None:
    """Two displays with ids; the record is folded while the live view stands below it."""
    cards.open_card(fake, live=True)
    record, widget = notebook.recorder.sent
    assert "text/html" in record["data"]
    assert record["data"]["text/html"].startswith("<details")
    assert WIDGET in widget["data"]
    assert record["id"] and widget["id"] and record["id"] != widget["id"]


def test_without_widgets_there_is_the_record_alone(notebook: Notebook, fake: FakeHandle) -> None:
    """A plain terminal gets one display, unfolded; so does a study that has ended."""
    cards.open_card(fake, live=False)
    fake.finish()
    cards.open_card(fake, live=True)
    first, *_, last = notebook.recorder.sent
    assert not first["data"]["text/html"].startswith("<details")
    assert WIDGET not in last["data"]
    assert "✓ finished" in last["data"]["text/plain"]


def test_progress_does_not_touch_the_record(notebook: Notebook, fake: FakeHandle) -> None:
    """A hundred steps without a trial's end send no record."""
    cards.open_card(fake, live=False)
    for step in range(100):
        fake.current["trials"][-1]["progress"] = step / 100
        fake.tell(seconds_left=100.0 - step)
    assert len(notebook.recorder.sent) == 1


def test_trial_ends_in_quick_succession_are_gathered(
    notebook: Notebook, fake: FakeHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten ends at once cost one update, and the last of them is not lost even if nothing follows it."""
    monkeypatch.setattr(cards, "RECORD_SECONDS", 1.5)
    cards.open_card(fake, live=False)
    for finished in range(12, 22):
        fake.tell(finished=finished)
    assert len(notebook.recorder.sent) == 1
    _wait(lambda: len(notebook.recorder.sent) == 2)
    assert "trial 22 of 24" in notebook.recorder.texts[-1]
    time.sleep(2.0)
    assert len(notebook.recorder.sent) == 2


def test_at_the_end_the_record_unfolds_and_the_widget_is_emptied(notebook: Notebook, fake: FakeHandle) -> None:
    """The last record at once; the widget's output becomes an empty text; no widget is left open."""
    before = set(widget_module._instances)
    cards.open_card(fake, live=True)
    _, widget = notebook.recorder.sent[:2]
    fake.finish()
    last = {message["id"]: message["data"] for message in notebook.recorder.sent}
    assert last[widget["id"]] == {"text/plain": ""}
    records = [m["data"] for m in notebook.recorder.sent if "text/html" in m["data"]]
    assert not records[-1]["text/html"].startswith("<details")
    assert "✓ finished" in records[-1]["text/plain"]
    assert set(widget_module._instances) == before


def test_running_the_cell_again_replaces_its_card(notebook: Notebook, fake: FakeHandle) -> None:
    """The same cell id: the old card stops following. Another cell: both go on."""
    cards.open_card(fake, live=False, cell="a")
    cards.open_card(fake, live=False, cell="a")
    assert len(fake.followers) == 1
    cards.open_card(fake, live=False, cell="b")
    assert len(fake.followers) == 2


def test_attaching_without_end_keeps_the_number_of_cards(notebook: Notebook, fake: FakeHandle) -> None:
    """Cells without an id: the oldest card of the study is closed."""
    for _ in range(10):
        cards.open_card(fake, live=False)
    assert len(fake.followers) == cards.MAX_CARDS


def test_kernel_exit_empties_the_view_and_leaves_the_whole_record(notebook: Notebook, fake: FakeHandle) -> None:
    """`close_all` is what runs at exit: the widget's output is emptied, the record unfolded, the study untouched."""
    cards.open_card(fake, live=True)
    widget = notebook.recorder.sent[1]
    cards.close_all()
    last = {message["id"]: message["data"] for message in notebook.recorder.sent}
    assert last[widget["id"]] == {"text/plain": ""}
    assert not last[notebook.recorder.sent[0]["id"]]["text/html"].startswith("<details")
    assert fake.asked == []
    assert fake.followers == []


# -- the live view ------------------------------------------------------------------------------------------


@pytest.fixture
def view(notebook: Notebook, fake: FakeHandle) -> Iterator[LiveView]:
    made = LiveView(fake, fake.snapshot())
    yield made
    made.close()


def _state_messages(view: LiveView, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    sent: list[str] = []
    monkeypatch.setattr(ipywidgets.Widget, "send_state", lambda self, key=None: sent.append(self.model_id))
    return sent


def test_a_tick_sends_only_what_moved(view: LiveView, fake: FakeHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing new: no message. One trial's progress: one message. All pieces: few enough for 2 Hz."""
    sent = _state_messages(view, monkeypatch)
    view.update(fake.snapshot())
    assert sent == []
    fake.current["trials"][-1]["progress"] += 0.1
    view.update(fake.snapshot())
    assert len(sent) == 1
    sent.clear()
    for trial in fake.current["trials"][-2:]:
        trial["progress"] += 0.1
    fake.current["headline"].update(seconds_left=1.0, best_value=0.9, finished=12)
    fake.current["curve"].append([10, 0.9])
    fake.current["readings"].append({**fake.current["readings"][-1], "machine_cpu_percent": 12.0})
    view.update(fake.snapshot())
    assert len(sent) <= 10


def test_heights_do_not_depend_on_content(view: LiveView, fake: FakeHandle) -> None:
    """Every piece has a fixed height; the box of running trials only grows."""
    pieces = [view._title, view._answer, view._curve, view._note, view._rows_title, view._foot, *view._tabs.values()]
    assert all(str(piece.layout.height).endswith("px") for piece in pieces)
    before = view._rows_box.layout.height
    fake.current["trials"][-1]["state"] = "completed"
    view.update(fake.snapshot())
    assert view._rows_box.layout.height == before


def test_a_trial_keeps_its_row(view: LiveView, fake: FakeHandle) -> None:
    """When the first of two running trials ends, the second does not move, and the next takes the free row."""
    assert view._numbers[:2] == [11, 12]
    fake.current["trials"][-2]["state"] = "completed"
    view.update(fake.snapshot())
    assert view._numbers[:2] == [None, 12]
    assert view._rows[0][0].layout.visibility == "hidden"
    fake.current["trials"].append(samples.trial(13, "running", progress=0.1))
    view.update(fake.snapshot())
    assert view._numbers[:2] == [13, 12]


def test_more_trials_than_rows_are_counted(view: LiveView, fake: FakeHandle) -> None:
    """Thirty at once: eight rows and a count."""
    fake.current["trials"] += [samples.trial(n, "running", progress=0.1) for n in range(13, 41)]
    view.update(fake.snapshot())
    assert f"and {30 - ROWS} more" in view._rows_title.value


@pytest.mark.alone
def test_buttons_answer_at_once_and_ask_once(view: LiveView, fake: FakeHandle) -> None:
    """A store that takes its time does not hold the click; the button is off until the state changes."""
    fake.slow = 1.5
    fake.followers.append(view.update)
    began = time.monotonic()
    view._pause.click()
    assert time.monotonic() - began < 1.0
    assert view._pause.disabled
    assert "Pausing" in view._note.value
    _wait(lambda: view._pause.description == "Resume")
    assert not view._pause.disabled
    assert fake.asked == ["pause"]
    fake.slow = 0.0
    view._pause.click()
    _wait(lambda: view._pause.description == "Pause")
    assert fake.asked == ["pause", "resume"]


def test_a_row_stops_the_trial_that_it_shows(view: LiveView, fake: FakeHandle) -> None:
    """The number is looked up at the time of the click."""
    view._rows[1][2].click()
    _wait(lambda: fake.asked == [("stop_trial", 12)])
    assert view._rows[1][2].disabled


def test_a_request_that_fails_says_why(view: LiveView, fake: FakeHandle) -> None:
    """The sentence appears in the card, and the button works again."""
    fake.error = StoreError("The store cannot be written: the disk is full. Free some space.")
    view._stop.click()
    _wait(lambda: "disk is full" in view._note.value)
    assert not view._stop.disabled


def test_worker_messages_are_shown_escaped(view: LiveView, fake: FakeHandle) -> None:
    """A warning of the worker stands in the card as text; the HTML widget is not sanitized by anyone else."""
    fake.current["messages"] = [{"t": 1.0, "level": "warning", "text": samples.HOSTILE}]
    view.update(fake.snapshot())
    assert "<script>" not in view._note.value
    assert "&lt;script&gt;" in view._note.value


def test_hostile_snapshot_is_escaped_everywhere(notebook: Notebook) -> None:
    """No piece of the live view holds markup from a string."""
    snapshot = samples.hostile_snapshot()
    snapshot["trials"].append(samples.trial(99, "running", config={samples.HOSTILE: samples.HOSTILE}))
    view = LiveView(FakeHandle(snapshot=snapshot), snapshot)
    pieces = [view._title, view._answer, view._curve, view._rows[0][1], *view._tabs.values()]
    assert all("<script" not in piece.value and "<img src=x" not in piece.value for piece in pieces)
    view.close()


def test_updates_from_many_threads_leave_the_newest(view: LiveView, fake: FakeHandle) -> None:
    """Callbacks of two followers and a click at once do not disturb each other."""
    threads = [threading.Thread(target=lambda: [view.update(fake.snapshot()) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    view._pause.click()
    for thread in threads:
        thread.join()
    fake.current["study"]["state"] = "paused"
    view.update(fake.snapshot())
    assert "paused" in view._title.value


def test_nothing_is_drawn_after_the_end(view: LiveView, fake: FakeHandle) -> None:
    """A late snapshot or a late click is ignored."""
    view.close()
    view.update(fake.snapshot())
    view._pause.click()
    time.sleep(0.05)
    assert fake.asked == []
