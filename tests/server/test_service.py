"""Health, Prometheus' figures, and the machine."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autoglm_nb import __version__, settings
from autoglm_nb.protocol import STUDY_MIME, StudyState
from autoglm_nb.server import machine as module
from autoglm_nb.server.machine import Machine
from autoglm_nb.server.metrics import Metrics
from autoglm_nb.server.places import Place
from autoglm_nb.store import EventWriter, LeaseRow
from autoglm_nb.store.importance import save_importance
from tests.server.conftest import Client, Study, add_study


def _samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def _value(samples: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def test_figures_are_read_by_prometheus_own_parser(ask: Client, study: Study) -> None:
    """Studies by state, those that are not over one by one, and the version."""
    add_study(study.store, "done")
    study.store.set_state("done", StudyState.FINISHED)
    with study.work():
        study.store.set_state(study.name, StudyState.RUNNING)
        reply = ask("metrics")
    assert reply.status == 200 and reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = _samples(reply.body)
    whose = {"home": study.home, "study": study.name}
    assert _value(found, "autoglm_info", version=__version__) == 1
    assert _value(found, "autoglm_studies", state="running") == 1
    assert _value(found, "autoglm_studies", state="finished") == 1
    assert _value(found, "autoglm_studies", state="failed") == 0
    assert _value(found, "autoglm_study_finished_trials", **whose) == 4
    assert _value(found, "autoglm_study_running_trials", **whose) == 1
    assert _value(found, "autoglm_study_planned_trials", **whose) == 20
    assert _value(found, "autoglm_study_best_value", **whose) == 0.8
    assert _value(found, "autoglm_unreadable") == 0
    assert (_value(found, "autoglm_worker_memory_bytes", **whose, device="cpu") or 0) > 1e6
    assert not any(dict(labels).get("study") == "done" for _, labels in found)


def test_requests_are_counted_by_route_and_not_by_address(ask: Client, study: Study) -> None:
    """A label with a study's name in it would grow without end."""
    labels = {"route": "/studies/{home}/{name}/points", "method": "GET", "status": "200"}
    before = _value(_samples(ask("metrics").body), "autoglm_requests_total", **labels) or 0
    for _ in range(3):
        ask(f"{study.path}/points")
    ask("who/knows/what")
    found = _samples(ask("metrics").body)
    assert _value(found, "autoglm_requests_total", **labels) == before + 3
    routes = {dict(labels)["route"] for name, labels in found if name == "autoglm_requests_total"}
    assert "unknown" in routes and not any("knows" in route for route in routes)


def test_a_waiting_study_is_a_figure(ask: Client, study: Study) -> None:
    """With the one in front as a label."""
    add_study(study.store, "second")
    with study.work():
        study.store.set_state("second", StudyState.QUEUED, "Waiting: cpu is in use by study 'reviews'.")
        found = _samples(ask("metrics").body)
    labels = {"home": study.home, "study": "second", "device": "cpu", "behind": "reviews"}
    assert _value(found, "autoglm_study_waiting", **labels) == 1


def test_a_hostile_name_stays_within_its_label() -> None:
    """Quotation marks, lines and half a character, as a store of another program might hold them."""
    name = 'a"} 1\nautoglm_studies{state="running"} 99\\ \ud800'
    line = {"home": "0" * 12, "name": name, "state": "running", "finished": 3, "running": 0, "total": None}
    line |= {"best_value": None, "active_seconds": 0.0, "queued_behind": None, "device": "cpu"}
    found = _samples(Metrics(lambda: ([line], 0), lambda: {"workers": []}).text())
    assert _value(found, "autoglm_studies", state="running") == 1
    assert _value(found, "autoglm_study_finished_trials", home="0" * 12, study=name.replace("\ud800", "?")) == 3


def test_the_machine_and_its_workers(ask: Client, study: Study) -> None:
    """This process stands for the worker; without one there is no entry."""
    with study.work():
        data = ask("resources").data
        [worker] = data["workers"]
        assert (worker["home"], worker["study"], worker["device"]) == (study.home, study.name, "cpu")
        assert worker["pid"] == os.getpid() and worker["memory_gb"] > 0.01
    machine = data["machine"]
    assert 0 <= machine["cpu_percent"] <= 100 and 0 < machine["memory_percent"] <= 100
    assert 0 < machine["memory_gb"] <= machine["memory_total_gb"] and machine["cpu_count"] == os.cpu_count()
    assert ask("resources").data["workers"] == []


def test_a_process_with_the_workers_id_but_another_start_is_somebody_else() -> None:
    """A worker of another machine or container on a shared disk."""
    row = LeaseRow("reviews", "cpu", os.getpid(), 1.0, "elsewhere", 0.0, True)
    place = Place("0" * 12, module.__file__, "x")  # type: ignore[arg-type]
    assert Machine().read([(place, row)])["workers"] == []


