"""The lab widget without a browser: what is sent, how much and how often, and what is answered."""

from __future__ import annotations

import itertools
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ipywidgets.widgets import widget as widget_module

from autoglm_nb import settings
from autoglm_nb.errors import UsageError
from autoglm_nb.notebook import cards, lab_parts
from autoglm_nb.notebook.lab_answers import MAX_LINES, MAX_ROWS, Answers
from autoglm_nb.notebook.lab_view import BYTES_PER_SECOND, LabView, StudyModel
from autoglm_nb.protocol import Action
from autoglm_nb.store import Store, snapshot
from benchmarks.store import fill
from tests.notebook.fakes import FakeHandle
from tests.record import samples


class Sent:
    """Messages of a model, counted instead of sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.updates: list[tuple[float, dict[str, Any]]] = []
        self.messages: list[tuple[dict[str, Any], list[bytes]]] = []

        def send_state(model: StudyModel, key: Any = None) -> None:
            names = {key} if isinstance(key, str) else set(key or ())
            state = {name: getattr(model, name) for name in names if name in lab_parts.PARTS}
            if state:
                self.updates.append((time.monotonic(), state))

        monkeypatch.setattr(StudyModel, "send_state", send_state)
        monkeypatch.setattr(
            StudyModel,
            "send",
            lambda model, content, buffers=None: self.messages.append((content, list(buffers or []))),
        )

    @property
    def bytes(self) -> int:
        told = sum(len(json.dumps(state)) for _, state in self.updates)
        return told + sum(len(json.dumps(content)) for content, _ in self.messages)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    return Sent(monkeypatch)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Whatever is left open is closed."""
    yield
    cards.close_all()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a study of 10,000 trials."""
    store = Store(tmp_path_factory.mktemp("large") / ".autoglm")
    fill(store, "large", 10_000)
    return store


def _handle(store: Store, name: str) -> Any:
    asked: list[Any] = []
    return SimpleNamespace(
        name=name, home=store.home, asked=asked, snapshot=lambda: snapshot(store, name, limit=200),
        pause=lambda: store.request(name, Action.PAUSE), enqueue=asked.append, stop_trial=asked.append,
    )  # fmt: skip


def _wait(condition: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# -- parts ------------------------------------------------------------------------------------------------


def test_parts_hold_the_picture_and_only_the_trials_that_run() -> None:
    """Together the parts have every key of a snapshot that a view draws; readings come by column."""
    picture = samples.running_snapshot()
    found = lab_parts.parts(picture)
    assert set(found) == set(lab_parts.PARTS)
    assert [t["number"] for t in found["head"]["trials"]] == [11, 12]
    assert found["head"]["trials_total"] == 13
    assert found["facts"]["space"] == lab_parts.plain(picture["space"])
    assert found["facts"]["cell"].startswith("%%autotune")
    assert found["curve"]["points"] == picture["curve"]
    assert [n["kind"] for n in found["notes"]["notes"]] == ["comment"]
    assert found["notes"]["total"] == 2
    assert found["readings"]["cpu_percent"] == [182, 182, 182]
    assert found["readings"]["gpu_percent"] == [None, None, None]
    json.dumps(found, allow_nan=False)


def test_processes_are_a_column_of_their_own_where_there_are_any() -> None:
    """One entry for each reading, as the page takes columns apart; most studies have none."""
    picture = samples.running_snapshot()
    assert "processes" not in lab_parts.parts(picture)["readings"]
    one = {"pid": 7, "cpu_percent": 12.34, "memory_gb": 1.26, "gpu_percent": None, "gpu_memory_gb": None}
    picture["readings"][1]["processes"] = [one]
    assert lab_parts.parts(picture)["readings"]["processes"] == [
        [], [{**one, "cpu_percent": 12.3, "memory_gb": 1.3}], [],
    ]  # fmt: skip


def test_importance_is_a_fact_and_says_when_it_is_old() -> None:
    """Silent where it is not known or fresh."""
    picture = samples.running_snapshot()
    assert not {"importance", "importance_after"} & set(lab_parts.parts(picture)["facts"])
    found = [{"parameter": "rank", "value": 0.5, "low": 0.25, "high": 0.75, "matters": True}]
    picture |= {"importance": found, "importance_after": 10}
    facts = lab_parts.parts(picture)["facts"]
    assert (facts["importance"], facts["importance_after"]) == (found, 10)


def test_hostile_text_and_numbers_become_plain_json() -> None:
    """Control characters go, NaN and infinity are null: JSON that every browser reads."""
    picture = samples.hostile_snapshot()
    picture["trials"].append(samples.trial(99, "running", float("nan"), loss=float("inf")))
    text = json.dumps(lab_parts.parts(picture), allow_nan=False)
    assert "\\u001b" not in text
    assert "\\u202e" not in text


def test_a_configuration_keeps_every_digit() -> None:
    """A copy of it may be tried again; other numbers are cut to what a view shows."""
    slim = lab_parts.slim(samples.trial(1, config={"learning_rate": 0.00012345678901234}, loss=0.123456789))
    assert slim["config"]["learning_rate"] == 0.00012345678901234
    assert slim["loss"] == 0.123457


# -- sending ----------------------------------------------------------------------------------------------


def test_a_step_sends_the_head_alone(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress moves no curve, space, note or reading: they are not sent again, and no trial is told."""
    monkeypatch.setattr(settings, "VIEW_SECONDS", 0.0)
    handle = FakeHandle()
    view = LabView(handle, handle.snapshot())
    for step in range(5):
        handle.current["trials"][-1]["progress"] = 0.4 + step / 100
        time.sleep(0.05)
        view.update(handle.snapshot())
    _wait(lambda: len(sent.updates) >= 2)
    assert all(set(state) == {"head"} for _, state in sent.updates)
    assert sent.messages == []
    view.close()


