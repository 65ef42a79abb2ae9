"""Asking and telling: proposals, their origin, restarts, queues, several objectives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings

from autoglm_nb.errors import SpaceError, StrategyError
from autoglm_nb.protocol import TrialState
from autoglm_nb.search import Searcher, make_sampler, names, notes
from autoglm_nb.search.distributions import decode, distribution, encode
from autoglm_nb.space import Dimension, Space, parse_cell
from tests.space.spaces import dimensions

CELL = """
learning_rate = loguniform(1e-5, 1e-2)
method = choice("lora", "dora", "adapter")
if method in ("lora", "dora"):
    rank = choice(4, 8, 16, 32)
    dropout = quniform(0, 0.3, 0.05)
else:
    adapter_width = logint(8, 256)
    rank = choice(1, 2)
target_modules = choice(["q", "v"], "qv")
use_rslora = choice(True, False)
batch_size = randint(8, 64, 8)
epochs = 2
"""
SPACE = parse_cell(CELL)
FLAT = parse_cell("learning_rate = loguniform(1e-5, 1e-2)\ndropout = uniform(0, 0.5)")
QUICK = ("tpe", "random", "genetic", "cmaes", "grid")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def score(config: dict[str, Any]) -> float:
    return -((math.log10(config["learning_rate"]) + 3) ** 2) - abs(config.get("rank", 8) - 8) / 20


def searcher(strategy: Any, space: Space = SPACE, *, study: Any = None, enqueue: Any = (), **options: Any) -> Searcher:
    """A searcher as a worker makes it; with `study` one that takes over what another one left."""
    directions = options.pop("directions", ["maximize"])
    study = study or optuna.create_study(directions=directions)
    sampler = make_sampler(strategy, space, **{"seed": 3, "directions": directions, "trials": 24, **options})
    return Searcher(study, space, sampler, enqueue=enqueue)


def run(s: Searcher, count: int) -> list[tuple[dict[str, Any], str]]:
    done = []
    for _ in range(count):
        proposal = s.ask()
        if proposal is None:
            break
        done.append((proposal.config, proposal.proposed_by))
        s.tell(proposal.number, TrialState.COMPLETED, [score(proposal.config)] * len(s.study.directions))
    return done


@pytest.mark.parametrize("strategy", QUICK)
def test_every_proposal_is_a_valid_configuration(strategy: str) -> None:
    """Conditional, list-valued, boolean and constant hyper-parameters included."""
    for config, _ in run(searcher(strategy), 16):
        assert SPACE.validate(config) == config


@pytest.mark.slow
def test_every_bayesian_proposal_is_valid_and_tells_what_was_drawn_alone() -> None:
    """The Gaussian process models what all trials have; the record says the rest was drawn alone."""
    proposals = run(searcher("bayesian"), 9)
    assert all(SPACE.validate(config) == config for config, _ in proposals)
    assert [by for _, by in proposals[:6]] == ["random start"] * 6
    for config, by in proposals[6:]:
        assert by.startswith("expected improvement; independent draw (conditional): ")
        alone = set(by.rpartition(": ")[2].split(", "))
        assert alone == {"rank", "dropout" if config["method"] != "adapter" else "adapter_width"}


@pytest.mark.slow
def test_a_flat_space_is_modelled_in_full() -> None:
    """Without conditions nothing is drawn alone, and with two objectives the words change."""
    assert run(searcher("bayesian", FLAT), 7)[-1][1] == "expected improvement"
    two = searcher("bayesian", FLAT, directions=["maximize", "minimize"])
    assert run(two, 7)[-1][1] == "expected hypervolume improvement"


def test_tpe_says_when_it_starts_to_model() -> None:
    """Six random starts for a budget of 24, then TPE, also for conditional dimensions."""
    origins = [by for _, by in run(searcher("tpe"), 20)]
    assert origins[:6] == ["random start"] * 6
    assert all(by == "TPE" or by.startswith("TPE; TPE (one dimension): ") for by in origins[6:])
    assert "TPE" in origins[6:]


def test_genetic_tells_crossover_from_mutation_from_independent_draws() -> None:
    """The first generation is random; later each exception is named."""
    origins = [by for _, by in run(searcher("genetic", population=4), 40)]
    assert origins[:4] == ["random start"] * 4
    assert all(by.startswith("genetic crossover") for by in origins[4:])
    assert any("genetic mutation: " in by for by in origins[4:])
    assert all("independent draw (conditional): " in by for by in origins[4:])


def test_cmaes_names_what_it_does_not_model() -> None:
    """Categorical and conditional dimensions are drawn alone."""
    origins = [by for _, by in run(searcher("cmaes"), 8)]
    assert origins[0] == "random start"
    assert origins[1].startswith("CMA-ES; independent draw (not numeric or conditional): method")
    assert "learning_rate" not in origins[1]
    assert run(searcher("cmaes", FLAT), 3)[2][1] == "CMA-ES"


def test_random_is_called_random() -> None:
    """And nothing else."""
    assert {by for _, by in run(searcher("random"), 5)} == {"random draw"}


def test_notes_warn_before_the_start() -> None:
    """Conditional dimensions under a Gaussian process, pickles under CMA-ES, points of a grid."""
    assert "rank, dropout, adapter_width" in notes("bayesian", SPACE)[0]
    assert "drawn independently at random" in notes("bayesian", SPACE)[0]
    assert not any("Conditional" in note for note in notes("bayesian", FLAT))
    assert any("pickle" in note for note in notes("cmaes", FLAT))
    assert "5 points" in notes("grid", FLAT)[0]


@pytest.mark.parametrize("strategy", QUICK)
def test_the_same_seed_gives_the_same_search(strategy: str) -> None:
    """And another seed another one."""
    first, again, other = (run(searcher(strategy, seed=seed), 14) for seed in (5, 5, 6))
    assert first == again
    assert first != other


@pytest.mark.parametrize("strategy", QUICK)
def test_a_restart_changes_nothing(strategy: str) -> None:
    """A new sampler after every third trial, against one uninterrupted search."""
    study = optuna.create_study(direction="maximize")
    parts = []
    for _ in range(5):
        parts += run(searcher(strategy, study=study), 3)
    assert parts == run(searcher(strategy), 15)


@pytest.mark.slow
def test_a_restart_changes_nothing_on_disk(tmp_path: Path) -> None:
    """The same through SQLite, where values make the trip through JSON and decimal text."""
    parts = []
    for _ in range(4):
        study = optuna.create_study(
            direction="maximize", storage=f"sqlite:///{tmp_path}/s.db", study_name="s", load_if_exists=True
        )
        parts += run(searcher("tpe", study=study), 3)
    assert parts == run(searcher("tpe"), 12)


@pytest.mark.slow
def test_a_restart_changes_nothing_for_the_gaussian_process() -> None:
    """The process is fitted afresh for each proposal, so no warm start is lost with a worker."""
    first = searcher("bayesian", FLAT)
    parts = run(first, 7) + run(searcher("bayesian", FLAT, study=first.study), 2)
    assert parts == run(searcher("bayesian", FLAT), 9)


def test_a_running_trial_is_adopted_with_its_configuration() -> None:
    """After a crash the new worker goes on with the same number and values."""
    dead = searcher("tpe")
    proposal = dead.ask()
    assert proposal is not None
    again = searcher("tpe", study=dead.study).adopt(proposal.number)
    assert (again.number, again.config, again.proposed_by) == (proposal.number, proposal.config, proposal.proposed_by)


@pytest.mark.parametrize("strategy", ["tpe", "grid"])
def test_a_worker_that_died_while_proposing_is_finished_for(strategy: str) -> None:
    """Half of the values are stored; adopting draws the other half as the dead worker would have."""
    whole = searcher(strategy).ask()
    dead = searcher(strategy)
    trial = dead.study.ask()
    trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True)
    adopted = searcher(strategy, study=dead.study).adopt(trial.number)
    assert whole is not None and adopted.config == whole.config


def test_only_a_running_trial_can_be_adopted() -> None:
    """A finished one is finished."""
    s = searcher("random")
    run(s, 1)
    with pytest.raises(ValueError, match="Only a running trial"):
        s.adopt(0)


def test_a_parked_trial_comes_back_first() -> None:
    """Number, values and reports stay; other proposals wait."""
    s = searcher("tpe")
    first = s.ask()
    assert first is not None
    s.report(first.number, 1, 0.5)
    s.park(first.number)
    again = searcher("tpe", study=s.study).ask()
    assert again is not None and (again.number, again.config) == (first.number, first.config)
    assert s.study.trials[0].intermediate_values == {1: 0.5}


def test_enqueued_configurations_come_first_and_once() -> None:
    """The list of the study is given again after a restart; a later request is another matter."""
    config = SPACE.walk(lambda d: d.points(2)[0])
    s = searcher("random", enqueue=[config, {"batch_size": 16}])
    given, partly = run(s, 2)
    assert given == (config, "given")
    assert partly[0]["batch_size"] == 16 and partly[1].startswith("given; random draw: learning_rate")
    s = searcher("random", study=s.study, enqueue=[config, {"batch_size": 16}])
    assert run(s, 1)[0][1] == "random draw"
    s.enqueue(config)
    assert run(s, 1) == [(config, "given")]


def test_another_list_after_a_restart_is_tried_too() -> None:
    """What counts is the configuration, not its place in the list; one given twice is tried twice."""
    first, second = ({"learning_rate": 1e-3, "dropout": 0.1}, {"learning_rate": 1e-4, "dropout": 0.0})
    s = searcher("fixed", FLAT, enqueue=[first])
    assert run(s, 5) == [(first, "given")]
    s = searcher("fixed", FLAT, study=s.study, enqueue=[second, first, first])
    assert run(s, 5) == [(second, "given"), (first, "given")]


def test_a_given_rank_applies_to_whichever_branch_is_drawn() -> None:
    """`rank` has two definitions; the one whose branch is drawn takes the value if it can."""
    s = searcher("random", enqueue=[{"rank": 8}] * 8)
    ranks = [config["rank"] for config, _ in run(s, 8) if config["method"] != "adapter"]
    assert ranks and set(ranks) == {8}


def test_a_configuration_outside_the_space_cannot_be_enqueued() -> None:
    """With all its faults, before anything is stored."""
    s = searcher("random")
    with pytest.raises(SpaceError) as caught:
        s.enqueue({"batch_size": 9, "rnak": 3})
    assert len(caught.value.faults) == 2 and s.study.trials == []


def test_fixed_tries_the_given_list_and_ends() -> None:
    """And goes on when more is given."""
    two = [{"learning_rate": 1e-3, "dropout": 0.1}, {"learning_rate": 1e-4, "dropout": 0.0}]
    s = searcher("fixed", FLAT, enqueue=two)
    assert [by for _, by in run(s, 5)] == ["given", "given"]
    assert s.ask() is None
    s.enqueue({"learning_rate": 1e-2, "dropout": 0.5})
    assert run(s, 5) == [({"learning_rate": 1e-2, "dropout": 0.5}, "given")]


def test_grid_visits_each_configuration_once_and_ends() -> None:
    """In a seeded order; a configuration that was enqueued is not repeated."""
    space = parse_cell("rank = choice(4, 8)\nif rank == 8:\n    dropout = choice(0.0, 0.1, 0.2)\nalpha = choice(8, 16)")
    s = searcher("grid", space, enqueue=[{"rank": 4, "alpha": 16}])
    seen = []
    while (proposal := s.ask()) is not None:
        seen.append((tuple(sorted(proposal.config.items())), proposal.proposed_by))
        s.tell(proposal.number, TrialState.COMPLETED, [0.0])
    assert len(seen) == len({config for config, _ in seen}) == space.grid().size == 8
    assert [by for _, by in seen] == ["given"] + ["grid"] * 7
    assert {config for config, _ in seen} == {tuple(sorted(c.items())) for c in space.grid()}


def test_the_start_of_a_long_grid_is_spread_out() -> None:
    """Twelve of 10,000 configurations do not all share the first values."""
    space = parse_cell("\n".join(f"x{i} = randint(0, 9)" for i in range(4)), strict_names=False)
    study = optuna.create_study()
    s = Searcher(study, space, make_sampler("grid", space, seed=0))
    first = [proposal.config["x0"] for _ in range(12) if (proposal := s.ask()) is not None]
    assert len(set(first)) >= 3


def test_an_optuna_sampler_and_an_offered_one_are_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both search, under their own names."""
    assert run(searcher(optuna.samplers.RandomSampler(seed=0), FLAT), 3)[0][1] == "RandomSampler (one dimension)"
    point = EntryPoint("quasi", "optuna.samplers:QMCSampler", names.SAMPLER_GROUP)
    monkeypatch.setattr(names, "entry_points", lambda group: (point,))
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        assert run(searcher("quasi", FLAT), 6)[-1][1] == "quasi"


