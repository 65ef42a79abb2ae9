"""The list of studies: the figures of the snapshot, kept while nothing changes."""

from __future__ import annotations

import pytest

from autoglm_nb.protocol import RunRole, StudyState, TrialState
from autoglm_nb.store import Overview, Store, snapshot
from autoglm_nb.store import overview as module
from autoglm_nb.store.overview import SPARK_POINTS
from tests.store.conftest import make_spec


def _run(store: Store, study: str, number: int, value: float | None, state: TrialState = TrialState.COMPLETED) -> None:
    run = f"trial-{number:04d}"
    store.start_run(study, run, RunRole.TRIAL, config={"rank": 8}, trial=number)
    if state.final:
        store.end_run(study, run, state, value=value)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_line_says_what_the_snapshot_says(store: Store, direction: str) -> None:
    """Best value, baseline, counts, and the curve as a spark."""
    store.create_study(make_spec("reviews", direction=direction))
    for number, value in enumerate([0.5, 0.7, 0.4, 0.6]):
        _run(store, "reviews", number, value)
    _run(store, "reviews", 4, None, TrialState.FAILED)
    _run(store, "reviews", 5, None, TrialState.RUNNING)
    store.start_run("reviews", "baseline", RunRole.BASELINE, config={})
    store.end_run("reviews", "baseline", TrialState.COMPLETED, value=0.55)
    lease = store.acquire("reviews", "cpu")
    store.set_state("reviews", StudyState.RUNNING)
    lines, faults = Overview(store).lines()
    picture = snapshot(store, "reviews")
    assert faults == [] and len(lines) == 1 and lease is not None
    line, headline = lines[0], picture["headline"]
    assert (line.best_value, line.baseline_value) == (headline["best_value"], headline["baseline_value"])
    assert (line.finished, line.running, line.total) == (headline["finished"], 1, headline["total"])
    assert list(line.spark) == [value for _, value in picture["curve"]]
    assert (line.state, line.device, line.direction) == (StudyState.RUNNING, "cpu", direction)
    lease.release()
    assert Overview(store).lines()[0][0].running == 0  # interrupted: nothing runs


def test_the_list_agrees_with_the_stores_own(store: Store) -> None:
    """`Store.studies` reads everything each time."""
    for index in range(3):
        store.create_study(make_spec(f"s{index}"))
        for number in range(index * 2):
            _run(store, f"s{index}", number, 0.1 * number + index)
    lines = {line.name: line for line in Overview(store).lines()[0]}
    for summary in store.studies():
        line = lines[summary.name]
        for field in ("state", "model", "data", "metric", "direction", "best_value", "finished", "total", "updated_at"):
            assert getattr(line, field) == getattr(summary, field), field


def test_a_spark_is_short(store: Store, study: str) -> None:
    """At most forty numbers, the first and the last among them."""
    for number in range(63):
        _run(store, study, number, number / 100)
    spark = Overview(store).lines()[0][0].spark
    assert len(spark) == SPARK_POINTS and (spark[0], spark[-1]) == (0.0, 0.62)
    assert list(spark) == sorted(spark)


def test_only_what_changed_is_read_again(store: Store, study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished study of ten thousand trials costs nothing while another one runs."""
    store.create_study(make_spec("other"))
    read: list[str] = []
    original = module._study_figures

    def counted(connection: object, row: dict[str, str], key: object) -> object:
        read.append(row["name"])
        return original(connection, row, key)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_study_figures", counted)
    overview = Overview(Store(store.home, read_only=True))
    overview.lines()
    assert sorted(read) == ["other", study]
    overview.lines()
    _run(store, "other", 0, 0.9)
    lines, _ = overview.lines()
    assert sorted(read) == ["other", "other", study]
    assert {line.name: line.best_value for line in lines} == {"other": 0.9, study: None}


def test_a_study_that_cannot_be_read_is_a_sentence_and_the_others_are_shown(store: Store, study: str) -> None:
    """A row of a newer program, a state nobody knows, and no JSON at all."""
    for name, assignment in (
        ("newer", "spec = json_set(spec, '$.version', 99)"),
        ("strange", "state = 'dancing'"),
        ("damaged", "spec = '{'"),
        ("list", "provenance = '[1]'"),
    ):
        store.create_study(make_spec(name))
        with store._write() as connection:
            connection.execute(f"UPDATE autoglm_studies SET {assignment} WHERE name = ?", (name,))
    lines, faults = Overview(store).lines()
    assert [line.name for line in lines] == [study]
    assert len(faults) == 4
    assert all(any(repr(name) in fault for fault in faults) for name in ("newer", "strange", "damaged", "list"))


def test_a_study_that_is_gone_leaves_the_list(store: Store, study: str) -> None:
    """And one of the same name begins anew."""
    overview = Overview(Store(store.home, read_only=True))
    _run(store, study, 0, 0.5)
    assert overview.lines()[0][0].best_value == 0.5
    store.delete_study(study)
    assert overview.lines() == ([], [])
    store.create_study(make_spec(study))
    assert overview.lines()[0][0].best_value is None
