"""From a model's name to files on this machine, with what is needed to name it again.

Order: a copy that is here already, else the hub where it answers, else (for
names of the catalogue) the package index. A `ResolvedModel` says which it was.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoglm_nb import probe, settings
from autoglm_nb.errors import ModelError
from autoglm_nb.models import checksum
from autoglm_nb.models.catalogue import CATALOGUE, POOLING_FILE, CatalogueEntry, canonical_name
from autoglm_nb.models.report import ModelReport, catalogue_folder, check, find_local, report_of, require_safetensors

__all__ = ["ResolvedModel", "resolve", "resolve_base"]

HUB, PACKAGE_INDEX, LOCAL = "hub", "package-index", "local"
HUB_ENDINGS = (".safetensors", ".json", ".txt", ".model", ".jinja")


@dataclass(frozen=True)
class ResolvedModel:
    """A base model on this machine.

    Attributes:
        name: catalogue name, hub id, or folder as the user wrote it.
        path: folder with `config.json`, safetensors and tokenizer.
        source: "hub", "package-index" or "local".
        version: hub revision, "package==version", or "" for a local folder.
        checksum: SHA-256 over the safetensors.
        base_id: what an adapter calls its base: the hub id, or a local folder's own name, never a path.
        revision: revision of `base_id`; "sha256:..." for a local folder.
        family: "encoder" or "decoder".
        hidden_size: width of the residual stream.
        num_layers: number of transformer layers.
        report: the rest of the shape.
        trust_remote_code: whether the user allowed the model's own Python code.
    """

    name: str
    path: Path
    source: str
    version: str
    checksum: str
    base_id: str
    revision: str
    family: str
    hidden_size: int
    num_layers: int
    report: ModelReport
    trust_remote_code: bool = False

    def provenance(self) -> dict[str, Any]:
        """What stands in records and saved adapters: JSON, without a path of this machine."""
        return {
            "name": self.base_id if self.source == LOCAL else self.name,
            "base_id": self.base_id,
            "revision": self.revision,
            "source": self.source,
            "version": self.version,
            "checksum": self.checksum,
            "family": self.family,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
        }


def resolve(name: str, *, trust_remote_code: bool = False) -> ResolvedModel:
    """Find a model's files, fetching them once where needed.

    Args:
        name: a catalogue name, a local folder or a hub id.
        trust_remote_code: whether files with Python code may be fetched and later run.

    Raises:
        ModelError: unknown, unreachable, not safetensors, or a checksum that does not match.
        DiskFullError: not enough room in the cache.
    """
    known = canonical_name(name)
    entry = CATALOGUE.get(known)
    folder = find_local(known)
    if folder is None:
        check(name)  # raises with the reason where there is nothing to fetch
        folder = _fetch(known, entry, trust_remote_code)
    require_safetensors(folder)
    return _describe(name, known, folder, entry, trust_remote_code)


def resolve_base(base: dict[str, Any]) -> ResolvedModel:
    """Find a saved adapter's base again from its `provenance`, and check that it is the same.

    A hub model and the copy of it from the package index count as the same base
    only when their checksums agree; otherwise the copy that was trained on is asked for.

    Raises:
        ModelError: not found on this machine, or other weights.
    """
    if base["source"] == LOCAL:
        folder = _remembered_folder(base["checksum"])
        if folder is None:
            raise ModelError(
                f"The base model {base['base_id']!r} was a local folder, and it is not where it was. "
                "Give its folder as base=."
            )
        found = resolve(str(folder))
    else:
        found = resolve(base["name"])
        entry = CATALOGUE.get(found.name)
        if found.checksum != base["checksum"] and entry is not None and base["source"] == PACKAGE_INDEX:
            folder = catalogue_folder(entry)
            if (folder / "config.json").is_file():
                found = _describe(found.name, found.name, folder, entry, False)
    if found.checksum != base["checksum"]:
        raise ModelError(
            f"An adapter must run on the base it was trained on ({base['base_id']}, "
            f"{base['version'] or base['revision']}, "
            f"SHA-256 {base['checksum'][:12]}), but {found.name!r} here has {found.checksum[:12]}. Give that base as "
            "base=."
        )
    return found


def _fetch(known: str, entry: CatalogueEntry | None, trust_remote_code: bool) -> Path:
    if entry is None:
        return _from_hub(known, None, trust_remote_code)
    if probe.hub_reachable():
        try:
            return _from_hub(entry.hub_id, entry.revision, trust_remote_code)
        except ModelError as hub_error:
            try:
                return _from_index(entry)
            except ModelError as index_error:
                raise ModelError(f"{hub_error} The package index did not help either: {index_error}") from index_error
    return _from_index(entry)


def _from_index(entry: CatalogueEntry) -> Path:
    from autoglm_nb.models.package_index import fetch_from_index

    return fetch_from_index(entry)


def _from_hub(hub_id: str, revision: str | None, trust_remote_code: bool) -> Path:
    """Download a snapshot through the hub library, weights as safetensors only."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        names = [n for n in HfApi().list_repo_files(hub_id, revision=revision) if "/" not in n or n == POOLING_FILE]
        if not any(name.endswith(".safetensors") for name in names):
            raise ModelError(
                f"Model weights must be safetensors, but {hub_id!r} has none. Choose a model that has them, or "
                "convert it "
                "where you trust it with save_pretrained and give that folder."
            )
        endings = HUB_ENDINGS + ((".py",) if trust_remote_code else ())
        wanted = [name for name in names if name.endswith(endings)]
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        reason = f"HTTP {status}" if status else type(error).__name__
        raise ModelError(
            f"The hub must let you read {hub_id!r}, but it refused ({reason}). Check the name; for a gated model "
            "accept "
            "its licence on the hub and set HF_TOKEN."
        ) from error
    except OSError as error:
        raise ModelError(
            f"{hub_id!r} could not be fetched from the hub ({error}). Check the connection and the free disk space, "
            "then run the cell again: what has arrived is kept."
        ) from error


