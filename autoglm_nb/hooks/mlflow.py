"""MLflow: one experiment a study, one run for the study itself and a nested run for each trial.

The client is used without MLflow's notion of an active run, so runs may interleave. Where to
log follows MLflow's own settings (`MLFLOW_TRACKING_URI`); the experiment carries the study's
name unless `MLFLOW_EXPERIMENT_NAME` says otherwise.
"""

from __future__ import annotations

import os
import re
from typing import Any

from autoglm_nb.hooks._base import Hook, RunInfo, RunOutcome, StudyInfo, StudyOutcome, flat, numbers
from autoglm_nb.record import words

__all__ = ["MLflowHook"]

_STATES = {"completed": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
_STUDY_STATES = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_PARENT = "mlflow.parentRunId"


class MLflowHook(Hook):
    """Remembers the identifier of the experiment and of each run it made."""

    name = "mlflow"
    _made: Any = None

    def on_study_started(self, study: StudyInfo) -> None:
        client = self._client()
        if "study" in self.memory:
            client.update_run(self.memory["study"], status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "").strip() or study.name
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known is not None else client.create_experiment(name)
        self.memory["experiment"] = experiment
        tags = {"autoglm.study": study.name, "autoglm.identity": study.identity, "mlflow.source.type": "NOTEBOOK"}
        self.memory["study"] = client.create_run(experiment, run_name=study.name, tags=tags).info.run_id
        about = {
            "model": study.model, "data": study.data, "task": study.task, "metric": study.metric,
            "direction": study.direction, "strategy": study.strategy, "seed": study.seed,
        }  # fmt: skip
        self._log(self.memory["study"], params=flat(about))

    def on_trial_started(self, study: StudyInfo, run: RunInfo) -> None:
        client = self._client()
        if run.name in self.memory:
            client.update_run(self.memory[run.name], status="RUNNING")
            return
        tags = {
            _PARENT: self.memory["study"],
            "autoglm.study": study.name,
            "autoglm.role": run.role,
            "autoglm.proposed_by": words.clean(run.proposed_by, 400),
        }
        made = client.create_run(
            self.memory["experiment"], start_time=_milliseconds(run.started_at), tags=tags, run_name=run.name
        )
        self.memory[run.name] = made.info.run_id
        self._log(made.info.run_id, params=flat(run.config))

    def on_report(self, study: StudyInfo, run: RunInfo, rung: int, value: float, at: float) -> None:
        self._log(self.memory[run.name], {study.metric: value}, step=rung, at=at)

    def on_trial_ended(self, study: StudyInfo, run: RunInfo, outcome: RunOutcome) -> None:
        client, id = self._client(), self.memory[run.name]
        measured = {f"final.{name}": value for name, value in numbers(outcome.metrics).items()}
        if outcome.value is not None:
            measured["value"] = outcome.value
        self._log(id, measured, at=outcome.ended_at)
        client.set_tag(id, "autoglm.state", outcome.state)
        if outcome.because:
            client.set_tag(id, "autoglm.because", words.clean(outcome.because, 400))
        client.set_terminated(id, _STATES.get(outcome.state, "FINISHED"), _milliseconds(outcome.ended_at))

    def on_study_ended(self, study: StudyInfo, outcome: StudyOutcome) -> None:
        client, id = self._client(), self.memory["study"]
        measured = numbers({"best_value": outcome.best_value, "baseline_value": outcome.baseline_value})
        winner = outcome.final.get("winner")
        measured |= numbers({"test": winner.get("mean")}) if isinstance(winner, dict) else {}
        self._log(id, measured)
        if outcome.best_trial is not None:
            client.set_tag(id, "autoglm.best_trial", str(outcome.best_trial))
        client.set_terminated(id, _STUDY_STATES.get(outcome.state, "FINISHED"))

    def _client(self) -> Any:
        if self._made is None:
            from mlflow import MlflowClient

            self._made = MlflowClient()
        return self._made

    def _log(
        self,
        id: str,
        metrics: dict[str, float] | None = None,
        *,
        params: dict[str, Any] | None = None,
        step: int = 0,
        at: float = 0.0,
    ) -> None:
        from mlflow.entities import Metric, Param

        when = _milliseconds(at) or 0
        self._client().log_batch(
            id,
            metrics=[Metric(_key(k), v, when, step) for k, v in (metrics or {}).items()],
            params=[Param(_key(k), str(v)) for k, v in (params or {}).items()],
        )


def _milliseconds(seconds: float) -> int | None:
    return int(1000 * seconds) if seconds > 0 else None


def _key(name: str) -> str:
    """A name that MLflow takes: letters, digits and a few signs."""
    return re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII)[:200] or "_"
