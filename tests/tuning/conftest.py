"""Small real studies: a tiny model, toy reviews, the worker run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoglm_nb.protocol import Snapshot
from autoglm_nb.session import plan
from autoglm_nb.store import Store, snapshot
from autoglm_nb.tuning.worker import run_worker

SPACE = """
learning_rate = loguniform(1e-3, 3e-2)
rank = choice(2, 4)
epochs = 2
batch_size = 16
"""


class Study:
    """A stored study of the tiny encoder and the way to run its worker here."""

    def __init__(self, home: Path, model: Path, data: Path, **options: Any) -> None:
        defaults: dict[str, Any] = {
            "name": "toy",
            "space": SPACE,
            "strategy": "random",
            "trials": 3,
            "seeds": 0,
            "pruner": "none",
            "target": "label",
            "baseline": False,
            "device": "cpu",
        }
        self.plan = plan(str(model), str(data), home=home, **{**defaults, **options})
        self.home = home
        self.name = self.plan.spec.name
        self.store = Store(home)
        if self.store.has_study(self.name):
            self.store.continue_study(self.plan.spec)
        else:
            self.store.create_study(self.plan.spec)

    def run(self) -> Snapshot:
        run_worker(self.home, self.name, extras=self.plan.extras)
        return self.snapshot()

    def snapshot(self) -> Snapshot:
        return snapshot(self.store, self.name)

    def states(self) -> list[str]:
        return [trial["state"] for trial in self.snapshot()["trials"]]


@pytest.fixture
def make_study(tmp_path: Path, tiny_encoder_path: Path, reviews_csv: Path) -> Callable[..., Study]:
    def make(**options: Any) -> Study:
        return Study(
            tmp_path / "home",
            Path(options.pop("model", tiny_encoder_path)),
            Path(options.pop("data", reviews_csv)),
            **options,
        )

    return make