def test_the_same_picture_sends_nothing(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that differs in nothing costs no message."""
    monkeypatch.setattr(settings, "VIEW_SECONDS", 0.0)
    handle = FakeHandle()
    view = LabView(handle, handle.snapshot())
    time.sleep(0.02)
    view.update(handle.snapshot())
    view.close()
    assert sent.updates == []
    assert sent.messages == []


def test_a_trial_that_ends_is_told_once(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page brings its table up to date from one message with that trial alone."""
    monkeypatch.setattr(settings, "VIEW_SECONDS", 0.0)
    handle = FakeHandle()
    view = LabView(handle, handle.snapshot())
    handle.current["trials"][-1].update(state="completed", value=0.83)
    time.sleep(0.02)
    view.update(handle.snapshot())
    time.sleep(0.3)
    view.update(handle.snapshot())
    (message, _), *more = sent.messages
    assert more == []
    assert message["kind"] == "trials"
    assert [t["number"] for t in message["trials"]] == [12]
    view.close()


def test_updates_keep_their_pace_and_the_last_one_arrives(sent: Sent) -> None:
    """Twenty snapshots in a second are one message for each half of it; the newest is among them."""
    handle = FakeHandle()
    started = time.monotonic()
    view = LabView(handle, handle.snapshot())
    for step in range(20):
        handle.current["headline"]["seconds_left"] = 300.0 - step
        view.update(handle.snapshot())
        time.sleep(0.05)
    _wait(lambda: sent.updates and sent.updates[-1][1]["head"]["headline"]["seconds_left"] == 281.0)
    times = [at for at, _ in sent.updates]
    assert all(at - started >= settings.VIEW_SECONDS * 0.9 * count for count, at in enumerate(times, 1))
    assert all(b - a >= settings.VIEW_SECONDS * 0.5 for a, b in itertools.pairwise(times))
    view.close()


@pytest.mark.slow
def test_a_large_study_stays_below_the_rate(sent: Sent, large: Store) -> None:
    """10,000 trials, everything moving at once for three seconds: at most 50 kB a second."""
    handle = _handle(large, "large")
    picture = handle.snapshot()
    picture["notes"] = [
        {"id": str(i), "trial": i, "kind": "comment", "text": "x" * 400, "author": "a", "created_at": 1.0 + i}
        for i in range(500)
    ]
    readings = samples.running_snapshot()["readings"]
    started = time.monotonic()
    view = LabView(handle, picture)
    first = sum(len(json.dumps(getattr(view.model, name))) for name in lab_parts.PARTS)
    assert first < 150_000
    step = 0
    while time.monotonic() < started + 3:
        step += 1
        picture["readings"] = [{**readings[0], "t": float(step + i)} for i in range(200)]
        picture["curve"] = [[i, 0.5 + (i + step) / 1e4] for i in range(200)]
        picture["notes"] = [*picture["notes"][1:], {**picture["notes"][0], "id": f"n{step}"}]
        for trial in picture["trials"][-40:]:
            trial["state"] = "completed" if step % 2 else "pruned"
        view.update(picture)
        time.sleep(0.05)
    view.close()
    elapsed = time.monotonic() - started
    print(f"10,000 trials: {sent.bytes / elapsed / 1000:.1f} kB/s, {len(sent.updates) / elapsed:.2f} updates/s")
    assert sent.updates
    assert sent.bytes / elapsed < 50_000
    assert len(sent.updates) / elapsed <= 2.2
    assert BYTES_PER_SECOND < 50_000


def test_closing_leaves_no_widget_and_ends_the_view(sent: Sent) -> None:
    """`close` may come twice; later updates, messages and timers do nothing."""
    before = set(widget_module._instances)
    handle = FakeHandle()
    view = LabView(handle, handle.snapshot())
    view.update({**handle.snapshot(), "trials_total": 99})
    view.close()
    view.close()
    view.update(handle.snapshot())
    view._on_message(view.model, {"kind": "pause", "id": 1}, [])
    time.sleep(0.7)
    assert set(widget_module._instances) == before
    assert sent.updates == []
    assert handle.asked == []


# -- answers ----------------------------------------------------------------------------------------------


def test_pages_are_sorted_and_filtered_by_the_store(large: Store) -> None:
    """The rows of a page are those of `store.trial_page`, at most `MAX_ROWS` of them."""
    answers = Answers(_handle(large, "large"))
    reply, buffers = answers.reply(
        {
            "kind": "page",
            "id": 7,
            "offset": 10,
            "limit": 60,
            "sort": "value",
            "order": "desc",
            "filter": "state:completed",
        }
    )
    values = [t["value"] for t in reply["data"]["trials"]]
    assert reply["id"] == 7
    assert buffers == []
    assert len(values) == 60
    assert values == sorted(values, reverse=True)
    assert reply["data"]["total"] == 6_000
    assert len(json.dumps(reply)) < 50_000
    most, _ = answers.reply({"kind": "page", "id": 8, "limit": 10_000})
    assert len(most["data"]["trials"]) == MAX_ROWS


def test_points_of_ten_thousand_trials_take_fifty_kilobytes(large: Store) -> None:
    """One letter and one 32-bit float a trial; numbers without gaps are told by the first."""
    reply, (floats,) = Answers(_handle(large, "large")).reply({"kind": "points", "id": 1})
    data = reply["data"]
    assert (data["first"], data["numbers"], data["count"]) == (0, None, 10_000)
    assert len(floats) == 40_000
    assert len(json.dumps(reply)) + len(floats) < 60_000
    values = struct.unpack("<10000f", floats)
    expected = {t["number"]: t["value"] for t in snapshot(large, "large", limit=50)["trials"]}
    for number, value in expected.items():
        got = values[number]
        assert (got != got) if value is None else got == pytest.approx(value, rel=1e-5)
    assert data["states"][:5] == "cccpf"


def test_points_with_configurations_are_thinned_to_the_best(large: Store) -> None:
    """Six hundred lines at most; the best trials are all among them."""
    reply, (floats,) = Answers(_handle(large, "large")).reply({"kind": "points", "id": 1, "parameters": True})
    data = reply["data"]
    assert data["count"] <= MAX_LINES + 1
    best = snapshot(large, "large", limit=1)["headline"]["best_trial"]
    assert best in data["numbers"]
    assert len(data["parameters"]["learning_rate"]["values"]) == data["count"] == len(floats) // 4
    assert data["parameters"]["method"]["choices"] == ["lora"]


def test_stars_notes_and_control_reach_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A star is set and taken back, a note is signed with the setting's author, a pause is a row."""
    monkeypatch.setenv("AUTOGLM_AUTHOR", "ada")
    store = Store(tmp_path / ".autoglm")
    fill(store, "small", 5)
    handle = _handle(store, "small")
    answers = Answers(handle)
    answers.reply({"kind": "note", "id": 1, "note_kind": "star", "trial": 3, "text": "1"})
    answers.reply({"kind": "note", "id": 2, "note_kind": "comment", "trial": None, "text": "good"})
    star, note = sorted(store.notes("small"), key=lambda n: n["kind"], reverse=True)
    assert (star["kind"], star["trial"]) == ("star", 3)
    assert (note["text"], note["author"], note["trial"]) == ("good", "ada", None)
    answers.reply({"kind": "note", "id": 3, "note_kind": "star", "trial": 3, "text": ""})
    answers.reply({"kind": "remove_note", "id": 4, "note": note["id"]})
    assert store.notes("small") == []
    fill(store, "other", 2)
    foreign = store.add_note("other", "not this page's")
    answers.reply({"kind": "remove_note", "id": 4, "note": foreign})
    assert len(store.notes("other")) == 1
    reply, _ = answers.reply({"kind": "pause", "id": 5})
    assert reply == {"kind": "reply", "id": 5, "data": None}
    assert [request.action for request in store.pending("small")] == [Action.PAUSE]
    answers.reply({"kind": "enqueue", "id": 6, "payload": {"config": {"rank": 8}}})
    assert handle.asked == [[{"rank": 8}]]


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "page", "sort": "nonsense"}, {"kind": "page", "limit": "many"}, {"kind": "stop_trial"},
        {"kind": "enqueue", "payload": {"config": 3}}, {"kind": "__class__"}, {"kind": "note", "text": ""}, {},
    ],
)  # fmt: skip
def test_what_is_not_understood_is_answered_by_a_sentence(large: Store, content: dict[str, Any]) -> None:
    """A page never waits for an answer that does not come, and never gets a traceback."""
    reply, _ = Answers(_handle(large, "large")).reply({**content, "id": 9})
    assert reply["id"] == 9
    assert reply["error"].endswith((".", "?"))
    assert "data" not in reply


