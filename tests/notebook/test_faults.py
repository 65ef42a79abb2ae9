"""Bad input in a real cell: the magics with the real session behind them, and what a person reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoglm_nb import session
from tests import tiny
from tests.notebook.conftest import Notebook

GOOD = "learning_rate = loguniform(1e-4, 1e-2)"


@pytest.fixture
def cells(notebook: Notebook, monkeypatch: pytest.MonkeyPatch, tiny_encoder_path: Path, reviews_csv: Path) -> Notebook:
    """A notebook beside a model folder `enc` and the data `reviews.csv`, with a few tables in its variables."""
    import sys

    import autoglm_nb

    monkeypatch.setitem(sys.modules, "autoglm_nb.session", session)
    monkeypatch.setattr(autoglm_nb, "session", session)
    monkeypatch.chdir(reviews_csv.parent)
    Path("enc").unlink(missing_ok=True)
    Path("enc").symlink_to(tiny_encoder_path)
    frame = tiny.toy_reviews(60)
    unlabelled = frame.copy()
    unlabelled.loc[3, "label"] = None
    notebook.shell.user_ns |= {
        "df": frame,
        "empty": frame.iloc[:0],
        "single": frame.assign(label="good"),
        "unlabelled": unlabelled,
        "numbers": frame.assign(text=range(60)),
    }
    return notebook


@pytest.mark.parametrize(
    ("options", "body", "said"),
    [
        ("--modle enc", GOOD, "There is no option `--modle`. Did you mean '--model'"),
        ("--model nope", GOOD, "got 'nope'"),
        ("--strategy bayes", GOOD, "got 'bayes'. Did you mean 'bayesian'"),
        ("--target lable", GOOD, "no column 'lable'. Did you mean 'label'?"),
        ("--trials 0", GOOD, "at least 1, but got 0"),
        ("--device cpuu", GOOD, "got 'cpuu'"),
        ("", "rank = choice(2", "line 2: This is not valid Python"),
        ("", "for rank in (2, 4):\n    pass", "line 2: A `for` loop is outside the cell language"),
        ("", "rank = choice(2)\nrank = choice(4)", "line 3: `rank` is defined twice"),
        ("", "rank = choice()", "choice() is empty"),
        ("", "learning_rate = uniform(2, 1)", "got low=2, high=1"),
        ("", "learning_rate = loguniform(0, 1)", "A log range needs positive ends"),
        ("", "rank = choice(4, 512)", "must not exceed the smallest adapted layer (32 for enc)"),
        ("--data empty", GOOD, "at least one row"),
        ("--data single", GOOD, "at least two classes"),
        ("--data unlabelled", GOOD, "1 of 60 labels are missing (first: row 4)"),
        ("--data numbers", GOOD, "must hold strings, but 60 of 60 rows do not"),
        ("--data gone", GOOD, "'gone' is neither a file here"),
    ],
)
def test_bad_input_is_told_in_the_cell_and_starts_nothing(
    cells: Notebook, home: Path, options: str, body: str, said: str
) -> None:
    """One or two sentences, no traceback; nothing is stored, and the study of that name is not begun."""
    defaults = {"--model": "enc", "--data": "reviews.csv", "--target": "label"}
    line = " ".join(f"{key} {value}" for key, value in defaults.items() if f"{key} " not in options)
    outcome = cells.run(f"%%autotune {line} {options}\n{body}\n")
    assert not outcome.ok
    assert said in outcome.error
    assert "Traceback" not in outcome.error and len(outcome.error.splitlines()) == 1
    assert not (home / "studies.db").exists()


def test_a_table_changed_since_is_refused_under_the_same_name(cells: Notebook, home: Path) -> None:
    """The stored study stays as it is; the sentence names the variable and offers a fork."""
    from autoglm_nb.store import Store

    options = {"model": "enc", "data": "df", "target": "label", "space": GOOD, "name": "mine"}
    first = session.plan(names=cells.shell.user_ns, **options)  # type: ignore[arg-type]
    Store(home).create_study(first.spec)
    cells.run("df = df.iloc[:50]")
    outcome = cells.run(f"%%autotune --model enc --data df --target label --name mine\n{GOOD}\n")
    assert "other content of 'df'" in outcome.error and "--fork to start 'mine-2'" in outcome.error
    assert "Traceback" not in outcome.error
    assert Store(home).spec("mine") == first.spec


@pytest.mark.parametrize(
    "command",
    ["best", "wait", "attach", "pause", "resume", "stop", "logs", "clean", "status", "delete --yes", "rename other"],
)
def test_a_study_that_is_not_there_is_told_by_every_command(cells: Notebook, home: Path, command: str) -> None:
    """With a store and without one; and nothing is made."""
    from autoglm_nb.store import Store

    first, *rest = command.split()
    line = " ".join([f"%autotune {first}", "nope", *rest])
    outcome = cells.run(line)
    assert "There is no study store in" in outcome.error and "Traceback" not in outcome.error
    assert not home.exists()
    Store(home)
    outcome = cells.run(line)
    assert "There is no study named 'nope'" in outcome.error and "Traceback" not in outcome.error


def test_the_best_before_any_trial_has_completed(cells: Notebook, home: Path) -> None:
    """No figure is made up, and no error either."""
    from autoglm_nb.store import Store

    plan = session.plan("enc", "reviews.csv", target="label", space=GOOD, name="new")
    Store(home).create_study(plan.spec)
    outcome = cells.run("%autotune best new")
    assert outcome.ok and outcome.shown[0].startswith("No result yet")


def test_a_home_that_cannot_be_written_is_told_in_the_cell(
    cells: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a file as for a table, which is copied there."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AUTOGLM_HOME", str(tmp_path / "file" / "home"))
    for data in ("reviews.csv", "df"):
        outcome = cells.run(f"%%autotune --model enc --data {data} --target label\n{GOOD}\n")
        assert "AUTOGLM_HOME" in outcome.error and "Traceback" not in outcome.error
