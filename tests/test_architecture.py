"""The plan of the house, as data, and the checks that keep the code to it.

`ROOMS` is the table of `autoglm_nb/README.md`. Everything here reads the sources
with `ast`; only the last test imports the package, in a process of its own.
Each rule is also shown a small offence, so that a rule that stopped working
would be noticed.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "autoglm_nb"
MAX_LINES = 400


@dataclass(frozen=True)
class Room:
    """A room on `floor` may import floors up to `reach`, and the named `siblings` beside it."""

    floor: int
    reach: int
    siblings: frozenset[str] = frozenset()


ROOMS = {
    "errors": Room(0, -1),
    "lazy": Room(0, -1),
    "settings": Room(0, -1, frozenset({"errors"})),
    "protocol": Room(0, -1),
    "probe": Room(0, -1, frozenset({"settings"})),
    "locale": Room(0, -1),
    "space": Room(1, 0),
    "resources": Room(1, 0),
    "record": Room(1, 0),
    "store": Room(2, 1),
    "data": Room(2, 0),
    "models": Room(2, 0),
    "surrogates": Room(2, 1),
    "training": Room(3, 2),
    "search": Room(3, 2),
    "transfer": Room(3, 2, frozenset({"training"})),
    "explain": Room(3, 2),
    "serving": Room(3, 2),
    "hooks": Room(3, 2),
    "decisions": Room(4, 3),
    "tuning": Room(4, 3),
    "sharing": Room(4, 3),
    "session": Room(5, 4),
    "notebook": Room(6, 5),
    "server": Room(6, 5),
}
FRONT_DOOR = "autoglm_nb"  # __init__.py: names looked up when asked for, and the extension hook

KERNEL_SIDE = (
    "space", "resources", "record", "store", "data", "models", "hooks", "decisions", "sharing", "session", "notebook",
    "server",
)  # fmt: skip
HEAVY = {
    "accelerate", "datasets", "matplotlib", "optuna", "pandas", "peft", "pyarrow",
    "mlflow", "scipy", "shap", "sklearn", "tensorboard", "tokenizers", "torch", "transformers", "wandb",
}  # fmt: skip
JUPYTER = {
    "IPython", "comm", "ipykernel", "ipywidgets", "jupyter_client", "jupyter_core", "jupyter_server", "jupyterlab",
    "nbclient", "nbconvert", "nbformat", "traitlets",
}  # fmt: skip
PICKLES = {"_pickle", "dill", "joblib", "marshal", "pickle", "shelve"}
MAY_CLOUDPICKLE = {"tuning", "session"}  # a custom objective goes to its own worker over a pipe, never to disk


@dataclass(frozen=True)
class Import:
    """One import statement: the absolute dotted name, its line, and whether it runs with the module."""

    name: str
    line: int
    at_import: bool


def imports(source: str, module: str, *, is_package: bool = False) -> list[Import]:
    """Every import of a module, relative ones resolved; `from a import b` gives `a.b`."""
    parts = module.split(".") if is_package else module.split(".")[:-1]
    found: list[Import] = []

    def visit(node: ast.AST, at_import: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend(Import(alias.name, child.lineno, at_import) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = parts[: len(parts) - child.level + 1] if child.level else []
                stem = ".".join([*base, *([child.module] if child.module else [])])
                found.extend(Import(f"{stem}.{alias.name}", child.lineno, at_import) for alias in child.names)
            elif isinstance(child, ast.Call) and _called(child) in ("import_module", "__import__"):
                if child.args and isinstance(child.args[0], ast.Constant) and isinstance(child.args[0].value, str):
                    found.append(Import(child.args[0].value, child.lineno, at_import))
                visit(child, at_import)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _type_checking(child):
                visit(child, False)
            else:
                visit(child, at_import)

    visit(ast.parse(source), True)
    return found


def room_of(name: str) -> str | None:
    """The room that a dotted name belongs to, the front door, or None for a foreign one."""
    head, _, rest = name.partition(".")
    if head != "autoglm_nb":
        return None
    room = rest.split(".")[0]
    return room if room in ROOMS else FRONT_DOOR


def arrow_faults(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports of a module that the table does not allow."""
    here = room_of(module)
    faults = []
    for found in imports(source, module, is_package=is_package):
        there = room_of(found.name)
        if here in (None, FRONT_DOOR) or there is None or there == here:
            continue
        if found.name == "autoglm_nb.__version__":
            continue
        room = ROOMS[here]
        allowed = there != FRONT_DOOR and (ROOMS[there].floor <= room.reach or there in room.siblings)
        if not allowed:
            faults.append(f"{module}:{found.line} imports {found.name}")
    return faults


