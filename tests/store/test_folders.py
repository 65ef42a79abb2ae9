"""Folders: deleting, renaming and cleaning a study."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import optuna
import pytest

from autoglm_nb.errors import StoreError, StudyNotFoundError
from autoglm_nb.protocol import Action, RunRole, TrialState
from autoglm_nb.store import Store, snapshot
from tests.store.conftest import make_spec

optuna.logging.set_verbosity(optuna.logging.WARNING)


def _work(store: Store, study: str, values: list[float | None]) -> None:
    """Trials with an adapter and a checkpoint each; None still runs."""
    told = store.optuna_study(study, ["maximize"])
    for number, value in enumerate(values):
        trial, run = told.ask(), f"trial-{number:04d}"
        trial.suggest_int("rank", 1, 8)
        trial.report(0.5, 1)
        trial.set_user_attr("a", 1)
        store.optuna_storage().set_trial_system_attr(trial._trial_id, "b", 2)
        store.start_run(study, run, RunRole.TRIAL, config={"rank": 8}, trial=number)
        if value is not None:
            store.end_run(study, run, TrialState.COMPLETED, value=value)
            told.tell(trial, value)
        for part in ("adapter", "checkpoints/step-000010"):
            folder = store.run_dir(study, run) / part
            folder.mkdir(parents=True)
            (folder / "tensors.safetensors").write_bytes(b"x" * 1000)
        (store.run_dir(study, run) / "metrics.json").write_text("{}")
    store.request(study, Action.PAUSE)
    store.add_note(study, "note", trial=0)


def _rows(store: Store) -> dict[str, int]:
    with sqlite3.connect(store.path) as connection:
        names = [r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        skipped = {"autoglm_meta", "alembic_version", "version_info", "sqlite_sequence"}
        return {n: connection.execute(f"SELECT COUNT(*) FROM {n}").fetchone()[0] for n in names if n not in skipped}


def test_a_deleted_study_leaves_nothing_behind(store: Store, study: str) -> None:
    """Neither in our tables nor in Optuna's, nor on the disk; its neighbour keeps all."""
    store.create_study(make_spec("other"))
    _work(store, "other", [0.1])
    before = _rows(store)
    _work(store, study, [0.1, 0.2])
    assert all(_rows(store)[t] > n for t, n in before.items() if t not in ("autoglm_studies", "autoglm_leases") and n)
    store.delete_study(study)
    assert _rows(store) == before | {"autoglm_studies": 1}
    assert [p.name for p in (store.home / "runs").iterdir()] == ["other"]
    assert not store.has_study(study)
    with pytest.raises(StudyNotFoundError):
        store.delete_study(study)
    store.create_study(make_spec())
    assert snapshot(store, study)["trials"] == []


def test_a_study_at_work_is_neither_deleted_nor_renamed(store: Store, study: str) -> None:
    """Its worker would write into nowhere."""
    lease = store.acquire(study, "cpu")
    assert lease is not None
    with pytest.raises(StoreError, match=rf"being worked on \(process {os.getpid()}\).*%autotune stop reviews"):
        store.delete_study(study)
    with pytest.raises(StoreError, match="cannot be renamed"):
        store.rename_study(study, "other")
    lease.release()
    store.delete_study(study)


def test_what_an_interrupted_deletion_left_is_swept_away_later(store: Store, study: str) -> None:
    """The rows go first; a crash then leaves a folder under a name of its own."""
    trash = store.home / "runs" / ".deleted-1234abcd"
    trash.mkdir(parents=True)
    (trash / "x").write_bytes(b"x" * 10)
    assert store.clean(study) == 10
    assert not trash.exists()


def test_a_renamed_study_takes_everything_along(store: Store, study: str) -> None:
    """Rows, Optuna's study and the folder."""
    _work(store, study, [0.3])
    before = snapshot(store, study)
    store.rename_study(study, "renamed")
    after = snapshot(store, "renamed")
    assert after["study"]["name"] == store.spec("renamed").name == "renamed"
    assert after["trials"] == before["trials"] and after["notes"] == before["notes"]
    assert (store.run_dir("renamed", "trial-0000") / "adapter").is_dir()
    assert not store.study_dir(study).exists()
    assert len(store.optuna_study("renamed", ["maximize"]).trials) == 1
    assert not store.has_study(study)


def test_a_taken_name_is_refused_and_nothing_moves(store: Store, study: str) -> None:
    """By another study, by a foreign one of Optuna's, or by a folder."""
    store.create_study(make_spec("other"))
    store.optuna_study("foreign", ["maximize"])
    store.study_dir("folder").mkdir(parents=True)
    _work(store, study, [0.3])
    for name in ("other", "foreign", "folder", study):
        with pytest.raises(StoreError, match="exists already"):
            store.rename_study(study, name)
    assert store.has_study(study) and store.study_dir(study).is_dir()


