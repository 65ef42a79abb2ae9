"""`%explain`: a child process makes the answer, the placeholder is replaced, the kernel stays free."""

from __future__ import annotations

import _thread
import json
import sys
import threading
import time
from pathlib import Path

import pytest

from autoglm_nb.notebook import explaining
from tests.notebook.conftest import Notebook

ANSWER = {"text/plain": "learning_rate mattered most.", "text/html": "<p>learning_rate mattered most.</p>"}
CHILD = """
import json, os, sys, time
given = sys.argv[1:]
out = given[given.index("--out") + 1]
def told(to_go_on):
    end = time.monotonic() + 60
    while not os.path.exists(to_go_on) and time.monotonic() < end:
        time.sleep(0.01)
{body}
"""


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    """`child(body)` puts a script in place of the explanation's process; `given` holds its arguments."""
    real = explaining.subprocess.Popen

    def replaced(body: str) -> Path:
        script, seen = tmp_path / "child.py", tmp_path / "given.json"
        script.write_text(CHILD.format(body=f"json.dump(given, open({str(seen)!r}, 'w'))\n" + body))

        def popen(command: list[str], **kwargs: object) -> object:
            return real([sys.executable, str(script), *command[3:]], **kwargs)  # type: ignore[call-overload]

        monkeypatch.setattr(explaining.subprocess, "Popen", popen)
        return seen

    return replaced


def _wait_for(notebook: Notebook, needle: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not any(needle in text for text in notebook.recorder.texts):
        assert time.monotonic() < end, notebook.recorder.texts
        time.sleep(0.02)


def test_placeholder_is_replaced_by_the_answer(notebook: Notebook, child: object, tmp_path: Path) -> None:
    """The line returns before the child does; the same display then holds its bundle; arguments pass through."""
    go = tmp_path / "go"
    seen = child(f"told({str(go)!r}); json.dump({ANSWER!r}, open(out, 'w'))")  # type: ignore[operator]
    assert notebook.run("%explain reviews --trial 3 --what importance,stopping").ok
    assert "Explaining reviews" in notebook.recorder.texts[-1]
    placeholder = notebook.recorder.sent[-1]["id"]
    go.touch()
    _wait_for(notebook, "mattered most")
    assert notebook.recorder.sent[-1]["id"] == placeholder
    assert notebook.recorder.sent[-1]["update"]
    given = json.loads(seen.read_text())
    assert given[given.index("--study") + 1] == "reviews"
    assert given[given.index("--what") + 1] == "importance,stopping"
    assert given[given.index("--trial") + 1] == "3"


def test_wait_blocks_and_names_the_page(notebook: Notebook, child: object, tmp_path: Path) -> None:
    """With `--wait` the answer is there when the line returns; `--html` is named without its folder."""
    child(f"json.dump({ANSWER!r}, open(out, 'w'))")  # type: ignore[operator]
    assert notebook.run(f"%explain reviews --wait --html {tmp_path / 'r.html'}").ok
    assert notebook.recorder.texts[-1].endswith("Page written to r.html.")


def test_a_sentence_of_the_child_is_the_error(notebook: Notebook, child: object) -> None:
    """Exit code 2 carries one sentence; waiting for it fails the cell with it."""
    child("print('--what takes importance, but got x.', file=sys.stderr); sys.exit(2)")  # type: ignore[operator]
    assert notebook.run("%explain reviews --wait --what x").error == "--what takes importance, but got x."


def test_a_crash_of_the_child_is_told(notebook: Notebook, child: object) -> None:
    """Another exit code says so, with the child's last words, in place of the placeholder."""
    child("raise RuntimeError('out of ideas')")  # type: ignore[operator]
    assert notebook.run("%explain reviews").ok
    _wait_for(notebook, "could not be made (exit code 1). RuntimeError: out of ideas")


def test_interrupt_stops_only_the_waiting(notebook: Notebook, child: object, tmp_path: Path) -> None:
    """Ctrl-C: a sentence; the answer still appears."""
    go = tmp_path / "go"
    child(f"told({str(go)!r}); json.dump({ANSWER!r}, open(out, 'w'))")  # type: ignore[operator]

    def interrupt() -> None:
        _wait_for(notebook, "Explaining reviews")
        time.sleep(0.4)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    outcome = notebook.run("%explain reviews --wait")
    assert outcome.error == "Stopped waiting. The explanation will appear here when it is ready."
    go.touch()
    _wait_for(notebook, "mattered most")


@pytest.mark.parametrize("line", ["nosuch", "reviews --trial x", "reviews --wat"])
def test_mistakes_are_told_before_a_process_starts(notebook: Notebook, line: str) -> None:
    """An unknown study or option is a sentence, at once."""
    outcome = notebook.run(f"%explain {line}")
    assert not outcome.ok
    assert "Traceback" not in outcome.error
    assert explaining._children == set()


@pytest.mark.parametrize(("option", "told"), [("--push", "Sending the report of"), ("--decision", "Asking for")])
def test_reports_and_decisions_have_a_process_of_their_own(
    notebook: Notebook, child: object, monkeypatch: pytest.MonkeyPatch, option: str, told: str
) -> None:
    """`--push` sends, `--decision` asks; both run the room of decisions, not that of explanations."""
    seen = child(f"json.dump({ANSWER!r}, open(out, 'w'))")  # type: ignore[operator]
    commands: list[list[str]] = []
    replaced = explaining.subprocess.Popen
    monkeypatch.setattr(
        explaining.subprocess, "Popen", lambda command, **kw: (commands.append(command), replaced(command, **kw))[1]
    )
    assert notebook.run(f"%explain reviews {option} --wait").ok
    assert commands[0][1:3] == ["-m", "autoglm_nb.decisions"]
    given = json.loads(seen.read_text())
    assert ("--push" in given) == (option == "--push") and "--what" not in given
    assert any(told in text for text in notebook.recorder.texts)


@pytest.mark.parametrize("line", ["reviews --push --decision", "reviews --push --trial 3", "reviews --push --html x"])
def test_a_push_concerns_the_whole_report(notebook: Notebook, line: str) -> None:
    """Anything narrower is a mistake, told before a process starts."""
    outcome = notebook.run(f"%explain {line}")
    assert not outcome.ok and ("Drop it." in outcome.error or "Give one." in outcome.error)
    assert explaining._children == set()
