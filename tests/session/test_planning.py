"""Requests are checked as a whole, in the kernel, without loading a model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from autoglm_nb.errors import UsageError
from autoglm_nb.session import plan
from autoglm_nb.session.checks import parse_budget
from tests import tiny

SPACE = "learning_rate = loguniform(1e-4, 1e-2)\nrank = choice(2, 4)"


def request(model: Path, data: Any, **options: Any) -> Any:
    return plan(
        str(model), data if not isinstance(data, Path) else str(data), **{"target": "label", "space": SPACE, **options}
    )


def faults(*arguments: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(UsageError) as caught:
        request(*arguments, **options)
    return caught.value.faults


def test_all_faults_of_a_request_come_at_once(reviews_csv: Path) -> None:
    """Model, data, strategy, pruner, budget, trials and two faults of the cell in one error."""
    with pytest.raises(UsageError) as caught:
        plan(
            "minlm",
            "reviws.csv",
            space="learning_rate = loguniform(0, 1)\nrank = choice()",
            strategy="bayes",
            pruner="mean",
            budget="soon",
            trials=0,
        )
    text = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 8
    for part in ("'minilm'", "reviws.csv", "'bayesian'", "median", "20m", "at least 1", "line 1", "line 2"):
        assert part in text


def test_a_variable_that_cannot_be_read_is_a_fault_of_the_request(
    tiny_encoder_path: Path, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found with the other faults, before a worker meets it."""
    monkeypatch.setenv("AUTOGLM_THREADS", "many")
    variable, fault = faults(tiny_encoder_path, reviews_csv, target="label", trials=0)
    assert variable.startswith("`AUTOGLM_THREADS` must be") and "at least 1" in fault


def test_unknown_target_column_names_the_columns(tiny_encoder_path: Path, reviews_csv: Path) -> None:
    (fault,) = faults(tiny_encoder_path, reviews_csv, target="lable")
    assert "'lable'" in fault and "'label'" in fault


def test_a_rank_larger_than_the_layer_is_refused_before_anything_starts(
    tiny_encoder_path: Path, reviews_csv: Path
) -> None:
    """The tiny encoder is 32 wide."""
    (fault,) = faults(tiny_encoder_path, reviews_csv, space="rank = choice(4, 512)")
    assert "512" in fault and "32" in fault


def test_a_data_frame_of_the_notebook_is_found_by_name_and_stored_once(tiny_encoder_path: Path, tmp_path: Path) -> None:
    """The same rows give the same identity and one Parquet file; other rows another identity."""
    frame = tiny.toy_reviews(60)
    one = request(tiny_encoder_path, "df", names={"df": frame}, home=tmp_path / "h")
    two = request(tiny_encoder_path, "df", names={"df": frame.copy()}, home=tmp_path / "h")
    other = request(tiny_encoder_path, "df", names={"df": frame.iloc[:50]}, home=tmp_path / "h")
    assert one.spec.identity == two.spec.identity != other.spec.identity
    assert len(list((tmp_path / "h" / "data").glob("*.parquet"))) == 2
    assert pd.read_parquet(one.spec.data.path)["text"].tolist() == frame["text"].tolist()


def test_the_splits_of_a_dataset_dict_come_along(tiny_encoder_path: Path, tmp_path: Path) -> None:
    """Its validation and test sets are used as such, unless the request names others."""
    import datasets

    parts = {name: tiny.toy_reviews(60, seed=i) for i, name in enumerate(("train", "validation", "test"))}
    given = datasets.DatasetDict({k: datasets.Dataset.from_pandas(v) for k, v in parts.items()})
    spec = request(tiny_encoder_path, given, home=tmp_path / "h").spec
    for path, name in ((spec.data.path, "train"), (spec.data.validation, "validation"), (spec.data.test, "test")):
        assert pd.read_parquet(path)["text"].tolist() == parts[name]["text"].tolist()
    own = request(tiny_encoder_path, given, validation=parts["test"], home=tmp_path / "h").spec
    assert pd.read_parquet(own.data.validation)["text"].tolist() == parts["test"]["text"].tolist()


