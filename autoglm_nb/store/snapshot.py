"""The one picture of a study that every view draws.

`snapshot` reads finished facts from the tables in a single read transaction, so
they belong together, and lays over them what the events say of the trials that
still run. It writes nothing and needs no worker, no Optuna and no model.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from autoglm_nb.protocol import (
    SNAPSHOT_VERSION,
    FinalSnapshot,
    NoteSnapshot,
    Snapshot,
    StudySnapshot,
    StudySpec,
    StudyState,
    TrialSnapshot,
    TrialState,
)
from autoglm_nb.settings import shown_path
from autoglm_nb.store import _trials
from autoglm_nb.store._front import pareto_front
from autoglm_nb.store._headline import Progress, best_trial, curve, headline
from autoglm_nb.store._json import finite
from autoglm_nb.store._spec import directions_of, metric_of
from autoglm_nb.store._trials import TrialFact
from autoglm_nb.store.decisions import shown_decision
from autoglm_nb.store.events import EventTail
from autoglm_nb.store.hook_state import hook_messages
from autoglm_nb.store.importance import shown_importance
from autoglm_nb.store.live import LiveRun, LiveState
from autoglm_nb.store.store import Store
from autoglm_nb.store.studies import derived_state

__all__ = ["live_state", "snapshot", "trial_snapshots"]


def snapshot(
    store: Store, name: str, *, live: LiveState | None = None, offset: int | None = None, limit: int | None = 500
) -> Snapshot:
    """A study as plain JSON; the same stored content gives the same picture.

    Args:
        store: where it is stored.
        name: the study's name.
        live: the fold of its events, if the caller follows them; None reads the end of the event file.
        offset: the first trial of the page. None: the page that ends with the newest trial.
        limit: trials in the page; None for all of them.

    Raises:
        StudyNotFoundError: no study of that name.
    """
    with store._read() as connection:
        row = store._existing(connection, name)
        live = live_state(store, name) if live is None else live
        spec = store.spec(name)
        provenance: dict[str, Any] = json.loads(row["provenance"])
        state, reason = derived_state(connection, row)
        for place in (str(store.home), shown_path(store.home)):  # a saved record must name no folder of this machine
            if place not in (".", "~"):  # where the store is the working folder itself: no word of a sentence
                reason = reason.replace(place, store.home.name)
        directions = _trials.directions(connection, name) or directions_of(spec)
        trials = _trials.facts(connection, name)
        notes = store.notes(name)
        page = _page(trials, offset, limit)
        pictures = trial_snapshots(connection, name, page, live, notes, state)
        best_config, adapter = _best(store, connection, name, best_trial(trials, directions[0]))
        moving = _progress_of_running(connection, name, trials, live)
        winner = best_trial(trials, directions[0])
        picture = Snapshot(
            version=SNAPSHOT_VERSION,
            study=_study(row, spec, provenance, directions[0], state, reason),
            headline=headline(
                connection,
                spec,
                trials,
                directions[0],
                Progress(state, row["active_seconds"], moving),
                best_config,
                adapter,
            ),
            trials=pictures,
            trials_total=len(trials),
            curve=curve(trials, directions[0]),
            space=spec.space,
            readings=list(live.readings),
            notes=notes,
            final=_final(row["final"]),
            front=_front(connection, trials, directions),
            provenance=provenance,
            messages=_messages(live, hook_messages(store, name)),
            packs=None if state.final else live.packs,
        )
    decision = shown_decision(store, name, winner.number if winner is not None else None)
    if decision is not None:
        picture["decision"] = decision
    mattered, after = shown_importance(store, name, picture["headline"]["finished"])
    if mattered:
        picture["importance"] = mattered
    if after is not None:
        picture["importance_after"] = after
    return picture


def live_state(store: Store, name: str, *, tail_bytes: int | None = None) -> LiveState:
    """The fold of the end of a study's event file; empty where there is none."""
    path = store.study_dir(name) / "events.jsonl"
    tail = EventTail(path) if tail_bytes is None else EventTail(path, tail_bytes=tail_bytes)
    live = LiveState()
    live.apply_all(tail.poll())
    return live


