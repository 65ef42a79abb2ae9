"""A whole study as plain JSON, and back into a store: what leaves a machine and what comes in.

`portable` reads with plain SQL, within one transaction, and never through
Optuna: of a trial's attributes only those that this package wrote itself are
taken, and of Optuna's own only the constraints. Samplers keep pickled objects
in the others (CMA-ES does), which must neither leave nor come in. `bring_in`
takes trials that Optuna's public `create_trial` has checked, and stores everything
in one transaction, so that half a study is never seen.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoglm_nb.errors import StoreError
from autoglm_nb.protocol import NoteSnapshot, StudySpec, StudyState
from autoglm_nb.store import _trials
from autoglm_nb.store._json import dumps, plain
from autoglm_nb.store._spec import directions_of
from autoglm_nb.store.decisions import decisions
from autoglm_nb.store.importance import stored_importance
from autoglm_nb.store.notes import origin_of
from autoglm_nb.store.optuna_rows import insert_study
from autoglm_nb.store.store import Store
from autoglm_nb.store.studies import derived_state

if TYPE_CHECKING:
    import optuna

__all__ = ["DECISION_FIELDS", "KEPT_ATTRIBUTES", "RUN_FIELDS", "bring_in", "incoming", "portable"]

KEPT_ATTRIBUTES = ("config", "proposed_by", "enqueued_as")
"""User attributes of a trial that this package writes (`search.searcher`)."""

RUN_FIELDS = (
    "run", "role", "trial", "state", "config", "proposed_by", "because", "value", "metrics", "seed", "attempts",
    "deaths", "stalled_deaths", "seconds", "step", "total_steps", "micro_batch", "started_at", "ended_at",
)  # fmt: skip
"""Columns of a run, in the order of the table."""

DECISION_FIELDS = ("verdict", "reviewer", "reason", "decided_at", "trial")
"""What travels of a decision: neither when it arrived here nor the key of the report it answers."""

_STALE_SECONDS = 86_400.0


def portable(store: Store, name: str) -> dict[str, Any]:
    """A study as plain JSON, everything but files: `study`, `trials`, `runs`, `notes`, `removed_notes`.

    Trials are those that Optuna knows, by number, with `state` in Optuna's words; an infinite
    value is the text "inf" or "-inf", NaN is None.

    Raises:
        StudyNotFoundError: no study of that name.
    """
    with store._read() as connection:
        row = store._existing(connection, name)
        spec = store.spec(name)
        state, reason = derived_state(connection, row)
        study = {
            "name": row["name"],
            "identity": row["identity"],
            "spec": json.loads(row["spec"]),
            "state": str(state),
            "reason": reason,
            "provenance": json.loads(row["provenance"]),
            "final": None if row["final"] is None else json.loads(row["final"]),
            "active_seconds": row["active_seconds"],
            "created_at": row["created_at"],
            "updated_at": row["updated_at"],
            "directions": _trials.directions(connection, name) or directions_of(spec),
            "decisions": [{k: getattr(d, k) for k in DECISION_FIELDS} for d in decisions(store, name)],
            "importance": stored_importance(store, name),
        }
        runs = [
            {field: getattr(run, field) for field in RUN_FIELDS} | {"role": str(run.role), "state": str(run.state)}
            for run in store.runs(name)
        ]
        notes = [{**note, "id": origin_of(note["id"])} for note in store.notes(name)]
        found: dict[str, Any] = plain(
            {
                "study": study,
                "trials": _trial_rows(connection, name),
                "runs": runs,
                "notes": sorted(notes, key=lambda note: (note["created_at"], note["id"])),
                "removed_notes": store.removed_notes(name),
            }
        )
        return found


def bring_in(
    store: Store,
    name: str,
    *,
    spec: StudySpec,
    study: Mapping[str, Any],
    trials: Sequence[optuna.trial.FrozenTrial],
    runs: Sequence[Mapping[str, Any]],
    notes: Sequence[NoteSnapshot],
    removed_notes: Sequence[str] = (),
    files: Path | None = None,
) -> None:
    """Stores a study that was made elsewhere under a name that is free here.

    Args:
        store: where to.
        name: the new name.
        spec: the request, checked; its name is replaced.
        study: `state`, `reason`, `provenance`, `final`, `active_seconds`, `created_at` and `directions`, checked.
        trials: made with `optuna.trial.create_trial`, by number from 0, final ones only.
        runs: rows with all of `RUN_FIELDS`, checked.
        notes: checked.
        removed_notes: ids of notes removed in the copy.
        files: a folder below `incoming(store)` that becomes the study's own.

    Raises:
        StoreError: the name is taken.
        DiskFullError: no room; nothing is left behind.
    """
    spec_text = json.dumps({**json.loads(spec.to_json()), "name": name, "hooks": []}, sort_keys=True)
    target = store.study_dir(name)  # refuses a name that cannot be a folder's
    _sweep(store)
    store.optuna_storage()  # makes Optuna's tables where they are missing
    with _taken_back(files, target), store._write() as connection:
        if store._row(connection, name) is not None or target.exists() or _known(connection, name):
            raise StoreError(f"A study named {name!r} exists already. Choose another name for the one that comes.")
        now = time.time()
        connection.execute(
            "INSERT INTO autoglm_studies (name, identity, spec, state, reason, provenance, final, active_seconds, "
            "created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                name,
                spec.identity,
                spec_text,
                StudyState(study["state"]),
                study["reason"],
                dumps(study["provenance"]),
                None if study["final"] is None else dumps(study["final"]),
                study["active_seconds"],
                study["created_at"],
                now,
            ),
        )
        connection.executemany(
            f"INSERT INTO autoglm_runs (study, {', '.join(RUN_FIELDS)}) VALUES (?{', ?' * len(RUN_FIELDS)})",
            (
                (name, *(dumps(run[field]) if field in ("config", "metrics") else run[field] for field in RUN_FIELDS))
                for run in runs
            ),
        )
        insert_study(connection, name, list(study["directions"]), trials)
        store.merge_notes(name, notes, removed_notes)
        if files is not None:
            files.rename(target)


@contextlib.contextmanager
def incoming(store: Store) -> Iterator[Path]:
    """A folder on the store's own disk for files that come in; gone afterwards unless it was moved."""
    folder = store.home / "runs" / f".opening-{time.time():.0f}-{uuid.uuid4().hex[:8]}"
    with store._errors():
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _taken_back(files: Path | None, target: Path) -> Iterator[None]:
    """Moves the files back where their rows could not be committed (a full disk shows only then)."""
    try:
        yield
    except BaseException:
        if files is not None and not files.exists() and target.exists():
            with contextlib.suppress(OSError):
                target.rename(files)
        raise


