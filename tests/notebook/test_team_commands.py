"""`%autotune note`, `share` and `open`, with a real store behind them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from autoglm_nb.errors import UsageError
from autoglm_nb.notebook.completion import candidates
from autoglm_nb.notebook.team_commands import read_note
from autoglm_nb.store import Store
from tests.notebook.conftest import Notebook, Recorder
from tests.sharing.conftest import fill


@pytest.fixture
def store(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("AUTOGLM_AUTHOR", "Mei")
    with Store(home) as opened:
        fill(opened)
        yield opened


@pytest.fixture
def real(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """A notebook with the real session."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    recorder = Recorder(parent=shell)
    shell.display_pub = recorder
    made = Notebook(shell, None, recorder)  # type: ignore[arg-type]
    monkeypatch.setattr(
        shell, "_showtraceback", lambda etype, value, stb: made.tracebacks.append("\n".join(stb)), raising=False
    )
    shell.run_line_magic("load_ext", "autoglm_nb")
    yield made
    shell.run_line_magic("unload_ext", "autoglm_nb")
    InteractiveShell.clear_instance()


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("reviews looks good", {"name": "reviews", "text": "looks good"}),
        ("reviews --trial 3 it's the cast's fault", {"trial": 3, "text": "it's the cast's fault"}),
        ('"my study" --tag keep', {"name": "my study", "tag": "keep"}),
        ("reviews --trial=#2 --star", {"trial": 2, "star": True, "text": ""}),
        ('reviews --tag "two words" --star "why --star is set"', {"tag": "two words", "text": "why --star is set"}),
        ("reviews --unstar --trial 1", {"unstar": True, "trial": 1}),
        ("reviews --remove ab12", {"remove": "ab12"}),
        ("reviews", {"text": ""}),
        ("reviews --tag=x -- or so", {"tag": "x"}),
    ],
)
def test_a_line_is_read_as_it_was_typed(line: str, fields: dict[str, Any]) -> None:
    """Name, options, then text in which apostrophes and quotation marks mean nothing."""
    if " -- " in line:
        with pytest.raises(UsageError, match="no option `--`"):
            read_note(line)
        return
    asked = read_note(line)
    assert {key: getattr(asked, key) for key in fields} == fields


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "needs the study's name first"),
        ("--star reviews", "needs the study's name first"),
        ("reviews --trial", "needs a value"),
        ("reviews --trial two x", "needs a trial's number"),
        ("reviews --stars", r"no option `--stars`.*Did you mean '--star'"),
        ("reviews good --star", "Options stand before"),
        ("reviews --star --unstar", "cannot both be meant"),
        ("reviews --remove ab12 and more", "Give it alone"),
    ],
)
def test_lines_that_cannot_be_meant_are_refused(line: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_note(line)


def test_a_note_is_stored_signed_and_listed(real: Notebook, store: Store) -> None:
    """Comment, tag and star in one line, once however often it is run; the list gives the id for `--remove`."""
    before = len(store.notes("reviews"))
    real.run("%autotune note reviews --trial 2 --tag keep --star it's the best")
    outcome = real.run("%autotune note reviews --trial 2 --tag keep --star it's the best")
    assert outcome.ok and outcome.shown == ["Trial 2 of study 'reviews': noted."]
    made = store.notes("reviews")[before:]
    assert [(n["kind"], n["text"], n["trial"], n["author"]) for n in made] == [
        ("comment", "it's the best", 2, "Mei"), ("tag", "keep", 2, "Mei"), ("star", "", 2, "Mei"),
    ]  # fmt: skip
    listed = real.run("%autotune note reviews").shown[0]
    assert f"{made[0]['id'][:8]}  trial 2: it's the best  (Mei)" in listed and "# keep" in listed
    assert real.run(f"%autotune note reviews --remove {made[0]['id'][:8]}").shown == [
        "Removed from study 'reviews': it's the best."
    ]
    assert made[0]["id"] not in {n["id"] for n in store.notes("reviews")}
    assert real.run("%autotune note reviews --trial 2 --unstar").shown[0].endswith("unstarred.")
    assert not [n for n in store.notes("reviews") if n["kind"] == "star"]


def test_a_note_is_mirrored_in_the_record_below_the_cell(real: Notebook) -> None:
    """Also when the study has ended and nothing else moves."""
    real.run("%autotune attach reviews --view record")
    sent = len(real.recorder.sent)
    real.run("%autotune note reviews worth a second look")
    updates = [m for m in real.recorder.sent[sent:] if m["update"]]
    assert updates and "worth a second look" in updates[-1]["data"]["text/html"]
    assert "worth a second look" in updates[-1]["data"]["text/plain"]


def test_mistakes_are_told_in_a_sentence(real: Notebook, tmp_path: Path) -> None:
    """No such study, trial, note, file; no file named; nothing to read a traceback from."""
    for line, sentence in (
        ("note nothing x", "Did you mean|There is no study"),
        ("note reviews --trial 99 x", "has no trial 99"),
        ("note reviews --remove ffff", "none does"),
        ("share reviews", "--zip FILE"),
        ("share reviews --html x.html --include-data", "Data rows go into a zip only"),
        (f"share reviews --zip {tmp_path}/no/x.zip", "does not exist"),
        ("open nothing.zip", "There is no file 'nothing.zip'"),
        ("open x.zip -o 1x", "needs a variable's name"),
    ):
        outcome = real.run(f"%autotune {line}")
        assert not outcome.ok
        import re

        assert re.search(sentence, outcome.error), outcome.error
        assert "Traceback" not in outcome.error


@pytest.mark.slow
def test_share_and_open_from_the_notebook(
    real: Notebook, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line each; the opened study is shown, bound and listed, and the kernel loads no heavy library."""
    outcome = real.run(f"%autotune share reviews --zip {tmp_path}/r.zip --html {tmp_path}/r.html")
    assert outcome.ok, outcome.error
    assert outcome.shown[0] == "Sharing reviews …"
    said = outcome.shown[1]
    assert said.startswith("Study 'reviews' is shared as r.html (") and "without the rows" in said
    assert zipfile.is_zipfile(tmp_path / "r.zip") and (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    monkeypatch.setenv("AUTOGLM_HOME", str(tmp_path / "other" / ".autoglm"))
    outcome = real.run(f"%autotune open {tmp_path}/r.zip --name theirs -o theirs")
    assert outcome.ok, outcome.error
    assert "Study 'theirs' is brought in" in outcome.shown[1] and "0.900" in outcome.shown[2]
    assert real.shell.user_ns["theirs"].results().best_value == 0.9
    assert "theirs" in real.run("%autotune list").shown[0]
    assert "merged: nothing new" in real.run(f"%autotune open {tmp_path}/r.zip --name theirs").shown[1]
    refused = real.run("%autotune resume theirs")  # finished: says so
    assert "finished" in refused.shown[0]
    wrong = real.run(f"%autotune open {store.path}")
    assert "is a study store" in wrong.error and "Ask the owner" in wrong.error
    assert wrong.shown[1:] == [""], "the line that was shown while it worked is taken away"


def test_completion_knows_the_new_commands(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands, studies, options, zips of the folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.zip").touch()

    def offered(line: str) -> list[str]:
        found = candidates(line, 0, len(line))
        assert found is not None
        return found[1]

    assert {"note", "share", "open"} <= set(offered("%autotune "))
    assert offered("%autotune note ") == offered("%autotune share ") == ["reviews"]
    assert offered("%autotune open ") == ["r.zip"]
    assert "--include-data" in offered("%autotune share reviews --")
    assert "--unstar" in offered("%autotune note reviews --")
    assert offered("%autotune clean reviews --") == ["--keep"]
