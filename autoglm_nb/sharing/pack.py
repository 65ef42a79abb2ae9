"""`share`: a stored study written as one HTML page or as one zip, the same bytes every time.

Entries are sorted and carry a fixed date; the manifest names the SHA-256 and the size of
each. What is written is read back through the checks of `archive` before it takes its
name, so that a file that was shared can always be opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from autoglm_nb.errors import UsageError
from autoglm_nb.models.adapters import CARD_FILE
from autoglm_nb.record import trimmed, words
from autoglm_nb.sharing import layout
from autoglm_nb.sharing.card import model_card
from autoglm_nb.sharing.pages import shared_page, shared_snapshot
from autoglm_nb.sharing.privacy import Privacy
from autoglm_nb.store import Store, refuse_if_rejected, snapshot
from autoglm_nb.store.portable import portable

__all__ = ["share_page", "share_zip"]

_DATE = (1980, 1, 1, 0, 0, 0)
_PACKAGES = ("autoglm-nb", "numpy", "optuna", "peft", "safetensors", "tokenizers", "torch", "transformers")
_PLACES = ("name_or_path", "_name_or_path", "tokenizer_file", "vocab_file", "merges_file", "special_tokens_map_file")
_BLOCK = 1 << 20


def share_page(home: Path, name: str, path: str | os.PathLike[str]) -> Path:
    """Write record and explanation of a study as one HTML file that needs nothing else.

    Raises:
        StudyNotFoundError: no study of that name.
        UsageError: the folder of the file does not exist.
    """
    target = _target(path)
    store, privacy = Store(home, create=False), Privacy(home)
    shot = shared_snapshot(snapshot(store, name, limit=None), privacy)
    text = shared_page(home, name, shot, _changed_at(store, name), privacy)
    with _beside(target) as draft:
        draft.write_text(text, encoding="utf-8")
    return target


def share_zip(
    home: Path, name: str, path: str | os.PathLike[str], *, include_data: bool = False, force: bool = False
) -> Path:
    """Write a study as a zip that `open_shared` brings into another store.

    Args:
        home: the store's folder.
        name: the study's name.
        path: the file; one that is there is replaced.
        include_data: put the rows of the data set in as well.
        force: also a model that a decision system rejected.

    Raises:
        StudyNotFoundError: no study of that name.
        RejectedError: its model was rejected.
        UsageError: the folder of the file does not exist, or the data cannot be read any more.
    """
    from autoglm_nb.sharing.archive import check_archive

    target = _target(path)
    store, privacy = Store(home, create=False), Privacy(home)
    refuse_if_rejected(store, name, force=force)
    whole = portable(store, name)
    live = snapshot(store, name, limit=None)
    shot = shared_snapshot(live, privacy)
    entries: dict[str, bytes | Path] = {}
    entries[layout.STUDY] = _json(_study(whole["study"], privacy))
    entries[layout.TRIALS] = _json(privacy.tidy(whole["trials"]))
    entries[layout.RUNS] = _json(privacy.tidy(whole["runs"]))
    entries[layout.NOTES] = _json({"notes": privacy.notes(whole["notes"]), "removed": whole["removed_notes"]})
    entries[layout.RECORD] = _json(trimmed(shot))
    entries[layout.REPORT] = shared_page(home, name, shot, whole["study"]["updated_at"], privacy).encode()
    entries[layout.SPACE] = (_space_source(shot["space"]) + "\n").encode()
    entries[layout.ENVIRONMENT] = _json(_environment(shot["provenance"]))
    if include_data:
        entries[layout.DATA] = _json(_data_rows(store, name))
    run = _best_run(store, name, live)
    if run is not None:
        entries |= _adapter(store.run_dir(name, run) / "adapter", shot, privacy)
    manifest = {
        "format": layout.FORMAT,
        "version": layout.VERSION,
        "study": name,
        "identity": whole["study"]["identity"],
        "adapter": run,
        "made_with": {"autoglm_nb": _version("autoglm-nb")},
        "files": {entry: _facts(content) for entry, content in sorted(entries.items())},
    }
    with _beside(target) as draft:
        _write(draft, {**entries, layout.MANIFEST: _json(manifest)})
        check_archive(draft)
    return target


def _study(study: Mapping[str, Any], privacy: Privacy) -> dict[str, Any]:
    """Request, state and provenance; where the data lies on this machine stays here."""
    tidy: dict[str, Any] = privacy.tidy(study)
    spec = tidy["spec"]
    spec["data"]["path"] = None
    tidy["name"] = spec["name"] = study["name"]
    tidy["identity"] = spec["identity"] = study["identity"]
    return tidy


def _space_source(space: Mapping[str, Any]) -> str:
    """The search space as the body of a cell."""
    from autoglm_nb.space import Space

    return words.clean(Space.from_json(dict(space)).to_source(), 100_000, lines=True)


def _environment(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Versions at training, and versions that shared it."""
    found = {package: _version(package) for package in _PACKAGES}
    return {
        "trained_with": provenance.get("versions") or {},
        "machine": provenance.get("machine") or {},
        "shared_with": {package: version for package, version in found.items() if version},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _data_rows(store: Store, name: str) -> dict[str, Any]:
    """The rows of every source the study reads, as columns."""
    from autoglm_nb.data.sources import read_table

    data = store.spec(name).data
    sources = {"data": data.path or data.source, "validation": data.validation, "test": data.test}
    if not sources["data"]:
        raise UsageError(f"Study {name!r} has no data to include, but an objective of its own. Leave the data out.")
    return {part: read_table(source).columns for part, source in sources.items() if source}


def _best_run(store: Store, name: str, live: Mapping[str, Any]) -> str | None:
    """The run whose adapter is shared; None where there is none."""
    number = live["headline"]["best_trial"]
    run = f"trial-{number:04d}" if number is not None else None
    return run if run is not None and (store.run_dir(name, run) / "adapter" / CARD_FILE).is_file() else None


def _adapter(folder: Path, shot: Mapping[str, Any], privacy: Privacy) -> dict[str, bytes | Path]:
    """The files of an adapter that may be shared, with a model card."""
    found: dict[str, bytes | Path] = {}
    for path in sorted(folder.iterdir()):
        entry = layout.ADAPTER + path.name
        if path.is_symlink() or not path.is_file() or not layout.is_known(entry):
            continue
        if path.suffix == ".json" and path.name != "tokenizer.json":
            content = json.loads(path.read_text(encoding="utf-8"))
            whole = path.name == CARD_FILE
            found[entry] = _json(privacy.tidy(content) if whole else _without_places(content, privacy))
        else:
            found[entry] = path
    card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    found[layout.ADAPTER + "README.md"] = model_card(privacy.tidy(card), shot).encode()
    return found


def _without_places(content: Any, privacy: Privacy) -> Any:
    """A tokenizer's or adapter's settings: only what names a file is cut, tokens are left as they are."""
    if not isinstance(content, dict):
        return content
    return {k: privacy.text(v) if k in _PLACES and isinstance(v, str) else v for k, v in content.items()}


def _changed_at(store: Store, name: str) -> float:
    return float(next(s.updated_at for s in store.studies() if s.name == name))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _facts(content: bytes | Path) -> dict[str, Any]:
    if isinstance(content, bytes):
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    with content.open("rb") as file:
        return {"bytes": content.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _write(draft: Path, entries: Mapping[str, bytes | Path]) -> None:
    """Sorted entries with a fixed date; tensors, which do not get smaller, are stored as they are."""
    with zipfile.ZipFile(draft, "w", allowZip64=True) as archive:
        for name, content in sorted(entries.items()):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            info._compresslevel = 6  # type: ignore[attr-defined]
            if isinstance(content, bytes):
                archive.writestr(info, content)
                continue
            info.file_size = content.stat().st_size
            with content.open("rb") as source, archive.open(info, "w") as sink:
                while block := source.read(_BLOCK):
                    sink.write(block)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A draft in the same folder that takes the target's place when all went well."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o644)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _target(path: str | os.PathLike[str]) -> Path:
    target = Path(path).expanduser()
    shown = words.clean(target.name, 80)
    if target.is_dir():
        raise UsageError(f"A shared study needs a file's name, but {shown!r} is a folder. Add a file's name.")
    if not target.parent.is_dir():
        raise UsageError(f"The folder given for {shown!r} does not exist. Create it first, or give another path.")
    return target
