"""A search with Optuna: TPE, successive halving, one PEFT + Trainer run a trial.

What Optuna's documentation shows for a pruned search, and nothing less: trials are
evaluated at each quarter on the same few hundred rows and pruned there by
`SuccessiveHalvingPruner`; a trial that reaches its end is scored on all validation
rows. Rows are tokenised once, the model is loaded anew for each trial, batches are of
rows of similar length. Afterwards the best trial's model is scored on the test rows.

    python -m benchmarks.peers.optuna_search --request request.json --answer answer.json

The request holds model, files (with labels), trials, seed, space, partial_rows, recipe
and folder. The answer holds the wall clock (seconds since the epoch) at which
each trial ended, its state and value, and the test accuracy of the best.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import SuccessiveHalvingPruner
from optuna.samplers import TPESampler
from transformers import TrainerCallback

from benchmarks.peers import peft_trainer

__all__ = ["PruningCallback", "search", "suggest"]

EVALUATIONS = 4


class PruningCallback(TrainerCallback):
    """Reports each evaluation to Optuna, and ends training where it advises so."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial
        self.reports = 0
        self.pruned = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """No partial evaluation after the last step, for all validation rows follow."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = False

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Mapping[str, float], **_: Any) -> None:
        """Report an evaluation during training."""
        self.reports += 1
        self._trial.report(metrics["eval_accuracy"], self.reports)
        if self._trial.should_prune():
            self.pruned = True
            control.should_training_stop = True


def suggest(trial: optuna.Trial, space: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration.

    Args:
        trial: asked for what is not constant.
        space: name -> a constant, ["loguniform" or "uniform", low, high] or ["choice", value, value ...].
    """
    config: dict[str, Any] = {}
    for name, given in space.items():
        if not isinstance(given, list):
            config[name] = given
        elif given[0] == "choice":
            config[name] = trial.suggest_categorical(name, given[1:])
        else:
            config[name] = trial.suggest_float(name, given[1], given[2], log=given[0] == "loguniform")
    return config


def search(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run the whole search; returns what stands in the answer."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(request["folder"])
    splits = {name: request["files"][name] for name in ("train", "validation", "test")}
    data = peft_trainer.read_data(request["model"], splits, tuple(request["files"]["labels"]), cache=folder / "cache")
    recipe = peft_trainer.Recipe(**request["recipe"])
    partial = data.validation.shuffle(seed=0).select(range(min(request["partial_rows"], len(data.validation))))
    timeline: list[dict[str, Any]] = []
    best: dict[str, Any] = {"value": -1.0, "trainer": None}

    def objective(trial: optuna.Trial) -> float:
        callback = PruningCallback(trial)
        trainer = peft_trainer.make_trainer(
            request["model"],
            data,
            suggest(trial, request["space"]),
            recipe,
            seed=request["seed"],
            output=folder / "trainer",
            evaluation=partial,
            evaluations=EVALUATIONS,
            callbacks=(callback,),
        )
        trainer.train()
        if callback.pruned:
            peft_trainer.release(trainer)
            raise optuna.TrialPruned
        trainer.remove_callback(callback)
        value = peft_trainer.evaluate(trainer, data.validation)["accuracy"]
        if value > best["value"]:
            if best["trainer"] is not None:
                peft_trainer.release(best["trainer"])
            best.update(value=value, trainer=trainer)
        else:
            peft_trainer.release(trainer)
        return value

    def note(_: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        timeline.append(
            {"at": time.time(), "trial": trial.number, "state": trial.state.name.lower(), "value": trial.value}
        )

    study = optuna.create_study(
        direction="maximize",
        sampler=TPESampler(seed=request["seed"]),
        pruner=SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    )
    study.optimize(objective, n_trials=request["trials"], callbacks=[note])
    ended = time.time()
    test = peft_trainer.evaluate(best["trainer"], data.test)["accuracy"]
    return {
        "timeline": timeline,
        "ended": ended,
        "best_value": study.best_value,
        "best_config": study.best_params,
        "test_accuracy": test,
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--request", type=Path, required=True)
    parser.add_argument("--answer", type=Path, required=True)
    options = parser.parse_args()
    answer = search(json.loads(options.request.read_text(encoding="utf-8")))
    options.answer.write_text(json.dumps(answer), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
