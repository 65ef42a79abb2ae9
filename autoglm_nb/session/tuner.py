"""`AutoTuner`: the whole of `%%autotune` in plain Python.

>>> tuner = AutoTuner(model_name="minilm", strategy="tpe", seed=0)           # doctest: +SKIP
>>> results = tuner.optimize(dataset="reviews.csv", target="label", max_trials=24, budget="20m")  # doctest: +SKIP
>>> results.best_config                                                       # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autoglm_nb.session.handle import StudyHandle, launch
from autoglm_nb.session.planning import Plan, plan
from autoglm_nb.session.results import Results

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from autoglm_nb.space import Space

__all__ = ["AutoTuner"]


class AutoTuner:
    """Tunes one model (or a choice of several) on one data set.

    Args:
        model_name: catalogue name, local folder or hub id.
        search_space: "default", cell text, a `Space` or its JSON.
        strategy: a strategy's name or any `optuna.samplers.BaseSampler`.
        seed: splits, sampling and training.
        objective: a function `(config, report) -> value` in place of training.
        home: the store's folder; `.autoglm` beside the notebook unless `AUTOGLM_HOME` says otherwise.
        options: whatever else `%%autotune` takes, in Python spelling
            (`task`, `metric`, `pruner`, `executor`, `device`, `precision`, `seeds`, `max_length` …).
    """

    def __init__(
        self,
        model_name: str | None = None,
        search_space: str | Space | Mapping[str, Any] = "default",
        strategy: str | BaseSampler = "bayesian",
        *,
        seed: int = 0,
        objective: Callable[..., Any] | None = None,
        home: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        self._common: dict[str, Any] = {
            "model": model_name,
            "space": search_space,
            "strategy": strategy,
            "seed": seed,
            "objective": objective,
            "home": home,
            **options,
        }
        self._enqueued: list[dict[str, Any]] = []
        self._handle: StudyHandle | None = None

    def plan(
        self, dataset: Any = None, *, max_trials: int | None = None, budget: str | float | None = None, **options: Any
    ) -> Plan:
        """Check a request without starting it.

        Raises:
            UsageError: with every fault found.
        """
        return plan(
            **{
                **self._common,
                "data": dataset,
                "trials": max_trials,
                "budget": budget,
                "enqueue": tuple(self._enqueued),
                **options,
            }
        )

    def start(
        self, dataset: Any = None, *, max_trials: int | None = None, budget: str | float | None = None, **options: Any
    ) -> StudyHandle:
        """Start the study in the background and return its handle at once.

        Args:
            dataset: file, folder, catalogue name, hub id, DataFrame, `datasets.Dataset` or list of dicts.
            max_trials: total number of trials (20 unless a budget is given).
            budget: active worker time, such as "20m".
            options: `target`, `validation`, `test`, `name`, `fork` and the other options of `%%autotune`.

        Raises:
            UsageError, StudyMismatchError, WorkerError.
        """
        self._handle = launch(self.plan(dataset, max_trials=max_trials, budget=budget, **options))
        return self._handle

    def optimize(
        self, dataset: Any = None, *, max_trials: int | None = None, budget: str | float | None = None, **options: Any
    ) -> Results:
        """Start the study and block until it ends. Ctrl-C stops the waiting, not the study.

        Raises:
            as `start`, and AutoGLMError when the study failed.
        """
        return self.start(dataset, max_trials=max_trials, budget=budget, **options).wait().results()

    def enqueue(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """Configurations to try first (with strategy="fixed": only these)."""
        if self._handle is not None and not self._handle.ended:
            self._handle.enqueue(configs)
        else:
            self._enqueued += [dict(config) for config in configs]

    @property
    def handle(self) -> StudyHandle | None:
        """The study started last."""
        return self._handle
