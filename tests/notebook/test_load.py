"""Loading the extension is quick and loads nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys, time
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before, began = set(sys.modules), time.perf_counter()
shell.run_line_magic("load_ext", "autoglm_nb")
took = time.perf_counter() - began
text = "%%autotune --na"
with provisionalcompleter():
    found = [c.text for c in shell.Completer.completions(text, len(text))]
print(json.dumps([took, sorted(set(sys.modules) - before), found]))
"""
ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "transformers", "pandas", "optuna", "matplotlib", "ipywidgets", "numpy", "sklearn", "pyarrow", "peft"}


@pytest.mark.alone
def test_load_ext_is_quick_and_light() -> None:
    """Below 0.3 s (the best of six), and none of the heavy libraries, ipywidgets included."""
    runs = []
    for _ in range(6):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=120, cwd=ROOT
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    for _, modules, found in runs:
        assert HEAVY.isdisjoint(module.split(".")[0] for module in modules)
        assert found == ["--name"]
    assert min(took for took, _, _ in runs) < 0.3
