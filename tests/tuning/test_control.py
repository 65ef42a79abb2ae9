"""Requests as the worker sees them."""

from __future__ import annotations

from collections.abc import Callable

from autoglm_nb.protocol import Action
from autoglm_nb.tuning.control import Control
from tests.tuning.conftest import Study

CONFIG = {"learning_rate": 5e-3, "rank": 4}


def test_an_enqueued_configuration_outlives_a_worker_that_only_heard_of_it(make_study: Callable[..., Study]) -> None:
    """The request stays pending until its trial is stored; the next worker tries it, once."""
    study = make_study(trials=1)
    study.store.request("toy", Action.ENQUEUE, {"config": CONFIG})
    died = Control(study.store, "toy")
    died.poll(force=True)
    died.poll(force=True)
    assert [request.payload["config"] for request in died.enqueued] == [CONFIG]
    (trial,) = study.run()["trials"]
    assert {**trial["config"], **CONFIG} == trial["config"] and trial["proposed_by"] == "given"
    assert study.store.pending("toy") == []
    again = make_study(trials=2).run()["trials"]
    assert again[1]["proposed_by"] != "given"
