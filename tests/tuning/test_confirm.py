"""The comparison of winner and default configuration: which trial, which seeds, which rows."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.tuning.conftest import SPACE, Study


def _first_loss(study: Study, run: str) -> float:
    line = (study.store.run_dir(study.name, run) / "losses.jsonl").read_text().splitlines()[0]
    return float(json.loads(line)["loss"])


def test_a_seed_in_the_search_space_does_not_make_the_repeats_alike(make_study: Callable[..., Study]) -> None:
    """The trial uses the space's seed; the repeats still train from seeds of their own."""
    study = make_study(space=SPACE + "seed = 11\n", trials=1, seeds=2)
    final = study.run()["final"]
    assert final is not None and final["seeds"] == [1, 2]
    runs = ["trial-0000", "winner-0-seed-1", "winner-0-seed-2"]
    assert len({_first_loss(study, run) for run in runs}) == 3


@pytest.mark.slow
def test_a_trial_beyond_a_constraint_is_not_the_winner(make_study: Callable[..., Study]) -> None:
    """The better trial trains more than the bound allows, so the other one is repeated and shown."""
    space = "learning_rate = choice(1e-5, 1e-2)\nrank = choice(1, 8)\nepochs = 4\nbatch_size = 8"
    options = {
        "space": space,
        "strategy": "fixed",
        "enqueue": [{"learning_rate": 1e-2, "rank": 8}, {"learning_rate": 1e-5, "rank": 1}],
        "trials": 2,
        "seeds": 1,
    }
    free = make_study(name="free", **options).run()
    shares = [t["metrics"]["trainable_share"] for t in free["trials"]]
    assert free["headline"]["best_trial"] == 0 and shares[0] > shares[1]
    study = make_study(name="bound", constraints=[f"trainable_share <= {sum(shares) / 2}"], **options)
    shot = study.run()
    assert shot["headline"]["best_trial"] == 1
    assert [r.run for r in study.store.runs("bound") if r.role == "confirm"] == ["winner-1-seed-1"]
