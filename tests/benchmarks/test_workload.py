"""Both sides get the same rows and configurations, and no row twice."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks import workload
from tests import tiny


def _rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_lists_of_configurations_are_as_mixed_as_promised() -> None:
    """Sixteen for an encoder and eight for a decoder, ranks 4 to 32, batches 8 to 32, and no two alike."""
    for family, count in (("encoder", 16), ("decoder", 8)):
        configs = workload.configurations(family=family)
        assert len(configs) == len({tuple(c.items()) for c in configs}) == count
        assert {c["rank"] for c in configs} == {4, 8, 16, 32}
        assert (min(c["batch_size"] for c in configs), max(c["batch_size"] for c in configs)) == (8, 32)
        assert len({c["learning_rate"] for c in configs}) >= 4
        assert {c["dropout"] for c in configs} == {0.0, 0.05, 0.1}


def test_a_subset_is_the_head_of_the_list() -> None:
    """So that a subset run is comparable with the whole one, configuration by configuration."""
    assert workload.configurations(3) == workload.configurations()[:3]
    with pytest.raises(ValueError, match="17"):
        workload.configurations(17)


def test_splits_have_the_asked_sizes_and_share_no_text(tmp_path: Path) -> None:
    """Equal texts, also in other case or spacing, are in one split; classes are in proportion."""
    table = tiny.toy_reviews(600)
    twins = table.head(60).assign(text=table["text"].head(60).str.upper() + " ")
    source = tmp_path / "rows.csv"
    type(table)({"text": [*table["text"], *twins["text"]], "label": [*table["label"], *twins["label"]]}).to_csv(
        source, index=False
    )
    files = workload.write_files(str(source), tmp_path / "out", rows=201, validation_rows=150, test_rows=99)
    splits = {name: _rows(getattr(files, name)) for name in workload.SPLITS}
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 201, "validation": 150, "test": 99}
    texts = {name: {" ".join(row["text"].lower().split()) for row in rows} for name, rows in splits.items()}
    assert not texts["train"] & texts["validation"]
    assert not texts["train"] & texts["test"]
    assert not texts["validation"] & texts["test"]
    assert sum(row["label"] == "positive" for row in splits["validation"]) == pytest.approx(75, abs=1)
    assert files.labels == ("negative", "positive")


def test_too_few_rows_are_an_error(tmp_path: Path) -> None:
    """Rather than a benchmark on fewer rows than it says."""
    source = tmp_path / "rows.csv"
    tiny.toy_reviews(100).to_csv(source, index=False)
    with pytest.raises(ValueError, match="too few for 60 training"):
        workload.write_files(str(source), tmp_path / "out", rows=60, validation_rows=60, test_rows=10)
