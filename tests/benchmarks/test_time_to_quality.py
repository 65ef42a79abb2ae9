"""When a search has reached its target, and when the ratio of two times may not be given."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from autoglm_nb.space import parse_cell
from benchmarks import time_to_quality
from benchmarks.time_to_quality import SPACE, cell, reached, weigh
from benchmarks.tuner_search import ASIDE

REQUEST = {"seed": 0, "trials": 3, "validation_rows": 1000, "test_rows": 2000}


def _row(at: float, value: float | None, trial: int = 0) -> dict[str, Any]:
    return {"at": at, "trial": trial, "state": "pruned" if value is None else "completed", "value": value}


@pytest.fixture
def peer() -> dict[str, Any]:
    """Started at 1000, had its best, 0.80, after 300 s, used up its trials after 400 s."""
    return {
        "started": 1000.0,
        "timeline": [_row(1100.0, 0.7), _row(1300.0, 0.8), _row(1390.0, None)],
        "ended": 1400.0,
        "best_value": 0.8,
        "best_config": {"rank": 8},
        "test_accuracy": 0.79,
    }


@pytest.fixture
def ours() -> dict[str, Any]:
    """Started at 2000, has 0.81 after 60 s as its fourth trial."""
    values = (0.79, None, 0.7, 0.81)
    return {
        "started": 2000.0,
        "timeline": [_row(2000.0 + at, value) for at, value in zip((20, 30, 50, 60), values, strict=True)],
        "ended": 2061.0,
        "best_value": 0.81,
        "best_config": {"rank": 4},
        "rows_scored": 1000,
        "side_by_side": 2,
        "rescored": 0.81,
        "test_accuracy": 0.785,
    }


def test_the_ratio_is_of_the_two_times_to_the_peers_best(peer: dict[str, Any], ours: dict[str, Any]) -> None:
    """300 s against 60 s; beside it, what as many trials as the peer's came to."""
    found = weigh(REQUEST, peer, ours)
    assert found["refused"] == []
    assert found["ratio"] == pytest.approx(5.0)
    assert (found["ours"]["trials_to_target"], found["ours"]["side_by_side"]) == (4, 2)
    assert (found["ours"]["seconds_of_as_many_trials"], found["ours"]["best_of_as_many_trials"]) == (50.0, 0.79)


def test_the_first_trials_may_all_have_been_set_aside(peer: dict[str, Any], ours: dict[str, Any]) -> None:
    """They count as tried and as pruned; none of them is the best."""
    for row in ours["timeline"][:3]:
        row |= {"state": ASIDE, "value": None}
    found = weigh(REQUEST, peer, ours)
    assert found["ours"]["pruned"] == 3 and found["ours"]["best_of_as_many_trials"] is None
    assert "as many trials as the peer in 50 s, none of them completed" in time_to_quality._line(found)


def test_a_target_not_reached_gives_no_ratio(peer: dict[str, Any], ours: dict[str, Any]) -> None:
    """However fast the trials were."""
    ours["timeline"].pop()
    ours["best_value"] = 0.79
    found = weigh(REQUEST, peer, ours)
    assert "ratio" not in found
    assert "0.8000, was not reached" in found["refused"][0]
    ours |= {"timeline": [], "best_value": None, "rescored": None, "test_accuracy": None}
    assert "no completed trial" in weigh(REQUEST, peer, ours)["refused"][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rescored": 0.80}, "the saved best model has accuracy 0.8000"),
        ({"rescored": float("nan")}, "the saved best model"),
        ({"rows_scored": 200}, "scored on 200 validation rows"),
        ({"test_accuracy": 0.76}, "on the test rows"),
    ],
)
def test_a_quality_that_does_not_hold_gives_no_ratio(
    peer: dict[str, Any], ours: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    """Another accuracy from the saved adapter, fewer rows, or a winner that is worse on rows that nobody saw."""
    found = weigh(REQUEST, peer, {**ours, **change})
    assert said in found["refused"][0]
    assert "ratio" not in found
    assert "seconds_to_target" not in found["ours"]


def test_only_completed_trials_reach_a_target(ours: dict[str, Any]) -> None:
    """The first one that is good enough, whatever order they are listed in."""
    assert reached(ours, 0.79) == 20.0
    assert reached({**ours, "timeline": ours["timeline"][::-1]}, 0.79) == 20.0
    assert reached(ours, 0.82) is None


def test_both_sides_search_the_same_space() -> None:
    """What the package reads from the cell has the dimensions and constants that the peer is asked to draw from."""
    space = parse_cell(cell(SPACE))
    config: dict[str, Any] = {}
    for dimension in space.dimensions:
        given = SPACE[dimension.name]
        if given[0] == "choice":
            assert list(dimension.choices) == given[1:]
            config[dimension.name] = given[1]
        else:
            assert (dimension.low, dimension.high, dimension.log) == (given[1], given[2], given[0] == "loguniform")
            config[dimension.name] = given[1]
    assert set(config) == {name for name, given in SPACE.items() if isinstance(given, list)}
    constants = {name: given for name, given in SPACE.items() if not isinstance(given, list)}
    assert constants.items() <= space.validate(config).items()


@pytest.mark.slow
def test_the_peer_draws_inside_the_space_and_prunes_by_what_it_reports() -> None:
    """TPE's suggestions through Optuna, and the callback that ends a trial."""
    from transformers import TrainerControl, TrainerState

    from benchmarks.peers.optuna_search import PruningCallback, suggest

    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(lower=0.6), direction="maximize")
    trial = study.ask()
    config = suggest(trial, SPACE)
    assert SPACE["learning_rate"][1] <= config["learning_rate"] <= SPACE["learning_rate"][2]
    assert config["rank"] in SPACE["rank"]
    assert config["alpha"] == SPACE["alpha"]
    callback, control = PruningCallback(trial), TrainerControl()
    state = TrainerState(global_step=5, max_steps=20)
    callback.on_evaluate(None, state, control, metrics={"eval_accuracy": 0.7})
    assert not control.should_training_stop
    callback.on_evaluate(None, state, control, metrics={"eval_accuracy": 0.5})
    assert control.should_training_stop and callback.pruned
    assert trial.study.trials[0].intermediate_values == {1: 0.7, 2: 0.5}
    control.should_evaluate = True
    callback.on_step_end(None, TrainerState(global_step=20, max_steps=20), control)
    assert not control.should_evaluate


@pytest.mark.parametrize("points", [0.0, 5.0])
def test_the_command_prints_no_ratio_after_a_failed_check(
    points: float,
    peer: dict[str, Any],
    ours: dict[str, Any],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its summary is of all seeds or of none."""
    ours["rescored"] -= points / 100
    monkeypatch.setattr(time_to_quality, "_request", lambda options, folder: dict.fromkeys((*_SHOWN, "x")) | REQUEST)
    monkeypatch.setattr(time_to_quality, "_estimate", lambda options, request, folder: 60.0)
    monkeypatch.setattr(
        time_to_quality, "one_seed", lambda request, options, folder: weigh({**REQUEST, **request}, peer, ours)
    )
    status = time_to_quality.main(["--seeds", "2", "--json", str(tmp_path / "out.json")])
    printed = capsys.readouterr().out
    assert (status, "5.00" in printed) == ((0, True) if points == 0 else (1, False))
    assert ("refused" in printed) == bool(points)


_SHOWN = ("validation_rows", "test_rows", "trials", "most_trials", "space", "strategy", "partial_rows", "recipe")