def test_two_questions_within_a_second_get_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of CPU over a millisecond says nothing; a change of workers is seen at once."""
    now = [100.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time=time.time, sleep=time.sleep)
    monkeypatch.setattr(module, "time", clock)  # of this module alone: a server's event loop reads the clock too
    machine = Machine()
    first = machine.read([])
    assert machine.read([]) is first
    now[0] += 1.5
    second = machine.read([])
    assert second is not first
    row = LeaseRow("reviews", "cpu", os.getpid(), 1.0, "here", 0.0, True)
    place = Place("0" * 12, module.__file__, "x")  # type: ignore[arg-type]
    assert machine.read([(place, row)]) is not second


def test_gpu_figures_come_from_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake NVML: load of the busiest device, memory of all."""
    monkeypatch.setattr(module.GpuReader, "read", lambda self, pids: (42.0, 3.25))
    found = Machine().read([])["machine"]
    assert (found["gpu_percent"], found["gpu_memory_gb"]) == (42.0, 3.25)


def test_the_record_is_what_the_notebook_would_save(ask: Client, study: Study) -> None:
    """Every form of it, without a folder of this machine, and kept until the study changes."""
    store = study.store
    other = add_study(store, "old", notebook=str(store.home.parent / "deep" / "one.ipynb"))
    store.add_note("old", "worth a look", trial=3)
    store.set_state("old", StudyState.FAILED, f"{store.home}/studies.db is full")
    reply = ask(f"{other.path}/record")
    bundle = reply.data["bundle"]
    assert set(bundle) == {STUDY_MIME, "text/html", "text/plain"}
    told = bundle[STUDY_MIME]
    assert (told["study"]["name"], told["study"]["notebook"]) == ("old", "one.ipynb")
    assert [t["number"] for t in told["trials"]] == [0, 1, 2, 3]
    assert "worth a look" in bundle["text/html"] and "worth a look" in bundle["text/plain"]
    assert str(store.home.parent) not in reply.body.decode()
    same = {**ask.headers, "If-None-Match": reply.headers["Etag"]}
    assert ask(f"{other.path}/record", headers=same).status == 304
    store.add_note("old", "another", trial=3)
    assert ask(f"{other.path}/record", headers=same).status == 200


def test_the_readings_of_minutes_come_with_the_picture(ask: Client, study: Study) -> None:
    """On the first look too, though eight trials side by side wrote thousands of steps in between."""
    with EventWriter(study.store.study_dir(study.name) / "events.jsonl") as events:
        for second in range(300):
            for step in range(40):
                events.emit("report", run=f"trial-{step:04d}", trial=step, rung=second, rungs=9, value=0.5)
            process = {"pid": 7, "cpu_percent": 5.0, "memory_gb": 0.5, "gpu_percent": 40.0, "gpu_memory_gb": 1.5}
            events.emit(
                "reading", cpu_percent=float(second), memory_gb=1.0, machine_cpu_percent=9.0,
                machine_memory_percent=50.0, gpu_percent=60.0, gpu_memory_gb=2.5, processes=[process],
            )  # fmt: skip
    readings = ask(study.path).data["readings"]
    assert [r["cpu_percent"] for r in readings] == [float(second) for second in range(60, 300)]
    assert {(r["gpu_percent"], r["gpu_memory_gb"], r["processes"][0]["gpu_memory_gb"]) for r in readings} == {
        (60.0, 2.5, 1.5)
    }


def test_importance_comes_with_the_picture_as_soon_as_it_is_known(ask: Client, study: Study) -> None:
    """The page asks with the tag of what it has."""
    reply = ask(study.path)
    assert "importance" not in reply.data
    found = {"parameter": "rank", "value": 0.5, "low": 0.25, "high": 0.75, "matters": True}
    save_importance(study.store, study.name, [found], 4)  # type: ignore[list-item]
    again = ask(study.path, headers={**ask.headers, "If-None-Match": reply.headers["Etag"]})
    assert again.status == 200 and again.data["importance"] == [found]


def test_an_error_names_no_folder_in_either_form(ask: Client, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the whole path, nor how it looks from where the server was started."""
    place = Place("0" * 12, study.store.home, "films")
    monkeypatch.chdir(study.store.home.parents[1])
    shown = settings.shown_path(study.store.home)
    assert "/" in shown
    told = place.told(f"cannot open {shown}/studies.db in {shown}, nor {study.store.home}/studies.db")
    label = f"films/{study.store.home.name}"
    assert told == f"cannot open {label}/studies.db in {label}, nor {label}/studies.db"


def test_a_message_of_the_worker_names_no_folder_of_the_store(ask: Client, study: Study) -> None:
    """What a library says of a file is told with the store's name in place of its path."""
    with EventWriter(study.store.study_dir(study.name) / "events.jsonl") as events:
        events.emit("message", level="error", text=f"cannot read {study.store.home}/runs/reviews/splits.json")
    [message] = ask(study.path).data["messages"]
    assert str(study.store.home) not in message["text"] and "splits.json" in message["text"]
