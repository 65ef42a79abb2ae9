"""What holds for the extension's sources as a whole: sizes, versions, theme, what may not be written."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from autoglm_nb import __version__

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "labextension"
OUTPUT = ROOT / "autoglm_nb" / "labextension"
TYPESCRIPT = sorted((EXTENSION / "src").rglob("*.ts"))
STYLES = sorted((EXTENSION / "style").glob("*.css"))
PACKAGE = json.loads((EXTENSION / "package.json").read_text(encoding="utf-8"))
MAX_LINES = 400
MAX_BUNDLE = 200 * 1024
MAX_START = 40 * 1024  # gzipped; what JupyterLab loads before anything of ours is shown


@pytest.mark.parametrize("path", [*TYPESCRIPT, *STYLES], ids=lambda p: p.name)
def test_no_file_over_400_lines(path: Path) -> None:
    """The same measure as for Python. A style sheet is a list, and may be longer."""
    limit = MAX_LINES if path.suffix == ".ts" else 3 * MAX_LINES
    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit


@pytest.mark.parametrize("path", TYPESCRIPT, ids=lambda p: p.name)
def test_no_markup_is_made_from_strings(path: Path) -> None:
    """Data reaches the page as text alone; the one exception is the icon, which is no data."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "DOMParser",
        "localhost",
    ):
        assert forbidden not in text, forbidden


@pytest.mark.parametrize("path", STYLES, ids=lambda p: p.name)
def test_colours_are_the_themes(path: Path) -> None:
    """A colour of our own is a fallback inside var(), or a named variable that differs between light and dark."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    while (shorter := re.sub(r"var\([^()]*\)", "", text)) != text:
        text = shorter
    text = re.sub(r"--autoglm-[\w-]+\s*:[^;]*;", "", text)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsla?\(", text) == []


def test_versions_agree() -> None:
    """Python package, npm package, widget module: the front end looks the widget up by this version."""
    names = (EXTENSION / "src" / "names.ts").read_text(encoding="utf-8")
    assert PACKAGE["version"] == __version__
    assert re.search(r"MODULE_VERSION = '(.+)'", names)[1] == __version__  # type: ignore[index]
    lock = json.loads((EXTENSION / "package-lock.json").read_text(encoding="utf-8"))
    assert lock["version"] == lock["packages"][""]["version"] == __version__


def test_the_lock_names_no_registry() -> None:
    """Whoever installs has a registry of their own; a lock with hosts would send them to ours."""
    text = (EXTENSION / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in text
    assert "omit-lockfile-registry-resolved=true" in (EXTENSION / ".npmrc").read_text(encoding="utf-8")


def test_the_output_is_not_the_sources() -> None:
    """The builder empties its output folder first."""
    output = (EXTENSION / PACKAGE["jupyterlab"]["outputDir"]).resolve()
    assert output == OUTPUT
    assert EXTENSION not in (output, *output.parents)
    assert output not in EXTENSION.parents


@pytest.mark.skipif(not (OUTPUT / "package.json").exists(), reason="the extension is not built: make labextension")
def test_the_bundle_is_small() -> None:
    """200 kB gzipped in all; and little of it is loaded before anything of ours is shown."""
    scripts = sorted((OUTPUT / "static").glob("*.js"))
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9)) for path in scripts}
    assert sum(sizes.values()) <= MAX_BUNDLE
    # The entry, and the chunk with the plugins, which says `studyPlugin`'s id.
    first = [name for name in sizes if name.startswith("remoteEntry")]
    first += [path.name for path in scripts if "autoglm:show-studies" in path.read_text(encoding="utf-8")]
    assert len(first) >= 2
    assert sum(sizes[name] for name in first) <= MAX_START
