"""`%%autotune`: from the line and the body to `session.plan`, and how faults are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoglm_nb.errors import DataError, UsageError
from tests.notebook.conftest import Notebook
from tests.notebook.fakes import FakeHandle


def test_every_option_reaches_the_plan(notebook: Notebook) -> None:
    """Each option under its Python name; numbers as numbers, lists as lists, flags as flags."""
    assert notebook.run(
        "%%autotune --model minilm --data 'my reviews.csv' --target label --text title,body --task classification "
        "--metric accuracy --direction maximize --max-length 128 --validation v.csv --test t.csv --max-rows 1000 "
        "--trials 24 --budget 1h30m --seed 7 --seeds 5 --objectives accuracy,latency_ms_p50 "
        "--constraint 'memory_gb <= 10' --constraint 'latency_ms_p50 <= 50' --pruner asha --strategy tpe "
        "--executor thread --device cpu --precision bf16 --no-baseline --fork --name reviews "
        "--gradient-checkpointing --base-dropout --trust-remote-code --objective score --notebook x.ipynb\n"
        "learning_rate = loguniform(1e-5, 1e-2)\n"
    ).ok
    planned = notebook.session.planned[0]
    body = planned.pop("space")
    assert body.strip() == "learning_rate = loguniform(1e-5, 1e-2)"
    assert planned.pop("names") is notebook.shell.user_ns
    assert planned.pop("cell").startswith("%%autotune --model minilm")
    assert planned.pop("first_line") == 2, "lines are counted as the notebook numbers them"
    assert planned == {
        "model": "minilm", "data": "my reviews.csv", "target": "label", "text": ["title", "body"],
        "task": "classification", "metric": "accuracy", "direction": "maximize", "max_length": 128,
        "validation": "v.csv", "test": "t.csv", "max_rows": 1000, "trials": 24, "budget": "1h30m", "seed": 7,
        "seeds": 5, "objectives": ["accuracy", "latency_ms_p50"],
        "constraints": ["memory_gb <= 10", "latency_ms_p50 <= 50"], "pruner": "asha", "strategy": "tpe",
        "executor": "thread", "device": "cpu", "precision": "bf16", "baseline": False, "fork": True,
        "name": "reviews", "gradient_checkpointing": True, "base_dropout": True, "trust_remote_code": True,
        "objective": "score", "notebook": "x.ipynb",
    }  # fmt: skip


def test_plan_takes_exactly_these_options() -> None:
    """The real `session.plan` has a parameter for everything that the magic may hand to it."""
    import inspect

    from autoglm_nb.notebook.options import OPTIONS
    from autoglm_nb.session.planning import plan

    notebook_only = {"--dry-run", "--view", "--constraint", "--no-baseline"}
    wanted = {name.lstrip("-").replace("-", "_") for name in OPTIONS if name not in notebook_only}
    assert wanted | {"constraints", "baseline", "space", "names", "cell"} <= set(inspect.signature(plan).parameters)


def test_a_lone_line_means_the_default_space(notebook: Notebook) -> None:
    """No body, as a cell magic and as a line magic; options left out are left to `session`."""
    assert notebook.run("%%autotune --model minilm --data d.csv").ok
    assert notebook.run("%autotune --model minilm --data d.csv").ok
    for planned in notebook.session.planned:
        assert planned["space"] is None
        assert set(planned) - {"notebook"} == {"model", "data", "space", "names", "cell", "first_line"}


def test_record_is_shown_and_handle_bound(notebook: Notebook, fake: FakeHandle) -> None:
    """`-o` binds the handle; the record appears once and the cell has no result of its own."""
    outcome = notebook.run("%%autotune --name reviews -o study\n")
    assert outcome.ok
    assert outcome.result.result is None
    assert notebook.shell.user_ns["study"] is fake
    assert len(outcome.shown) == 1
    assert outcome.shown[0].startswith("reviews ·")


def test_notes_of_the_plan_are_shown_first(notebook: Notebook) -> None:
    """What is worth knowing stands above the record."""
    notebook.session.notes = ("Task: classification, because the target has 2 values.",)
    shown = notebook.run("%%autotune --name reviews\n").shown
    assert shown[0] == "Task: classification, because the target has 2 values."


def test_dry_run_starts_nothing(notebook: Notebook) -> None:
    """The forecast as a table, and no launch."""
    outcome = notebook.run("%%autotune --name reviews --dry-run\n")
    assert outcome.ok
    assert notebook.session.launched == []
    assert "nothing was started" in outcome.shown[0]
    assert "about 6 min" in outcome.shown[0]


def test_all_faults_of_line_and_plan_are_told_at_once(notebook: Notebook) -> None:
    """Unknown options with the nearest name, missing values, and what `session.plan` found, in one list."""
    notebook.session.fault = UsageError("x", ["`--trials` must be a whole number.", "No such column."])
    outcome = notebook.run("%%autotune --modle minilm --trials --view foo stray\nrank = 4\n")
    assert not outcome.ok
    lines = outcome.error.splitlines()
    assert lines[0] == "6 things to change before this can run:"
    assert "There is no option `--modle`. Did you mean '--model'" in lines[1]
    assert "`--trials` needs a value" in lines[2]
    assert lines[3].startswith("- Options begin with `--`") or "`--view`" in lines[3]
    assert lines[-1] == "- No such column."
    assert notebook.session.launched == []


def test_an_error_is_a_sentence_and_the_cell_fails(notebook: Notebook) -> None:
    """No traceback, no class name; the exception itself is the one raised, for `%debug`."""
    notebook.session.fault = DataError("The data must have a column 'label', but it has text. Name it with --target.")
    outcome = notebook.run("%%autotune --name reviews\n")
    assert outcome.error == str(notebook.session.fault)
    assert outcome.result.error_in_exec is notebook.session.fault
    assert outcome.result.error_in_exec.__traceback__ is not None


def test_debug_gives_the_traceback(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    """`AUTOGLM_DEBUG=1` leaves the frames in."""
    monkeypatch.setenv("AUTOGLM_DEBUG", "1")
    notebook.session.fault = DataError("No data.")
    outcome = notebook.run("%%autotune --name reviews\n")
    assert not outcome.ok
    assert "Traceback" in outcome.error
    assert "magics.py" in outcome.error


def test_a_defect_keeps_its_traceback(notebook: Notebook) -> None:
    """An error that nobody meant is not hidden behind a sentence."""
    notebook.session.fault = ZeroDivisionError("oops")
    assert "Traceback" in notebook.run("%%autotune --name reviews\n").error


def test_a_zero_is_a_value(notebook: Notebook) -> None:
    """`--trials 0` must not mean 20 trials, nor `--seeds 0` three seeds."""
    notebook.run("%%autotune --name reviews --trials 0 --seeds 0 --seed 0\n")
    planned = notebook.session.planned[0]
    assert (planned["trials"], planned["seeds"], planned["seed"]) == (0, 0, 0)


def test_an_empty_value_is_no_value(notebook: Notebook) -> None:
    """An empty name or data set is a slip, not a wish for the default one."""
    lines = notebook.run("%%autotune --name '' --data= --target label\n").error.splitlines()
    assert "`--name` needs a value" in lines[1]
    assert "`--data` needs a value" in lines[2]
    assert len(lines) == 3


def test_a_line_that_goes_on_is_refused(notebook: Notebook) -> None:
    """A cell magic's options end with its first line; a backslash does not carry them on."""
    assert "on one line" in notebook.run("%%autotune --name reviews \\\n--trials 3\n").error


