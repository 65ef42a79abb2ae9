"""The contract of a hook, and the records it is given.

Calls come from one thread, in the order of the study: `on_study_started`, then for every run
`on_trial_started`, any number of `on_report` with rising `rung`, `on_trial_ended`, with several
runs interleaved, and `on_study_ended` last. Runs are the trials and what is compared with them
(the default settings, the repeats on several seeds); `RunInfo.role` says which.

A study may be interrupted and followed again by another process. Then `on_study_started` comes
again with `study.resumed`, and reports of a run may come whose `on_trial_started` an earlier
process got: what a hook needs to find its own runs it writes into `memory`, texts by texts,
which is kept for it. Nothing that a hook was told once is told again, but for one call where a
process died in the middle of it; so a repetition must do no harm.

A hook owns what it opens and releases it in `close`. It may raise anything: it is then not
called any more by this process. It must not print, and changes no record it is given.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from autoglm_nb.record import words

__all__ = ["Hook", "RunInfo", "RunOutcome", "StudyInfo", "StudyOutcome", "flat", "numbers"]


@dataclass(frozen=True)
class StudyInfo:
    """What a tracker should know about the study. Texts are the person's own: untrusted.

    Attributes:
        name, identity, model, data, task, metric, direction, strategy, seed: as stored.
        created_at: Unix seconds; with the name it tells two studies apart.
        home: the folder `.autoglm`, for what a hook writes to disk.
        resumed: whether this hook has been told of the study before.
    """

    name: str
    identity: str
    model: str
    data: str
    task: str
    metric: str
    direction: str
    strategy: str
    seed: int
    created_at: float
    home: Path
    resumed: bool = False


@dataclass(frozen=True)
class RunInfo:
    """One run. `name` is unique within the study ("trial-0003", "baseline"); `trial` its number, if it is one."""

    name: str
    role: str
    trial: int | None
    config: dict[str, Any] = field(default_factory=dict)
    proposed_by: str = ""
    started_at: float = 0.0


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended: `state` is completed, pruned or failed; `metrics` whatever was measured."""

    state: str
    value: float | None
    because: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    ended_at: float = 0.0


@dataclass(frozen=True)
class StudyOutcome:
    """How the study stands at its end; `final` compares winner and default settings on the test split."""

    state: str
    best_value: float | None
    best_trial: int | None
    best_config: dict[str, Any] = field(default_factory=dict)
    baseline_value: float | None = None
    final: dict[str, Any] = field(default_factory=dict)


class Hook(ABC):
    """Tells one tracker about one study.

    Args:
        memory: texts kept for this hook and study from process to process; changed in place.
    """

    name: ClassVar[str]

    def __init__(self, memory: dict[str, str]) -> None:
        self.memory = memory

    @abstractmethod
    def on_study_started(self, study: StudyInfo) -> None:
        """The study begins, or goes on (`study.resumed`)."""

    @abstractmethod
    def on_trial_started(self, study: StudyInfo, run: RunInfo) -> None:
        """A run begins, or one that had ended goes on."""

    @abstractmethod
    def on_report(self, study: StudyInfo, run: RunInfo, rung: int, value: float, at: float) -> None:
        """One evaluation: the metric on the validation rows at evaluation `rung`, finite, at Unix time `at`."""

    @abstractmethod
    def on_trial_ended(self, study: StudyInfo, run: RunInfo, outcome: RunOutcome) -> None:
        """A run has ended for good."""

    @abstractmethod
    def on_study_ended(self, study: StudyInfo, outcome: StudyOutcome) -> None:
        """The study has ended; it may be continued later."""

    def close(self) -> None:
        """Let go of files, connections and processes. Called once, also after a failure."""
        return None


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among some values, names cleaned; a mapping inside is left out."""
    found = {}
    for name, value in values.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found[words.clean(name, 80)] = float(value)
    return found


def flat(config: Mapping[str, Any]) -> dict[str, str | float | int | bool]:
    """A configuration with values that every tracker takes: numbers and booleans as they are, the rest as text."""
    return {
        words.clean(name, 80): value if isinstance(value, bool | int | float) else words.clean(value, 200)
        for name, value in config.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }
