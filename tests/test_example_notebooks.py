"""The example notebooks from start to end, and the runner behind `make demo`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
import psutil
import pytest

from autoglm_nb.store import Store, snapshot
from example_notebooks import run

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "example_notebooks"


def write_notebook(path: Path, cells: Sequence[str]) -> Path:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    nbformat.write(notebook, path)
    return path


@pytest.mark.slow
def test_a_good_run_ends_with_status_0_and_prints_both_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The executed notebook holds the outputs; the source is left alone; results lie in the folder asked for."""
    source = write_notebook(tmp_path / "good.ipynb", ["6 * 7", "open('report.html', 'w').write('<p>')"])
    before = source.read_bytes()
    assert run.main([str(source), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    executed = tmp_path / "out" / "good.ipynb"
    assert f"Executed notebook  {executed}" in printed
    assert f"Report             {tmp_path / 'out' / 'report.html'}" in printed
    assert "[1/2] 6 * 7" in printed
    assert nbformat.read(executed, as_version=4).cells[0].outputs[0].data["text/plain"] == "42"
    assert source.read_bytes() == before


@pytest.mark.slow
def test_a_failing_cell_ends_with_status_1_and_keeps_what_ran(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is on the terminal, the outputs up to it are in the executed notebook."""
    source = write_notebook(tmp_path / "bad.ipynb", ["'before'", "1 / 0", "'never'"])
    assert run.main([str(source), "--out", str(tmp_path / "out")]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    cells = nbformat.read(tmp_path / "out" / "bad.ipynb", as_version=4).cells
    assert cells[0].outputs[0].data["text/plain"] == "'before'"
    assert cells[1].outputs[0].ename == "ZeroDivisionError"
    assert cells[2].outputs == []


@pytest.mark.slow
def test_a_run_without_a_report_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`make demo` promises a report."""
    source = write_notebook(tmp_path / "silent.ipynb", ["1"])
    assert run.main([str(source), "--out", str(tmp_path / "out")]) == 1
    assert "No report was written" in capsys.readouterr().err


def test_an_unknown_notebook_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2 and a sentence, as every command line does."""
    with pytest.raises(SystemExit) as caught:
        run.main(["99_nothing.ipynb"])
    assert caught.value.code == 2
    assert "There is no notebook 99_nothing.ipynb." in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a process group, as a terminal does")
def test_ctrl_c_ends_the_kernel_and_keeps_the_notebook(tmp_path: Path) -> None:
    """Status 130, no kernel left behind, the notebook written as far as it ran."""
    source = write_notebook(
        tmp_path / "long.ipynb",
        ["import os; open('pid', 'w').write(str(os.getpid()))", "import time; open('ready', 'w'); time.sleep(600)"],
    )
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "run.py"), str(source), "--out", str(out)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (out / "ready").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    kernel = psutil.Process(int((out / "pid").read_text()))
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopping the study and the notebook" in printed
    kernel.wait(timeout=60)
    assert nbformat.read(out / "long.ipynb", as_version=4).cells[0].execution_count == 1


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("name", "study"), [("01_quickstart", "quickstart"), ("02_language_model", "tweets-lm")])
def test_an_example_runs_from_start_to_end_and_beats_the_default_settings(
    name: str, study: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On test rows that selection never saw; the saved notebook tells it without widgets."""
    assert run.main([f"{name}.ipynb", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    shot = snapshot(Store(tmp_path / ".autoglm", create=False), study)
    assert shot["study"]["state"] == "finished"
    assert printed.count("  trial ") == shot["headline"]["total"]

    final = shot["final"]
    assert final is not None
    assert final["baseline"] is not None
    assert final["split"] == "test"
    better = 1.0 if shot["study"]["direction"] == "maximize" else -1.0
    assert better * (final["winner"]["mean"] - final["baseline"]["mean"]) > 0
    if final["majority"] is not None:
        assert final["winner"]["low"] > final["majority"]

    saved = (tmp_path / f"{name}.ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(saved, as_version=4)
    assert "widgets" not in notebook.metadata
    kinds = [kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert "application/vnd.autoglm.study.v1+json" in kinds
    assert "application/vnd.jupyter.widget-view+json" not in kinds
    report = (tmp_path / f"{study}.html").read_text(encoding="utf-8")
    assert study in report
    assert "<script" not in report.lower()