def test_a_refusal_of_the_study_is_passed_on() -> None:
    """The sentence of the error, not the error."""
    handle = FakeHandle()
    handle.error = UsageError("Study 'reviews' cannot be paused: its worker is gone.")
    reply, _ = Answers(handle).reply({"kind": "pause", "id": 1})
    assert reply["error"] == "Study 'reviews' cannot be paused: its worker is gone."


@pytest.mark.alone
def test_requests_are_answered_off_the_thread_that_asks(sent: Sent) -> None:
    """A handle that takes a second does not hold up the thread that reads the page's messages."""
    handle = FakeHandle()
    handle.slow = 1.5
    view = LabView(handle, handle.snapshot())
    started = time.monotonic()
    view._on_message(view.model, {"kind": "pause", "id": 4}, [])
    assert time.monotonic() - started < 1.0
    _wait(lambda: any(content.get("id") == 4 for content, _ in sent.messages))
    assert handle.asked == ["pause"]
    view.close()


def test_threads_of_a_closed_view_end(sent: Sent) -> None:
    """A kernel that shows many studies does not gather threads."""
    handle, before = FakeHandle(), set(threading.enumerate())
    view = LabView(handle, handle.snapshot())
    view._on_message(view.model, {"kind": "pause", "id": 1}, [])
    _wait(lambda: handle.asked)
    view.close()
    _wait(lambda: not any(t.name.startswith("autoglm-view") for t in {*threading.enumerate()} - before))
