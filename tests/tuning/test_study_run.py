"""A study from start to end on a tiny real model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from scipy import stats

from autoglm_nb.errors import TrialPruned
from autoglm_nb.protocol import Action, RunRole, TrialState
from autoglm_nb.training import Engine
from autoglm_nb.tuning.confirm import Confirmation, interval, paired_difference
from autoglm_nb.tuning.control import Detached, StudyStopped
from autoglm_nb.tuning.pack import Pack
from tests.tuning.conftest import Study


def test_a_study_runs_all_its_trials_and_beats_chance(make_study: Callable[..., Study]) -> None:
    """Three trials complete, the best one is the headline, and it learned something."""
    shot = make_study().run()
    assert shot["study"]["state"] == "finished", shot["study"]["reason"]
    assert [t["state"] for t in shot["trials"]] == ["completed"] * 3
    best = max(t["value"] for t in shot["trials"] if t["value"] is not None)
    assert shot["headline"]["best_value"] == best > 0.6
    assert all(t["config"]["rank"] in (2, 4) for t in shot["trials"])


def test_the_store_is_a_plain_optuna_study(make_study: Callable[..., Study]) -> None:
    """Optuna itself opens the file and finds parameters, values and intermediate values."""
    study = make_study()
    shot = study.run()
    loaded = optuna.load_study(study_name="toy", storage=f"sqlite:///{study.home / 'studies.db'}")
    assert [t.value for t in loaded.trials] == [t["value"] for t in shot["trials"]]
    assert all(len(t.intermediate_values) == 4 for t in loaded.trials)
    assert loaded.best_trial.number == shot["headline"]["best_trial"]


def test_baseline_is_measured_beside_the_trials_and_final_scores_come_from_the_test_split(
    make_study: Callable[..., Study],
) -> None:
    """The default configuration is no trial; winner and default are paired on seeds selection never used."""
    study = make_study(trials=2, seeds=2, baseline=True)
    shot = study.run()
    assert shot["trials_total"] == 2
    assert shot["headline"]["baseline_value"] is not None
    final = shot["final"]
    assert final is not None and final["split"] == "test" and final["seeds"] == [1, 2]
    winner, baseline = final["winner"]["values"], (final["baseline"] or {})["values"]
    assert len(winner) == len(baseline) == 2
    assert math.isclose(final["difference"]["mean"], sum(w - b for w, b in zip(winner, baseline, strict=True)) / 2)
    runs = {row.run: row for row in study.store.runs("toy")}
    confirm = [row for row in runs.values() if row.role is RunRole.CONFIRM]
    assert len(confirm) == 4 and all(row.metrics["split"] == "test" for row in confirm)


def test_continuing_with_more_trials_keeps_the_earlier_ones(make_study: Callable[..., Study]) -> None:
    """`trials` is the total: asking for five after three adds two and repeats none."""
    first = make_study(trials=3).run()
    second = make_study(trials=5).run()
    assert second["trials_total"] == 5
    assert [t["value"] for t in second["trials"][:3]] == [t["value"] for t in first["trials"]]


def test_same_seed_gives_the_same_study(make_study: Callable[..., Study], tmp_path: object) -> None:
    """Configurations and values repeat exactly with the same seed under another name."""
    one = make_study(trials=2).run()
    two = make_study(trials=2, name="again").run()
    assert [t["config"] for t in one["trials"]] == [t["config"] for t in two["trials"]]
    assert [t["value"] for t in one["trials"]] == [t["value"] for t in two["trials"]]


def test_a_diverging_trial_fails_with_a_sentence_and_the_study_goes_on(make_study: Callable[..., Study]) -> None:
    """A loss that becomes NaN ends its own trial only."""
    study = make_study(
        strategy="fixed",
        space="learning_rate = loguniform(1e-3, 1e30)\nmax_grad_norm = choice(1.0, 1e30)\n"
        "optimizer = 'sgd'\nepochs = 2",
        enqueue=[{"learning_rate": 1e30, "max_grad_norm": 1e30}, {"learning_rate": 1e-2, "max_grad_norm": 1.0}],
        trials=2,
    )
    shot = study.run()
    assert [t["state"] for t in shot["trials"]] == ["failed", "completed"]
    assert "finite" in shot["trials"][0]["because"] and "lower learning rate" in shot["trials"][0]["because"]
    assert shot["study"]["state"] == "finished"


@pytest.mark.slow
def test_a_budget_ends_the_search(make_study: Callable[..., Study]) -> None:
    """With a budget and no number of trials the search stops by active time."""
    shot = make_study(trials=None, budget=4.0).run()
    assert shot["study"]["state"] == "finished"
    assert shot["trials_total"] >= 1
    assert shot["study"]["active_seconds"] < 60


def test_a_trial_that_has_begun_is_finished_although_the_budget_is_used_up(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running study lets what has begun come to its end when its time is up; so does one that goes on."""
    study = make_study(trials=3, budget="1h", pack=1)
    real, begun = Pack.advance, []

    def advance(self: Pack) -> Any:
        begun.extend(run.request.run for run in self.runs if run.request.trial is not None)
        if len(begun) > 3:
            raise Detached
        return real(self)

    with monkeypatch.context() as patched:
        patched.setattr(Pack, "advance", advance)
        study.run()
    assert [t["state"] for t in study.snapshot()["trials"]] == ["waiting"]
    study.store.add_active_seconds(study.name, 3600.0)
    shot = study.run()
    assert shot["study"]["state"] == "finished"
    assert [t["state"] for t in shot["trials"]] == ["completed"], "no trial waits in a finished study, none was begun"


