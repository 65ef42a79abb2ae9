"""Several trials under way at once: they share passes, pause and resume, and do not disturb each other."""

from __future__ import annotations

import json
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autoglm_nb import models
from autoglm_nb.errors import OutOfMemoryError
from autoglm_nb.protocol import Action, RunRole, StudyState
from autoglm_nb.search import Decision
from autoglm_nb.search.pruners import AshaPruner
from autoglm_nb.store import EventTail
from autoglm_nb.training import Engine
from autoglm_nb.tuning import workshop
from autoglm_nb.tuning.control import Detached
from autoglm_nb.tuning.pack import Pack
from autoglm_nb.tuning.trial_run import Run
from tests.tiny import tiny_encoder
from tests.tuning.conftest import Study

CONFIGS = [
    {"learning_rate": 1e-2, "rank": 2, "alpha": 4, "dropout": 0.2, "batch_size": 8, "optimizer": "adamw"},
    {"learning_rate": 3e-3, "rank": 4, "alpha": 16, "dropout": 0.0, "batch_size": 16, "optimizer": "adam"},
    {"learning_rate": 2e-2, "rank": 8, "alpha": 8, "dropout": 0.1, "batch_size": 12, "optimizer": "sgd"},
    {"learning_rate": 5e-3, "rank": 4, "alpha": 4, "dropout": 0.1, "batch_size": 8, "optimizer": "adamw"},
]
SPACE = """
learning_rate = loguniform(1e-4, 1e30)
rank = choice(2, 4, 8)
alpha = choice(4, 8, 16)
dropout = uniform(0.0, 0.5)
batch_size = choice(8, 12, 16)
optimizer = choice("adamw", "adam", "sgd")
max_grad_norm = choice(1.0, 1e30)
epochs = 2
"""
FIXED = {"space": SPACE, "strategy": "fixed", "enqueue": [{**c, "max_grad_norm": 1.0} for c in CONFIGS], "trials": 4}


def curve(study: Study, run: str) -> list[tuple[int, float]]:
    path = study.store.run_dir(study.name, run) / "losses.jsonl"
    return [(entry["step"], entry["loss"]) for entry in map(json.loads, path.read_text().splitlines())]


def events(study: Study, kind: str) -> list[dict[str, Any]]:
    path = study.store.study_dir(study.name) / "events.jsonl"
    return [e.data for e in EventTail(path, tail_bytes=10**9).poll() if e.type == kind]


@pytest.mark.slow
def test_trials_that_share_passes_learn_what_they_would_alone(make_study: Callable[..., Study]) -> None:
    """Each step's loss within 1e-4 of a study of one trial at a time, the final values equal."""
    alone = make_study(name="alone", pack=1, **FIXED)
    together = make_study(name="together", pack=4, **FIXED)
    one, four = alone.run(), together.run()
    assert any(len(p["trials"]) > 1 for event in events(together, "packs") for p in event["now"])
    assert not any(event["now"] for event in events(alone, "packs"))
    for number in range(4):
        run = f"trial-{number:04d}"
        assert curve(together, run) == [(s, pytest.approx(loss, rel=1e-4)) for s, loss in curve(alone, run)]
    assert [t["value"] for t in four["trials"]] == [t["value"] for t in one["trials"]]


@pytest.mark.slow
def test_a_diverging_neighbour_fails_alone(make_study: Callable[..., Study]) -> None:
    """A trial whose loss becomes NaN ends; the others' curves stay those of the calm study."""
    wild = {**CONFIGS[2], "learning_rate": 1e30, "max_grad_norm": 1e30}
    enqueue = [*FIXED["enqueue"][:2], wild, FIXED["enqueue"][3]]
    calm, stormy = (
        make_study(name="calm", pack=4, **FIXED),
        make_study(name="stormy", pack=4, **{**FIXED, "enqueue": enqueue}),
    )
    calm.run()
    shot = stormy.run()
    assert [t["state"] for t in shot["trials"]] == ["completed", "completed", "failed", "completed"]
    assert "finite" in shot["trials"][2]["because"]
    for number in (0, 1, 3):
        run = f"trial-{number:04d}"
        assert curve(stormy, run) == [(s, pytest.approx(loss, rel=1e-4)) for s, loss in curve(calm, run)]


