"""What a card shows of the explanation, left beside the study: which settings mattered, with intervals.

The one thing that this room leaves in a store. It is computed by the worker when a study
ends, and taken over from any explanation that has computed it anyway; a view only reads it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoglm_nb.protocol import ImportanceSnapshot

if TYPE_CHECKING:
    from autoglm_nb.explain.document import Section

__all__ = ["keep_from", "keep_importance"]

log = logging.getLogger(__name__)

_ENDED = ("completed", "pruned", "failed")
_MOST_TRIALS = 200
"""More say little more, but cost in proportion: then so many are taken, evenly over the course of the study."""


def keep_importance(home: Path, study: str) -> bool:
    """Compute which settings mattered for the first objective and store it; whether there was evidence.

    Takes a second or two of one core, and another one to read ten thousand trials. What goes wrong is logged
    and nothing else: a study has not failed because its explanation did.
    """
    try:
        from autoglm_nb.explain.facts import load
        from autoglm_nb.explain.sections.mattered import numbers
        from autoglm_nb.surrogates import importance

        facts = load(home, study)
        ended = sorted((t for t in facts.trials if t["state"] in _ENDED), key=lambda t: int(t["number"]))
        found = numbers(importance(_spread(ended), facts.space, facts.direction, quick=True))
        return _store(home, study, found, len(ended))
    except Exception:
        log.info("the importance of the settings of %s could not be computed", study, exc_info=True)
        return False


def keep_from(home: Path, study: str, sections: Sequence[Section]) -> bool:
    """Store what an explanation says of the first objective, if it was asked for; whether there was evidence."""
    objectives = next((s.facts.get("objectives") for s in sections if s.key == "importance"), None)
    try:
        if not objectives:
            return False
        first = objectives[0]
        return _store(home, study, first, first["completed"] + first["pruned_used"] + first["left_out"])
    except Exception:  # a folder that cannot be written must not cost the reader the explanation
        log.debug("the importance of the settings of %s could not be stored", study, exc_info=True)
        return False


def _spread(trials: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    step = max(1.0, len(trials) / _MOST_TRIALS)
    return [trials[int(i * step)] for i in range(min(len(trials), _MOST_TRIALS))]


def _store(home: Path, study: str, found: Mapping[str, Any], trials: int) -> bool:
    from autoglm_nb.store import Store
    from autoglm_nb.store.importance import save_importance

    shares = [
        ImportanceSnapshot(
            parameter=s["name"], value=s["share"], low=s["low"], high=s["high"], matters=bool(s["matters"])
        )
        for s in (found["shares"] if found["evidence"] else ())
    ]
    with Store(home, create=False) as store:
        save_importance(store, study, shares, trials)
    return bool(shares)
