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
