"""Completion inside our magics, and silence outside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from IPython.core.completer import provisionalcompleter

from autoglm_nb.notebook.completion import candidates
from tests.notebook.conftest import Notebook


def _at_end(text: str) -> tuple[str, list[str]] | None:
    lines = text.split("\n")
    return candidates(text, len(lines) - 1, len(lines[-1]), ["frame", "_hidden", "score"])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("%%autotune --mo", "--model"), ("%%autotune --model minilm --tr", "--trials"), ("%autotune pa", "pause"),
        ("%autotune wait ", "reviews"), ("%autotune stop reviews --t", "--trial"), ("%explain re", "reviews"),
        ("%explain reviews --what importance,conv", "importance,convergence"), ("%%autotune --model ", "minilm"),
        ("%%autotune --strategy ba", "bayesian"), ("%%autotune --pruner=as", "asha"), ("%%autotune --name ", "reviews"),
        ("%%autotune --data fr", "frame"), ("%%autotune --data sentiment-domains/mo", "sentiment-domains/movies"),
        ("%%autotune --metric acc", "accuracy"), ("%%autotune --objective sc", "score"),
        ("x = %autotune --no", "--no-baseline"), ("%%autotune --name x\nlea", "learning_rate = "),
        ("%%autotune --name x\nrank = ch", "choice("), ("%autotune help wa", "wait"),
    ],
)  # fmt: skip
def test_offers_what_can_stand_here(notebook: Notebook, text: str, wanted: str) -> None:
    """Options, values, commands, study names, hyper-parameters."""
    found = _at_end(text)
    assert found is not None
    assert wanted in found[1]
    assert wanted.startswith(found[0])


@pytest.mark.parametrize("text", ["import num", "%timeit x", "%autotunex --mo", "# %%autotune\nlea", "%%auto"])
def test_says_nothing_elsewhere(notebook: Notebook, text: str) -> None:
    """Other cells, other magics, other people's lines."""
    assert _at_end(text) is None


def test_used_and_hidden_options_are_not_offered_again(notebook: Notebook) -> None:
    """A repeatable option is; private variables are not data."""
    options = (_at_end("%%autotune --model m --constraint 'a < 1' --") or ("", []))[1]
    assert "--model" not in options
    assert "--constraint" in options
    assert "--notebook" not in options
    assert "_hidden" not in (_at_end("%%autotune --data ") or ("", []))[1]


def test_data_files_of_the_folder_are_offered(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that can be read as data, others not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").touch()
    (tmp_path / "notes.md").touch()
    offered = (_at_end("%%autotune --data ") or ("", []))[1]
    assert "reviews.csv" in offered
    assert "notes.md" not in offered


def test_the_shell_gives_ours_alone(notebook: Notebook) -> None:
    """Through IPython's own completer, replacing just the word before the cursor."""
    text = "%%autotune --model minilm --str"
    notebook.shell.Completer.use_jedi = False
    with provisionalcompleter():
        found = list(notebook.shell.Completer.completions(text, len(text)))
    assert [c.text for c in found] == ["--strategy"]
    assert (found[0].start, found[0].end) == (len(text) - len("--str"), len(text))


def test_a_broken_store_does_not_disturb_typing(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Completion fails silently."""
    monkeypatch.setattr(notebook.session, "studies", lambda: 1 / 0)
    text = "%autotune wait re"
    with provisionalcompleter():
        assert "reviews" not in [c.text for c in notebook.shell.Completer.completions(text, len(text))]
