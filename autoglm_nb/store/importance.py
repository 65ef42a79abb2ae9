"""Which settings mattered, as it was computed last, kept for views that compute nothing themselves.

It lies in `runs/<study>/importance.json`, so that renaming or deleting a study takes it along.
Whoever computes it (the worker at the end of a study, `%explain`) stores it, or takes it away
where the trials carry no evidence; `snapshot` shows it, and says so when many trials have
ended since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoglm_nb.protocol import ImportanceSnapshot
from autoglm_nb.record import words
from autoglm_nb.store._files import read_json, write_json

if TYPE_CHECKING:
    from autoglm_nb.store.store import Store

__all__ = ["put_importance", "save_importance", "shown_importance", "stored_importance"]

_FILE = "importance.json"
_MOST = 40
_STALE = 1.2
"""It is called out of date when more than this many times the trials have ended."""


def save_importance(store: Store, study: str, found: Sequence[ImportanceSnapshot], trials: int) -> None:
    """Stores what was computed in place of what was there; with nothing found, there is none.

    Args:
        store: where the study is.
        study: its name.
        found: one entry for each hyper-parameter that was scored; empty without evidence.
        trials: how many trials had ended.

    Raises:
        StudyNotFoundError: no study of that name.
        DiskFullError: there is no room.
    """
    store.spec(study)  # a file must not bring back the folder of a study that was deleted
    path = _path(store, study)
    if not found:
        path.unlink(missing_ok=True)
        return
    _write(path, found, trials)


def put_importance(folder: Path, raw: Any) -> None:
    """Writes what `stored_importance` gave elsewhere into the folder of a study that is yet to come.

    It may be anything: what does not read as such is left out.

    Raises:
        DiskFullError: there is no room.
    """
    found, trials = _understood(raw)
    if found:
        _write(folder / _FILE, found, trials)


def stored_importance(store: Store, study: str) -> dict[str, Any] | None:
    """What is stored, as it may travel with the study; None where there is nothing."""
    found, trials = _understood(read_json(_path(store, study)))
    return {"trials": trials, "importance": found} if found else None


def shown_importance(store: Store, study: str, finished: int) -> tuple[list[ImportanceSnapshot], int | None]:
    """What a view shows, greatest first, and after how many trials it was computed if that is long ago.

    Args:
        store: where the study is.
        study: its name.
        finished: how many trials have ended by now.
    """
    found, trials = _understood(read_json(_path(store, study)))
    return found, trials if found and finished > _STALE * trials else None


def _path(store: Store, study: str) -> Path:
    return store.study_dir(study) / _FILE


def _write(path: Path, found: Sequence[ImportanceSnapshot], trials: int) -> None:
    ordered = sorted(found, key=lambda entry: -entry["value"])[:_MOST]
    write_json(path, {"version": 1, "trials": trials, "importance": ordered})


def _understood(raw: Any) -> tuple[list[ImportanceSnapshot], int]:
    """What of a record can be shown, and after how many trials it was computed."""
    if not isinstance(raw, Mapping):
        return [], 0
    given, trials = raw.get("importance"), words.finite(raw.get("trials"))
    if not isinstance(given, list) or trials is None:
        return [], 0
    return [entry for entry in map(_read, given[:_MOST]) if entry is not None], max(0, int(trials))


def _read(raw: Any) -> ImportanceSnapshot | None:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("parameter"), str):
        return None
    value, low, high = (words.finite(raw.get(key)) for key in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return None
    return ImportanceSnapshot(
        parameter=words.clean(raw["parameter"], 200),
        value=_share(value),
        low=_share(low),
        high=_share(high),
        matters=raw.get("matters") is True,
    )


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 4)