def test_a_keyword_is_no_variable(notebook: Notebook) -> None:
    """`-o class` could never be read again."""
    assert "`-o` needs a variable's name" in notebook.run("%%autotune --name reviews -o class\n").error
    assert "`-o` needs a variable's name" in notebook.run("%autotune best reviews -o class").error


def test_a_hidden_option_is_not_suggested(notebook: Notebook) -> None:
    """Help does not list it, so a hint should not either."""
    assert "--notebook'" not in notebook.run("%%autotune --notebok x\n").error


def test_unclosed_quote_is_told(notebook: Notebook) -> None:
    """The rule, what was given, the remedy."""
    assert "A quotation mark is not closed" in notebook.run("%%autotune --data 'x\n").error


def test_help_lists_every_option(notebook: Notebook) -> None:
    """`%%autotune?` shows the docstring that `magic_arguments` makes; the hidden option is not in it."""
    from autoglm_nb.notebook.options import OPTIONS

    text = notebook.shell.magics_manager.magics["cell"]["autotune"].__doc__ or ""
    assert all(name in text for name in OPTIONS if name != "--notebook")
    assert "--notebook" not in text
    assert "%autotune attach NAME" in text


def test_the_line_is_never_evaluated(notebook: Notebook, tmp_path: Path) -> None:
    """A value that is Python code is a string."""
    target = tmp_path / "made"
    code = f"__import__('pathlib').Path('{target}').touch()"
    notebook.run(f'%%autotune --name reviews --data "{code}"\n')
    assert notebook.session.planned[0]["data"] == code
    assert not target.exists()


def test_loading_twice_and_unloading_leaves_nothing(notebook: Notebook) -> None:
    """Reloading registers once; unloading removes magics, matcher and transformer."""
    shell = notebook.shell
    shell.run_line_magic("reload_ext", "autoglm_nb")
    assert len(shell.Completer.custom_matchers) == 1
    shell.run_line_magic("unload_ext", "autoglm_nb")
    assert "autotune" not in shell.magics_manager.magics["cell"]
    assert "explain" not in shell.magics_manager.magics["line"]
    assert shell.Completer.custom_matchers == []
    transforms = shell.input_transformer_manager.cleanup_transforms
    assert not any("autoglm" in getattr(t, "__module__", "") for t in transforms)
    shell.run_line_magic("load_ext", "autoglm_nb")