def conduct_faults(source: str, module: str) -> list[str]:
    """Constructs that no module of the package may hold, with their lines."""
    tree, room, faults = ast.parse(source), room_of(module), []
    is_cli = module.endswith("__main__") or any(
        isinstance(node, ast.If) and '__name__ == "__main__"' in ast.unparse(node.test).replace("'", '"')
        for node in tree.body
    )
    for node in ast.walk(tree):
        fault = ""
        if isinstance(node, ast.Assert):
            fault = "assert (raise an error from errors.py: -O removes asserts)"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("eval", "exec", "compile"):
                fault = f"{node.func.id}()"
            elif node.func.id == "print" and not is_cli:
                fault = "print() outside a command line"
        if isinstance(node, ast.Call):
            if ast.unparse(node.func) == "torch.load":
                fault = "torch.load() unpickles"
            if any(k.arg == "allow_pickle" and getattr(k.value, "value", True) is not False for k in node.keywords):
                fault = "allow_pickle"
            if _called(node) in ("redirect_stdout", "redirect_stderr"):
                fault = "redirects a stream of the whole process"
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(ast.unparse(target) in ("sys.stdout", "sys.stderr") for target in targets):
                fault = "replaces a stream of the whole process"
        if fault:
            faults.append(f"{module}:{node.lineno} has {fault}")
    for found in imports(source, module):
        top = found.name.split(".")[0]
        if top in PICKLES:
            faults.append(f"{module}:{found.line} imports {top}")
        if top == "cloudpickle" and room not in MAY_CLOUDPICKLE:
            faults.append(f"{module}:{found.line} imports cloudpickle")
        # the front door names Jupyter's types for a type checker only
        if top in JUPYTER and room not in ("notebook", "server") and (found.at_import or room != FRONT_DOOR):
            faults.append(f"{module}:{found.line} imports {top}")
        if top == "autoglm_kernels" and room != "training":
            faults.append(f"{module}:{found.line} imports autoglm_kernels")
    return faults


def heavy_faults(sources: dict[str, str], entry: str) -> list[str]:
    """Heavy libraries that importing `entry` would load, through the package's own modules."""
    todo, seen, faults = [entry], set(), []
    while todo:
        module = todo.pop()
        if module in seen or module not in sources:
            continue
        seen.add(module)
        todo.append(module.rpartition(".")[0])  # importing a.b.c imports a.b and a
        for found in imports(sources[module], module, is_package=module in _packages(sources)):
            if not found.at_import:
                continue
            if found.name.split(".")[0] in HEAVY:
                faults.append(f"{module}:{found.line} imports {found.name} when the kernel imports {entry}")
            todo += [found.name, found.name.rpartition(".")[0]]
    return faults


def _packages(sources: dict[str, str]) -> set[str]:
    return {name.rpartition(".")[0] for name in sources}


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(_modules())
SOURCES = {module: path.read_text(encoding="utf-8") for module, path in MODULES.items()}


def test_every_entry_of_the_package_is_a_room_of_the_table() -> None:
    """A new room has to be placed on a floor before it can hold code."""
    beside = {"__init__.py", "README.md", "py.typed", "labextension", "__pycache__"}
    entries = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.name not in beside}
    assert entries - set(ROOMS) == set()


def test_the_table_itself_points_downwards() -> None:
    """No room reaches its own floor, but for the siblings that it names."""
    for name, room in ROOMS.items():
        assert room.reach < room.floor, name
        assert all(ROOMS[sibling].floor == room.floor for sibling in room.siblings), name


@pytest.mark.parametrize("module", MODULES)
def test_arrows_go_down_only(module: str) -> None:
    """A module imports lower floors only, and no sibling that the table does not name."""
    assert arrow_faults(SOURCES[module], module, is_package=MODULES[module].name == "__init__.py") == []


@pytest.mark.parametrize("module", MODULES)
def test_conduct(module: str) -> None:
    """No assert, eval, print, pickle, swapped stream, or Jupyter outside its rooms."""
    assert conduct_faults(SOURCES[module], module) == []


@pytest.mark.parametrize("entry", ["autoglm_nb", *(f"autoglm_nb.{room}" for room in KERNEL_SIDE)])
def test_what_the_kernel_imports_is_light(entry: str) -> None:
    """Importing a kernel-side room loads none of the heavy libraries, however indirectly."""
    assert heavy_faults(SOURCES, entry) == []


