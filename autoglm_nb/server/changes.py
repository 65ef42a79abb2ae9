"""The only two changes there are, and what is checked before each.

A control request is a row that the study's worker reads, a note is a row that
people read. Bodies come from outside: every field is looked at, and what is
not understood is refused with the rule and what was given.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from autoglm_nb.errors import AutoGLMError, UsageError
from autoglm_nb.protocol import Action, TrialState
from autoglm_nb.record import words
from autoglm_nb.store import Store
from autoglm_nb.store.notes import KINDS, LONGEST_NOTE

__all__ = ["Refused", "add_note", "control", "remove_note"]

_MAX_CONFIG = 16_000  # characters of JSON


class Refused(AutoGLMError):
    """A request that was understood, but that nobody is there to carry out."""


def control(store: Store, name: str, body: object) -> int:
    """Leaves a request for the study's worker; its id.

    Raises:
        UsageError: a body that is not understood, or a configuration outside the search space.
        Refused: no worker lives that could do it.
    """
    fields = _object(body)
    given = fields.get("action")
    if not isinstance(given, str) or given not in {str(a) for a in Action}:
        raise UsageError(f"`action` must be one of {', '.join(Action)}, but got {_shown(given)}.")
    action, payload = Action(given), _object(fields.get("payload") or {}, "payload")
    if action is Action.STOP_TRIAL:
        payload = {"trial": _running_trial(store, name, payload.get("trial"))}
    elif action is Action.ENQUEUE:
        payload = {"config": _config(store, name, payload.get("config"))}
    else:
        payload = {}
    if action is not Action.ENQUEUE:  # a configuration is kept for the next worker, the others are for the present one
        _refuse_without_worker(store, name, action)
    return store.request(name, action, payload)


def add_note(store: Store, name: str, body: object, author: str) -> str | None:
    """Adds a note to a study or one of its trials; its id.

    A star says nothing more; one with an empty `text` takes the trial's stars back, and gives no id.

    Raises:
        UsageError: a body that is not understood.
    """
    fields = _object(body)
    kind, text, trial = fields.get("kind", "comment"), fields.get("text", ""), fields.get("trial")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UsageError(f"`kind` must be one of {', '.join(KINDS)}, but got {_shown(kind)}.")
    if not isinstance(text, str) or len(text) > LONGEST_NOTE:
        length = f"{len(text)} characters" if isinstance(text, str) else _shown(text)
        raise UsageError(f"`text` must be a string of at most {LONGEST_NOTE:,} characters, but got {length}.")
    if trial is not None:
        trial = _trial_number(trial)
        if not store.has_trial(name, trial):
            raise UsageError(f"`trial` must be the number of a trial, or null for the study, but there is no {trial}.")
    if kind == "star":
        if not text.strip():
            store.unstar(name, trial)
            return None
        text = ""
    return store.add_note(name, text, trial=trial, kind=kind, author=author)


def remove_note(store: Store, name: str, id: str) -> bool:
    """Removes a note of this study; False when it is gone already, or another study's."""
    return store.remove_note(id, name)


def _refuse_without_worker(store: Store, name: str, action: Action) -> None:
    holder = store.holder(name)
    state, _ = store.state(name)
    if state.final:
        raise Refused(f"Study {name!r} is {state}: there is nothing to {_verb(action)}.")
    if holder is not None and holder.alive:
        return
    if state == "queued" and action is not Action.RESUME:
        return
    raise Refused(
        f"No worker is on study {name!r}, so there is nothing to {_verb(action)}. The server starts none: "
        f"run its cell again, or `%autotune resume {words.quoted(name)}` in its notebook."
    )


def _verb(action: Action) -> str:
    return "stop" if action is Action.STOP_TRIAL else str(action)


def _running_trial(store: Store, name: str, given: object) -> int:
    number = _trial_number(given)
    row = store.run(name, f"trial-{number:04d}")
    if row is None or row.state.final or row.state is TrialState.WAITING:
        found = "there is none" if row is None else f"it is {row.state}"
        raise UsageError(f"Only a running trial can be stopped, but trial {number} is not: {found}.")
    return number


def _trial_number(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 2**31:
        raise UsageError(f"`trial` must be a trial's number, but got {_shown(given)}.")
    return given


def _config(store: Store, name: str, given: object) -> dict[str, Any]:
    from autoglm_nb.space import Space

    config = dict(_object(given, "config"))
    if len(json.dumps(config)) > _MAX_CONFIG or not all(_plain(value) for value in config.values()):
        raise UsageError("`config` must map hyper-parameters to numbers, strings, booleans or null.")
    Space.from_json(store.spec(name).space).validate(config, partial=True)
    return config


def _plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int | bool)


def _object(given: object, what: str = "the request's body") -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise UsageError(f"{what[0].upper()}{what[1:]} must be a JSON object, but got {_shown(given)}.")
    return given


def _shown(given: object) -> str:
    text = repr(given)
    return text if len(text) <= 80 else text[:77] + "..."