def test_a_method_that_cannot_share_trains_beside_the_others_and_the_view_says_so(
    make_study: Callable[..., Study],
) -> None:
    """LoRA and DoRA trials share; a bottleneck adapter is named alone, with the reason."""
    space = "learning_rate = 5e-3\nmethod = choice('lora', 'dora', 'adapter')\nepochs = 2"
    study = make_study(space=space, strategy="grid", trials=3, pack=3)
    shot = study.run()
    assert [t["state"] for t in shot["trials"]] == ["completed"] * 3
    by_method = {t["config"]["method"]: t["number"] for t in shot["trials"]}
    told = events(study, "packs")
    assert any(set(p["trials"]) == {by_method["lora"], by_method["dora"]} for e in told for p in e["now"])
    reasons = {a["trial"]: a["because"] for e in told for a in e["alone"]}
    assert "adapter cannot share" in reasons[by_method["adapter"]]
    assert any(e["predicted"] and e["measured"] for e in told)


def test_a_second_method_that_cannot_share_does_not_hold_up_those_that_can(make_study: Callable[..., Study]) -> None:
    """Two head trials come first: the second waits for the first, the LoRA trials behind it do not."""
    enqueue = [{"method": m, "learning_rate": 1e-2, "epochs": 4} for m in ("head", "head", "lora", "lora")]
    space = 'learning_rate = uniform(1e-3, 1e-1)\nmethod = choice("head", "lora")\nrank = 2\nepochs = choice(4, 5)'
    study = make_study(space=space, strategy="fixed", enqueue=enqueue, trials=4, pack=3)
    shot = study.run()
    assert [t["state"] for t in shot["trials"]] == ["completed"] * 4
    shown = [
        ([n for p in e["now"] for n in p["trials"]], [a["trial"] for a in e["alone"]]) for e in events(study, "packs")
    ]
    assert all(not {0, 1} <= set(alone) for _, alone in shown)
    assert any(0 in alone and 2 in {*now, *alone} for now, alone in shown)


def test_only_those_whose_passes_were_joined_are_told_as_sharing() -> None:
    """Trial 2 has none of its own neighbours any more, trial 3 never had one, trial 4 has made no step yet."""
    facts = dict.fromkeys(("tokens_per_step", "passes_per_step", "occupancy", "predicted", "measured"))
    engine = SimpleNamespace(capacity=5, shares=lambda config: True, packing=lambda: facts)

    def told(met: dict[int, list[set[str]]]) -> tuple[list[list[int]], dict[int, str]]:
        config = {"model": "m", "method": "lora"}
        requests = {n: SimpleNamespace(run=f"trial-{n}", trial=n, config=config) for n in met}
        pack: Any = SimpleNamespace(
            runs=[SimpleNamespace(engine=engine, request=requests[n], neighbours=met[n]) for n in met]
        )
        packs = Pack.describe(pack)
        return [p["trials"] for p in packs["now"]], {a["trial"]: a["because"] for a in packs["alone"]}

    now, alone = told({0: [{"trial-1"}, set()], 1: [{"trial-0"}], 2: [{"trial-9"}, set()], 3: [set()], 4: []})
    assert now == [[0, 1, 4]]
    assert set(alone) == {2, 3} and all("gain nothing" in because for because in alone.values())
    now, alone = told({2: [set()], 3: [set()]})
    assert now == [] and set(alone) == {2, 3}
    assert told({2: [{"trial-9"}]}) == ([], {2: "No other trial is under way that could share its passes."})


@pytest.mark.parametrize("judged", [{"constraints": ["memory_gb <= 100"]}, {"objectives": ["accuracy", "memory_gb"]}])
def test_trials_that_are_judged_by_their_memory_train_one_at_a_time(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch, judged: dict[str, Any]
) -> None:
    """What the first trial took is not counted against those that come after it, whatever `--pack` says."""
    real = Engine.step

    def step(self: Engine, only: Any = None) -> Any:
        if any(slot.plan.run == "trial-0000" for slot in self._slots.values()):
            self._peak_gb = 200.0
        return real(self, only)

    monkeypatch.setattr(Engine, "step", step)
    study = make_study(**{**FIXED, "trials": 3, "pack": 3}, **judged)
    study.run()
    taken = [row.metrics["memory_gb"] for row in study.store.runs("toy", RunRole.TRIAL)]
    assert taken[0] >= 200 and max(taken[1:]) < 100
    told = events(study, "packs")
    assert not any(event["now"] for event in told)
    assert any("memory_gb" in alone["because"] for event in told for alone in event["alone"])