def test_a_stop_request_parks_the_running_trial_and_continuing_finishes_it(make_study: Callable[..., Study]) -> None:
    """After a stop the same trial number goes on from its checkpoint."""
    study = make_study(trials=2)
    study.store.request("toy", Action.STOP)
    assert study.run()["study"]["state"] == "stopped"
    shot = study.run()
    assert shot["study"]["state"] == "finished" and shot["trials_total"] == 2


def test_a_custom_objective_replaces_training(make_study: Callable[..., Study]) -> None:
    """It is called with the configuration, may report, prune itself, and fail one trial."""

    def objective(config: dict[str, float], report: Callable[[float], None]) -> float:
        if config["x"] == 0:
            raise TrialPruned("not promising")
        if config["x"] == 1:
            raise ZeroDivisionError("boom")
        report(config["x"] / 2)
        return config["x"] ** 2

    study = make_study(
        space="x = choice(0, 1, 2, 3)",
        strategy="grid",
        trials=10,
        objective=objective,
        direction="minimize",
    )
    shot = study.run()
    by_x = {t["config"]["x"]: t for t in shot["trials"]}
    assert by_x[0]["state"] == "pruned" and "not promising" in by_x[0]["because"]
    assert by_x[1]["state"] == "failed" and "ZeroDivisionError" in by_x[1]["because"]
    assert by_x[2]["value"] == 4 and by_x[3]["value"] == 9
    assert shot["headline"]["best_value"] == 4 and len(shot["trials"]) == 4


def test_several_objectives_give_a_front(make_study: Callable[..., Study]) -> None:
    """Accuracy and trainable share together: no single best, a Pareto front."""
    study = make_study(objectives=["accuracy", "trainable_share"], strategy="genetic", trials=4)
    shot = study.run()
    assert shot["study"]["state"] == "finished", shot["study"]["reason"]
    assert shot["front"] and all(len(t["values"]) == 2 for t in shot["trials"])


def test_training_time_may_lead_a_study(make_study: Callable[..., Study]) -> None:
    """It is known at every evaluation, and the value is the metric of that name, alone or before another objective."""
    alone = make_study(metric="train_seconds", trials=1, seeds=1)
    shot = alone.run()
    assert shot["study"]["state"] == "finished", shot["study"]["reason"]
    reports = [value for _, value in shot["trials"][0]["reports"]]
    assert 0 < reports[0] < reports[3] == shot["trials"][0]["value"]
    assert all(row.value == row.metrics["train_seconds"] for row in alone.store.runs("toy"))
    shot = make_study(name="two", objectives=["train_seconds", "accuracy"], trials=1).run()
    (trial,) = shot["trials"]
    assert trial["values"] == [trial["metrics"]["train_seconds"], trial["metrics"]["accuracy"]]


def test_a_latency_is_one_and_the_same_as_value_report_metric_and_test_score(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one sample, not of the batches that an evaluation times on its way; repeats measure it on the test split."""
    splits = []

    def latency(self: Engine, slot: int, split: str = "validation", **_: Any) -> dict[str, float]:
        splits.append(split)
        return {"latency_ms_p50": 5.0, "latency_ms_p95": 6.0, "latency_batch_size": 1}

    monkeypatch.setattr(Engine, "latency", latency)
    study = make_study(metric="latency_ms_p50", constraints=["latency_ms_p50 <= 5"], trials=1, seeds=1)
    (trial,) = study.run()["trials"]
    assert trial["value"] == 5.0 and trial["reports"] == [[rung, 5.0] for rung in range(1, 5)]
    assert [(row.value, row.metrics["latency_batch_size"]) for row in study.store.runs("toy")] == [(5.0, 1)] * 2
    assert splits.count("test") == 1


@pytest.mark.parametrize("method", ["lora", "dora", "adapter", "prompt", "p-tuning", "head", "top-k", "full"])
@pytest.mark.slow
def test_every_method_trains_through_a_study_and_its_adapter_predicts(
    make_study: Callable[..., Study], method: str
) -> None:
    """R1 end to end: one trial of each method, its adapter saved, loaded and used."""
    from autoglm_nb.session import Results

    study = make_study(space=f"learning_rate = choice(5e-3)\nmethod = {method!r}\nepochs = 2", trials=1)
    shot = study.run()
    assert [t["state"] for t in shot["trials"]] == ["completed"], shot["trials"][0]["because"]
    answers = Results(study.home, "toy").best_model().predict(["a good film", "a bad film"])
    assert len(answers) == 2


def test_events_are_numbered_without_gaps(make_study: Callable[..., Study]) -> None:
    """Two workers of one study, one after the other, count on."""
    study = make_study(trials=1)
    study.run()
    make_study(trials=2).run()
    lines = (study.store.study_dir("toy") / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["n"] for line in lines] == list(range(1, len(lines) + 1))


def test_a_finished_run_is_not_trained_again(make_study: Callable[..., Study]) -> None:
    """Running the worker of a finished study changes no value and no run."""
    study = make_study(trials=2, seeds=1, baseline=True)
    study.run()
    before = [(r.run, r.value, r.ended_at) for r in study.store.runs("toy")]
    study.run()
    assert [(r.run, r.value, r.ended_at) for r in study.store.runs("toy")] == before
    assert all(r.state is TrialState.COMPLETED for r in study.store.runs("toy"))


def test_a_study_that_goes_on_no_longer_shows_the_comparison_of_its_earlier_winner(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first new trial until the new winner is confirmed there is no final figure."""
    assert make_study(trials=1, seeds=1).run()["final"] is not None

    def stop(_: Confirmation) -> None:
        raise StudyStopped

    monkeypatch.setattr(Confirmation, "run", stop)
    assert make_study(trials=2, seeds=1).run()["final"] is None


def test_intervals_agree_with_scipy() -> None:
    """Student's t interval and paired p-value against SciPy's own."""
    values = [0.81, 0.84, 0.79]
    low, high = stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=stats.sem(values))
    ours = interval(values)
    assert math.isclose(ours["low"], low) and math.isclose(ours["high"], high)
    a, b = [0.81, 0.84, 0.79], [0.75, 0.80, 0.78]
    assert math.isclose(
        paired_difference([x - y for x, y in zip(a, b, strict=True)])["p"], stats.ttest_rel(a, b).pvalue
    )
