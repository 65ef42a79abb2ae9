"""What the pages say is so: rooms, commands, options and names in README match the code."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

from autoglm_nb import settings
from autoglm_nb.session import plan
from autoglm_nb.space import HYPERPARAMETERS, METHODS
from tests.test_architecture import PACKAGE, ROOMS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
HOUSE = (ROOT / "autoglm_nb" / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
NOTEBOOKS = sorted((ROOT / "example_notebooks").glob("*.ipynb"))

OTHER_SPELLINGS = {"constraint": "constraints", "no-baseline": "baseline"}
OF_THE_MAGIC = {"dry-run", "what", "trial", "html"}  # not arguments of a plan: the magic's own, and %explain's


def test_the_table_of_rooms_is_the_one_the_tests_enforce() -> None:
    """Each room stands in the table of autoglm_nb/README.md, on its floor."""
    rows = re.findall(r"^\| (\d) \| (.+?) \|", HOUSE, flags=re.MULTILINE)
    named = {room: int(floor) for floor, cell in rows for room in re.findall(r"`(\w+)(?:/|\.py)`", cell)}
    assert named == {name: room.floor for name, room in ROOMS.items()}


def test_rooms_that_are_there_are_not_called_unbuilt() -> None:
    """'not built yet' goes when the room comes."""
    for line in HOUSE.splitlines():
        if "not built yet" in line:
            rooms = re.findall(r"`(\w+)/`", line.split("|")[2])
            assert rooms
            assert [room for room in rooms if (PACKAGE / room).exists()] == []


def test_every_make_target_in_the_pages_exists() -> None:
    """A command a reader copies must work."""
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, flags=re.MULTILINE))
    assert named
    assert named <= targets


def test_every_option_in_the_readme_is_an_argument_of_a_plan() -> None:
    """And the other way round: what a plan takes is documented."""
    table = README[README.index("| Option of") : README.index("`%autotune?`")]
    options = set(re.findall(r"--([a-z][a-z-]+)", table)) - OF_THE_MAGIC
    arguments = {OTHER_SPELLINGS.get(option, option).replace("-", "_") for option in options}
    known = set(inspect.signature(plan).parameters)
    assert arguments <= known
    assert known - arguments == {"space", "names", "cell", "first_line", "notebook", "home", "enqueue"}


def test_every_hyper_parameter_and_method_is_named_in_the_readme() -> None:
    """The names are the interface of a cell."""
    assert [name for name in [*HYPERPARAMETERS, *METHODS] if f"`{name}`" not in README] == []


def test_environment_variables_in_the_readme_are_read() -> None:
    """A variable that nothing reads would be a lie."""
    source = inspect.getsource(settings)
    assert [name for name in set(re.findall(r"AUTOGLM_[A-Z_]+", README)) if name not in source] == []


@pytest.mark.parametrize("page", ["README.md", "autoglm_nb/README.md", "CHANGELOG.md"])
def test_relative_links_lead_somewhere(page: str) -> None:
    """Links to files of the repository are not broken."""
    path = ROOT / page
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_pictures_of_the_readme_are_there_in_both_themes_and_small() -> None:
    """Each has its dark twin, as the page of a repository picks by the reader's theme, and none makes a clone slow."""
    shown = set(re.findall(r"docs/images/([\w-]+)\.png", README))
    assert shown
    for name in shown:
        twin = name.replace("-light", "-dark") if name.endswith("-light") else name.replace("-dark", "-light")
        assert twin in shown
        assert (ROOT / "docs" / "images" / f"{name}.png").stat().st_size <= 150_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs_and_with_stable_ids(path: Path) -> None:
    """Small diffs: no output, no count, no widget state, and an id that says what the cell is for."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert "widgets" not in notebook["metadata"]
    for cell in notebook["cells"]:
        assert re.fullmatch(r"[a-z][a-z-]+", cell["id"])
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(ids) == len(set(ids))


def test_the_version_is_the_same_everywhere() -> None:
    """pyproject, package and changelog name one version."""
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    changelog = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert changelog is not None
    import autoglm_nb

    assert version.group(1) == changelog.group(1) == autoglm_nb.__version__