def _trial_rows(connection: sqlite3.Connection, name: str) -> list[dict[str, Any]]:
    if not _trials.has_optuna_tables(connection):
        return []
    trials = connection.execute(
        "SELECT t.trial_id AS id, t.number, t.state FROM trials t JOIN studies s USING (study_id) "
        "WHERE s.study_name = ? ORDER BY t.number",
        (name,),
    ).fetchall()
    found = {
        row["id"]: {
            "number": row["number"], "state": row["state"].lower(), "values": [], "params": {}, "reports": [],
            "attributes": {}, "constraints": {},
        }
        for row in trials
    }  # fmt: skip

    def each(columns: str, table: str, where: str = "1") -> Iterator[tuple[dict[str, Any], sqlite3.Row]]:
        rows = connection.execute(
            f"SELECT a.trial_id, {columns} FROM {table} a JOIN trials t USING (trial_id) "
            f"JOIN studies s USING (study_id) WHERE s.study_name = ? AND {where} ORDER BY a.trial_id, 2",
            (name,),
        )
        for row in rows:
            yield found[row["trial_id"]], row

    for trial, row in each("a.objective, a.value, a.value_type", "trial_values"):
        trial["values"].append(_number(row["value"], row["value_type"]))
    for trial, row in each("a.param_name, a.param_value, a.distribution_json", "trial_params"):
        trial["params"][row["param_name"]] = {
            "value": _trials._decoded(row["param_value"], row["distribution_json"]),
            "distribution": json.loads(row["distribution_json"]),
        }
    for trial, row in each("a.step, a.intermediate_value, a.intermediate_value_type", "trial_intermediate_values"):
        trial["reports"].append([row["step"], _number(row["intermediate_value"], row["intermediate_value_type"])])
    ours = ", ".join(f"'{key}'" for key in KEPT_ATTRIBUTES)
    for trial, row in each("a.key, a.value_json", "trial_user_attributes", f"a.key IN ({ours})"):
        trial["attributes"][row["key"]] = json.loads(row["value_json"])
    for trial, row in each("a.key, a.value_json", "trial_system_attributes", "a.key LIKE 'constraints:%'"):
        value = json.loads(row["value_json"])
        if isinstance(value, int | float) and math.isfinite(value):
            trial["constraints"][row["key"].partition(":")[2]] = float(value)
    return list(found.values())


def _number(value: float | None, kind: str) -> float | str | None:
    """Optuna keeps infinities and NaN as words beside an empty column."""
    return {"INF_POS": "inf", "INF_NEG": "-inf"}.get(kind, value)


def _known(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM studies WHERE study_name = ?", (name,)).fetchone() is not None


def _drop(store: Store, waiting: str) -> None:
    """Takes away the trials of a study that did not arrive."""
    from autoglm_nb.store.folders import delete_from_optuna

    with contextlib.suppress(StoreError, OSError), store._write() as connection:
        delete_from_optuna(connection, waiting)


def _sweep(store: Store) -> None:
    """Takes away what a process that was killed while opening a file left behind, a day later.

    Rows under a name with a colon are those of an earlier program, which stored trials one by one.
    """
    oldest = time.time() - _STALE_SECONDS
    with store._read() as connection:
        names = (
            [r[0] for r in connection.execute("SELECT study_name FROM studies WHERE study_name LIKE 'opening:%'")]
            if _trials.has_optuna_tables(connection)
            else []
        )
    for name in names:
        begun = re.match(r"opening:(\d{1,15}):", name)  # any other name is somebody's own
        if begun is not None and int(begun[1]) < oldest:
            _drop(store, name)
    for folder in (store.home / "runs").glob(".opening-*-*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
