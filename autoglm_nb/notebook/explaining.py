"""`%explain`: the explanation is made by a child process, so that the kernel stays free of work and of libraries.

A placeholder is shown at once and replaced when the child is done. The child
has a process session of its own: an interrupt of the notebook does not reach it.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import tempfile
import threading
from html import escape
from pathlib import Path
from typing import Any

from IPython.display import display

from autoglm_nb import settings
from autoglm_nb.errors import UsageError, WorkerError
from autoglm_nb.notebook.failures import StoppedWaiting
from autoglm_nb.notebook.options import Parser, split
from autoglm_nb.record import words

__all__ = ["FORM", "PARTS", "explain"]

FORM = "%explain [NAME] [--trial N] [--what PART,PART] [--html FILE] [--push | --decision] [--wait]"
PARTS = (
    "importance", "convergence", "stopping", "methods", "sensitivity", "pareto", "shap", "evolution", "proposals",
    "decision",
)  # fmt: skip
"""For completion; the child knows which parts there are and says so."""

_children: set[subprocess.Popen[bytes]] = set()


def explain(commands: Any, line: str) -> None:
    """Carry out `%explain <line>`.

    Raises:
        UsageError: the line was not understood, or (with --wait) the request cannot be carried out.
        StudyNotFoundError: no such study.
    """
    parser = Parser(prog="%explain", usage=FORM, add_help=False, allow_abbrev=False)
    parser.add_argument("name", nargs="?")
    parser.add_argument("--trial", type=int)
    parser.add_argument("--what")
    parser.add_argument("--html")
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--push", action="store_true")
    parser.add_argument("--decision", action="store_true")
    asked = parser.parse_args(split(line))
    narrower = next((f"--{n}" for n in ("trial", "what", "html") if getattr(asked, n) is not None), None)
    if (asked.push or asked.decision) and narrower:
        raise UsageError(f"`--push` and `--decision` concern the whole report, but {narrower} was given too. Drop it.")
    if asked.push and asked.decision:
        raise UsageError("`--push` sends a report and `--decision` asks about it, but both were given. Give one.")
    handle = commands.handle(asked.name)
    job = _Job(handle.home, handle.name, asked)
    job.start()
    if asked.wait:
        job.wait()


class _Job:
    """One child and the display it fills."""

    def __init__(self, home: Path, study: str, asked: Any) -> None:
        self._study = study
        self._html = Path(asked.html).expanduser().resolve() if asked.html else None
        self._folder = tempfile.TemporaryDirectory(prefix="autoglm-explain-")
        self._out = Path(self._folder.name) / "bundle.json"
        room = "decisions" if asked.push or asked.decision else "explain"
        self._command = [
            sys.executable, "-m", f"autoglm_nb.{room}", "--home", str(home), "--study", study, "--out", str(self._out),
        ]  # fmt: skip
        if asked.push:
            self._command.append("--push")
        self._sentence = "Explaining"
        if room == "decisions":
            self._sentence = "Sending the report of" if asked.push else "Asking for the decision on"
        if asked.what is not None:
            self._command += ["--what", asked.what]
        if asked.trial is not None:
            self._command += ["--trial", str(asked.trial)]
        if self._html:
            self._command += ["--html", str(self._html)]
        self._wait = bool(asked.wait)
        self._done = threading.Event()
        self._failure: str | None = None

    def start(self) -> None:
        """Show the placeholder and start the child.

        Raises:
            WorkerError: no process could be started.
        """
        errors = Path(self._folder.name) / "stderr"
        try:
            with errors.open("wb") as stderr:
                self._child = subprocess.Popen(
                    self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
                    start_new_session=True, env=settings.child_environment(MPLBACKEND="agg"),
                )  # fmt: skip
        except OSError as error:
            self._folder.cleanup()
            raise WorkerError(f"The explanation could not be started: {error.strerror or error}.") from error
        _children.add(self._child)
        sentence = f"{self._sentence} {words.clean(self._study, 80)} … the answer will appear here."
        self._display = display(_lines(sentence), raw=True, display_id=True)
        threading.Thread(target=self._finish, name="autoglm-explain", daemon=True).start()

    def wait(self) -> None:
        """Block until the answer is shown; Ctrl-C stops only the waiting."""
        try:
            while not self._done.wait(0.2):
                pass
        except KeyboardInterrupt:
            raise StoppedWaiting("Stopped waiting. The explanation will appear here when it is ready.") from None
        if self._failure:
            raise UsageError(self._failure)

    def _finish(self) -> None:
        code = self._child.wait()
        _children.discard(self._child)
        try:
            self._display.update(self._bundle(code), raw=True)
        finally:
            self._done.set()
            self._folder.cleanup()

    def _bundle(self, code: int) -> dict[str, Any]:
        try:
            bundle: dict[str, Any] = json.loads(self._out.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            said = (Path(self._folder.name) / "stderr").read_text(encoding="utf-8", errors="replace").strip()
            last = words.clean(said.splitlines()[-1] if said else "", 600)
            self._failure = (
                last
                if code == 2 and last
                else (f"The explanation of {self._study!r} could not be made (exit code {code}). {last}".rstrip())
            )
            return _lines("" if self._wait else self._failure)
        if self._html:
            note = f"Page written to {_shown(self._html)}."
            bundle["text/plain"] = f"{bundle.get('text/plain', '')}\n\n{note}"
            if "text/html" in bundle:
                bundle["text/html"] += f"<p>{escape(note)}</p>"
        return bundle


def _lines(sentence: str) -> dict[str, Any]:
    return {"text/plain": sentence, "text/html": f"<p>{escape(sentence)}</p>" if sentence else ""}


def _shown(path: Path) -> str:
    """A path as a reader of the notebook may see it: relative where it lies below the working folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return path.name


def _end_children() -> None:
    for child in list(_children):
        child.terminate()


atexit.register(_end_children)
