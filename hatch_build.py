"""Builds the JupyterLab extension while the Python package is built, where that is possible.

A hook of hatchling's own kind around hatch-jupyter-builder. The extension is
wanted, but the package also works without it (stock widgets and the record),
so a machine without node still installs everything else: a built extension
that is already there is used, and else a sentence says what is missing. A
release must not go out like that: with AUTOGLM_REQUIRE_LABEXTENSION=1 the
build fails instead.

The built files are git-ignored, so they are added to the wheel here, as
shared data, and only if they exist (a path in `shared-data` must exist).
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NPM_NAME = "autoglm-nb"
SOURCES = "labextension"
OUTPUT = "autoglm_nb/labextension"
SHARED = f"share/jupyter/labextensions/{NPM_NAME}"
WATCHED = ("src", "style", "schema", "package.json", "package-lock.json", "tsconfig.json")


class LabextensionHook(BuildHookInterface):
    """Runs npm unless there is nothing new to build, then adds the result to the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the extension, or say why not; `version` is "standard" or "editable"."""
        if self.target_name not in ("wheel", "sdist"):
            return
        root = Path(self.root)
        sources, output = root / SOURCES, root / OUTPUT
        missing = _build(sources, output, self.target_name, version)
        built = (output / "package.json").exists()
        if missing and os.environ.get("AUTOGLM_REQUIRE_LABEXTENSION") == "1":
            raise RuntimeError(f"The JupyterLab extension was not built: {missing}")
        if missing:
            found = "an older build of it is used" if built else "the package is installed without it"
            self.app.display_warning(f"The JupyterLab extension was not built ({missing}); {found}.")
        if built and self.target_name == "wheel":
            shutil.copy(root / "install.json", output)
            build_data["shared_data"][OUTPUT] = SHARED


def _build(sources: Path, output: Path, target: str, version: str) -> str:
    """Run npm if something is newer than the output; what hindered it, or ""."""
    if os.environ.get("HATCH_JUPYTER_BUILDER_SKIP_NPM") == "1" or not _stale(sources, output):
        return ""
    if not (sources / "package.json").exists():
        return "its sources are not here"
    if shutil.which("npm") is None or shutil.which("node") is None:
        return "node and npm are not installed; install Node.js 20.19 or newer and install again"
    # jupyter-builder is a console script of the environment that builds.
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), path])
    try:
        from hatch_jupyter_builder import npm_builder

        npm_builder(target, version, path=str(sources), build_cmd="build:prod", npm=["npm"])
    except Exception as error:  # noqa: BLE001 - whatever npm fails of, the Python package is still worth installing
        return str(error)
    finally:
        os.environ["PATH"] = path
    return ""


def _stale(sources: Path, output: Path) -> bool:
    made = output / "package.json"
    if not made.exists():
        return True
    names = [sources / name for name in WATCHED]
    files = [f for name in names for f in ([name] if name.is_file() else name.rglob("*")) if f.is_file()]
    return any(f.stat().st_mtime > made.stat().st_mtime for f in files)
