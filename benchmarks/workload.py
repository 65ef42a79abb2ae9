"""What both sides of a comparison work on: the same configurations, and the same rows in the same files.

The rows are written to CSV files once per run, so that a peer reads them like any
user would and this package reads them like any other file; neither side sees a
split that the other has not. Rows of equal text are in one split.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["SPLITS", "Files", "configurations", "model_folder", "write_files"]

SPLITS = ("train", "validation", "test")

# rank, batch size, learning rate, dropout. Any first few of them differ in all four.
_ENCODER = (
    (8, 16, 2e-3, 0.0),
    (32, 32, 1e-3, 0.1),
    (4, 8, 5e-4, 0.05),
    (16, 32, 3e-3, 0.05),
    (16, 8, 1e-3, 0.1),
    (4, 32, 2e-3, 0.0),
    (32, 16, 5e-4, 0.05),
    (8, 32, 1e-3, 0.05),
    (8, 8, 1e-3, 0.0),
    (16, 16, 5e-4, 0.0),
    (4, 16, 2e-3, 0.1),
    (32, 8, 5e-4, 0.0),
    (16, 24, 2e-3, 0.1),
    (4, 24, 1e-3, 0.05),
    (8, 24, 3e-3, 0.1),
    (32, 32, 2e-3, 0.0),
)
_DECODER = (
    (8, 16, 5e-4, 0.0),
    (32, 32, 2e-4, 0.1),
    (4, 8, 2e-4, 0.05),
    (16, 32, 5e-4, 0.05),
    (16, 8, 1e-4, 0.1),
    (4, 16, 5e-4, 0.0),
    (32, 16, 2e-4, 0.05),
    (8, 32, 1e-3, 0.1),
)


def configurations(count: int | None = None, *, family: str = "encoder") -> list[dict[str, Any]]:
    """The first `count` LoRA configurations (all of them if None): 16 for an encoder, 8 for a decoder.

    Everything that either side would fill in by a default of its own is written out.

    Raises:
        ValueError: more are asked for than there are.
    """
    table = _DECODER if family == "decoder" else _ENCODER
    if count is not None and not 1 <= count <= len(table):
        raise ValueError(f"There are 1 to {len(table)} configurations for an {family}, but {count} were asked for.")
    return [
        {
            "method": "lora",
            "target_modules": "qv",
            "rank": rank,
            "alpha": 2 * rank,
            "dropout": dropout,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "optimizer": "adamw",
            "schedule": "linear",
            "warmup_ratio": 0.0,
            "weight_decay": 0.0,
            "max_grad_norm": 1.0,
            "epochs": 1,
        }
        for rank, batch_size, learning_rate, dropout in table[:count]
    ]


@dataclass(frozen=True)
class Files:
    """The CSV files of a run (columns text and label) and the names of the labels, in the order of class ids."""

    train: str
    validation: str
    test: str
    labels: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data, for a child process."""
        return asdict(self)


def write_files(source: str, folder: Path, *, rows: int, validation_rows: int, test_rows: int, seed: int = 0) -> Files:
    """Split a labelled data set, stratified, and write the three files.

    Args:
        source: name in the catalogue, or a CSV file with the columns text and label.
        folder: where the files go.
        rows: training rows.
        validation_rows, test_rows: rows to score on.
        seed: decides the splits.

    Raises:
        ValueError: the data has too few rows for this.
    """
    from autoglm_nb.data.splitting import split_rows, subsample

    texts, labels = _read(source)
    wanted = {"train": rows, "validation": validation_rows, "test": test_rows}
    shares = {name: 1.02 * wanted[name] / len(texts) for name in SPLITS[1:]}  # stratified counts are rounded
    parts = {}
    if sum(shares.values()) < 1:
        parts = split_rows([" ".join(text.lower().split()) for text in texts], labels, shares, seed)
    short = [name for name in SPLITS if len(parts.get(name, ())) < wanted[name]]
    if short:
        raise ValueError(
            f"{source} has {len(texts)} rows, too few for {rows} training, {validation_rows} validation and "
            f"{test_rows} test rows. Ask for fewer."
        )
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name in SPLITS:
        chosen = subsample(parts[name], [labels[i] for i in parts[name]], wanted[name], seed)
        paths[name] = folder / f"{name}.csv"
        with paths[name].open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows((texts[i], labels[i]) for i in chosen)
    return Files(str(paths["train"]), str(paths["validation"]), str(paths["test"]), tuple(sorted(set(labels))))


def model_folder(model: str) -> tuple[str, str]:
    """Where a model's plain files lie, fetched if need be, and its family ("encoder" or "decoder")."""
    from autoglm_nb import models

    resolved = models.resolve(model)
    return str(resolved.path), resolved.family


def _read(source: str) -> tuple[Sequence[str], Sequence[str]]:
    from autoglm_nb.data import catalogue

    if catalogue.is_catalogue_name(source):
        table = catalogue.load(source)
        return [str(text) for text in table["text"]], [str(label) for label in table["label"]]
    with Path(source).open(encoding="utf-8", newline="") as file:
        table_rows = list(csv.DictReader(file))
    return [row["text"] for row in table_rows], [row["label"] for row in table_rows]
