"""A notebook run again: what git shows is what has changed.

A real study of the tiny encoder, in a real kernel. On the same store every output is the
same to the byte; on a store of its own only what was measured or happened anew differs,
and each such place is named here.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from autoglm_nb.protocol import STUDY_MIME

CELLS = (
    "%load_ext autoglm_nb",
    "%%autotune --model ./tiny --data reviews.csv --target label --trials 2 --name toy --seeds 0 --strategy tpe\n"
    "learning_rate = loguniform(1e-3, 3e-2)\nepochs = 1\nbatch_size = 32",
    "%autotune wait toy",
    "%autotune note toy --trial 1 --tag keep worth a look",
    "%autotune status toy",
    "%autotune best toy",
    "%autotune list",
    "%autotune share toy --zip toy.zip",
)
EVERY_TIME = {
    ".notes.created_at", ".notes.id", ".study.created_at", ".study.active_seconds", ".trials.seconds",
    ".trials.metrics.memory_gb",
}  # fmt: skip
"""When it happened, which row of the store it is, how long it took, what the machine had left."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_encoder_path: Path, reviews_csv: Path) -> Iterator[list[Any]]:
    """Outputs of the first run, of the next on the same store, and of one on a new store."""
    patch = pytest.MonkeyPatch()
    patch.setenv("AUTOGLM_THREADS", "1")
    found = []
    homes = [tmp_path_factory.mktemp("first"), None, tmp_path_factory.mktemp("second")]
    for home in homes:
        if home is not None:
            folder = home
            (folder / "tiny").symlink_to(tiny_encoder_path)
            (folder / "reviews.csv").write_bytes(reviews_csv.read_bytes())
            patch.setenv("AUTOGLM_HOME", str(folder / ".autoglm"))
            patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
            patch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
        found.append(_outputs(folder))
    yield found
    patch.undo()


def _outputs(folder: Path) -> list[list[Any]]:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return [[dict(output) for output in cell.outputs] for cell in notebook.cells]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, path)
    else:
        yield path, value


@pytest.mark.slow
def test_run_again_on_the_same_store_gives_the_same_outputs(runs: list[Any]) -> None:
    """Cells that start, wait, note, show and share: the notes are not doubled, and no output holds a time of its own.

    The one exception is the cell that started the study: its record shows the note that came later.
    """
    first, again, _ = copy.deepcopy(runs)
    assert first[2:] == again[2:]
    record = again[1][0]["data"]
    assert len(record[STUDY_MIME]["notes"]) == 2
    assert record["text/html"] == again[4][0]["data"]["text/html"] == first[4][0]["data"]["text/html"]


@pytest.mark.slow
def test_run_on_a_new_store_differs_only_in_what_was_measured(runs: list[Any]) -> None:
    """Times, and ids of rows of the store; every result, proposal and sentence is the same."""
    first, _, new = runs
    for cell, (one, other) in enumerate(zip(first, new, strict=True)):
        assert len(one) == len(other), CELLS[cell]
        for left, right in zip(one, other, strict=True):
            data, theirs = left.get("data", {}), right.get("data", {})
            odd = {
                path
                for (path, mine), (_, yours) in zip(
                    _leaves(data.get(STUDY_MIME, {})), _leaves(theirs.get(STUDY_MIME, {})), strict=True
                )
                if mine != yours
            }
            assert odd <= EVERY_TIME, CELLS[cell]
            for kind in ("text/plain", "text/html"):
                assert _timeless(data.get(kind, "")) == _timeless(theirs.get(kind, "")), CELLS[cell]


def _timeless(text: str) -> str:
    """Without durations, which are measured, and without a file's size, which holds them."""
    return re.sub(r"\d+(?:\.\d+)? (?:s|min|MB)\b", "…", text)
