"""Reading files: what comes out, and the sentence when nothing can."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from autoglm_nb.data.sources import anchor, locate, read_table
from autoglm_nb.errors import DataError
from autoglm_nb.protocol import DataSpec

ROWS = [{"text": "a fine, long day", "label": "x", "n": 1}, {"text": "null", "label": "y", "n": 2}]


def _write(folder: Path, kind: str) -> Path:
    path = folder / f"data.{kind}"
    frame = pd.DataFrame(ROWS)
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind == "json":
        path.write_text(json.dumps(ROWS))
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    elif kind == "csv.gz":
        frame.to_csv(path, index=False)
    else:
        frame.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    return path


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "json", "jsonl", "parquet"])
def test_every_format_gives_the_same_rows(kind: str, tmp_path: Path) -> None:
    """The text "null" stays a text in each of them."""
    table = read_table(str(_write(tmp_path, kind)))
    assert table.columns == {"text": ["a fine, long day", "null"], "label": ["x", "y"], "n": [1, 2]}
    assert table.total == 2


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_only_needed_columns_are_read(kind: str, tmp_path: Path) -> None:
    """Columns that were not asked for do not appear."""
    table = read_table(str(_write(tmp_path, kind)), columns=["label"])
    assert table.columns == {"label": ["x", "y"]}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_found_in_the_header(separator: str, tmp_path: Path) -> None:
    """A quoted header may hold other separators without misleading."""
    path = tmp_path / "data.csv"
    path.write_text(f'"text,;,;"{separator}label\n"one{separator} two"{separator}x\n')
    assert list(read_table(str(path)).columns) == ["text,;,;", "label"]


def test_empty_cells_are_missing(tmp_path: Path) -> None:
    """An empty CSV cell is None, as a null in JSON is."""
    path = tmp_path / "data.csv"
    path.write_text("text,label\nhello,\n,x\n")
    assert read_table(str(path)).columns == {"text": ["hello", None], "label": [None, "x"]}


def test_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    """Excel writes one."""
    path = tmp_path / "data.csv"
    path.write_bytes(b"\xef\xbb\xbftext,label\nhello,x\n")
    assert list(read_table(str(path)).columns) == ["text", "label"]


def test_json_object_with_one_list_is_unwrapped(tmp_path: Path) -> None:
    """{"data": [...]} is a common wrapping."""
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"version": 1, "data": ROWS}))
    assert read_table(str(path)).columns["label"] == ["x", "y"]


def test_folder_of_texts_and_of_classes(tmp_path: Path) -> None:
    """Plain files are rows; subfolders are labels."""
    plain, classes = tmp_path / "plain", tmp_path / "classes"
    plain.mkdir()
    (plain / "b.txt").write_text("second")
    (plain / "a.txt").write_text("first")
    for label in ("bad", "good"):
        (classes / label).mkdir(parents=True)
        (classes / label / "1.txt").write_text(f"a {label} one")
    assert read_table(str(plain)).columns == {"text": ["first", "second"]}
    assert read_table(str(classes)).columns == {"text": ["a bad one", "a good one"], "label": ["bad", "good"]}


def test_beginning_of_a_file_with_an_estimate_of_the_rest(tmp_path: Path) -> None:
    """With a limit, the total follows from the size."""
    path = tmp_path / "data.csv"
    path.write_text("text\n" + "same length\n" * 1000)
    table = read_table(str(path), limit=100)
    assert table.rows == 100 and table.partial
    assert table.total == pytest.approx(1000, rel=0.05)


@pytest.mark.parametrize("content", ["", "text,label\n"])
def test_a_file_without_rows_is_named(content: str, tmp_path: Path) -> None:
    """Both an empty file and a bare header have no rows."""
    path = tmp_path / "data.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=r"at least one row, but '.*data\.csv' has none"):
        read_table(str(path))


def test_a_missing_file_is_compared_with_its_neighbours(tmp_path: Path) -> None:
    """A slip in the name is answered with the name meant."""
    (tmp_path / "reviews.csv").write_text("text\nhello\n")
    with pytest.raises(DataError, match=r"does not exist\. Did you mean 'reviews\.csv'\?"):
        read_table(str(tmp_path / "review.csv"))
    with pytest.raises(DataError, match=r"does not exist\. Check the path\."):
        read_table(str(tmp_path / "nowhere" / "review.csv"))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("data.csv", b"text,label\na,b\nc,d,e,f\n", r"cannot be read as CSV: .*line 3.* Quote texts"),
        ("data.csv", b"text,label\ncaf\xe9,b\n", r"must be UTF-8 text, but byte \d+ is not"),
        ("data.jsonl", b'{"text": "a"}\n{"text": \n', r"cannot be read as JSON: line 2: "),
        ("data.jsonl", b'["a"]\n', r"must be an object of column names and values, but row 1 is list"),
        ("data.parquet", b"not parquet", r"cannot be read as Parquet: "),
        ("data.xlsx", b"", r"must be CSV, JSON, JSONL or Parquet, but 'data\.xlsx' is none of them"),
    ],
)
def test_unreadable_files_get_a_sentence(name: str, content: bytes, sentence: str, tmp_path: Path) -> None:
    """The sentence names the file, the place and the remedy."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        read_table(str(tmp_path / name))


@pytest.mark.parametrize("given", ["sentiment-domains/movie", "sentiment-domain/movies", "sentimentdomains"])
def test_slip_in_a_catalogue_name(given: str) -> None:
    """It is not taken for a hub id, which would cost a network request."""
    with pytest.raises(DataError, match="Did you mean 'sentiment-domains"):
        locate(given)


def test_unknown_name_with_no_hub() -> None:
    """What could be a hub id gets one sentence when the hub is out of reach, at once."""
    with pytest.raises(DataError, match="neither a file here nor in the catalogue, and the hub does not answer"):
        read_table("someone/some-reviews")


def test_anchor_makes_paths_absolute(tmp_path: Path) -> None:
    """Names of the catalogue stay; files and their paths no longer depend on the folder."""
    (tmp_path / "train.csv").write_text("text\na\n")
    (tmp_path / "test.csv").write_text("text\na\n")
    spec = anchor(DataSpec("train.csv", test="test.csv", validation="sentiment-domains/movies"), tmp_path)
    assert spec.source == "train.csv"
    assert spec.path == str(tmp_path / "train.csv")
    assert spec.test == str(tmp_path / "test.csv")
    assert spec.validation == "sentiment-domains/movies"


def test_space_before_a_completion_is_kept(tmp_path: Path) -> None:
    """It is part of what the model learns to write; names of columns lose theirs."""
    path = tmp_path / "data.csv"
    path.write_text("prompt, completion\nthe sky is, blue\n")
    assert read_table(str(path)).columns == {"prompt": ["the sky is"], "completion": [" blue"]}
    assert list(read_table(str(path), columns=["completion"]).columns) == ["completion"]


def test_a_compressed_file_cut_short_gets_a_sentence(tmp_path: Path) -> None:
    """What an interrupted download leaves."""
    path = tmp_path / "reviews.csv.gz"
    path.write_bytes(gzip.compress(b"text,label\na,b\n" * 100)[:20])
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_table(str(path))
