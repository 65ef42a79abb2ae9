"""What front end, store and worker say to each other: versioned records, no behaviour.

Three kinds of thing live here. `StudySpec` is the request, written once by the
notebook and read by the worker. `Event` is one line of `events.jsonl`: what
moves while a worker runs, never needed to rebuild a result. `Snapshot` is what
every view draws: the stock widget, the record, the report and the server all
get the same dictionary. Only the standard library is imported.

A field may be added within a version; renaming or removing one is a new version.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NotRequired, TypedDict

__all__ = [
    "EVENT_VERSION",
    "SNAPSHOT_VERSION",
    "SPEC_VERSION",
    "STUDY_MIME",
    "TRANSFER_MIME",
    "Action",
    "ControlRequest",
    "DataSpec",
    "DecisionSnapshot",
    "Event",
    "FinalSnapshot",
    "HeadlineSnapshot",
    "ImportanceSnapshot",
    "NoteSnapshot",
    "PackSnapshot",
    "PacksSnapshot",
    "ProcessReading",
    "ReadingSnapshot",
    "RunRole",
    "Snapshot",
    "StudySnapshot",
    "StudySpec",
    "StudyState",
    "TrialSnapshot",
    "TrialState",
]

SPEC_VERSION = 1
EVENT_VERSION = 1
SNAPSHOT_VERSION = 1
STUDY_MIME = "application/vnd.autoglm.study.v1+json"
TRANSFER_MIME = "application/vnd.autoglm.transfer.v1+json"


class StudyState(StrEnum):
    """Where a study is. Only FINISHED, STOPPED and FAILED are final (and may be continued)."""

    QUEUED = "queued"  # accepted; waits for its worker or for the device
    PREPARING = "preparing"  # resolving model and data, tokenising
    RUNNING = "running"
    PAUSED = "paused"
    CONFIRMING = "confirming"  # winner and default configuration re-run on several seeds
    FINISHED = "finished"
    STOPPED = "stopped"  # by a person
    FAILED = "failed"  # cannot go on; `state_reason` has the sentence
    INTERRUPTED = "interrupted"  # derived, never stored: active state, but no live worker

    @property
    def final(self) -> bool:
        return self in (StudyState.FINISHED, StudyState.STOPPED, StudyState.FAILED)


class TrialState(StrEnum):
    """Where a trial is. Optuna's COMPLETE, PRUNED, FAIL, RUNNING and WAITING, in our words."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        return self not in (TrialState.WAITING, TrialState.RUNNING)


class RunRole(StrEnum):
    """Why a configuration is trained: as a trial, or to compare with one."""

    TRIAL = "trial"
    BASELINE = "baseline"  # the default configuration, same budget, measured beside the trials
    CONFIRM = "confirm"  # winner or default configuration again, another seed, scored on test


