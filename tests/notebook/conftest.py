"""A shell with the magics loaded, a fake session behind them, and what was displayed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

import autoglm_nb
from tests.notebook.fakes import FakeHandle, FakeSession


class Recorder(DisplayPublisher):
    """Collects display messages in place of showing them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sent: list[dict[str, Any]] = []

    def publish(self, data: dict[str, Any], metadata: Any = None, *, transient: Any = None, update: bool = False,
                **kwargs: Any) -> None:  # fmt: skip
        self.sent.append({"data": data, "id": (transient or {}).get("display_id"), "update": update})

    @property
    def texts(self) -> list[str]:
        return [str(message["data"].get("text/plain", "")) for message in self.sent]


class Outcome:
    """What running a cell did: whether it succeeded, and what a person read."""

    def __init__(self, result: Any, error_text: str, shown: list[str]) -> None:
        self.result = result
        self.ok: bool = result.success
        self.error = error_text
        self.shown = shown


class Notebook:
    """Runs cells as a notebook would."""

    def __init__(self, shell: InteractiveShell, session: FakeSession, recorder: Recorder) -> None:
        self.shell, self.session, self.recorder = shell, session, recorder
        self.tracebacks: list[str] = []

    def run(self, cell: str) -> Outcome:
        before, errors = len(self.recorder.sent), len(self.tracebacks)
        result = self.shell.run_cell(cell)
        return Outcome(result, "\n".join(self.tracebacks[errors:]), self.recorder.texts[before:])


@pytest.fixture
def fake() -> FakeHandle:
    return FakeHandle("reviews")


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch, fake: FakeHandle) -> Iterator[Notebook]:
    """A notebook whose session knows the study "reviews"."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    recorder = Recorder(parent=shell)
    shell.display_pub = recorder
    session = FakeSession(fake)
    monkeypatch.setitem(sys.modules, "autoglm_nb.session", session)
    monkeypatch.setattr(autoglm_nb, "session", session, raising=False)
    made = Notebook(shell, session, recorder)
    monkeypatch.setattr(
        shell, "_showtraceback", lambda etype, value, stb: made.tracebacks.append("\n".join(stb)), raising=False
    )
    shell.run_line_magic("load_ext", "autoglm_nb")
    yield made
    shell.run_line_magic("unload_ext", "autoglm_nb")
    InteractiveShell.clear_instance()
