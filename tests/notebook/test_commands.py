"""The subcommands of `%autotune`."""

from __future__ import annotations

import _thread
import threading
import time

import pytest

from autoglm_nb.errors import AutoGLMError
from tests.notebook.conftest import Notebook
from tests.notebook.fakes import FakeHandle


def test_list_and_status(notebook: Notebook, fake: FakeHandle) -> None:
    """All studies as a table; status shows what is active, or says that nothing is."""
    assert "● running" in notebook.run("%autotune list").shown[0]
    assert "reviews" in notebook.run("%autotune status").shown[0]
    fake.finish()
    assert "Nothing is running" in notebook.run("%autotune status").shown[0]
    assert notebook.run("%autotune status reviews").shown[0].startswith("reviews ·")


@pytest.mark.parametrize(("command", "asked"), [("pause", "pause"), ("stop", "stop"), ("resume", "resume")])
def test_controls_ask_the_handle_and_say_so(notebook: Notebook, fake: FakeHandle, command: str, asked: str) -> None:
    """One request, one sentence with the study's name."""
    outcome = notebook.run(f"%autotune {command} reviews")
    assert outcome.ok
    assert fake.asked == [asked]
    assert "'reviews'" in outcome.shown[0]


def test_stop_one_trial(notebook: Notebook, fake: FakeHandle) -> None:
    """`--trial` ends that trial only."""
    notebook.run("%autotune stop reviews --trial 11")
    assert fake.asked == [("stop_trial", 11)]


def test_an_interrupted_study_is_not_paused(notebook: Notebook, fake: FakeHandle) -> None:
    """No worker would ever read the request."""
    fake.tell(state="interrupted")
    assert "nothing to pause" in notebook.run("%autotune pause reviews").shown[0]
    assert fake.asked == []


def test_waiting_for_a_paused_study_says_how_it_goes_on(notebook: Notebook, fake: FakeHandle) -> None:
    """It does not go on by itself."""
    fake.tell(state="paused")
    fake.error = TimeoutError("Study 'reviews' is still paused after 1 seconds.")
    assert notebook.run("%autotune wait reviews --timeout 1s").error.endswith("`%autotune resume reviews` goes on.")


def test_a_finished_study_is_not_paused(notebook: Notebook, fake: FakeHandle) -> None:
    """Asking in vain is said, not done."""
    fake.finish()
    for command in ("pause", "stop", "resume"):
        assert "finished" in notebook.run(f"%autotune {command} reviews").shown[0]
    assert fake.asked == []


def test_name_may_be_left_out_when_it_is_clear(notebook: Notebook, fake: FakeHandle) -> None:
    """The only study, else the one used last, else a sentence with the names."""
    notebook.run("%autotune pause")
    assert fake.asked == ["pause"]
    notebook.session.handles["other"] = FakeHandle("other")
    notebook.run("%autotune stop other")
    assert notebook.run("%autotune best").ok
    assert notebook.session.handles["other"].asked == ["stop"]
    notebook.shell.magics_manager.registry["AutoglmMagics"].commands.last = None
    assert "A study's name is needed. Stored: reviews, other." in notebook.run("%autotune best").error


def test_wait_says_how_it_ended(notebook: Notebook, fake: FakeHandle) -> None:
    """Best value and gain in one line."""
    threading.Timer(0.2, fake.finish).start()
    shown = notebook.run("%autotune wait reviews").shown
    assert shown == ["reviews ✓ finished. Best 0.850 accuracy (+0.065 over the default settings)."]


def test_interrupting_wait_stops_only_the_waiting(notebook: Notebook, fake: FakeHandle) -> None:
    """Ctrl-C: the sentence, no traceback, the study untouched, and queued cells do not run on."""

    def interrupt() -> None:
        while not fake.asked:
            time.sleep(0.01)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    outcome = notebook.run("%autotune wait reviews")
    assert not outcome.ok
    assert outcome.error == (
        "Stopped waiting. Study 'reviews' goes on in the background; `%autotune stop reviews` ends it."
    )
    assert isinstance(outcome.result.error_in_exec, KeyboardInterrupt)
    assert fake.asked == [("wait", None)]


def test_waiting_for_a_study_that_fails_tells_its_reason(notebook: Notebook, fake: FakeHandle) -> None:
    """The sentence of the study is the error of the cell."""
    fake.error = AutoGLMError("The model could not be loaded. Check its name.")
    assert notebook.run("%autotune wait reviews").error == "The model could not be loaded. Check its name."


def test_attach_shows_the_record_and_binds(notebook: Notebook, fake: FakeHandle) -> None:
    """As `%%autotune` does, without starting anything."""
    outcome = notebook.run("%autotune attach reviews -o again")
    assert outcome.shown[0].startswith("reviews ·")
    assert notebook.shell.user_ns["again"] is fake
    assert notebook.session.launched == []


def test_attach_can_show_one_panel(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--panel` goes to the live view; without it the whole card is shown, and other words are refused."""
    from autoglm_nb.notebook import cards

    panels: list[str] = []
    monkeypatch.setattr(cards, "open_card", lambda handle, **options: panels.append(options["panel"]))
    notebook.run("%autotune attach reviews --panel resources")
    notebook.run("%autotune attach reviews")
    assert panels == ["resources", "card"]
    assert "`%autotune attach` was not understood" in notebook.run("%autotune attach reviews --panel charts").error


def test_best_shows_configuration_and_test_result(notebook: Notebook, fake: FakeHandle) -> None:
    """Value, gain, trial number, each hyper-parameter, the paired comparison."""
    fake.finish()
    shown = notebook.run("%autotune best reviews -o best").shown[0]
    assert shown.startswith("Best 0.850 accuracy (+0.065 over the default settings), trial 14")
    assert "learning_rate = 8.1e-4" in shown
    assert "paired over seeds" in shown
    assert notebook.shell.user_ns["best"] is fake


def test_logs_cannot_steer_the_terminal(notebook: Notebook) -> None:
    """Escape sequences of the worker's log are taken out."""
    assert notebook.run("%autotune logs reviews --lines 7").shown == ["the last 7 lines\n[31mred[0m"]


def test_delete_asks_twice_and_refuses_a_running_study(notebook: Notebook, fake: FakeHandle) -> None:
    """Running: stop first. Otherwise `--yes` is needed, and the sentence says what would go."""
    assert "`%autotune stop reviews` ends it first" in notebook.run("%autotune delete reviews --yes").error
    fake.finish()
    assert "removes 24 trials" in notebook.run("%autotune delete reviews").error


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("wat", "There is no command `%autotune wat`. Did you mean 'wait'"),
        ("wait nosuch", "There is no study named 'nosuch'."),
        ("stop reviews --trial x", "`%autotune stop` was not understood"),
        ("rename reviews", "`%autotune rename NAME NEW` is its form."),
        ("best reviews -o 2x", "`-o` needs a variable's name"),
        ("help nosuch", "There is no command"),
    ],
)
def test_mistakes_are_told_in_a_sentence(notebook: Notebook, line: str, sentence: str) -> None:
    """One line, and the cell fails."""
    outcome = notebook.run(f"%autotune {line}")
    assert not outcome.ok
    assert sentence in outcome.error
    assert "Traceback" not in outcome.error


def test_help_without_anything(notebook: Notebook) -> None:
    """`%autotune` alone explains itself."""
    assert "%autotune attach NAME" in notebook.run("%autotune").shown[0]
    assert notebook.run("%autotune help stop").shown == ["%autotune stop [NAME] [--trial N]"]