def _messages(live: LiveState, hooks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The worker's messages and those of hooks that gave up, by time."""
    return sorted([*live.messages, *hooks], key=lambda m: float(m.get("t") or 0.0))[-20:]


def _study(
    row: sqlite3.Row, spec: StudySpec, provenance: dict[str, Any], direction: str, state: StudyState, reason: str
) -> StudySnapshot:
    return StudySnapshot(
        name=row["name"],
        identity=row["identity"],
        state=str(state),
        reason=reason,
        model=spec.model,
        task=spec.task or str(provenance.get("task", "")),
        data=spec.data.source,
        metric=metric_of(spec),
        direction=direction,
        objectives=list(spec.objectives),
        strategy=spec.strategy,
        pruner=spec.pruner,
        executor=spec.executor,
        device=str(provenance.get("device") or spec.device),
        seed=spec.seed,
        created_at=row["created_at"],
        active_seconds=row["active_seconds"],
        notebook=spec.notebook,
        cell=spec.cell,
    )


def _page(trials: list[TrialFact], offset: int | None, limit: int | None) -> list[TrialFact]:
    if limit is None:
        return trials[max(0, offset or 0) :]
    start = max(0, len(trials) - limit) if offset is None else max(0, offset)
    return trials[start : start + limit]


def trial_snapshots(
    connection: sqlite3.Connection,
    name: str,
    page: list[TrialFact],
    live: LiveState,
    notes: list[NoteSnapshot],
    state: StudyState,
) -> list[TrialSnapshot]:
    """The trials of a page in full, in the order given, within the caller's transaction."""
    if not page:
        return []
    ids = [t.trial_id for t in page if t.trial_id is not None]
    values = _trials.objective_values(connection, ids)
    reports = _trials.reports(connection, ids)
    rows = _run_rows(connection, name, [t.number for t in page])
    foreign = _trials.foreign_configs(connection, [t.trial_id for t in page if t.trial_id and t.number not in rows])
    starred = {n["trial"] for n in notes if n["kind"] == "star"}
    moving = {r.trial: r for r in live.runs.values() if r.trial is not None and not state.final}
    found = []
    for trial in page:
        all_values = values.get(trial.trial_id or -1, []) if trial.state != TrialState.FAILED else []
        given = [v for v in all_values if v is not None]
        if len(given) < 2 or len(given) < len(all_values):
            given = [] if trial.value is None else [trial.value]
        row, run = rows.get(trial.number), moving.get(trial.number)
        running = run if trial.state == TrialState.RUNNING else None
        metrics = json.loads(row["metrics"]) if row else {}
        step, total = _steps(row, running)
        found.append(
            TrialSnapshot(
                number=trial.number,
                state=trial.state,
                value=trial.value,
                values=given,
                config=json.loads(row["config"]) if row else foreign.get(trial.trial_id or -1, {}),
                proposed_by=row["proposed_by"] if row else _enqueued(trial),
                because=row["because"] if row else "",
                reports=reports.get(trial.trial_id or -1, []),
                progress=_share(trial.state, step, total),
                step=step,
                total_steps=total,
                loss=finite(run.loss if run and run.loss is not None else metrics.get("train_loss")),
                seconds=row["seconds"] if row else 0.0,
                attempts=row["attempts"] if row else 1,
                metrics=metrics,
                starred=trial.number in starred,
            )
        )
    return found


def _enqueued(trial: TrialFact) -> str:
    """Who proposed a trial that no worker has taken up yet."""
    return "given" if trial.state == TrialState.WAITING else ""


def _run_rows(connection: sqlite3.Connection, name: str, numbers: list[int]) -> dict[int, sqlite3.Row]:
    rows = connection.execute(
        "SELECT * FROM autoglm_runs WHERE study = ? AND role = 'trial' AND trial IN (SELECT value FROM json_each(?))",
        (name, json.dumps(numbers)),
    ).fetchall()
    return {row["trial"]: row for row in rows}


def _progress_of_running(connection: sqlite3.Connection, name: str, trials: list[TrialFact], live: LiveState) -> float:
    """How much the running trials have done, in trials."""
    running = [t.number for t in trials if t.state == TrialState.RUNNING]
    rows, moving = _run_rows(connection, name, running), {r.trial: r for r in live.runs.values()}
    return sum(_share(TrialState.RUNNING, *_steps(rows.get(n), moving.get(n))) for n in running)


def _steps(row: sqlite3.Row | None, run: LiveRun | None) -> tuple[int, int]:
    """Step and total: the events run ahead of the table while a worker lives."""
    step, total = (row["step"], row["total_steps"]) if row else (0, 0)
    if run is None:
        return step, total
    return max(step, run.step), run.total_steps or total


def _share(state: str, step: int, total: int) -> float:
    if state == TrialState.COMPLETED:
        return 1.0
    return round(min(1.0, step / total), 4) if total else 0.0


def _best(
    store: Store, connection: sqlite3.Connection, name: str, trial: TrialFact | None
) -> tuple[dict[str, Any], str | None]:
    """Configuration and adapter of the best trial.

    The adapter is told from the folder the store lies in: a shared record names no machine's paths.
    """
    if trial is None:
        return {}, None
    row = _run_rows(connection, name, [trial.number]).get(trial.number)
    if row is None:
        return _trials.foreign_configs(connection, [trial.trial_id or -1]).get(trial.trial_id or -1, {}), None
    folder = store.run_dir(name, row["run"]) / "adapter"
    adapter = folder.relative_to(store.home.parent).as_posix() if folder.is_dir() else None
    return dict(json.loads(row["config"])), adapter


def _final(text: str | None) -> FinalSnapshot | None:
    if text is None:
        return None
    final: FinalSnapshot = json.loads(text)
    return final


def _front(connection: sqlite3.Connection, trials: list[TrialFact], directions: list[str]) -> list[int]:
    if len(directions) < 2:
        return []
    done = {t.trial_id: t.number for t in trials if t.state == TrialState.COMPLETED and t.feasible and t.trial_id}
    values = _trials.objective_values(connection, [i for i in done if i is not None])
    return sorted(pareto_front({done[i]: v for i, v in values.items()}, directions))
