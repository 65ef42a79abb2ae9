"""`open`: a shared zip brought into the local store, beside what is there and never over it.

Everything is checked before anything is stored. A study that is here already, under
whatever name, only gets the notes it lacks; another study of the same name leaves the
name alone and takes the next free one. What came in says so in its provenance and is not
taken up again by itself: its data is not here. Decisions on its models come along, marked as
what a file says; into a study that is here already only a rejection comes, since no file
may lift one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoglm_nb.errors import AutoGLMError, SharedFileError, UsageError
from autoglm_nb.record import words
from autoglm_nb.sharing import layout, values
from autoglm_nb.sharing.adapter_files import unpack_adapter
from autoglm_nb.sharing.archive import Archive, opened_archive
from autoglm_nb.sharing.content import SAID_SO, Content, frozen_trials, read_content
from autoglm_nb.sharing.privacy import Privacy
from autoglm_nb.store import Store, registry, snapshot
from autoglm_nb.store.decisions import Decision, add_decision, decisions, put_decisions
from autoglm_nb.store.importance import put_importance
from autoglm_nb.store.portable import bring_in, incoming, portable
from autoglm_nb.store.studies import check_name

__all__ = ["BROUGHT_IN", "Opened", "open_shared"]

BROUGHT_IN = "brought_in"
"""Key of a study's provenance: from which file it came, and what it was called there."""

_FALLBACK = "shared study"
_REVIEWER = 90


@dataclass(frozen=True)
class Opened:
    """What opening a file did.

    Attributes:
        name: the study's name here.
        merged: it was here already, and only notes were taken over.
        notes_added, notes_removed: by that.
        sentence: the same for a person.
    """

    name: str
    merged: bool
    notes_added: int
    notes_removed: int
    sentence: str


def open_shared(path: str | os.PathLike[str], home: Path, name: str | None = None) -> Opened:
    """Bring a shared zip into the store at `home`, making the store where there is none.

    Args:
        path: a file made by `share_zip`.
        home: the store's folder.
        name: what to call the study here; its own name, or the next free one, when left out.

    Raises:
        SharedFileError: the file cannot be opened; the store is as it was.
        UsageError: `name` is taken by another study, or cannot be a study's name.
        DiskFullError: no room.
    """
    file = Path(path).expanduser()
    if name is not None:
        check_name(name)
    with opened_archive(file) as archive:
        archive.check()
        content = read_content(*(archive.json(part) for part in layout.NEEDED))
        trials = frozen_trials(content)
        with Store(home) as store:
            registry.remember(home)
            same = _same_study(store, content, name)
            if same is not None:
                return _merge(store, content, same)
            target = _free_name(store, content, name)
            with incoming(store) as folder:
                run = unpack_adapter(archive, folder)
                put_decisions(folder, [_as_told(d) for d in content.decisions])
                put_importance(folder, archive.json(layout.STUDY).get("importance"))
                spec = dataclasses.replace(content.spec, name=target)
                if layout.DATA in archive.names:
                    spec = dataclasses.replace(spec, data=_with_data(store, archive, spec.data))
                bring_in(
                    store,
                    target,
                    spec=spec,
                    study=content.study | {"provenance": _provenance(content, file, archive)},
                    trials=trials,
                    runs=content.runs,
                    notes=content.notes,
                    removed_notes=content.removed_notes,
                    files=folder,
                )
            rejected = _rejection(store, target) if content.decisions else ""
    return Opened(target, False, len(content.notes), 0, _sentence(content, target, run) + rejected)


def _same_study(store: Store, content: Content, name: str | None) -> str | None:
    """The name of a study here that is the same; with `name`, only that one is looked at."""
    wanted = name or content.name
    stored = [s.name for s in store.studies() if name is None or s.name == name]
    for candidate in sorted(stored, key=lambda n: n != wanted):
        if store.spec(candidate).identity == content.spec.identity and _local_id(store, candidate) == content.id:
            return candidate
    return None


def _local_id(store: Store, name: str) -> str:
    """What a stored study would have as its content's id if it were shared now."""
    privacy = Privacy(store.home)
    whole = privacy.tidy({k: v for k, v in portable(store, name).items() if k in ("study", "trials", "runs")})
    spec = whole["study"]["spec"]
    spec["identity"] = whole["study"]["identity"] = store.spec(name).identity
    try:
        return read_content(whole["study"], whole["trials"], whole["runs"], {"notes": [], "removed": []}).id
    except SharedFileError:  # one that cannot be shared is no copy of one that was
        return ""


