"""The page for someone without notebook or store: the record, then the explanation, in one file.

It is the explanation's own page (style sheet, pictures as data URIs, a content security
policy that forbids scripts and requests) with the record before it. What would differ
without a change of the study is settled here: the time of the last change stands in place
of the time of making.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoglm_nb import record
from autoglm_nb.sharing.privacy import Privacy

__all__ = ["shared_page", "shared_snapshot"]

_BODY = "<body>\n"


def shared_snapshot(snapshot: Mapping[str, Any], privacy: Privacy) -> dict[str, Any]:
    """A snapshot fit to leave: no readings, no messages, no advice that holds on one machine only."""
    moving: dict[str, Any] = {"readings": [], "messages": [], "packs": None}
    tidy: dict[str, Any] = privacy.tidy({k: v for k, v in snapshot.items() if k not in (*moving, "notes")})
    tidy |= moving | {"notes": privacy.notes(list(snapshot["notes"]))}
    tidy["headline"] |= {"next": "", "seconds_left": None}
    tidy["study"] |= {"name": snapshot["study"]["name"]}
    return tidy


def shared_page(home: Path, name: str, snapshot: Mapping[str, Any], changed_at: float, privacy: Privacy) -> str:
    """Record and explanation of a study as a complete HTML document.

    Args:
        home: the store's folder.
        name: the study's name.
        snapshot: from `shared_snapshot`, with all trials.
        changed_at: when the study changed last, Unix seconds.
        privacy: takes names and paths out of what the explanation reads by itself.
    """
    from autoglm_nb.explain.facts import load
    from autoglm_nb.explain.page import page
    from autoglm_nb.explain.study import explain_facts

    facts = dataclasses.replace(load(home, name), snapshot=snapshot)
    explanation = explain_facts(facts)
    made_at = datetime.fromtimestamp(changed_at, UTC).strftime("as of %Y-%m-%d %H:%M UTC")
    whole = page(dataclasses.replace(explanation, made_at=made_at))
    head, body, rest = whole.partition(_BODY)
    return f"{head}{body}<aside>{record.html(snapshot)}</aside>\n{rest}"
