"""The list of studies over several stores, what cannot be read in it, and the queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoglm_nb.protocol import StudyState
from autoglm_nb.server.places import Place, Places, place_id
from autoglm_nb.store import Store, registry
from tests.server.conftest import Client, Server, Study, add_study


@pytest.fixture
def served(jupyter: Server) -> Path:
    """The server's own folder, empty again afterwards."""
    import shutil

    yield jupyter.root
    for entry in jupyter.root.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def test_a_line_has_what_a_list_draws(ask: Client, study: Study) -> None:
    """Figures, spark, and where it comes from, without a path."""
    [line] = ask("studies").data["studies"]
    assert line["home"] == study.home == place_id(study.store.home)
    assert line["folder"] == study.store.home.parent.name
    assert (line["name"], line["state"], line["model"]) == ("reviews", "queued", "minilm")
    assert (line["best_value"], line["baseline_value"], line["finished"], line["total"]) == (0.8, 0.7, 4, 20)
    assert line["spark"] == [0.5, 0.8]
    assert (line["notebook"], line["notebook_here"]) == (None, False)


def test_stores_are_found_in_the_registry_and_below_the_servers_folder(
    ask: Client, study: Study, served: Path, tmp_path: Path
) -> None:
    """Each once, however many ways lead there."""
    with Store(served / ".autoglm") as own, Store(tmp_path / "project" / ".autoglm") as third:
        add_study(own, "own")
        add_study(third, "third")
        registry.remember(third.home)
        registry.remember(own.home)
        (tmp_path / "link").symlink_to(tmp_path / "project")
        registry.remember(tmp_path / "link" / ".autoglm")
        found = {line["name"]: line for line in ask("studies").data["studies"]}
        assert set(found) == {"reviews", "own", "third"}
        assert len(ask("studies").data["studies"]) == 3
        assert (found["own"]["folder"], found["third"]["folder"]) == ("", "project")
        assert len({line["home"] for line in found.values()}) == 3
        assert ask("health").data["stores"] == 3


def test_two_studies_of_one_name_are_told_apart(ask: Client, study: Study, served: Path) -> None:
    """By their stores: each address gives its own."""
    with Store(served / ".autoglm") as own:
        other = add_study(own, study.name, model="another")
        assert ask(study.path).data["study"]["model"] == "minilm"
        assert ask(other.path).data["study"]["model"] == "another"


def test_working_studies_come_first_then_those_that_wait(ask: Client, study: Study) -> None:
    """And the filter keeps those of the given states."""
    store = study.store
    for name, state in (("done", StudyState.FINISHED), ("paused", StudyState.PAUSED), ("works", StudyState.RUNNING)):
        add_study(store, name)
        store.set_state(name, state)
    leases = [store.acquire("works", "cpu"), store.acquire("paused", "paused/paused")]
    store.set_state("done", StudyState.FINISHED)
    assert all(leases)
    names = [line["name"] for line in ask("studies").data["studies"]]
    assert names[0] == "works" and set(names[1:3]) == {"paused", "reviews"} and names[3] == "done"
    assert [x["name"] for x in ask("studies?state=running,finished").data["studies"]] == ["works", "done"]
    assert [x["name"] for x in ask("studies?state=running&state=paused").data["studies"]] == ["works", "paused"]
    assert ask("studies?state=failed").data["studies"] == []


def test_a_dead_worker_shows_as_interrupted_and_its_trials_stand(ask: Client, study: Study) -> None:
    """Nobody wrote that anywhere."""
    study.store.set_state(study.name, StudyState.RUNNING)
    lease = study.work()
    [line] = ask("studies").data["studies"]
    assert (line["state"], line["running"], line["device"]) == ("running", 1, "cpu")
    lease.release()
    [line] = ask("studies").data["studies"]
    assert (line["state"], line["running"]) == ("interrupted", 0)


def test_a_newer_store_is_a_sentence_and_the_others_are_shown(ask: Client, study: Study, tmp_path: Path) -> None:
    """In the list and in health; a study of it is refused with the same sentence, and no path is in it."""
    with Store(tmp_path / "newer" / ".autoglm") as newer:
        other = add_study(newer, "future")
        registry.remember(newer.home)
        with newer._write() as connection:
            connection.execute("UPDATE autoglm_meta SET value = '99' WHERE key = 'schema_version'")
    data = ask("studies").data
    assert [line["name"] for line in data["studies"]] == ["reviews"]
    [fault] = data["faults"]
    assert (fault["home"], fault["folder"]) == (other.home, "newer")
    assert "version 99" in fault["message"] and "Upgrade autoglm_nb" in fault["message"]
    health = ask("health")
    assert health.status == 200 and health.data["status"] == "degraded" and health.data["faults"] == [fault]
    reply = ask(other.path)
    assert reply.status == 409 and "Upgrade autoglm_nb" in reply.refusal
    assert ask(f"{other.path}/control", "POST", {"action": "pause"}).status == 409
    assert ask(study.path).status == 200


