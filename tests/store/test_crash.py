"""kill -9 at any moment leaves whole facts."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from autoglm_nb.protocol import TrialState
from autoglm_nb.store import Store, snapshot
from tests.store.conftest import Python, heard

WORK = """
store = Store(home)
lease = store.acquire("reviews", "cpu")
first = len(store.runs("reviews"))
say("ready")
for i in range(first, 100000):
    run = f"trial-{i:04d}"
    store.start_run("reviews", run, RunRole.TRIAL, config={"rank": i}, trial=i, total_steps=10)
    store.update_run("reviews", run, step=10, seconds=1.0)
    store.end_run("reviews", run, TrialState.COMPLETED, value=float(i), metrics={"accuracy": i, "pad": "x" * 3000})
    store.add_active_seconds("reviews", 1.0)
    say(i)
"""


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _check(store: Store) -> set[int]:
    """Every fact is whole; the completed trials."""
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    completed = set()
    for row in store.runs("reviews"):
        if row.state is TrialState.COMPLETED:
            assert row.trial is not None
            completed.add(row.trial)
            assert row.value == row.trial and row.metrics["accuracy"] == row.trial and row.ended_at is not None
            assert (row.step, row.seconds) == (10, 1.0)
        else:
            assert (row.state, row.value, row.metrics, row.ended_at) == (TrialState.RUNNING, None, {}, None)
    return completed


def test_a_worker_killed_inside_a_transaction_leaves_none_of_it(store: Store, study: str, python: Python) -> None:
    """And does not keep the next writer waiting."""
    process = python(
        """
        store = Store(home)
        with store._write() as connection:
            store.set_state("reviews", StudyState.FINISHED)
            connection.execute("INSERT INTO autoglm_runs (study, run, role, state, config, started_at) "
                               "VALUES ('reviews', 'half', 'trial', 'running', '{}', 0)")
            connection.execute("UPDATE autoglm_studies SET provenance = ?", ('"' + "x" * 10_000_000 + '"',))
            say("inside")
            listen()
        """
    )
    assert heard(process) == "inside"
    _kill(process.pid)
    process.wait()
    started = time.monotonic()
    store.add_note(study, "written at once")
    assert time.monotonic() - started < 5
    assert store.runs(study) == [] and store.provenance(study) == {}
    assert snapshot(store, study)["study"]["state"] == "queued"


@pytest.mark.slow
def test_workers_killed_at_random_lose_nothing_they_had_finished(
    home: Path, store: Store, study: str, python: Python
) -> None:
    """Each acknowledged run is there, whole, and the next worker goes on."""
    draw = random.Random(0)
    acknowledged: set[int] = set()
    lives = 0
    while lives < 5 or (len(acknowledged) <= 5 and lives < 50):
        lives += 1
        process = python(WORK)
        assert heard(process) == "ready", "the dead worker's lease is free at once"
        time.sleep(draw.uniform(0.02, 0.25))
        _kill(process.pid)
        assert process.stdout is not None
        acknowledged |= {int(line) for line in process.stdout.read().splitlines()}
        process.wait()
        with Store(home) as reader:
            assert _check(reader) >= acknowledged
        assert store.active_seconds(study) >= len(acknowledged)
    assert len(acknowledged) > 5


@pytest.mark.parametrize("moment", ["rows", "folder"])
def test_a_deletion_cut_short_is_either_done_or_not(store: Store, study: str, python: Python, moment: str) -> None:
    """Rows and folder are never half and half."""
    adapter = store.run_dir(study, "trial-0000") / "adapter"
    adapter.mkdir(parents=True)
    process = python(
        """
        import autoglm_nb.store.folders as folders
        def stop(*_):
            say("now"); listen()
        if sys.argv[2] == "rows":
            folders.delete_from_optuna = stop
        else:
            folders._remove = stop
        Store(home).delete_study("reviews")
        """,
        moment,
    )
    assert heard(process) == "now"
    _kill(process.pid)
    process.wait()
    if moment == "rows":
        assert store.has_study(study) and adapter.is_dir()
    else:
        assert not store.has_study(study) and not store.study_dir(study).exists()
