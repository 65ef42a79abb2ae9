"""Control requests reach the worker once, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoglm_nb.errors import StudyNotFoundError
from autoglm_nb.protocol import Action
from autoglm_nb.store import Store
from tests.store.conftest import Python, heard, make_spec, tell


def test_requests_are_pending_in_order_until_handled(store: Store, study: str) -> None:
    """The worker polls them and marks each."""
    first = store.request(study, Action.PAUSE)
    second = store.request(study, Action.STOP_TRIAL, {"trial": 3})
    assert [(r.id, r.action, r.payload) for r in store.pending(study)] == [
        (first, Action.PAUSE, {}),
        (second, Action.STOP_TRIAL, {"trial": 3}),
    ]
    assert store.handled(first, "paused")
    assert [r.id for r in store.pending(study)] == [second]
    assert not store.handled(first), "a request is handled once"


def test_requests_go_to_their_own_study(store: Store, study: str) -> None:
    """Two studies run side by side."""
    store.create_study(make_spec("other"))
    store.request(study, Action.STOP)
    assert store.pending("other") == []
    with pytest.raises(StudyNotFoundError):
        store.request("missing", Action.STOP)


def test_two_processes_handle_each_request_once(store: Store, study: str, home: Path, python: Python) -> None:
    """An old worker and its successor may poll at the same time."""
    ids = [store.request(study, Action.ENQUEUE, {"config": {"rank": i}}) for i in range(40)]
    code = """
        store = Store(home); say("ready"); listen()
        won = [r.id for r in store.pending("reviews") if store.handled(r.id, str(os.getpid()))]
        say(*won)
    """
    processes = [python(code) for _ in range(2)]
    assert [heard(p) for p in processes] == ["ready", "ready"]
    for process in processes:
        tell(process)
    won = [int(word) for p in processes for word in heard(p).split()]
    assert sorted(won) == ids
