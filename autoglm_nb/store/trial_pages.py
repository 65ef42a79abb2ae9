"""A page of the trials table: sorted and filtered by SQL, so that ten thousand trials cost one query.

A filter is what a person types: words that must all be found in a trial's
state, number, reason, proposal or configuration, and comparisons such as
`rank>=16`, `value<0.4`, `method=lora`, `state:pruned`, `is:starred` and
`tag:keep`. Everything typed is a bound parameter of the query, never part of it.
Trials that another program added to the study have no configuration to sort or
filter by.
"""

from __future__ import annotations

import math
import re
import sqlite3
from typing import Any, TypedDict

from autoglm_nb.errors import UsageError, did_you_mean
from autoglm_nb.protocol import TrialSnapshot
from autoglm_nb.store import _trials
from autoglm_nb.store._trials import TrialFact
from autoglm_nb.store.live import LiveState
from autoglm_nb.store.snapshot import live_state, trial_snapshots
from autoglm_nb.store.store import Store
from autoglm_nb.store.studies import derived_state

__all__ = ["MAX_PAGE", "SORT_KEYS", "TrialPage", "trial_page"]

MAX_PAGE = 1000
"""The most trials a page may hold."""

_COLUMNS = {
    "number": "f.number",
    "state": "f.state",
    "value": "f.value",
    "seconds": "COALESCE(r.seconds, 0)",
    "step": "COALESCE(r.step, 0)",
    "attempts": "COALESCE(r.attempts, 1)",
    "proposed_by": "COALESCE(r.proposed_by, '')",
    "because": "COALESCE(r.because, '')",
    "starred": "(f.number IN (SELECT trial FROM autoglm_notes WHERE study = :study AND kind = 'star'))",
}
SORT_KEYS = tuple(_COLUMNS)
"""What a table may be sorted by, besides `config.NAME` and `metrics.NAME`."""