def _describe(
    name: str, known: str, folder: Path, entry: CatalogueEntry | None, trust_remote_code: bool
) -> ResolvedModel:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    report = report_of(known, config, local=True, entry=entry)
    weights = checksum.model_checksum(folder)
    hub_id, revision = _hub_name(folder)
    if entry is not None:
        base_id, pinned = entry.hub_id, entry.revision
        from_hub = hub_id is not None
        source, version = (HUB, revision or pinned) if from_hub else (PACKAGE_INDEX, entry.package.requirement)
    elif hub_id is not None and revision is not None:
        base_id, pinned, source, version = hub_id, revision, HUB, revision
    else:
        base_id, pinned, source, version = folder.name, f"sha256:{weights}", LOCAL, ""
        _remember_folder(weights, folder)
    return ResolvedModel(
        name=known if source != LOCAL else name,
        path=folder,
        source=source,
        version=version,
        checksum=weights,
        base_id=base_id,
        revision=pinned,
        family=report.family,
        hidden_size=report.hidden_size,
        num_layers=report.layers,
        report=report,
        trust_remote_code=trust_remote_code,
    )


def _hub_name(folder: Path) -> tuple[str | None, str | None]:
    """Hub id and revision of a folder inside the hub library's cache, from its path."""
    parts = folder.parts
    if len(parts) >= 3 and parts[-2] == "snapshots" and parts[-3].startswith("models--"):
        return parts[-3].removeprefix("models--").replace("--", "/"), parts[-1]
    return None, None


def _remember_folder(weights: str, folder: Path) -> None:
    """Note where the local folder with these weights is: in the user's cache, not in what is shared."""
    note = settings.cache_dir() / "local-models" / weights
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary = note.with_name(f"{weights}.{os.getpid()}.tmp")
        temporary.write_text(str(folder), encoding="utf-8")
        os.replace(temporary, note)
    except OSError:
        pass  # only a short cut: the folder can still be given as base=


def _remembered_folder(weights: str) -> Path | None:
    try:
        folder = Path((settings.cache_dir() / "local-models" / weights).read_text(encoding="utf-8"))
    except OSError:
        return None
    return folder if (folder / "config.json").is_file() else None
