"""What a custom objective may return, and what its mistakes cost: one trial, never the worker."""

from __future__ import annotations

import errno
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autoglm_nb.protocol import Action
from tests.tuning.conftest import Study


def _exit() -> None:
    sys.exit(3)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _key() -> None:
    raise KeyError("boom")


def _missing() -> None:
    raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/srv/mei/rows.csv")


@pytest.fixture
def one_trial(make_study: Callable[..., Study]) -> Callable[..., dict[str, Any]]:
    """The only trial of a study whose objective does this."""

    def run(does: Callable[[], Any]) -> dict[str, Any]:
        def objective(config: dict[str, float], report: Callable[..., None]) -> Any:
            return does()

        shot = make_study(space="x = uniform(0, 1)", trials=1, objective=objective).run()
        assert shot["study"]["state"] == "finished", shot["study"]["reason"]
        (trial,) = shot["trials"]
        return dict(trial)

    return run


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        ("abc", "must return numbers, but value is 'abc' (str)"),
        ("0.5", "must return numbers, but value is '0.5' (str)"),
        (None, "must return numbers, but value is None (NoneType)"),
        ({"value": "x"}, "must return numbers, but value is 'x' (str)"),
        ({"accuracy": 1.0}, "value is missing"),
        ([1, 2], "must return 1 value(s), but it returned 2"),
        (math.nan, "must return finite values, but value is nan"),
        (-math.inf, "must return finite values, but value is -inf"),
    ],
)
def test_what_is_no_result_fails_the_trial_with_a_sentence(
    one_trial: Callable[..., dict[str, Any]], returned: Any, sentence: str
) -> None:
    """The rule and what was given; the fault is not called an exception of the function's own."""
    trial = one_trial(lambda: returned)
    assert trial["state"] == "failed" and trial["value"] is None
    assert sentence in trial["because"]


@pytest.mark.parametrize(
    ("does", "name"),
    [
        (_exit, "SystemExit"),
        (_interrupt, "KeyboardInterrupt"),
        (_key, "KeyError: 'boom'"),
        (_missing, "FileNotFoundError: [Errno 2] No such file or directory: 'rows.csv'"),
    ],
)
def test_whatever_the_function_raises_ends_its_trial_alone(
    one_trial: Callable[..., dict[str, Any]], does: Callable[[], None], name: str
) -> None:
    """`sys.exit()` must not take the worker along; the sentence, which a notebook keeps, names no place."""
    trial = one_trial(does)
    assert (trial["state"], trial["attempts"]) == ("failed", 1)
    assert name in trial["because"]


@pytest.mark.parametrize("returned", [1, True, np.float32(0.5), np.array(0.5), {"value": 0.5, "more": 2}])
def test_numbers_of_any_kind_will_do(one_trial: Callable[..., dict[str, Any]], returned: Any) -> None:
    trial = one_trial(lambda: returned)
    assert trial["state"] == "completed"
    assert trial["value"] == float(returned["value"] if isinstance(returned, dict) else returned)


def test_a_study_whose_function_reports_nothing_can_be_stopped_between_trials(
    make_study: Callable[..., Study],
) -> None:
    """The request is heard before the next trial, and the trial that was proposed waits for another worker."""
    calls = 0

    def objective(config: dict[str, float], report: Callable[..., None]) -> float:
        nonlocal calls
        calls += 1
        if calls == 2:
            study.store.request(study.name, Action.STOP)
        time.sleep(0.1)
        return config["x"]

    study = make_study(space="x = uniform(0, 1)", trials=40, objective=objective)
    shot = study.run()
    assert shot["study"]["state"] == "stopped"
    assert 2 <= calls < 20
    assert [t["state"] for t in shot["trials"] if t["state"] == "completed"] == ["completed"] * calls