_NAME = re.compile(r"[\w.\- ]{1,100}")
_COMPARISON = re.compile(r"([\w.\-]{1,100})(<=|>=|!=|=|<|>|:)(.+)", re.DOTALL)
_WORDS = re.compile(r'(?:[^\s"]|"[^"]*")+')
_NUMBER = re.compile(r"[+-]?(?:\d{1,400}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,4})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_MAX_WORDS = 20
_TRUE = frozenset({"1", "yes", "true"})


class TrialPage(TypedDict):
    """Trials in the order asked for; `total` counts those that match the filter, on all pages."""

    trials: list[TrialSnapshot]
    total: int


def trial_page(
    store: Store,
    name: str,
    *,
    offset: int = 0,
    limit: int = 100,
    sort: str = "number",
    order: str = "asc",
    filter: str = "",
    live: LiveState | None = None,
) -> TrialPage:
    """A page of a study's trials, as `snapshot` describes them.

    Args:
        store: where the study is stored.
        name: its name.
        offset: how many matching trials come before the page.
        limit: trials in the page, `MAX_PAGE` at most.
        sort: one of `SORT_KEYS`, `config.NAME` or `metrics.NAME`. Trials without that value come last.
        order: `asc` or `desc`; equals are in the order of their numbers.
        filter: words and comparisons that must all hold.
        live: the fold of the study's events, if the caller follows them.

    Raises:
        StudyNotFoundError: no study of that name.
        UsageError: an order, a key or a comparison that is not understood.
    """
    if order not in ("asc", "desc"):
        raise UsageError(f"The order must be 'asc' or 'desc', but got {order!r}.")
    bound: dict[str, Any] = {"study": name, "limit": max(0, min(limit, MAX_PAGE)), "offset": max(0, offset)}
    key = _expression(sort, bound)
    where = " AND ".join(["1", *(_condition(word, bound) for word in _words(filter))])
    with store._read() as connection:
        row = store._existing(connection, name)
        source = (
            f"FROM ({_trials.facts_query(connection)}) f LEFT JOIN autoglm_runs r "
            f"ON r.study = :study AND r.role = 'trial' AND r.trial = f.number WHERE {where}"
        )
        rows = connection.execute(
            f"SELECT f.number, f.trial_id, f.state, f.value, COUNT(*) OVER () {source} "
            f"ORDER BY {key} IS NULL, {key} {order}, f.number LIMIT :limit OFFSET :offset",
            bound,
        ).fetchall()
        total = rows[0][4] if rows else _count(connection, source, bound)
        page = [TrialFact(r[0], r[1], r[2], r[3]) for r in rows]
        live = live_state(store, name) if live is None else live
        state, _ = derived_state(connection, row)
        return TrialPage(
            trials=trial_snapshots(connection, name, page, live, store.notes(name), state), total=int(total)
        )


def _count(connection: sqlite3.Connection, source: str, bound: dict[str, Any]) -> int:
    return int(connection.execute(f"SELECT COUNT(*) {source}", bound).fetchone()[0])


def _words(text: str) -> list[str]:
    """Words of a filter; quotation marks keep blanks together."""
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair has no place in a database
    return [word.replace('"', "") for word in _WORDS.findall(text)][:_MAX_WORDS]


def _expression(key: str, bound: dict[str, Any]) -> str:
    """SQL for a column of the table, a parameter or a metric."""
    if key in _COLUMNS:
        return _COLUMNS[key]
    group, dot, name = key.partition(".")
    if dot and group in ("config", "metrics") and _NAME.fullmatch(name):
        return f"json_extract(r.{group}, {_bind(_path(name), bound)})"
    raise UsageError(
        f"Trials can be sorted by {', '.join(SORT_KEYS)}, config.NAME or metrics.NAME, but not by {key!r}. "
        f"{did_you_mean(key, SORT_KEYS)}"
    )


def _condition(word: str, bound: dict[str, Any]) -> str:
    found = _COMPARISON.fullmatch(word)
    return _holds(found[1], found[2], found[3], bound) if found else _contains(word.lower(), bound)


def _contains(word: str, bound: dict[str, Any]) -> str:
    """A number is a trial's, or a value of its configuration; other words may stand anywhere in what is shown."""
    if re.fullmatch(r"#\d{1,9}", word):
        return f"f.number = {_bind(int(word[1:]), bound)}"
    if _number(word) is not None:
        number = _bind(_number(word), bound)
        shown = _bind(word + "*", bound)
        return (
            f"(f.number = {number} OR printf('%.10g', f.value) GLOB {shown} OR "
            f"EXISTS (SELECT 1 FROM json_each(r.config) c WHERE c.value = {number}))"
        )
    text = "f.state || ' ' || COALESCE(r.proposed_by, '') || ' ' || COALESCE(r.because, '') || ' ' || "
    return f"instr(lower({text} COALESCE(r.config, '')), {_bind(word, bound)}) > 0"


def _holds(key: str, sign: str, given: str, bound: dict[str, Any]) -> str:
    sign = "=" if sign == ":" else sign
    if key == "tag":
        text = _bind(given.lower(), bound)
        tagged = f"SELECT trial FROM autoglm_notes WHERE study = :study AND kind = 'tag' AND lower(text) = {text}"
        return f"f.number {'NOT ' if sign == '!=' else ''}IN ({tagged} AND trial IS NOT NULL)"
    if key == "is" and given.lower() == "starred":
        key, given = "starred", "yes"
    if key == "starred":
        return f"{_COLUMNS['starred']} {'!=' if sign == '!=' else '='} {int(given.lower() in _TRUE)}"
    column = _COLUMNS.get(key) or (
        _expression(key, bound) if key.startswith(("config.", "metrics.")) else _expression(f"config.{key}", bound)
    )
    number = _number(given)
    if number is not None:
        return f"(typeof({column}) IN ('integer', 'real') AND {column} {sign} {_bind(number, bound)})"
    if sign not in ("=", "!="):
        raise UsageError(f"{key!r} can be compared by {sign} with a number alone, but got {given!r}. Use = or !=.")
    if key not in _COLUMNS and given.lower() in ("true", "false"):  # JSON's booleans are 1 and 0 to SQLite
        return f"{column} {sign} {int(given.lower() == 'true')}"
    return f"COALESCE(lower({column}), '') {sign} {_bind(given.lower(), bound)}"


def _path(name: str) -> str:
    return f'$."{name}"'


def _number(text: str) -> float | int | None:
    """A number as people and JSON write it, None for anything else (infinities too)."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    if not math.isfinite(value):
        return None
    whole = int(text) if _WHOLE.fullmatch(text) else None
    return whole if whole is not None and abs(whole) < 2**63 else value


def _bind(value: object, bound: dict[str, Any]) -> str:
    """A name for the value among the query's parameters."""
    name = f"p{len(bound)}"
    bound[name] = value
    return f":{name}"
