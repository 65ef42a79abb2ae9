"""TensorBoard: one folder of event files a run under `.autoglm/tensorboard/<study>/`, with its hyper-parameters.

`%tensorboard --logdir .autoglm/tensorboard/<study>` shows curves and the HParams table.
`AUTOGLM_TENSORBOARD_DIR` puts the folder of all studies elsewhere. TensorBoard's own writer
is used; neither TensorFlow nor torch is needed.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from autoglm_nb import settings
from autoglm_nb.hooks._base import Hook, RunInfo, RunOutcome, StudyInfo, StudyOutcome, flat, numbers
from autoglm_nb.record import words

__all__ = ["TensorBoardHook"]


class TensorBoardHook(Hook):
    """Keeps a writer open for each run under way; another process adds a file to the same folder."""

    name = "tensorboard"

    def __init__(self, memory: dict[str, str]) -> None:
        super().__init__(memory)
        self._writers: dict[str, Any] = {}

    def on_study_started(self, study: StudyInfo) -> None:
        _folder(study).mkdir(parents=True, exist_ok=True)

    def on_trial_started(self, study: StudyInfo, run: RunInfo) -> None:
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        began = run.started_at or time.time()
        self._write(study, run.name, hparams_pb(flat(run.config), trial_id=run.name, start_time_secs=began), 0, began)

    def on_report(self, study: StudyInfo, run: RunInfo, rung: int, value: float, at: float) -> None:
        self._scalars(study, run.name, {study.metric: value}, rung, at)

    def on_trial_ended(self, study: StudyInfo, run: RunInfo, outcome: RunOutcome) -> None:
        measured = {f"final/{name}": value for name, value in numbers(outcome.metrics).items()}
        if outcome.value is not None:
            measured["value"] = outcome.value
        at = outcome.ended_at or time.time()
        self._scalars(study, run.name, measured, 0, at)
        self._write(study, run.name, _session_end(outcome.state, at), 0, at)
        self._writers.pop(run.name).close()

    def on_study_ended(self, study: StudyInfo, outcome: StudyOutcome) -> None:
        self._scalars(study, "study", numbers({"best_value": outcome.best_value}), outcome.best_trial or 0, time.time())
        self.close()

    def close(self) -> None:
        for name in list(self._writers):
            self._writers.pop(name).close()

    def _scalars(self, study: StudyInfo, name: str, values: dict[str, float], step: int, at: float) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        if values:
            parts = [Summary.Value(tag=words.clean(tag, 80), simple_value=value) for tag, value in values.items()]
            self._write(study, name, Summary(value=parts), step, at)

    def _write(self, study: StudyInfo, name: str, summary: Any, step: int, at: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if name not in self._writers:
            self._writers[name] = EventFileWriter(str(_folder(study) / _file_name(name)))
        self._writers[name].add_event(Event(wall_time=at, step=step, summary=summary))
        self._writers[name].flush()  # a process that is killed leaves what it was told


def _session_end(state: str, at: float) -> Any:
    """How a run ended, for the HParams table. TensorBoard's own function for this asks for TensorFlow."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    status = Status.STATUS_FAILURE if state == "failed" else Status.STATUS_SUCCESS
    data = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=at))
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])


def _folder(study: StudyInfo) -> Path:
    return (settings.tensorboard_dir() or study.home / "tensorboard") / _file_name(study.name)


def _file_name(name: str) -> str:
    """The name as one folder: a run's name is ours, a study's has been checked, but neither is trusted to be a path."""
    return re.sub(r"[^\w .,+=@()-]", "_", name).lstrip(". ")[:120] or "_"