def test_a_long_fixed_list_is_tried_whole(tiny_encoder_path: Path, reviews_csv: Path) -> None:
    """Unless a number of trials is asked for, none of the given configurations is left out."""
    many = [{"learning_rate": 1e-3, "rank": 2 + 2 * (i % 2)} for i in range(25)]
    assert request(tiny_encoder_path, reviews_csv, strategy="fixed", enqueue=many).spec.trials == 25
    assert request(tiny_encoder_path, reviews_csv, strategy="fixed", enqueue=many, trials=3).spec.trials == 3


def test_a_fixed_configuration_keeps_the_default_of_what_it_leaves_out(
    tiny_encoder_path: Path, reviews_csv: Path
) -> None:
    """Nothing of a given list is left to chance where the space holds the default value."""
    space = SPACE + '\nbatch_size = choice(8, 32)\nmethod = choice("lora", "head")\nif method == "lora":\n'
    space += "    dropout = choice(0.0, 0.1)"
    plan = request(
        tiny_encoder_path, reviews_csv, space=space, strategy="fixed", enqueue=[{"rank": 4}, {"method": "head"}]
    )
    lora, head = plan.spec.enqueue
    assert lora == {"learning_rate": 3e-4, "rank": 4, "batch_size": 32, "method": "lora", "dropout": 0.1}
    # the default rank, 8, is not in this space: it alone is drawn
    assert head == {"learning_rate": 3e-4, "batch_size": 32, "method": "head"}


def test_identity_ignores_what_may_change_and_holds_what_may_not(tiny_encoder_path: Path, reviews_csv: Path) -> None:
    """Trials, budget, strategy and device may change; seed, space, metric and data may not."""
    base = request(tiny_encoder_path, reviews_csv).spec.identity
    for free in ({"trials": 50}, {"budget": "5m"}, {"strategy": "tpe"}, {"device": "cpu"}, {"executor": "thread"}):
        assert request(tiny_encoder_path, reviews_csv, **free).spec.identity == base
    for fixed in ({"seed": 1}, {"space": SPACE + "\nepochs = 2"}, {"metric": "macro_f1"}, {"max_length": 32}):
        assert request(tiny_encoder_path, reviews_csv, **fixed).spec.identity != base


def test_an_empty_cell_takes_the_default_space(tiny_encoder_path: Path, reviews_csv: Path) -> None:
    names = {d["name"] for d in request(tiny_encoder_path, reviews_csv, space="").spec.space["dimensions"]}
    assert {"learning_rate", "rank", "batch_size"} <= names


def test_a_metric_the_task_does_not_have_is_refused(tiny_encoder_path: Path, reviews_csv: Path) -> None:
    (fault,) = faults(tiny_encoder_path, reviews_csv, metric="perplexty")
    assert "accuracy" in fault


def test_a_study_name_is_a_file_name(tiny_encoder_path: Path, reviews_csv: Path) -> None:
    for bad in ("../x", "a/b", "", "x" * 65, "<b>"):
        if bad:
            assert "name" in faults(tiny_encoder_path, reviews_csv, name=bad)[0]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1h30m", 5400), ("45", 45), (2.5, 2.5), (None, None)]
)
def test_budgets(text: Any, seconds: float | None) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["soon", "-3m", "0", "1x", "m", -1])
def test_a_budget_that_is_no_length_of_time(text: Any) -> None:
    with pytest.raises(UsageError, match="--budget"):
        parse_budget(text)


