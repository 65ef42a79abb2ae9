"""Everything the sections need to know about a study, read once.

`Facts` holds a whole snapshot (all trials, not a page of them), the space as an object
where it can be read, and the confirmation runs with their curves. It answers the small
questions that several sections ask; it draws no conclusions.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoglm_nb.errors import AutoGLMError, StudyNotFoundError, did_you_mean
from autoglm_nb.explain.privacy import scrub
from autoglm_nb.protocol import RunRole
from autoglm_nb.record import Story, words
from autoglm_nb.space import Space

if TYPE_CHECKING:
    from autoglm_nb.store.decisions import Decision
    from autoglm_nb.store.outbox import Message

__all__ = ["Curve", "Facts", "load", "plural"]


@dataclass(frozen=True)
class Curve:
    """One run's course: `points` are (step or rung, value) pairs."""

    group: str
    seed: int | None
    points: tuple[tuple[float, float], ...]
    what: str


@dataclass(frozen=True)
class Facts:
    """One study, read once.

    Attributes:
        snapshot: a `protocol.Snapshot` with every trial, free of absolute paths.
        curves: of the confirmation runs, winner and default configuration.
        directions: "maximize" or "minimize" for each objective.
        decisions: that came back, oldest first.
        reports: pushed to a decision system, oldest first.
    """

    snapshot: Mapping[str, Any]
    curves: tuple[Curve, ...] = field(default=())
    directions: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    reports: tuple[Message, ...] = ()

    @cached_property
    def story(self) -> Story:
        return Story(self.snapshot)

    @cached_property
    def space(self) -> Space | None:
        """The search space, None where the stored form cannot be read."""
        try:
            return Space.from_json(self.snapshot.get("space") or {})
        except AutoGLMError:
            return None

    @property
    def study(self) -> Mapping[str, Any]:
        return self.story.study

    @property
    def name(self) -> str:
        return self.story.name

    @property
    def maximize(self) -> bool:
        return self.story.maximize

    @property
    def direction(self) -> str:
        return "maximize" if self.maximize else "minimize"

    @property
    def metric(self) -> str:
        """The first objective's name as shown."""
        return self.story.metric

    @property
    def objectives(self) -> list[str]:
        return list(self.story.objectives)

    @property
    def several(self) -> bool:
        """Whether the study has several objectives."""
        return len(self.objectives) > 1

    @property
    def trials(self) -> list[Mapping[str, Any]]:
        return self.story.trials

    def in_state(self, state: str) -> list[Mapping[str, Any]]:
        return [t for t in self.trials if t.get("state") == state]

    @cached_property
    def completed(self) -> list[Mapping[str, Any]]:
        """Completed trials with a finite value, by number."""
        done = [t for t in self.in_state("completed") if words.finite(t.get("value")) is not None]
        return sorted(done, key=lambda t: int(t["number"]))

    @cached_property
    def best(self) -> Mapping[str, Any] | None:
        """The winner: the headline's trial, else the best completed one."""
        wanted = self.story.headline.get("best_trial")
        for trial in self.completed:
            if wanted is not None and trial["number"] == wanted:
                return trial
        if not self.completed:
            return None
        return (max if self.maximize else min)(self.completed, key=lambda t: float(t["value"]))

    @property
    def best_config(self) -> dict[str, Any]:
        if self.best is not None:
            return dict(self.best.get("config") or {})
        return dict(self.story.headline.get("best_config") or {})

    @cached_property
    def searched(self) -> list[str]:
        """Names of the searched hyper-parameters, in order; those that vary where no space is known."""
        if self.space is not None and self.space.dimensions:
            return list(dict.fromkeys(d.name for d in self.space.dimensions))
        seen: dict[str, set[str]] = {}
        for trial in self.trials:
            for name, value in (trial.get("config") or {}).items():
                seen.setdefault(name, set()).add(words.number(value, 12))
        return [name for name, values in seen.items() if len(values) > 1]

    def better(self, one: float, two: float) -> bool:
        return one > two if self.maximize else one < two

    def trial(self, number: int) -> Mapping[str, Any] | None:
        return next((t for t in self.trials if t.get("number") == number), None)