def test_cmaes_refuses_constraints() -> None:
    """It would ignore them silently."""
    with pytest.raises(StrategyError, match="CMA-ES knows no constraints"):
        make_sampler("cmaes", FLAT, seed=0, constraints=True)


@pytest.mark.parametrize("strategy", ["tpe", "genetic", "random"])
def test_several_objectives_with_constraints_pruned_and_failed_trials(strategy: str) -> None:
    """Everything that can happen to a trial in one search; the front keeps the constraint."""
    s = searcher(strategy, directions=["maximize", "minimize"], constraints=True)
    for i in range(30):
        proposal = s.ask()
        assert proposal is not None
        s.report(proposal.number, 1, 0.5)
        if i % 5 == 4:
            s.tell(proposal.number, TrialState.PRUNED)
        elif i % 7 == 3:
            s.tell(proposal.number, TrialState.FAILED)
        else:
            size = proposal.config["batch_size"]
            s.tell(proposal.number, TrialState.COMPLETED, [score(proposal.config), size], [size - 40])
    assert s.study.best_trials and all(t.params["batch_size"] <= 40 for t in s.study.best_trials)


@pytest.mark.slow
def test_the_gaussian_process_survives_the_same() -> None:
    """Constraints, several objectives and an unmeasured violation."""
    s = searcher("bayesian", FLAT, directions=["maximize", "minimize"], constraints=True)
    for i in range(9):
        proposal = s.ask()
        assert proposal is not None
        violation = math.inf if i == 2 else proposal.config["dropout"] - 0.2
        s.tell(proposal.number, TrialState.COMPLETED, [score(proposal.config), i], [violation])
    assert proposal.proposed_by == "constrained expected hypervolume improvement"