def test_how_the_base_computed_is_in_the_provenance(make_study: Callable[..., Study]) -> None:
    """Number format with its reason, how many trials side by side, the frozen products, the shared prefix."""
    study = make_study(**{**FIXED, "trials": 1, "pack": 3})
    study.run()
    (engine,) = study.store.provenance(study.name)["engines"].values()
    assert engine["precision"].startswith(("fp32", "bf16"))
    assert engine["side_by_side"] == 3
    assert engine["prefix"]["budget_mb"] > 0


@pytest.mark.slow
def test_asha_pauses_trials_at_their_checkpoints_and_resumes_the_promising_ones(
    make_study: Callable[..., Study],
) -> None:
    """A trial paused at the first rung is promoted later and goes on with its next step; losers end as pruned.

    What each learns is what it learns where nobody is paused: within 1e-4, since its neighbours are others there.
    """
    rates = [1e-2, 8e-3, 6e-3, 5e-3, 2e-3, 1e-3, 1e-6, 2e-6, 1.5e-6, 3e-6, 1e-7, 2e-7]
    enqueue = [{"learning_rate": rate} for rate in rates]
    space = "learning_rate = loguniform(1e-7, 1e-1)\nrank = 4\nbatch_size = 8\nepochs = 3"
    options = {"space": space, "strategy": "fixed", "enqueue": enqueue, "pruner": "asha", "metric": "loss"}
    study = make_study(trials=12, pack=2, **options)
    whole = make_study(trials=12, pack=2, **{**options, "name": "whole", "pruner": "none"})
    shot = study.run()
    assert [t["config"] for t in shot["trials"]] == [t["config"] for t in whole.run()["trials"]]
    assert shot["study"]["state"] == StudyState.FINISHED, shot["study"]["reason"]
    states = [t["state"] for t in shot["trials"]]
    assert set(states) == {"completed", "pruned"}
    assert all("never promoted" in t["because"] for t in shot["trials"] if t["state"] == "pruned")
    ended = events(study, "ended")
    paused = {e["trial"] for e in ended if e["state"] == "waiting"}
    resumed = {t["number"] for t in shot["trials"] if t["number"] in paused and len(t["reports"]) > 1}
    assert paused, "nobody was paused"
    for trial in shot["trials"]:
        run = f"trial-{trial['number']:04d}"
        made, expected = curve(study, run), curve(whole, run)
        assert [step for step, _ in made] == list(range(1, len(made) + 1)), "a resumed trial repeats or skips no step"
        assert made == [(step, pytest.approx(loss, rel=1e-4)) for step, loss in expected[: len(made)]]
        assert len(made) == len(expected) or trial["state"] == "pruned"
    assert resumed, "nobody was promoted"
    assert all(shot["trials"][n]["attempts"] == 1 for n in resumed)


def leave_with_paused_trials(make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch, **more: Any) -> Study:
    """A study whose worker left when two of its trials were paused."""
    enqueue = [{"learning_rate": rate} for rate in [1e-2, 1e-2, 1e-2, 1e-2, 1e-2, 1e-7, 1e-7, 1e-7]]
    space = "learning_rate = loguniform(1e-7, 1e-1)\nrank = 4\nbatch_size = 8\nepochs = 3"
    options = {"space": space, "strategy": "fixed", "enqueue": enqueue, "pruner": "asha", "metric": "loss"}
    study = make_study(trials=8, pack=1, **options, **more)
    real, seen = Pack.advance, []

    def advance(self: Pack) -> Any:
        ended = real(self)
        seen.extend(outcome.state for _, outcome in ended)
        if sum(state == "waiting" for state in seen) >= 2:
            raise Detached
        return ended

    with monkeypatch.context() as patched:
        patched.setattr(Pack, "advance", advance)
        study.run()
    return study