def test_planning_loads_no_training_library(tiny_encoder_path: Path, reviews_csv: Path) -> None:
    """In a fresh interpreter neither torch nor transformers nor optuna is imported by a plan."""
    code = (
        "import sys; from autoglm_nb.session import plan; "
        f"plan({str(tiny_encoder_path)!r}, {str(reviews_csv)!r}, target='label', space={SPACE!r}); "
        "print([m for m in ('torch', 'transformers', 'optuna', 'matplotlib', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_device_is_checked_by_its_form(tiny_encoder_path: Path, reviews_csv: Path) -> None:
    (fault,) = faults(tiny_encoder_path, reviews_csv, device="cpuu")
    assert "--device" in fault and "cuda:N" in fault
    for good in ("auto", "cpu", "cuda", "cuda:1"):
        assert request(tiny_encoder_path, reviews_csv, device=good).spec.device == good


def test_a_fault_is_told_once(tiny_encoder_path: Path, reviews_csv: Path) -> None:
    """The data room knows the tasks too."""
    (fault,) = faults(tiny_encoder_path, reviews_csv, task="foo")
    assert "'foo'" in fault


def test_a_name_no_folder_can_have_is_refused_before_anything_starts(
    tiny_encoder_path: Path, reviews_csv: Path
) -> None:
    """A dry run says so too."""
    for bad in ("con", "_x"):
        assert "folder's name" in faults(tiny_encoder_path, reviews_csv, name=bad)[0]


@pytest.mark.parametrize("name", ["", "  ", "x" * 5000, "a\0b", "~nobody-of-this-name/x.csv"])
def test_what_no_file_is_called_gets_a_sentence(tiny_encoder_path: Path, name: str) -> None:
    """Above all the empty name must not stand for the present folder."""
    (fault,) = faults(tiny_encoder_path, name)
    assert fault.startswith(("`--data` is required", "The data must be a file"))


def test_a_model_name_too_long_for_a_folder_gets_a_sentence(reviews_csv: Path) -> None:
    (fault,) = faults(Path("x" * 5000), reviews_csv)
    assert "`model` must be" in fault and len(fault) < 400


def test_a_home_folder_may_be_abbreviated(
    tiny_encoder_path: Path, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(reviews_csv.parent))
    assert request(tiny_encoder_path, f"~/{reviews_csv.name}").spec.data.path == str(reviews_csv.resolve())


def test_a_name_that_is_a_folder_and_a_table_is_not_guessed(
    tiny_encoder_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--data data` beside a folder data/: which one is meant is for the person to say."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (fault,) = faults(tiny_encoder_path, "data", names={"data": tiny.toy_reviews(60)})
    assert "./data" in fault and "rename the variable" in fault


def test_a_table_that_cannot_be_copied_names_the_folder(tiny_encoder_path: Path, tmp_path: Path) -> None:
    """AUTOGLM_HOME below a file, as good as a folder without write permission."""
    (tmp_path / "file").write_text("")
    (fault,) = faults(tiny_encoder_path, "df", names={"df": tiny.toy_reviews(60)}, home=tmp_path / "file" / "home")
    assert "AUTOGLM_HOME" in fault and "cannot be written" in fault


def test_only_functions_of_the_notebook_are_suggested_as_objectives() -> None:
    def score(config: Any, report: Any) -> float:
        return 0.0

    score.__module__ = "__main__"
    with pytest.raises(UsageError) as caught:
        plan(objective="scor", names={"score": score, "open": open, "sort": sorted}, space="x = uniform(0, 1)")
    assert "'score'" in str(caught.value) and "'sort'" not in str(caught.value)


def test_a_lambda_is_an_objective_with_a_name() -> None:
    assert plan(objective=lambda config, report: 0.0, space="x = uniform(0, 1)").spec.name == "lambda"


def test_trackers_are_checked_with_the_rest_and_no_part_of_the_identity(
    tiny_encoder_path: Path, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown one and a missing library are faults; a study may be continued with others."""
    from autoglm_nb.hooks import HOOKS

    common = {"model": str(tiny_encoder_path), "data": str(reviews_csv), "target": "label"}
    one = plan(**common, log_to=["mlflow", "tensorboard"])
    assert one.spec.hooks == ("mlflow", "tensorboard")
    assert one.spec.identity == plan(**common).spec.identity and plan(**common).spec.hooks == ()
    monkeypatch.setitem(HOOKS, "wandb", ("WandbHook", "no_such_library_here", "wandb"))
    with pytest.raises(UsageError) as error:
        plan(**common, log_to=["mlflwo", "wandb"], trials=0)
    assert len(error.value.faults) == 3
    assert any("Did you mean 'mlflow'?" in f for f in error.value.faults)