class Action(StrEnum):
    """What a person may ask of a running study (rows of `autoglm_control`)."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    STOP_TRIAL = "stop_trial"  # payload: {"trial": number}
    ENQUEUE = "enqueue"  # payload: {"config": {...}}


@dataclass(frozen=True)
class ControlRequest:
    id: int
    action: Action
    payload: dict[str, Any]


@dataclass(frozen=True)
class DataSpec:
    """Where the rows come from. In-memory tables are written to Parquet before a study starts.

    `source` is what the user wrote ("reviews.csv", "sentiment-domains/movies", "df").
    `path` is where to read it when that differs (the Parquet copy of a DataFrame).
    `checksum` is the SHA-256 of the content, or of the catalogue entry.
    """

    source: str
    path: str | None = None
    text: tuple[str, ...] = ()  # text columns; empty: found by the data room
    target: str | None = None
    validation: str | None = None  # a path or name of its own, else split off
    test: str | None = None
    max_rows: int | None = None  # stratified, seeded subsample of the training rows
    checksum: str = ""


@dataclass(frozen=True)
class StudySpec:
    """A study as asked for. JSON in and out; unknown keys of a newer version are refused.

    `space` is `Space.to_json()`. `identity` is the hash that decides whether a
    second request of the same name continues this study: model, data, split
    seed, space, metric and task, but not trials, budget, strategy or device.
    """

    name: str
    model: str
    data: DataSpec
    space: dict[str, Any]
    task: str | None = None  # "classification" | "causal-lm"; None: follows target
    metric: str | None = None  # None: the task's own ("accuracy", "loss")
    direction: str | None = None  # "maximize" | "minimize"; None: follows metric
    objectives: tuple[str, ...] = ()  # several metrics: Pareto search
    constraints: tuple[str, ...] = ()  # e.g. "memory_gb <= 10"
    strategy: str = "bayesian"
    pruner: str = "median"
    trials: int | None = 20  # total, not additional
    budget_seconds: float | None = None  # active worker seconds
    seed: int = 0
    seeds: int = 3
    baseline: bool = True
    max_length: int | None = None
    pack: int | None = None  # trials trained side by side; None: as many as were measured to pay
    executor: str = "process"  # "process" | "thread"
    device: str = "auto"
    precision: str = "auto"
    gradient_checkpointing: bool = False
    base_dropout: bool = False
    trust_remote_code: bool = False
    objective: str | None = None  # name of a custom objective, handed over apart
    enqueue: tuple[dict[str, Any], ...] = ()
    cell: str = ""  # the cell that started it, for the record
    notebook: str | None = None
    hooks: tuple[str, ...] = ()  # "mlflow", "wandb", "tensorboard": who is told about its course
    identity: str = ""
    version: int = SPEC_VERSION

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> StudySpec:
        """Inverse of `to_json`.

        Raises:
            ValueError: the record has a newer version or unknown keys.
        """
        raw = json.loads(text)
        if raw.get("version", 0) > SPEC_VERSION:
            raise ValueError(
                f"A study record of version {raw['version']} was given, but this package reads "
                f"up to {SPEC_VERSION}. Upgrade autoglm_nb."
            )
        data = dict(raw.pop("data"))
        data["text"] = tuple(data.get("text", ()))
        for key in ("objectives", "constraints", "enqueue", "hooks"):
            raw[key] = tuple(raw.get(key, ()))
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(raw) - known)
        if unknown:
            raise ValueError(f"A study record has unknown fields: {', '.join(unknown)}.")
        return cls(data=DataSpec(**data), **raw)


@dataclass(frozen=True)
class Event:
    """One line of `runs/<study>/events.jsonl`, written by the worker alone.

    `n` counts up without gaps within one study (a new worker goes on counting).
    Types and their `data`:

    - `state`     {"state", "reason"}
    - `started`   {"run", "trial"?, "role", "config", "total_steps"}
    - `step`      {"run", "trial"?, "step", "total_steps", "loss", "learning_rate"}, at most 4/s a run
    - `report`    {"run", "trial"?, "rung", "rungs", "value"}: one evaluation
    - `ended`     {"run", "trial"?, "state", "value", "because"}; state "waiting": set aside, may go on
    - `packs`     one `PacksSnapshot`: who shares passes with whom
    - `reading`   one `ReadingSnapshot`
    - `message`   {"level": "info"|"warning"|"error", "text"}
    """

    n: int
    t: float  # Unix seconds
    type: str
    data: dict[str, Any] = field(default_factory=dict)

    def to_line(self) -> str:
        return json.dumps({"v": EVENT_VERSION, "n": self.n, "t": round(self.t, 3), "type": self.type, **self.data})

    @classmethod
    def from_line(cls, line: str) -> Event | None:
        """The event of one line; None for a half-written line or a newer version."""
        try:
            raw = json.loads(line)
            if raw.pop("v") > EVENT_VERSION:
                return None
            return cls(n=raw.pop("n"), t=raw.pop("t"), type=raw.pop("type"), data=raw)
        except (ValueError, KeyError, AttributeError, TypeError):
            return None


class TrialSnapshot(TypedDict):
    number: int
    state: str  # a TrialState
    value: float | None  # first objective, None until it has one
    values: list[float]  # all objectives
    config: dict[str, Any]  # active hyper-parameters only, constants included
    proposed_by: str  # "expected improvement", "random start", "given", ...
    because: str  # why it ended early or failed, else ""
    reports: list[list[float]]  # [[rung, value], ...]
    progress: float  # 0..1
    step: int
    total_steps: int
    loss: float | None  # last training loss
    seconds: float  # active seconds so far
    attempts: int  # 1 + number of retries
    metrics: dict[str, Any]  # accuracy, macro_f1, loss, latency_ms_p50, memory_gb, ...
    starred: bool


class HeadlineSnapshot(TypedDict):
    best_value: float | None
    best_trial: int | None
    best_config: dict[str, Any]
    baseline_value: float | None  # the default configuration on the same validation rows
    gain: float | None  # best_value - baseline_value, positive is better
    finished: int  # trials in a final state
    total: int | None
    seconds_left: float | None  # None before it is meaningful
    next: str  # one line: what to do next, "" while running


class ScoreSnapshot(TypedDict):
    values: list[float]  # one per seed, on the test split
    mean: float
    low: float  # 95 % interval (Student t)
    high: float


class FinalSnapshot(TypedDict):
    """The winner and the default configuration on the test split selection never saw."""

    metric: str
    split: str  # "test" (or "validation" when there is none)
    rows: int
    seeds: list[int]
    winner: ScoreSnapshot
    baseline: ScoreSnapshot | None
    majority: float | None  # always answering the commonest class; None for LM
    difference: NotRequired[dict[str, float]]  # paired: mean, low, high, p (signs: positive is better)


class ProcessReading(TypedDict):
    """One process of a worker's tree; the worker itself comes first."""

    pid: int
    cpu_percent: float
    memory_gb: float
    gpu_percent: float | None  # its own share where the driver tells, unlike the reading's
    gpu_memory_gb: float | None