def load(home: Path | str, study: str) -> Facts:
    """Read a study. Never creates or changes a store.

    Raises:
        StudyNotFoundError: no such study, or no store at `home`.
    """
    from autoglm_nb.store import Store, decisions, directions_of, outbox, snapshot

    folder = Path(home)
    if not (folder / "studies.db").exists():
        raise StudyNotFoundError(
            f"No study {words.clean(study, 80)!r} is stored here: there is no study store yet. Start one with "
            "%%autotune."
        )
    store = Store(folder, create=False)
    if not store.has_study(study):
        known = [s.name for s in store.studies()]
        remedy = did_you_mean(study, known) or "No study is stored here yet."
        raise StudyNotFoundError(f"No study is named {words.clean(study, 80)!r}. {words.clean(remedy, 400)}")
    shot = snapshot(store, study, limit=None)
    winner = shot["headline"]["best_trial"]
    known = [str(p) for p in (folder.resolve().parent, Path.home(), Path.cwd()) if len(p.parts) > 1]
    return Facts(
        scrub(dict(shot), known),
        tuple(_curves(store, study, winner)),
        tuple(directions_of(store.spec(study))),
        tuple(decisions(store, study)),
        tuple(outbox.messages(store, study)),
    )


def _curves(store: Any, study: str, winner: int | None) -> list[Curve]:
    """Validation reports of the confirmation runs where there are several, else training losses."""
    rows = [r for r in store.runs(study, RunRole.CONFIRM) if _current(r.run, winner)]
    if not rows:
        return []
    reports = _reports(store.study_dir(study) / "events.jsonl", {r.run for r in rows})
    evaluated = all(len(reports.get(r.run, [])) > 1 for r in rows)
    curves = []
    for row in rows:
        points = reports[row.run] if evaluated else _losses(store.run_dir(study, row.run) / "losses.jsonl")
        if points:
            group = "default settings" if row.run.startswith("baseline") else "best configuration"
            curves.append(Curve(group, row.seed, tuple(points), "evaluation" if evaluated else "training loss"))
    return curves


def _current(run: str, winner: int | None) -> bool:
    """Not a run of an earlier winner: `winner-<trial>-seed-<seed>` names its trial."""
    found = re.match(r"winner-(\d+)-seed", run)
    return found is None or int(found[1]) == winner


def _reports(path: Path, runs: set[str]) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, dict[float, float]] = {}
    for record in _lines(path):
        if record.get("type") == "report" and record.get("run") in runs:
            rung, value = words.finite(record.get("rung")), words.finite(record.get("value"))
            if rung is not None and value is not None:
                found.setdefault(str(record["run"]), {})[rung] = value  # a resumed run reports a rung again
    return {run: sorted(points.items()) for run, points in found.items()}


def _losses(path: Path) -> list[tuple[float, float]]:
    points: dict[float, float] = {}
    for record in _lines(path):
        step, loss = words.finite(record.get("step")), words.finite(record.get("loss"))
        if step is not None and loss is not None:
            points[step] = loss
    return _smoothed(sorted(points.items()))


def _lines(path: Path) -> list[dict[str, Any]]:
    """Complete JSON lines of a file that may still be written, or be missing."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def _smoothed(points: Sequence[tuple[float, float]], parts: int = 30) -> list[tuple[float, float]]:
    """Means over equal parts of the run: single steps of a small batch are mostly noise."""
    if len(points) <= parts:
        return list(points)
    size = math.ceil(len(points) / parts)
    chunks = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(p[0] for p in c) / len(c), sum(p[1] for p in c) / len(c)) for c in chunks]


def plural(n: int, noun: str, many: str | None = None) -> str:
    """`1 trial`, `2 trials`."""
    return f"{n} {noun if n == 1 else many or noun + 's'}"
