"""A zip from somebody else, looked at before anything of it is used.

First the list of entries: names from `layout` alone (so no path leaves the folder it is
unpacked to), each once, plain files, sizes within bounds. Then the manifest: format,
version, and the checksum of every entry. Only then is content handed out; while it is
read it is counted, whatever the list says, and unpacked names are ours, never the zip's.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoglm_nb.errors import DiskFullError, SharedFileError
from autoglm_nb.record import words
from autoglm_nb.sharing import layout

__all__ = ["Archive", "check_archive", "opened_archive", "strict_json"]

_BLOCK = 1 << 20
_REGULAR = (0, stat.S_IFREG)  # zips made on Windows say nothing about the kind of file
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_SQLITE = b"SQLite format 3\x00"
_SPARE_BYTES = 64 * 2**20  # left free on the disk
_HEX = re.compile(r"[0-9a-f]{64}")
_ASK = "Ask for the file again."


class Archive:
    """A zip whose list and manifest are in order. `text` and `unpack` check content against the manifest.

    Attributes:
        manifest: as read, `files` included.
        names: of the entries, without the manifest.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._infos = {info.filename: info for info in _checked_list(archive)}
        if layout.MANIFEST not in self._infos:
            raise SharedFileError(
                "A shared study has a manifest, but this zip has none. Give a file made with `%autotune share --zip`."
            )
        self.manifest = _checked_manifest(self._content(layout.MANIFEST), set(self._infos) - {layout.MANIFEST})
        self.names = sorted(set(self._infos) - {layout.MANIFEST})

    def json(self, name: str) -> Any:
        """An entry as JSON.

        Raises:
            SharedFileError: it is missing, damaged or not JSON.
        """
        if name not in self._infos:
            raise SharedFileError(f"A shared study has an entry {name!r}, but this zip has none. {_ASK}")
        return strict_json(self._verified(name), name)

    def check(self) -> None:
        """Read every entry once and compare it with the manifest.

        Raises:
            SharedFileError: one of them is not what the manifest says.
        """
        for name in self.names:
            digest = hashlib.sha256()
            for block in self._blocks(name):
                digest.update(block)
            self._compare(name, digest.hexdigest())

    def unpack(self, name: str, target: Path) -> None:
        """Write one entry to `target`, a path of the caller's.

        Raises:
            SharedFileError: damaged.
            DiskFullError: it does not fit.
        """
        size = self._infos[name].file_size
        if shutil.disk_usage(target.parent).free < size + _SPARE_BYTES:
            raise DiskFullError(
                f"Opening the file needs {size / 2**20:.0f} MB, but the disk has no room for it. Free some space first."
            )
        digest = hashlib.sha256()
        with target.open("xb") as file:
            for block in self._blocks(name):
                digest.update(block)
                file.write(block)
        self._compare(name, digest.hexdigest())

    def _verified(self, name: str) -> bytes:
        content = self._content(name)
        self._compare(name, hashlib.sha256(content).hexdigest())
        return content

    def _compare(self, name: str, digest: str) -> None:
        if self.manifest["files"][name]["sha256"] != digest:
            raise SharedFileError(
                f"Every entry must have the checksum that the manifest says, but {name!r} has another: the file was "
                f"changed or damaged. {_ASK}"
            )

    def _content(self, name: str) -> bytes:
        return b"".join(self._blocks(name))

    def _blocks(self, name: str) -> Iterator[bytes]:
        """An entry in blocks; stops at the size that the list says, however much comes out of the compression."""
        info, left = self._infos[name], self._infos[name].file_size
        try:
            with self._archive.open(info) as file:
                while block := file.read(_BLOCK):
                    left -= len(block)
                    if left < 0:
                        break
                    yield block
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError) as error:
            if isinstance(error, DiskFullError):
                raise
            raise SharedFileError(f"Entry {name!r} of the zip cannot be read ({_reason(error)}). {_ASK}") from None
        if left != 0:
            raise SharedFileError(f"Entry {name!r} of the zip has another size than the zip's list says. {_ASK}")


@contextmanager
def opened_archive(path: Path) -> Iterator[Archive]:
    """A shared zip, its list and manifest checked.

    Raises:
        SharedFileError: not such a file, with the reason and what to do.
    """
    shown = words.clean(path.name, 80)
    _refuse_stores(path, shown)
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise SharedFileError(f"There is no file {shown!r}. Check the path.") from None
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, OverflowError) as error:
        raise SharedFileError(
            f"A shared study is a zip made with `%autotune share NAME --zip FILE`, but {shown!r} cannot be read as one "
            f"({_reason(error)})."
        ) from None
    with archive:
        yield Archive(archive)


