"""SHA-256 of model files, computed once.

The checksum of a model is the SHA-256 over its safetensors files in the order
of their names, each name and content. It is remembered in the cache under the
file's path, size and modification time, so that asking again costs nothing
and a changed file is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from autoglm_nb import settings

__all__ = ["file_sha256", "model_checksum", "weight_files"]


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder that belong to the model, by name."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        return [folder / name for name in names]
    single = folder / "model.safetensors"
    return [single] if single.is_file() else sorted(folder.glob("*.safetensors"))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, as hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def model_checksum(folder: Path) -> str:
    """SHA-256 over the weights of a model folder; of one file, simply that file's."""
    files = weight_files(folder)
    if len(files) == 1:
        return _remembered(files[0])
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\n{_remembered(path)}\n".encode())
    return digest.hexdigest()


def _remembered(path: Path) -> str:
    real = path.resolve()
    status = real.stat()
    key = hashlib.sha256(f"{real}\n{status.st_size}\n{status.st_mtime_ns}".encode()).hexdigest()
    note = settings.cache_dir() / "checksums" / key[:40]
    try:
        known = note.read_text(encoding="ascii").strip()
        if len(known) == 64:
            return known
    except OSError:
        pass
    checksum = file_sha256(real)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=note.parent, delete=False, encoding="ascii") as stream:
            stream.write(checksum)
        os.replace(stream.name, note)
    except OSError:
        pass  # only a short cut; a read-only or full cache costs time, nothing else
    return checksum