@pytest.mark.slow
def test_a_paused_trial_stays_paused_over_a_restart_of_the_worker(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker leaves while trials are paused; the next one does not train them on unless they are promoted."""
    study = leave_with_paused_trials(make_study, monkeypatch)
    before = {t["number"]: t["step"] for t in study.snapshot()["trials"] if t["state"] == "waiting"}
    assert before
    shot = study.run()
    assert shot["study"]["state"] == StudyState.FINISHED
    assert {t["state"] for t in shot["trials"]} <= {"completed", "pruned"}


def test_a_worker_that_finds_the_budget_used_up_ends_what_was_paused(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stays waiting in a finished study: paused trials end as they would have under the first worker."""
    study = leave_with_paused_trials(make_study, monkeypatch, budget="1h")
    paused = [t["number"] for t in study.snapshot()["trials"] if t["because"].startswith("Paused")]
    assert paused
    study.store.add_active_seconds(study.name, 3600.0)
    shot = study.run()
    assert shot["study"]["state"] == StudyState.FINISHED
    ended = {t["number"]: t for t in shot["trials"]}
    assert all(ended[n]["state"] == "pruned" and "never promoted" in ended[n]["because"] for n in paused)


@pytest.mark.slow
def test_memory_that_runs_out_in_a_pack_makes_its_passes_smaller(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real failed allocation at a shared pass: passes shrink, nobody fails, losses stay."""
    calm = make_study(name="calm", pack=4, **FIXED)
    calm.run()
    real, failed = Engine._backward, []

    def backward(self: Engine, slots: Any, rounds: Any) -> Any:
        if len(failed) < 2 and max(len(one.segments) for one in rounds.rounds) > 1:
            failed.append(max(one.shape.tokens for one in rounds.rounds))
            torch.empty(2**50, dtype=torch.uint8)
        return real(self, slots, rounds)

    monkeypatch.setattr(Engine, "_backward", backward)
    tight = make_study(name="tight", pack=4, **FIXED)
    shot = tight.run()
    assert failed[1] < failed[0]
    assert [t["state"] for t in shot["trials"]] == ["completed"] * 4
    assert any("smaller passes" in event["text"] for event in events(tight, "message"))
    for number in range(4):
        run = f"trial-{number:04d}"
        assert curve(tight, run) == [(s, pytest.approx(loss, rel=1e-4)) for s, loss in curve(calm, run)]


def test_the_default_number_of_neighbours_is_measured(make_study: Callable[..., Study]) -> None:
    """A tiny model is bound by the cost of a pass, so several trials share one without being told to."""
    study = make_study(trials=4)
    study.run()
    assert any(len(p["trials"]) > 1 for event in events(study, "packs") for p in event["now"])


def test_a_configuration_that_does_not_fit_the_base_fails_alone(make_study: Callable[..., Study]) -> None:
    """A target module of another kind of model: the trial says so, the others are trained."""
    space = "learning_rate = 1e-2\nrank = 4\ntarget_modules = choice('qv', ['up_proj'])\nepochs = 1"
    enqueue = [{"target_modules": "qv"}, {"target_modules": ["up_proj"]}, {"target_modules": "qv"}]
    shot = make_study(space=space, strategy="fixed", enqueue=enqueue, trials=3, pack=2).run()
    assert [t["state"] for t in shot["trials"]] == ["completed", "failed", "completed"]
    assert "up_proj" in shot["trials"][1]["because"] and shot["study"]["state"] == StudyState.FINISHED


def test_repeats_that_do_not_fit_beside_others_wait_for_room(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Confirmation packs its runs too; one that finds no memory beside a neighbour is started after it."""
    real, refused = Engine.admit, []

    def admit(self: Engine, *args: Any, **options: Any) -> int:
        if self._slots:
            refused.append(args[0].run)
            raise OutOfMemoryError("No room.")
        return real(self, *args, **options)

    monkeypatch.setattr(Engine, "admit", admit)
    shot = make_study(trials=1, seeds=2, pack=2).run()
    assert refused and shot["study"]["state"] == StudyState.FINISHED, shot["study"]["reason"]
    assert shot["final"] is not None and len(shot["final"]["winner"]["values"]) == 2


def test_two_bases_are_each_loaded_once_while_both_have_trials(
    make_study: Callable[..., Study], tiny_encoder_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for one base only, one in use is not dropped and loaded a second time beside itself."""
    other, loaded, real = tiny_encoder(tmp_path / "other", seed=1), [], models.load_base

    def load_base(resolved: Any, **options: Any) -> Any:
        loaded.append(resolved.name)
        return real(resolved, **options)

    monkeypatch.setattr(models, "load_base", load_base)
    monkeypatch.setattr(workshop, "MODELS_IN_MEMORY", 1)
    names = [str(tiny_encoder_path), str(other)]
    space = f"learning_rate = 1e-2\nmodel = choice({names[0]!r}, {names[1]!r})\nepochs = 2"
    enqueue = [{"model": names[i % 2]} for i in range(4)]
    shot = make_study(space=space, strategy="fixed", enqueue=enqueue, trials=4, pack=4).run()
    assert [t["state"] for t in shot["trials"]] == ["completed"] * 4
    assert len(loaded) == 2


def test_bases_that_wait_are_not_loaded_in_turns(
    make_study: Callable[..., Study], tiny_encoder_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three with a model of their own one trains; the other two would drop each other at every look.

    What is dropped is gone before the next one is loaded.
    """
    loaded, real = [], models.load_base
    bases: list[weakref.ref[Any]] = []
    left: list[int] = []

    def load_base(resolved: Any, **options: Any) -> Any:
        loaded.append(resolved.name)
        left.append(sum(base() is not None for base in bases))
        base = real(resolved, **options)
        bases.append(weakref.ref(base.model))
        return base

    monkeypatch.setattr(models, "load_base", load_base)
    monkeypatch.setattr("autoglm_nb.tuning.study_run.LOOK_SECONDS", 0.0)
    names = [str(tiny_encoder_path), *(str(tiny_encoder(tmp_path / f"other{seed}", seed=seed)) for seed in (1, 2))]
    space = f"learning_rate = 1e-2\nmethod = 'head'\nmodel = choice({', '.join(map(repr, names))})\nepochs = 2"
    enqueue = [{"model": name} for name in names]
    shot = make_study(space=space, strategy="fixed", enqueue=enqueue, trials=3, pack=3).run()
    assert [t["state"] for t in shot["trials"]] == ["completed"] * 3
    assert loaded == names
    assert left == [0, 1, 1]


def test_a_base_that_is_known_to_have_no_room_is_not_loaded() -> None:
    """Its capacity was measured when it was in memory."""
    shop = object.__new__(workshop.Workshop)
    shop._engines, shop._capacities = OrderedDict(), {"large": 1}
    assert shop.can_hold("large", 0) and not shop.can_hold("large", 1)
    assert shop.can_hold("never loaded", 1)


ASHA: dict[str, Any] = {
    "space": "learning_rate = loguniform(1e-7, 1e-1)\nrank = 4\nbatch_size = 8\nepochs = 3",
    "strategy": "fixed",
    "enqueue": [{"learning_rate": rate} for rate in [1e-2, 1e-2, 1e-2, 1e-2, 1e-2, 1e-7, 1e-7, 1e-7]],
    "pruner": "asha",
    "metric": "loss",
    "trials": 8,
    "pack": 1,
}


@pytest.mark.slow
def test_a_trial_that_was_going_on_is_not_paused_by_a_restart(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had passed the first evaluation; that others are better there by now is judged at its next one."""
    study = make_study(**{**ASHA, "enqueue": ASHA["enqueue"][:1], "trials": 1, "pack": 1})
    real = Pack.advance

    def advance(self: Pack) -> Any:
        first = self.runs[0]
        if first.engine.step_of(first.slot) > first.plan.rung_steps[0]:
            raise Detached
        return real(self)

    monkeypatch.setattr(Pack, "advance", advance)
    study.run()
    monkeypatch.undo()
    assert [len(t["reports"]) for t in study.snapshot()["trials"]] == [1]
    monkeypatch.setattr(AshaPruner, "_judge", lambda *_: Decision(False, "the worst of all", pause=True))
    (trial,) = study.run()["trials"]
    assert len(trial["reports"]) == 2 and "never promoted" in trial["because"]


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "epochs"), [([24, 8, 16, 8], 3), ([16, 8, 48, 8], 2)])
def test_trials_come_to_their_evaluations_together(
    make_study: Callable[..., Study], sizes: list[int], epochs: int
) -> None:
    """Batches of 8 rows and of many: nobody is evaluated a second time before all were a first time, and so on."""
    enqueue = [{"learning_rate": 1e-3, "batch_size": size} for size in sizes]
    space = f"learning_rate = loguniform(1e-4, 1e-1)\nrank = 4\nbatch_size = choice(8, 16, 24, 48)\nepochs = {epochs}"
    study = make_study(space=space, strategy="fixed", enqueue=enqueue, trials=4, pack=4)
    study.run()
    told = [(event["trial"], event["rung"]) for event in events(study, "report")]
    assert [rung for _, rung in told] == [rung for rung in range(1, 5) for _ in sizes]
    steps = {number: len(curve(study, f"trial-{number:04d}")) for number in range(4)}
    assert sorted(range(4), key=lambda number: (-steps[number], number)) == sorted(
        range(4), key=lambda number: (sizes[number], number)
    )


def test_a_stopped_study_loses_no_step(make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run under way leaves a checkpoint of where it was, however long the next one was off."""
    study = make_study(**{**FIXED, "enqueue": FIXED["enqueue"][:2], "trials": 2, "pack": 2})
    real = Pack.advance
    advances = []

    def advance(self: Pack) -> Any:
        ended = real(self)
        advances.append(1)
        if len(advances) == 3:
            self.context.store.request(study.name, Action.STOP)
            self.context.control.poll(force=True)
        return ended

    monkeypatch.setattr(Pack, "advance", advance)
    study.run()
    begun = study.snapshot()["trials"]
    assert [trial["state"] for trial in begun] == ["waiting"] * 2
    made = [len(curve(study, f"trial-{trial['number']:04d}")) for trial in begun]
    assert [trial["step"] for trial in begun] == made and min(made) > 0
    (engine,) = study.store.provenance(study.name)["engines"].values()
    assert engine["side_by_side"] == 2, "how they were computed stands in the record of a stopped study too"


@pytest.mark.slow
def test_a_trial_that_was_first_at_its_evaluation_is_judged_when_others_come(make_study: Callable[..., Study]) -> None:
    """The worst has the largest batches and reports first; it goes on provisionally and is paused soon after."""
    rates = [(1e-7, 24), (1e-2, 8), (8e-3, 8), (6e-3, 8)]
    enqueue = [{"learning_rate": rate, "batch_size": size} for rate, size in rates]
    space = "learning_rate = loguniform(1e-7, 1e-1)\nrank = 4\nbatch_size = choice(8, 24)\nepochs = 4"
    options = {"space": space, "strategy": "fixed", "enqueue": enqueue, "pruner": "asha", "metric": "loss"}
    study = make_study(trials=4, pack=4, **options)
    shot = study.run()
    first = next(event["trial"] for event in events(study, "report"))
    worst = shot["trials"][0]
    assert first == 0, "it was not the first to report, so this shows nothing"
    assert len(worst["reports"]) == 1 and "place 4 of 4" in worst["because"]
    assert worst["step"] * 8 <= worst["total_steps"] * 3, "it went on for half the way to its next evaluation or less"


def test_from_halfway_to_the_next_evaluation_on_that_one_is_the_judge() -> None:
    """A run that nobody could be compared with in time is not set aside late."""
    asked: list[int] = []

    def pause(rung: int) -> Decision:
        asked.append(rung)
        return Decision(False, "the worst", pause=True)

    def run_at(step: int) -> Any:
        return SimpleNamespace(
            rung=1,
            fresh=False,
            slot=0,
            plan=SimpleNamespace(rung_steps=(10, 20, 30, 40)),
            engine=SimpleNamespace(step_of=lambda slot: step),
            request=SimpleNamespace(judge=pause),
            save=lambda: None,
            facts=dict,
        )

    early, late = run_at(15), run_at(16)
    outcome = Run.judge(early)
    assert outcome is not None and outcome.state == "waiting" and outcome.because == "Paused: the worst."
    assert Run.judge(late) is None and late.rung is None and asked == [1]


@pytest.mark.slow
def test_a_paused_trial_can_be_stopped(make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at once, with the person's word as the reason, and is not trained on."""
    study = make_study(**ASHA)
    real, asked = Pack.advance, []

    def advance(self: Pack) -> Any:
        ended = real(self)
        for request, outcome in ended:
            if outcome.state == "waiting" and not asked:
                asked.append(request.trial)
                self.context.control.stop_trials.add(request.trial)
        return ended

    monkeypatch.setattr(Pack, "advance", advance)
    shot = study.run()
    stopped = shot["trials"][asked[0]]
    assert (stopped["state"], stopped["because"]) == ("pruned", "Stopped by a person.")
    assert len(stopped["reports"]) == 1
