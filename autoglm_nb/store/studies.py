"""Studies: the request, its state, and what is known about it as a whole."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from autoglm_nb.errors import StoreError, StudyMismatchError, StudyNotFoundError, UsageError, did_you_mean
from autoglm_nb.protocol import StudySpec, StudyState
from autoglm_nb.settings import shown_path
from autoglm_nb.store import _trials
from autoglm_nb.store._database import Database
from autoglm_nb.store._json import dumps
from autoglm_nb.store._spec import differences, directions_of, metric_of
from autoglm_nb.store.lease import lease_row

__all__ = ["Studies", "StudySummary", "check_name", "derived_state"]

_ACTIVE = (StudyState.PREPARING, StudyState.RUNNING, StudyState.CONFIRMING)
_INTERRUPTED = "The worker ended before the study did. Continue it under the same name; finished trials are kept."
_NAME = re.compile(r"[^\W_](?:[\w .,+=@()-]{0,98}[\w+=@()-])?")  # a folder name on every system
_RESERVED = frozenset(["con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))])


@dataclass(frozen=True)
class StudySummary:
    """One line of the list of studies."""

    name: str
    state: StudyState
    reason: str
    model: str
    data: str
    metric: str
    direction: str
    best_value: float | None
    finished: int
    total: int | None
    created_at: float
    updated_at: float
    notebook: str | None


class Studies(Database):
    """The part of the store that holds studies."""

    def create_study(self, spec: StudySpec) -> None:
        """Stores a new study as queued; one that is there with the same identity is continued instead.

        Raises:
            StudyMismatchError: the name is taken by a study of another identity.
            UsageError: the name cannot be a folder's name.
        """
        check_name(spec.name)
        now = time.time()
        with self._write() as connection:
            if self._row(connection, spec.name) is not None:
                self.continue_study(spec)
                return
            connection.execute(
                "INSERT INTO autoglm_studies (name, identity, spec, state, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (spec.name, spec.identity, spec.to_json(), StudyState.QUEUED, now, now),
            )

    def continue_study(self, spec: StudySpec) -> None:
        """Takes over trials, budget, strategy and the like from a spec of the same identity.

        The state is left alone.

        Raises:
            StudyNotFoundError: no study of that name.
            StudyMismatchError: it was made with other data, another model, space or metric.
        """
        with self._write() as connection:
            row = self._existing(connection, spec.name)
            stored = _spec_of(row)
            found = differences(stored, spec)
            if row["identity"] != spec.identity or (not spec.identity and found):
                raise StudyMismatchError(
                    f"A study named {spec.name!r} exists with {', '.join(found) or 'other settings'}. Give it another "
                    f"name, or add --fork to start {self.fork_name(spec.name)!r} and leave this one as it is."
                )
            connection.execute(
                "UPDATE autoglm_studies SET spec = ?, updated_at = ? WHERE name = ?",
                (spec.to_json(), time.time(), spec.name),
            )

    def fork_name(self, name: str) -> str:
        """The first free name of the form NAME-2, NAME-3, ..."""
        stem, _, number = name.rpartition("-")
        stem, number = (stem, number) if stem and number.isdecimal() else (name, "1")
        with self._read() as connection:
            taken = {r[0] for r in connection.execute("SELECT name FROM autoglm_studies")}
        count = int(number) + 1
        while f"{stem}-{count}" in taken:
            count += 1
        return f"{stem}-{count}"

    def has_study(self, name: str) -> bool:
        """Whether a study of that name is stored."""
        with self._read() as connection:
            return self._row(connection, name) is not None

    def spec(self, name: str) -> StudySpec:
        """The request as last given.

        Raises:
            StudyNotFoundError: no study of that name.
        """
        with self._read() as connection:
            return _spec_of(self._existing(connection, name))

    def studies(self) -> list[StudySummary]:
        """Every study in one line each: those with a worker first, then the latest changed."""
        with self._read() as connection:
            facts = _trials.totals(connection)
            rows = connection.execute("SELECT * FROM autoglm_studies ORDER BY updated_at DESC, name").fetchall()
            found = []
            for row in rows:
                spec, fact = _spec_of(row), facts.get(row["name"])
                state, reason = derived_state(connection, row)
                direction = directions_of(spec)[0]
                best = None
                if fact is not None:
                    best = fact.lowest if direction == "minimize" else fact.highest
                if spec.constraints:  # only feasible trials may be the best: looked at one by one
                    best = _trials.best_value(_trials.facts(connection, spec.name), direction)
                found.append(
                    StudySummary(
                        name=row["name"],
                        state=state,
                        reason=reason,
                        model=spec.model,
                        data=spec.data.source,
                        metric=metric_of(spec),
                        direction=direction,
                        best_value=best,
                        finished=fact.finished if fact else 0,
                        total=spec.trials,
                        created_at=row["created_at"],
                        updated_at=row["updated_at"],
                        notebook=spec.notebook,
                    )
                )
        return sorted(found, key=lambda s: s.state not in _ACTIVE)

    def set_state(self, name: str, state: StudyState, reason: str = "") -> None:
        """Stores where the study is.

        Raises:
            StudyNotFoundError: no study of that name.
            ValueError: INTERRUPTED was given, which is derived from a dead lease and never stored.
        """
        if state is StudyState.INTERRUPTED:
            raise ValueError("A study cannot be set to INTERRUPTED: it follows from a lease without a living holder.")
        self._set(name, "state = ?, reason = ?", (state, reason))

    def state(self, name: str) -> tuple[StudyState, str]:
        """State and reason; INTERRUPTED when the stored state needs a worker and none lives.

        Raises:
            StudyNotFoundError: no study of that name.
        """
        with self._read() as connection:
            return derived_state(connection, self._existing(connection, name))

    def set_provenance(self, name: str, provenance: dict[str, Any]) -> None:
        """Stores model, data, versions and splits as resolved (replaces what was there)."""
        self._set(name, "provenance = ?", (dumps(provenance),))

    def provenance(self, name: str) -> dict[str, Any]:
        """What `set_provenance` stored; empty before."""
        with self._read() as connection:
            found: dict[str, Any] = json.loads(self._existing(connection, name)["provenance"])
        return found

    def set_final(self, name: str, final: dict[str, Any] | None) -> None:
        """Stores the comparison on the test split (a `protocol.FinalSnapshot`); None removes it."""
        self._set(name, "final = ?", (None if final is None else dumps(final),))

    def final(self, name: str) -> dict[str, Any] | None:
        """What `set_final` stored, None before."""
        with self._read() as connection:
            text = self._existing(connection, name)["final"]
        return None if text is None else dict(json.loads(text))

    def add_active_seconds(self, name: str, seconds: float) -> None:
        """Adds to the time a worker has spent on this study, which `--budget` counts."""
        self._set(name, "active_seconds = active_seconds + ?", (float(seconds),))

    def active_seconds(self, name: str) -> float:
        """The time workers have spent on this study."""
        with self._read() as connection:
            return float(self._existing(connection, name)["active_seconds"])

    def _set(self, name: str, assignment: str, values: tuple[object, ...]) -> None:
        with self._write() as connection:
            changed = connection.execute(
                f"UPDATE autoglm_studies SET {assignment}, updated_at = ? WHERE name = ?",
                (*values, time.time(), name),
            )
            if changed.rowcount == 0:
                self._existing(connection, name)

    def _touch(self, connection: sqlite3.Connection, name: str) -> None:
        """Notes that something of the study changed; raises StudyNotFoundError without one."""
        changed = connection.execute("UPDATE autoglm_studies SET updated_at = ? WHERE name = ?", (time.time(), name))
        if changed.rowcount == 0:
            self._existing(connection, name)

    def _row(self, connection: sqlite3.Connection, name: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = connection.execute("SELECT * FROM autoglm_studies WHERE name = ?", (name,)).fetchone()
        return row

    def _existing(self, connection: sqlite3.Connection, name: str) -> sqlite3.Row:
        row = self._row(connection, name)
        if row is None:
            known = [r[0] for r in connection.execute("SELECT name FROM autoglm_studies ORDER BY updated_at DESC")]
            remedy = did_you_mean(name, known) or "None is stored here yet."
            raise StudyNotFoundError(f"There is no study named {name!r} in {shown_path(self.home)}. {remedy}")
        return row


def check_name(name: str) -> None:
    """Refuses a study name that could not be a folder on every system.

    Raises:
        UsageError: with the rule and the name given.
    """
    if not _NAME.fullmatch(name) or name.partition(".")[0].lower() in _RESERVED:
        raise UsageError(
            "A study's name must begin with a letter or digit and hold at most 100 letters, digits, spaces or "
            f".,_+=@()- (it is also a folder's name), but got {name!r}. Choose another --name."
        )


def derived_state(connection: sqlite3.Connection, row: sqlite3.Row) -> tuple[StudyState, str]:
    """State and reason of a row of `autoglm_studies`, INTERRUPTED included."""
    state = StudyState(row["state"])
    if state in _ACTIVE or state is StudyState.QUEUED:
        lease = lease_row(connection, row["name"])
        waiting_for_worker = state is StudyState.QUEUED and lease is None
        if not waiting_for_worker and (lease is None or not lease.alive):
            return StudyState.INTERRUPTED, _INTERRUPTED
    return state, row["reason"]


def _spec_of(row: sqlite3.Row) -> StudySpec:
    try:
        return StudySpec.from_json(row["spec"])
    except ValueError as error:
        raise StoreError(f"The stored request of study {row['name']!r} cannot be read. {error}") from error