@pytest.mark.parametrize("path", [*PACKAGE.rglob("*.py"), *(ROOT / "kernels").rglob("*.py")], ids=lambda p: p.name)
def test_no_file_is_longer_than_400_lines(path: Path) -> None:
    """One concept, one file: a longer one holds two."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("room", [name for name in ROOMS if (PACKAGE / name / "__init__.py").exists()])
def test_each_room_says_at_its_door_what_it_is_for(room: str) -> None:
    """The docstring of a room holds its contract: a name alone is not one."""
    docstring = ast.get_docstring(ast.parse(SOURCES[f"autoglm_nb.{room}"])) or ""
    assert len(docstring.split()) >= 20


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("autoglm_nb.space.cell", "from autoglm_nb.store import Store"),
        ("autoglm_nb.space.cell", "from autoglm_nb import session"),
        ("autoglm_nb.space.cell", "from autoglm_nb import AutoTuner"),
        ("autoglm_nb.space.cell", "from ..store import Store"),
        ("autoglm_nb.store.db", "import autoglm_nb.data.splits"),
        ("autoglm_nb.data.splits", "from autoglm_nb.space import Space"),
        ("autoglm_nb.search.samplers", "def f():\n    from autoglm_nb.training import Engine"),
        ("autoglm_nb.tuning.worker", "from importlib import import_module\nimport_module('autoglm_nb.notebook')"),
    ],
)
def test_a_wrong_arrow_is_found(module: str, source: str) -> None:
    """Upward, sideways, relative, lazy and by name: each is reported once."""
    assert len(arrow_faults(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("autoglm_nb.transfer.dann", "from autoglm_nb.training import Engine"),
        ("autoglm_nb.store.db", "from .rows import RunRow\nfrom autoglm_nb.errors import StoreError"),
        ("autoglm_nb.tuning.worker", "from autoglm_nb.search import Searcher\nimport json"),
        ("autoglm_nb.session.spec", "from autoglm_nb import __version__"),
    ],
)
def test_a_right_arrow_is_let_through(module: str, source: str) -> None:
    """Lower floors, the same room, a named sibling and foreign libraries are allowed."""
    assert arrow_faults(source, module) == []


@pytest.mark.parametrize(
    "source",
    [
        "assert rank > 0", "eval('1')", "exec('1')", "print('x')", "import pickle", "from dill import loads",
        "import cloudpickle", "import ipywidgets", "def f():\n    from IPython import get_ipython",
        "import sys\nsys.stdout = None", "torch.load('x')", "np.load('x', allow_pickle=True)",
        "import autoglm_kernels", "with contextlib.redirect_stdout(f): pass",
    ],
)  # fmt: skip
def test_misconduct_is_found(source: str) -> None:
    """Each construct is reported in a room that may not hold it."""
    assert len(conduct_faults(source, "autoglm_nb.search.samplers")) == 1


def test_good_conduct_is_let_through() -> None:
    """A model's eval mode, a command line's print and a safe np.load are not offences."""
    source = "model.eval()\nnp.load('x', allow_pickle=False)\nif __name__ == '__main__':\n    print('ready')\n"
    assert conduct_faults(source, "autoglm_nb.search.samplers") == []


def test_a_heavy_import_is_found_through_other_modules_but_not_inside_a_function() -> None:
    """The chain door → a → b → torch counts; an import inside a function does not run yet."""
    sources = {
        "autoglm_nb.space": "from autoglm_nb.space.a import x",
        "autoglm_nb.space.a": "from .b import x\ndef later():\n    import pandas",
        "autoglm_nb.space.b": "import typing\nif typing.TYPE_CHECKING:\n    import optuna\nimport torch.nn",
    }
    assert heavy_faults(sources, "autoglm_nb.space") == [
        "autoglm_nb.space.b:4 imports torch.nn when the kernel imports autoglm_nb.space"
    ]


@pytest.mark.alone
def test_loading_the_extension_is_light_and_takes_under_0_3_seconds() -> None:
    """`%load_ext autoglm_nb` in a fresh IPython: the best of six, so that a busy machine does not decide."""
    script = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
start = time.perf_counter()
shell.run_line_magic("load_ext", "autoglm_nb")
seconds = time.perf_counter() - start
registered = "autotune" in shell.magics_manager.magics["cell"]
heavy = sorted({"torch", "transformers", "pandas", "optuna", "matplotlib"} & set(sys.modules))
sys.__stdout__.write(json.dumps([seconds, registered, heavy]))
"""
    runs = []
    for _ in range(6):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout.strip().splitlines()[-1]))
    assert all(registered for _, registered, _ in runs)
    assert [heavy for _, _, heavy in runs] == [[]] * 6
    assert min(seconds for seconds, _, _ in runs) < 0.3


@pytest.mark.alone
def test_importing_the_package_is_light_and_quick() -> None:
    """`import autoglm_nb` alone loads no heavy library and nothing of Jupyter."""
    script = (
        "import sys, time, json; t = time.perf_counter(); import autoglm_nb; t = time.perf_counter() - t; "
        f"print(json.dumps([t, sorted({HEAVY | JUPYTER!r} & set(sys.modules))]))"
    )
    runs = []
    for _ in range(6):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout))
    assert [loaded for _, loaded in runs] == [[]] * 6
    assert min(seconds for seconds, _ in runs) < 0.3