def test_a_folder_that_cannot_be_moved_undoes_the_renaming(
    store: Store, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and folder change together."""
    _work(store, study, [0.3])

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "in use")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StoreError):
        store.rename_study(study, "renamed")
    assert store.has_study(study) and not store.has_study("renamed")


def test_cleaning_keeps_the_best_the_starred_and_what_still_runs(store: Store, study: str) -> None:
    """Losing adapters and spent checkpoints go; the small files stay."""
    _work(store, study, [0.1, 0.9, 0.2, None])
    store.add_note(study, "", kind="star", trial=2)
    assert store.clean(study) == 3 * 1000 + 1000  # three ended runs' checkpoints, one adapter
    left = sorted(p.parent.relative_to(store.study_dir(study)).as_posix() for p in store.home.rglob("*.safetensors"))
    assert left == [
        "trial-0001/adapter",
        "trial-0002/adapter",
        "trial-0003/adapter",
        "trial-0003/checkpoints/step-000010",
    ]
    assert len(list(store.home.rglob("metrics.json"))) == 4
    assert store.clean(study) == 0
    assert store.clean(study, keep=["trial-0002"]) == 1000
    assert not (store.run_dir(study, "trial-0001") / "adapter").exists()


def test_cleaning_follows_the_direction_and_the_front(store: Store) -> None:
    """With several objectives every trial on the Pareto front stays."""
    store.create_study(make_spec("loss", metric="loss", direction="minimize"))
    told = store.optuna_study("loss", ["minimize"])
    store.create_study(make_spec("both", objectives=("accuracy", "latency_ms_p50")))
    pair = store.optuna_study("both", ["maximize", "minimize"])
    for number, (accuracy, latency) in enumerate([(0.9, 5.0), (0.8, 1.0), (0.7, 2.0)]):
        for name, study, values in (("loss", told, accuracy), ("both", pair, [accuracy, latency])):
            study.tell(study.ask(), values)
            store.start_run(name, f"t{number}", RunRole.TRIAL, config={}, trial=number)
            store.end_run(name, f"t{number}", TrialState.COMPLETED, value=accuracy)
            (store.run_dir(name, f"t{number}") / "adapter").mkdir(parents=True)
    store.clean("loss")
    store.clean("both")
    left = sorted(p.parent.relative_to(store.home / "runs").as_posix() for p in store.home.rglob("adapter"))
    assert left == ["both/t0", "both/t1", "loss/t2"]


def _adapters(store: Store, study: str) -> set[str]:
    return {p.parent.name for p in store.study_dir(study).glob("*/adapter")}


def test_clean_keeps_the_last_adapters_where_asked(store: Store, study: str) -> None:
    """Besides the best and the starred ones."""
    _work(store, study, [0.9, 0.1, 0.2, 0.3])
    store.add_note(study, "", kind="star", trial=1)
    assert store.clean(study, last=1) > 0
    assert _adapters(store, study) == {"trial-0000", "trial-0001", "trial-0003"}
    store.clean(study)
    assert _adapters(store, study) == {"trial-0000", "trial-0001"}


def test_a_star_on_the_study_keeps_no_adapter(store: Store, study: str) -> None:
    """It is on no trial: baseline and confirmation runs have no number either."""
    _work(store, study, [0.9])
    store.start_run(study, "baseline", RunRole.BASELINE, config={})
    store.end_run(study, "baseline", TrialState.COMPLETED, value=0.1)
    (store.run_dir(study, "baseline") / "adapter").mkdir(parents=True)
    store.add_note(study, "", kind="star")
    store.clean(study)
    assert _adapters(store, study) == {"trial-0000"}


def test_a_worker_keeps_the_last_adapters_only(store: Store, study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each run; best, starred and running ones stay, checkpoints are not touched."""
    _work(store, study, [0.9, 0.1, 0.2, 0.3, 0.4, None])
    store.add_note(study, "", kind="star", trial=1)
    monkeypatch.setenv("AUTOGLM_KEEP_ADAPTERS", "all")
    assert store.tidy(study).freed == 0
    monkeypatch.setenv("AUTOGLM_KEEP_ADAPTERS", "1")
    done = store.tidy(study)
    assert (done.freed, done.over) == (2000, 0)
    assert _adapters(store, study) == {"trial-0000", "trial-0001", "trial-0004", "trial-0005"}
    assert len(list(store.study_dir(study).glob("*/checkpoints"))) == 6
    assert store.tidy(study).freed == 0


def test_the_quota_takes_what_matters_least_first(store: Store, study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints of ended runs, then losing adapters, the oldest first, of all studies; never the best."""
    store.create_study(make_spec("other"))
    _work(store, "other", [0.5, 0.4])
    _work(store, study, [0.9, 0.1, 0.2])
    monkeypatch.setenv("AUTOGLM_KEEP_ADAPTERS", "all")
    assert store.tidy(study).over == 0, "no quota is no limit"
    monkeypatch.setenv("AUTOGLM_DISK_QUOTA_GB", str(5500 / 1e9))
    assert store.tidy(study).over == 0
    assert not list((store.home / "runs").glob("*/*/checkpoints"))
    assert _adapters(store, study) == {"trial-0000", "trial-0001", "trial-0002"}
    assert _adapters(store, "other") == {"trial-0000", "trial-0001"}
    monkeypatch.setenv("AUTOGLM_DISK_QUOTA_GB", str(4500 / 1e9))
    store.tidy(study)
    assert _adapters(store, "other") == {"trial-0000"}, "the oldest of the losing ones"
    monkeypatch.setenv("AUTOGLM_DISK_QUOTA_GB", "0")
    done = store.tidy(study)
    assert done.over > 0, "what is best stays, even over the quota"
    assert (_adapters(store, study), _adapters(store, "other")) == ({"trial-0000"}, {"trial-0000"})
