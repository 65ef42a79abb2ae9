"""Who waits for a device, and behind whom.

A worker that finds its device in use sets its study to queued and looks again
every half second; it holds no lease meanwhile, or after a pause one on no
device. Who is in front is therefore read off the leases at this moment, and the
sentence stored when the waiting began only tells which device it waits for.
Nobody keeps an order among those who wait: the first to look gets the device.
"""

from __future__ import annotations

import re
import socket
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoglm_nb.protocol import StudySpec, StudyState
from autoglm_nb.store.lease import LeaseRow, lease_rows
from autoglm_nb.store.store import Store
from autoglm_nb.store.studies import derived_state

__all__ = ["DeviceQueue", "Waiting", "behind", "device_queues", "is_device", "waited_for"]

_WAITS = re.compile(r"^Waiting(?:: | for )(?P<device>[A-Za-z]+(?::\d+)?)(?=[ .])")
_DEVICE = re.compile(r"[A-Za-z]+(?::\d+)?")


@dataclass(frozen=True)
class Waiting:
    """A study in the queue. `since` is when it was last heard of, in Unix seconds."""

    study: str
    since: float
    reason: str


@dataclass(frozen=True)
class DeviceQueue:
    """A device in use: who works on it, and who waits for it, the longest first."""

    device: str
    host: str
    holder: str
    waiting: tuple[Waiting, ...]


def device_queues(store: Store) -> list[DeviceQueue]:
    """Every device of this store on which a living worker is, with those who wait for it."""
    with store._read() as connection:
        held = [lease for lease in lease_rows(connection) if lease.alive and is_device(lease.device)]
        waiting: dict[tuple[str, str], list[Waiting]] = {}
        rows = connection.execute(
            "SELECT * FROM autoglm_studies WHERE state = ? ORDER BY updated_at, name", (StudyState.QUEUED,)
        ).fetchall()
        for row in rows:
            if derived_state(connection, row)[0] is not StudyState.QUEUED:
                continue
            lease = behind(row["name"], waited_for(row), held)
            if lease is not None:
                waiting.setdefault((lease.host, lease.device), []).append(
                    Waiting(row["name"], row["updated_at"], row["reason"])
                )
    return [
        DeviceQueue(lease.device, lease.host, lease.study, tuple(waiting.get((lease.host, lease.device), ())))
        for lease in held
    ]


def waited_for(row: sqlite3.Row | Mapping[str, str]) -> str | None:
    """The device for which a queued study of `autoglm_studies` waits; None where nothing says so (yet)."""
    said = _WAITS.match(row["reason"])
    if said is not None:
        return said["device"]
    try:
        device = StudySpec.from_json(row["spec"]).device
    except (ValueError, KeyError, TypeError):
        return None
    return None if device == "auto" else device


def behind(study: str, device: str | None, leases: Sequence[LeaseRow]) -> LeaseRow | None:
    """The lease that a study waits for: another living study's on that device, this host's before others'."""
    found = [lease for lease in leases if lease.alive and lease.device == device and lease.study != study]
    here = socket.gethostname()
    return min(found, key=lambda lease: lease.host != here, default=None)


def is_device(name: str) -> bool:
    """Whether a lease is on a device, and not on a name that leaves the devices to others."""
    return _DEVICE.fullmatch(name) is not None
