"""Runs: start, go on after a crash, end."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autoglm_nb.errors import StoreError, StudyNotFoundError
from autoglm_nb.protocol import RunRole, TrialState
from autoglm_nb.store import Store


def _start(store: Store, study: str, number: int = 7) -> str:
    run = f"trial-{number:04d}"
    store.start_run(
        study,
        run,
        RunRole.TRIAL,
        config={"rank": np.int64(8), "learning_rate": np.float64(1e-3), "target_modules": ("q", "v")},
        proposed_by="random start",
        trial=number,
        seed=3,
        total_steps=120,
    )
    return run


def test_a_run_comes_back_as_plain_values(store: Store, study: str) -> None:
    """NumPy scalars of a sampler are stored as JSON."""
    row = store.run(study, _start(store, study))
    assert row is not None
    assert row.config == {"rank": 8, "learning_rate": 1e-3, "target_modules": ["q", "v"]}
    assert type(row.config["rank"]) is int
    assert (row.state, row.role, row.trial, row.seed, row.attempts, row.deaths) == ("running", "trial", 7, 3, 1, 0)
    assert row.ended_at is None and row.value is None
    assert store.run(study, "trial-0008") is None


def test_an_ended_run_has_value_metrics_and_reason(store: Store, study: str) -> None:
    """State and value are one fact."""
    run = _start(store, study)
    store.update_run(study, run, step=60, seconds=12.5, micro_batch=4)
    store.end_run(study, run, TrialState.PRUNED, value=0.7, metrics={"loss": math.inf}, because="below the median")
    row = store.run(study, run)
    assert row is not None
    assert (row.state, row.value, row.because, row.metrics) == ("pruned", 0.7, "below the median", {"loss": None})
    assert (row.step, row.seconds, row.micro_batch) == (60, 12.5, 4)
    assert row.ended_at is not None and row.ended_at >= row.started_at


def test_starting_again_after_a_crash_keeps_what_was_done(store: Store, study: str) -> None:
    """The next worker adopts the run under its name: steps, seconds and deaths count on."""
    run = _start(store, study)
    store.update_run(study, run, step=60, seconds=12.5, attempts=2, deaths=1, stalled_deaths=1)
    before = store.run(study, run)
    _start(store, study)
    assert store.run(study, run) == before
    store.end_run(study, run, TrialState.FAILED, because="loss was NaN")
    _start(store, study)
    again = store.run(study, run)
    assert again is not None and again.state is TrialState.RUNNING and again.because == "" and again.ended_at is None


def test_a_completed_run_is_not_started_again(store: Store, study: str) -> None:
    """Nothing finished may be lost."""
    run = _start(store, study)
    store.end_run(study, run, TrialState.COMPLETED, value=0.8)
    with pytest.raises(StoreError, match="is completed"):
        _start(store, study)
    row = store.run(study, run)
    assert row is not None and row.value == 0.8


def test_runs_are_listed_by_trial_then_by_start(store: Store, study: str) -> None:
    """And may be asked for by role."""
    store.start_run(study, "baseline", RunRole.BASELINE, config={})
    for number in (2, 0, 1):
        _start(store, study, number)
    store.start_run(study, "winner-seed-1", RunRole.CONFIRM, config={})
    names = [r.run for r in store.runs(study)]
    assert names == ["trial-0000", "trial-0001", "trial-0002", "baseline", "winner-seed-1"]
    assert [r.run for r in store.runs(study, RunRole.CONFIRM)] == ["winner-seed-1"]


def test_faults_in_calls_are_named(store: Store, study: str) -> None:
    """A wrong name must not pass silently."""
    with pytest.raises(StudyNotFoundError):
        _start(store, "other")
    with pytest.raises(StoreError, match="has no run 'trial-0009'"):
        store.end_run(study, "trial-0009", TrialState.COMPLETED)
    with pytest.raises(TypeError, match="settable field lr"):
        store.update_run(study, "trial-0009", lr=1)
    with pytest.raises(TypeError, match="plain JSON"):
        store.start_run(study, "x", RunRole.TRIAL, config={"object": object()})


def test_a_nan_value_is_stored_as_none(store: Store, study: str) -> None:
    """SQLite has no NaN."""
    run = _start(store, study)
    store.end_run(study, run, TrialState.FAILED, value=math.nan)
    row = store.run(study, run)
    assert row is not None and row.value is None
