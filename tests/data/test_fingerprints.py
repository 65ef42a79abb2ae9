"""What counts as the same data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from autoglm_nb.data import fingerprint
from autoglm_nb.data.fingerprints import content_checksum
from autoglm_nb.errors import DataError
from autoglm_nb.protocol import DataSpec


def test_path_does_not_matter_but_content_does(reviews_csv: Path, tmp_path: Path) -> None:
    """A copy elsewhere is the same data, one more row is not."""
    copy = tmp_path / "elsewhere.csv"
    shutil.copy(reviews_csv, copy)
    before = fingerprint(DataSpec(str(reviews_csv)))
    assert fingerprint(DataSpec(str(copy))) == before
    with copy.open("a") as file:
        file.write("one more,positive\n")
    assert fingerprint(DataSpec(str(copy))) != before


def test_own_sets_and_the_row_limit_matter(reviews_csv: Path) -> None:
    """Each of them changes which rows are trained and scored on; the columns are compared elsewhere."""
    source = str(reviews_csv)
    specs = [
        DataSpec(source),
        DataSpec(source, max_rows=50),
        DataSpec(source, test=source),
        DataSpec(source, validation=source),
    ]
    assert len({fingerprint(spec) for spec in specs}) == 4
    assert fingerprint(DataSpec(source, text=("text",), target="label")) == fingerprint(specs[0])


def test_folder_and_catalogue(tmp_path: Path) -> None:
    """All texts of a folder count with their names; a catalogue set is known without a download."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(name)
    before = content_checksum(str(tmp_path))
    (tmp_path / "b.txt").rename(tmp_path / "c.txt")
    assert content_checksum(str(tmp_path)) != before
    assert content_checksum("sentiment-domains/movies") != content_checksum("sentiment-domains/tweets")


def test_missing_source() -> None:
    """It gets the sentence of a missing file."""
    with pytest.raises(DataError, match="does not exist"):
        fingerprint(DataSpec("./nowhere.csv"))


def test_a_file_that_cannot_be_read_gets_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions of somebody else's file, or a disk that fails."""
    path = tmp_path / "reviews.csv"
    path.write_text("text,label")

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"'reviews.csv' is not \(Permission denied\)"):
        fingerprint(DataSpec(str(path)))
