"""Control requests: what a person asks of a running study, until the worker has done it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from autoglm_nb.protocol import Action, ControlRequest
from autoglm_nb.store._json import dumps
from autoglm_nb.store.studies import Studies

__all__ = ["Control"]


class Control(Studies):
    """The part of the store through which magics, widgets, the server and other kernels reach a worker."""

    def request(self, study: str, action: Action, payload: Mapping[str, Any] | None = None) -> int:
        """Leaves a request for the study's worker; its id.

        Raises:
            StudyNotFoundError: no study of that name.
        """
        with self._write() as connection:
            self._touch(connection, study)
            cursor = connection.execute(
                "INSERT INTO autoglm_control (study, action, payload, created_at) VALUES (?, ?, ?, ?)",
                (study, Action(action), dumps(payload or {}), time.time()),
            )
            return int(cursor.lastrowid or 0)

    def pending(self, study: str) -> list[ControlRequest]:
        """The requests nobody has handled yet, oldest first."""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT id, action, payload FROM autoglm_control WHERE study = ? AND handled_at IS NULL ORDER BY id",
                (study,),
            ).fetchall()
        return [ControlRequest(row["id"], Action(row["action"]), json.loads(row["payload"])) for row in rows]

    def handled(self, id: int, result: str = "") -> bool:
        """Marks a request as handled; True for the one caller that was first."""
        with self._write() as connection:
            changed = connection.execute(
                "UPDATE autoglm_control SET handled_at = ?, result = ? WHERE id = ? AND handled_at IS NULL",
                (time.time(), result, id),
            )
            return changed.rowcount == 1