def check_archive(path: Path) -> None:
    """Check a zip from end to end.

    Raises:
        SharedFileError: with what is wrong.
    """
    with opened_archive(path) as archive:
        archive.check()


def strict_json(content: bytes, name: str) -> Any:
    """JSON as the standard has it: UTF-8, no NaN, no key twice, of bounded depth.

    Raises:
        SharedFileError: it is not.
    """
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise SharedFileError(f"Entry {name!r} must be JSON, but is not ({_reason(error)}). {_ASK}") from None


def _refuse_stores(path: Path, shown: str) -> None:
    """A store of somebody else holds pickled attributes of trials: it is never opened."""
    store = path.is_dir() and (path / "studies.db").exists()
    if path.is_file():
        with path.open("rb") as file:
            store = file.read(len(_SQLITE)) == _SQLITE
    if store or path.suffix.lower() in (".db", ".sqlite", ".sqlite3"):
        raise SharedFileError(
            f"{shown!r} is a study store, and stores of other people are not opened: their rows may hold pickled "
            "objects, which run code when they are read. Ask the owner for `%autotune share NAME --zip FILE`, and open "
            "that file."
        )
    if path.is_dir():
        raise SharedFileError(f"A shared study is one zip file, but {shown!r} is a folder. Give the zip as it came.")


def _checked_list(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > layout.MAX_ENTRIES:
        most = layout.MAX_ENTRIES
        raise SharedFileError(f"A shared study has at most {most} entries, but this zip has {len(infos)}. {_ASK}")
    seen: set[str] = set()
    for info in infos:
        fault = _fault(info, seen)
        if fault:
            name = words.clean(info.orig_filename, 80)
            raise SharedFileError(f"Entry {name!r} of the zip {fault}. It is not opened. {_ASK}")
        seen.add(info.filename.casefold())
    ordered = sorted(infos, key=lambda info: info.header_offset)
    for info, after in itertools.pairwise(ordered):
        if info.header_offset + info.compress_size > after.header_offset:
            raise SharedFileError(
                f"Entries {info.filename!r} and {after.filename!r} of the zip share their bytes, as they do in zips "
                f"that are made to fill a disk. It is not opened. {_ASK}"
            )
    return infos


def _fault(info: zipfile.ZipInfo, seen: set[str]) -> str:
    """What is wrong with one line of the zip's list, or ""."""
    name = info.orig_filename
    if name != info.filename or any(ord(sign) < 32 for sign in name):
        return "has a name with control characters"
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "has an absolute path"
    if ".." in re.split(r"[/\\]", name):
        return "points outside the folder it is unpacked to"
    if name.casefold() in seen:
        return "stands there twice"
    if stat.S_IFMT(info.external_attr >> 16) not in _REGULAR:
        return "is a link or a device, not a plain file"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return "is compressed in a way that is not read here"
    if not layout.is_known(name):
        return "is not part of a shared study"
    if name.endswith(".safetensors") and info.compress_type != zipfile.ZIP_STORED:
        return "holds compressed tensors, which a shared study does not"
    if info.file_size > layout.most_bytes(name):
        return f"is larger than the {layout.most_bytes(name) // 2**20} MB that are read"
    return ""


def _checked_manifest(content: bytes, present: set[str]) -> dict[str, Any]:
    manifest = strict_json(content, layout.MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != layout.FORMAT:
        raise SharedFileError(
            "The manifest of this zip is not that of a shared study. Give a file made with `%autotune share --zip`."
        )
    version = manifest.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise SharedFileError(f"The manifest of this zip names no version of its format. {_ASK}")
    if version > layout.VERSION:
        raise SharedFileError(
            f"This file has version {version} of the format, but this autoglm_nb reads versions up to "
            f"{layout.VERSION}. Upgrade autoglm_nb to open it."
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or set(files) != present:
        odd = sorted(set(files) ^ present)[:3] if isinstance(files, dict) else []
        named = f": {', '.join(words.clean(name, 60) for name in odd)}" if odd else ""
        raise SharedFileError(f"The manifest must list exactly what the zip holds, but it does not{named}. {_ASK}")
    for name, facts in files.items():
        digest = facts.get("sha256") if isinstance(facts, dict) else None
        if not isinstance(digest, str) or not _HEX.fullmatch(digest):
            raise SharedFileError(f"The manifest must give every entry's SHA-256, but gives none for {name!r}. {_ASK}")
    return manifest


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _reason(error: BaseException) -> str:
    return words.clean(str(error) or type(error).__name__, 120)