class ReadingSnapshot(TypedDict):
    t: float
    cpu_percent: float  # of the worker's process tree, 100 = one core
    memory_gb: float  # resident, worker's process tree
    machine_cpu_percent: float  # 0..100 of the machine
    machine_memory_percent: float
    gpu_percent: float | None  # of the device
    gpu_memory_gb: float | None
    processes: NotRequired[list[ProcessReading]]  # where the worker has children: it and the largest of them


class PackSnapshot(TypedDict):
    """Runs that share the passes of one base."""

    trials: list[int | str]  # a trial's number, or the name of a run that is no trial
    model: str
    method: str
    tokens_per_step: float | None  # real ones, without padding
    passes_per_step: float | None
    occupancy: float | None  # 0..1: real tokens over computed ones


class PacksSnapshot(TypedDict):
    """Who shares passes with whom now, and what steps were predicted to cost and cost."""

    now: list[PackSnapshot]
    alone: list[dict[str, Any]]  # {"trial": number or name, "because": sentence}
    predicted: dict[str, float] | None  # seconds_per_step, pass_memory_gb
    measured: dict[str, float] | None


class ImportanceSnapshot(TypedDict):
    """What part of the variation of the first objective a hyper-parameter explains (fANOVA)."""

    parameter: str
    value: float  # 0..1, among configurations in which it is active
    low: float  # 95 % bootstrap interval over trials
    high: float
    matters: bool  # whether it beats a column of noise


class NoteSnapshot(TypedDict):
    id: str
    trial: int | None  # None: on the study
    kind: str  # "comment" | "star" | "tag"
    text: str
    author: str
    created_at: float


class DecisionSnapshot(TypedDict):
    """What a decision system said about one trial's model. Texts come from outside: untrusted."""

    verdict: str  # "approve" | "hold" | "reject"
    reviewer: str
    reason: str
    decided_at: str  # as the system wrote it, "" where it did not
    trial: int | None  # the winner at that time
    current: bool  # whether that trial is still the winner


class StudySnapshot(TypedDict):
    name: str
    identity: str
    state: str  # a StudyState, INTERRUPTED included
    reason: str
    model: str
    task: str
    data: str
    metric: str
    direction: str
    objectives: list[str]
    strategy: str
    pruner: str
    executor: str
    device: str
    seed: int
    created_at: float
    active_seconds: float
    notebook: str | None
    cell: str


class Snapshot(TypedDict):
    """Everything a view needs, as plain JSON. Made by `store.snapshot`, drawn everywhere."""

    version: int
    study: StudySnapshot
    headline: HeadlineSnapshot
    trials: list[TrialSnapshot]  # by number, a page of them
    trials_total: int
    curve: list[list[float]]  # [[trial number, best so far], ...], at most 200 points
    space: dict[str, Any]  # Space.to_json()
    readings: list[ReadingSnapshot]  # oldest first, the newest 240
    notes: list[NoteSnapshot]
    final: FinalSnapshot | None
    front: list[int]  # Pareto-optimal trial numbers, several objectives only
    provenance: dict[str, Any]  # model, data, versions, splits as resolved
    messages: list[dict[str, Any]]  # {"t", "level", "text"}, newest last, at most 20
    packs: PacksSnapshot | None  # while trials are trained
    decision: NotRequired[DecisionSnapshot]  # the newest one that came back, if any
    importance: NotRequired[list[ImportanceSnapshot]]  # greatest first; only where there is evidence
    importance_after: NotRequired[int]  # ended trials it was computed after, where there are many more by now