def test_a_damaged_store_is_a_sentence_without_its_path(ask: Client, study: Study, tmp_path: Path) -> None:
    """No database, half a database, an empty file."""
    for name, content in (("text", b"not a database " * 100), ("short", b"x" * 20), ("empty", b"")):
        home = tmp_path / name / ".autoglm"
        home.mkdir(parents=True)
        (home / "studies.db").write_bytes(content)
        registry.remember(home)
    data = ask("studies").data
    assert [line["name"] for line in data["studies"]] == ["reviews"]
    assert sorted(fault["folder"] for fault in data["faults"]) == ["empty", "short", "text"]
    for fault in data["faults"]:
        assert str(tmp_path) not in fault["message"] and fault["folder"] in fault["message"]
        reply = ask(f"studies/{fault['home']}/name")
        assert reply.status == 503 and str(tmp_path) not in reply.refusal


def test_a_study_that_cannot_be_read_hides_no_other(ask: Client, study: Study) -> None:
    """A request of a newer program."""
    add_study(study.store, "strange")
    with study.store._write() as connection:
        connection.execute("UPDATE autoglm_studies SET spec = json_set(spec, '$.version', 99) WHERE name = 'strange'")
    data = ask("studies").data
    assert [line["name"] for line in data["studies"]] == ["reviews"]
    assert "'strange'" in data["faults"][0]["message"] and "Upgrade" in data["faults"][0]["message"]
    assert ask(f"studies/{study.home}/strange").status == 503


def test_without_any_study_the_list_is_empty(ask: Client) -> None:
    """A server that was never used for this."""
    data = ask("studies").data
    assert (data["studies"], data["faults"]) == ([], [])
    assert ask("queue").data == {"devices": []}
    assert ask("health").data["status"] == "ok"


def test_a_waiting_study_says_behind_whom(ask: Client, study: Study) -> None:
    """In the list, in the queue, and no longer when the device is free."""
    add_study(study.store, "second")
    with study.work("cuda:0"):
        study.store.set_state(study.name, StudyState.RUNNING)
        study.store.set_state("second", StudyState.QUEUED, "Waiting: cuda:0 is in use by study 'reviews'.")
        lines = {line["name"]: line for line in ask("studies").data["studies"]}
        assert (lines["second"]["queued_behind"], lines["second"]["device"]) == ("reviews", "cuda:0")
        assert lines["reviews"]["queued_behind"] is None
        [device] = ask("queue").data["devices"]
        assert (device["home"], device["device"], device["holder"]) == (study.home, "cuda:0", "reviews")
        assert [w["name"] for w in device["waiting"]] == ["second"]
    lines = {line["name"]: line for line in ask("studies").data["studies"]}
    assert lines["second"]["queued_behind"] is None
    assert ask("queue").data["devices"] == []


def test_a_notebook_is_told_as_the_servers_users_know_it(tmp_path: Path) -> None:
    """A file below the server's folder can be opened; of anything else the name alone is told."""
    root = tmp_path / "served"
    (root / "course" / "week 1").mkdir(parents=True)
    (root / "course" / "week 1" / "tune.ipynb").touch()
    (tmp_path / "outside.ipynb").touch()
    places = Places(root)
    home = root / "course" / "week 1" / ".autoglm"
    place = Place("0" * 12, home, "course/week 1")
    assert places.notebook(place, "tune.ipynb") == ("course/week 1/tune.ipynb", True)
    assert places.notebook(place, str(home.parent / "tune.ipynb")) == ("course/week 1/tune.ipynb", True)
    assert places.notebook(place, "gone.ipynb") == ("gone.ipynb", False)
    assert places.notebook(place, str(tmp_path / "outside.ipynb")) == ("outside.ipynb", False)
    assert places.notebook(place, "../../../outside.ipynb") == ("outside.ipynb", False)
    assert places.notebook(place, "C:\\Users\\ada\\tune2.ipynb") == ("tune2.ipynb", False)
    for strange in ("", "\x00", "a" * 5000, "..", "/"):
        assert places.notebook(place, strange)[1] is False
    assert Places(None).notebook(place, "tune.ipynb") == ("tune.ipynb", False)
    assert places.relative(home.parent) == "course/week 1" and places.relative(root) == ""
    assert places.relative(tmp_path / "elsewhere") == "elsewhere"