def _merge(store: Store, content: Content, name: str) -> Opened:
    merged = store.merge_notes(name, content.notes, content.removed_notes)
    change = [f"{merged.added} added" if merged.added else "", f"{merged.removed} removed" if merged.removed else ""]
    told = ", ".join(part for part in change if part) or "nothing new"
    sentence = f"Study {name!r} is here already with the same trials; its notes are merged: {told}."
    if _take_rejection(store, content, name):
        sentence += _rejection(store, name)
    return Opened(name, True, merged.added, merged.removed, sentence)


def _as_told(decision: Decision) -> Decision:
    """A decision as a file tells it; no decision system stands behind it here."""
    reviewer = words.clean(decision.reviewer, _REVIEWER)  # a longer name would be cut later, and its mark with it
    return dataclasses.replace(decision, reviewer=f"{reviewer} {SAID_SO}".strip(), received_at=time.time())


def _take_rejection(store: Store, content: Content, name: str) -> bool:
    """Takes over a rejection of the winner that the file ends with, unless it is known here; whether it did."""
    winner = snapshot(store, name, limit=1)["headline"]["best_trial"]
    told = next((d for d in reversed(content.decisions) if d.trial == winner), None)
    if told is None or told.verdict != "reject":
        return False
    for known in decisions(store, name):
        same_moment = known.decided_at == told.decided_at and known.decided_at != ""
        if known.verdict == "reject" and known.trial == told.trial and (same_moment or known.reason == told.reason):
            return False
    return add_decision(store, name, _as_told(told))


def _rejection(store: Store, name: str) -> str:
    """A sentence where the best model counts as rejected; "" elsewhere."""
    found = snapshot(store, name, limit=1).get("decision")
    if found is None or not found["current"] or found["verdict"] != "reject":
        return ""
    why = f": {found['reason'].rstrip('.')}" if found["reason"] else ""
    return f" Its best model was rejected{why}."


def _free_name(store: Store, content: Content, name: str | None) -> str:
    if name is not None:
        if store.has_study(name):
            raise UsageError(
                f"The name {name!r} is taken by another study. Choose another one, such as "
                f"`--name {words.quoted(store.fork_name(name))}`, or leave --name out."
            )
        return name
    wanted = _fit_name(content.name)
    return store.fork_name(wanted) if store.has_study(wanted) else wanted


def _fit_name(name: str) -> str:
    """The name as it was, or what of it can be a study's name."""
    for candidate in (name, re.sub(r"\W+", "-", name).strip("-_")[:60], f"study {name}"[:60].strip()):
        try:
            check_name(candidate)
            return candidate
        except AutoGLMError:
            continue
    return _FALLBACK


def _with_data(store: Store, archive: Archive, data: Any) -> Any:
    """The rows that came along as files of this store, named by their content."""
    parts = values.mapping(archive.json(layout.DATA), "the data")
    found: dict[str, str] = {}
    for part in ("data", "validation", "test"):
        if part not in parts:
            continue
        columns = {
            values.text(column, "a column", limit=300): values.listed(cells, "the data", values.plain, most=10**7)
            for column, cells in values.mapping(parts[part], "the data").items()
        }
        if len({len(cells) for cells in columns.values()}) != 1:
            raise values.wrong("the data", "columns of the same length")
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        text = json.dumps(rows, ensure_ascii=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        path = store.home / "data" / f"shared-{digest[:16]}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft = path.with_suffix(f".{os.getpid()}.tmp")
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)
        found[part] = str(path)
    return dataclasses.replace(
        data,
        path=found.get("data"),
        validation=found.get("validation", data.validation),
        test=found.get("test", data.test),
    )


def _provenance(content: Content, file: Path, archive: Archive) -> dict[str, Any]:
    made = archive.manifest.get("made_with")
    version = made.get("autoglm_nb") if isinstance(made, dict) else None
    brought = {"file": words.clean(file.name, 100), "name": content.name, "content": content.id[:16]}
    if isinstance(version, str):
        brought["made_with"] = f"autoglm_nb {words.clean(version, 40)}"
    rest = {key: value for key, value in content.study["provenance"].items() if key != BROUGHT_IN}
    return {BROUGHT_IN: brought, **rest}


def _sentence(content: Content, name: str, run: str | None) -> str:
    renamed = f" (it is called {words.clean(content.name, 80)!r} there, a name that is taken here)" if (
        name != content.name
    ) else ""  # fmt: skip
    count = len(content.trials) or sum(r["role"] == "trial" for r in content.runs)
    adapter = "with its best adapter" if run else "without an adapter"
    return f"Study {name!r} is brought in{renamed}: {count} trials, {adapter}, {len(content.notes)} notes."