def test_telling_twice_changes_nothing() -> None:
    """A worker that died after telling may tell again."""
    s = searcher("random")
    run(s, 1)
    assert s.tell(0, TrialState.FAILED) is TrialState.COMPLETED
    assert s.study.trials[0].state.name == "COMPLETE"


def test_a_nan_value_is_a_failure() -> None:
    """Optuna does not take a NaN; the trial is stored as failed."""
    s = searcher("random")
    proposal = s.ask()
    assert proposal is not None
    assert s.tell(proposal.number, TrialState.COMPLETED, [math.nan]) is TrialState.FAILED
    assert s.study.trials[0].state.name == "FAIL"
    with pytest.raises(ValueError, match="ends completed, pruned or failed"):
        s.tell(0, TrialState.RUNNING)


def test_a_pruned_trial_keeps_its_last_report() -> None:
    """So that TPE can learn from it."""
    s = searcher("tpe")
    proposal = s.ask()
    assert proposal is not None
    s.report(proposal.number, 1, 0.25)
    s.tell(proposal.number, TrialState.PRUNED)
    assert s.study.trials[0].value == 0.25


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(dimensions("x"))
def test_values_survive_optunas_storage_form(dimension: Dimension) -> None:
    """Lists and look-alikes such as True and 1 come back as what they were."""
    space = distribution(dimension)
    for value in dimension.points(5):
        stored = space.to_external_repr(space.to_internal_repr(encode(dimension, value)))
        back = dimension.normalise(decode(dimension, stored))
        assert back == value and isinstance(back, bool) == isinstance(value, bool)


@pytest.mark.slow
def test_tpe_finds_a_better_configuration_than_random_search() -> None:
    """Over ten seeds on a smooth surface, the median of the best after 40 trials."""

    def best(strategy: str) -> float:
        values = sorted(max(score(c) for c, _ in run(searcher(strategy, FLAT, seed=seed), 40)) for seed in range(10))
        return values[5]

    assert best("tpe") > best("random")
