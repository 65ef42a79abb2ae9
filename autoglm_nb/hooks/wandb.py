"""Weights & Biases: one run a trial, grouped by study, and one for the study itself.

Runs get identifiers made from the study and their names, so that a run is found again after
any interruption, offline too. Project, entity, mode and key follow W&B's own settings
(`WANDB_PROJECT`, `WANDB_MODE=offline` ...); code, git state and machine are not sent.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

from autoglm_nb.hooks._base import Hook, RunInfo, RunOutcome, StudyInfo, StudyOutcome, flat, numbers
from autoglm_nb.record import words

__all__ = ["WandbHook"]

PROJECT = "autoglm"


class WandbHook(Hook):
    """Keeps the runs of this process open by name."""

    name = "wandb"

    def __init__(self, memory: dict[str, str]) -> None:
        super().__init__(memory)
        self._open: dict[str, Any] = {}

    def on_study_started(self, study: StudyInfo) -> None:
        about = {
            "model": study.model, "data": study.data, "task": study.task, "metric": study.metric,
            "direction": study.direction, "strategy": study.strategy, "seed": study.seed, "identity": study.identity,
        }  # fmt: skip
        self._run(study, "study", "study", flat(about))

    def on_trial_started(self, study: StudyInfo, run: RunInfo) -> None:
        opened = self._run(study, run.name, run.role, flat(run.config))
        opened.summary["proposed_by"] = words.clean(run.proposed_by, 400)

    def on_report(self, study: StudyInfo, run: RunInfo, rung: int, value: float, at: float) -> None:
        opened = self._run(study, run.name, run.role, flat(run.config))
        opened.log({_key(study.metric): value, "evaluation": rung}, step=rung, commit=True)

    def on_trial_ended(self, study: StudyInfo, run: RunInfo, outcome: RunOutcome) -> None:
        opened = self._run(study, run.name, run.role, flat(run.config))
        for name, value in numbers(outcome.metrics).items():
            opened.summary[f"final/{_key(name)}"] = value
        if outcome.value is not None:
            opened.summary["value"] = outcome.value
        opened.summary["state"] = outcome.state
        if outcome.because:
            opened.summary["because"] = words.clean(outcome.because, 400)
        self._finish(run.name, 1 if outcome.state == "failed" else 0)

    def on_study_ended(self, study: StudyInfo, outcome: StudyOutcome) -> None:
        opened = self._run(study, "study", "study", {})
        about = {"best_value": outcome.best_value, "baseline_value": outcome.baseline_value}
        winner = outcome.final.get("winner")
        about |= {"test": winner.get("mean")} if isinstance(winner, dict) else {}
        for name, value in numbers(about).items():
            opened.summary[name] = value
        if outcome.best_trial is not None:
            opened.summary["best_trial"] = outcome.best_trial
        opened.summary["state"] = outcome.state
        self._finish("study", 1 if outcome.state == "failed" else 0)

    def close(self) -> None:
        for name in list(self._open):
            self._finish(name, 0)

    def _run(self, study: StudyInfo, name: str, role: str, config: dict[str, Any]) -> Any:
        """The open run of that name; an earlier process's run is opened again by its identifier."""
        if name not in self._open:
            import wandb

            text = f"{study.name}\n{study.identity}\n{study.created_at!r}\n{name}"
            self._open[name] = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or PROJECT,
                id=hashlib.sha256(text.encode()).hexdigest()[:16],
                name=f"{study.name}/{name}",
                group=study.name,
                job_type=role,
                config=config,
                dir=os.environ.get("WANDB_DIR") or str(_folder(study)),
                resume="allow",
                reinit="create_new",
                settings=wandb.Settings(
                    console="off",
                    silent=True,
                    disable_git=True,
                    disable_code=True,
                    disable_job_creation=True,
                    save_code=False,
                    x_disable_stats=True,
                    x_disable_meta=True,
                    x_disable_machine_info=True,
                ),
            )
        return self._open[name]

    def _finish(self, name: str, code: int) -> None:
        opened = self._open.pop(name, None)
        if opened is not None:
            opened.finish(exit_code=code)


def _folder(study: StudyInfo) -> Any:
    """`.autoglm/wandb`, where W&B keeps its files unless `WANDB_DIR` says otherwise."""
    folder = study.home / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _key(name: str) -> str:
    return words.clean(name, 80).replace("/", "_") or "_"
