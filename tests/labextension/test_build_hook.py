"""The build hook: builds where it can, says why where it cannot, and never keeps the Python package from installing."""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("hatchling", reason="the build tools are not installed")


@pytest.fixture(scope="module")
def hook_module() -> ModuleType:
    """hatch_build.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with sources and without node."""
    (tmp_path / "labextension" / "src").mkdir(parents=True)
    (tmp_path / "labextension" / "package.json").write_text("{}")
    (tmp_path / "labextension" / "src" / "index.ts").write_text("")
    (tmp_path / "install.json").write_text("{}")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.delenv("HATCH_JUPYTER_BUILDER_SKIP_NPM", raising=False)
    monkeypatch.delenv("AUTOGLM_REQUIRE_LABEXTENSION", raising=False)
    return tmp_path


def _built(tree: Path) -> Path:
    output = tree / "autoglm_nb" / "labextension"
    output.mkdir(parents=True)
    (output / "package.json").write_text("{}")
    return output


def _run(module: ModuleType, tree: Path, target: str = "wheel") -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    hook = module.LabextensionHook(
        str(tree), {}, None, None, str(tree / "dist"), target, SimpleNamespace(display_warning=said.append)
    )
    data: dict[str, Any] = {"shared_data": {}}
    hook.initialize("standard", data)
    return data, said


def test_without_node_the_package_is_built_and_a_sentence_says_what_is_missing(
    hook_module: ModuleType, tree: Path
) -> None:
    """No exception, nothing in the wheel that does not exist."""
    data, said = _run(hook_module, tree)
    assert data["shared_data"] == {}
    assert len(said) == 1
    assert "Node.js" in said[0]
    assert "without it" in said[0]


def test_a_built_extension_is_used_where_there_is_no_node(hook_module: ModuleType, tree: Path) -> None:
    """As in an sdist, which carries it."""
    output = _built(tree)
    data, said = _run(hook_module, tree)
    assert said == []
    assert data["shared_data"] == {"autoglm_nb/labextension": "share/jupyter/labextensions/autoglm-nb"}
    assert (output / "install.json").exists()


def test_an_outdated_build_is_used_but_told_of(hook_module: ModuleType, tree: Path) -> None:
    """Sources newer than the output, and nothing to build them with."""
    _built(tree)
    later = time.time() + 60
    os.utime(tree / "labextension" / "src" / "index.ts", (later, later))
    data, said = _run(hook_module, tree)
    assert data["shared_data"]
    assert "older build" in said[0]


def test_a_release_refuses_to_go_without(hook_module: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable set, a wheel without the extension is no wheel."""
    monkeypatch.setenv("AUTOGLM_REQUIRE_LABEXTENSION", "1")
    with pytest.raises(RuntimeError, match=r"not built.*Node\.js"):
        _run(hook_module, tree)


def test_a_failing_npm_is_a_sentence_too(hook_module: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever npm fails of, the Python package is still worth installing."""
    tools = tree / "tools"
    tools.mkdir()
    for name in ("node", "npm"):
        (tools / name).write_text("#!/bin/sh\nexit 7\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.defpath}")
    data, said = _run(hook_module, tree)
    assert data["shared_data"] == {}
    assert "7" in said[0]
    assert os.environ["PATH"].startswith(str(tools)), "the environment is as it was"


def test_other_targets_are_left_alone(hook_module: ModuleType, tree: Path) -> None:
    """An application bundle, say, has nothing to do with JupyterLab."""
    assert _run(hook_module, tree, "binary") == ({"shared_data": {}}, [])
