"""What a snapshot says, in the order in which a person wants to know it.

`Story` reads a `protocol.Snapshot` once and answers the questions that the
card asks: the best so far, what it gained, which trials to list, what was
measured on the test split, what to do next. The HTML and the text are two ways
of writing the same story. Pure and tolerant: a missing key reads as unknown,
so that a record of an older version still draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from autoglm_nb.protocol import StudyState, TrialState
from autoglm_nb.record import words

__all__ = ["ACTIVE", "TABLE_ROWS", "Story", "fingerprint", "searched_names"]

TABLE_ROWS = 20
"""The trials table shows this many, then says how many more there are."""

ACTIVE = frozenset({StudyState.QUEUED, StudyState.PREPARING, StudyState.RUNNING, StudyState.CONFIRMING})
"""States in which a worker is at it (or about to be)."""


class Story:
    """The facts of one snapshot as sentences and rows of plain, cleaned strings.

    Args:
        snapshot: a `protocol.Snapshot`; never changed.
    """

    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        self.study: Mapping[str, Any] = snapshot.get("study") or {}
        self.headline: Mapping[str, Any] = snapshot.get("headline") or {}
        self.trials: list[Mapping[str, Any]] = list(snapshot.get("trials") or [])
        self.total_trials: int = int(snapshot.get("trials_total") or len(self.trials))
        self.curve: list[list[float]] = list(snapshot.get("curve") or [])
        self.space: Mapping[str, Any] = snapshot.get("space") or {}
        self.notes: list[Mapping[str, Any]] = list(snapshot.get("notes") or [])
        self.final: Mapping[str, Any] = snapshot.get("final") or {}
        self.front: set[int] = set(snapshot.get("front") or [])
        self.provenance: Mapping[str, Any] = snapshot.get("provenance") or {}
        self.decided: Mapping[str, Any] = snapshot.get("decision") or {}

    # -- the headline ---------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return words.clean(self.study.get("name", "study"), 80)

    @property
    def state(self) -> str:
        return str(self.study.get("state", ""))

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def subject(self) -> str:
        """What is tuned on what: "smollm2-135m · movies"."""
        return " · ".join(words.clean(self.study[key], 60) for key in ("model", "data") if self.study.get(key))

    @property
    def metric(self) -> str:
        return words.metric_name(self.study.get("metric"))

    @property
    def maximize(self) -> bool:
        return self.study.get("direction") != "minimize"

    @property
    def objectives(self) -> list[str]:
        """Names of the objectives; one unless a Pareto front is searched for."""
        named = [words.metric_name(name) for name in self.study.get("objectives") or []]
        return named if len(named) > 1 else [self.metric]

    @property
    def best(self) -> str:
        """The answer so far: "Best so far 0.847 accuracy", "Best 0.847 accuracy", "No result yet"."""
        if len(self.objectives) > 1 and self.front:
            return f"Pareto front of {_count(len(self.front), 'trial')} over {' and '.join(self.objectives)}"
        value = words.finite(self.headline.get("best_value"))
        if value is None:
            return "No result" if self.state in (StudyState.FAILED, StudyState.STOPPED) else "No result yet"
        lead = "Best" if self.state in (StudyState.FINISHED, StudyState.STOPPED) else "Best so far"
        return f"{lead} {words.score(value)} {self.metric}"

    @property
    def gain(self) -> str:
        """The comparison with the default settings, or why there is none; may be empty."""
        if words.finite(self.headline.get("gain")) is not None:
            return f"({words.gain(self.headline['gain'])} over the default settings)"
        if words.finite(self.headline.get("best_value")) is not None and self.active:
            return "(default settings not measured yet)"
        return ""

    @property
    def count(self) -> str:
        """How far it is: "trial 11 of 24"; finished studies count what they did."""
        finished, total = int(self.headline.get("finished") or 0), self.headline.get("total")
        if self.active and finished < (total or finished + 1):
            return f"trial {finished + 1} of {total}" if total else f"trial {finished + 1}"
        return f"{finished} of {_count(total, 'trial')}" if total else _count(finished, "trial")

    @property
    def config(self) -> str:
        return words.config_line(self.headline.get("best_config") or {}, self.searched)

    @property
    def reason(self) -> str:
        """Why the study stands where it stands, if it says so."""
        return words.clean(self.study.get("reason") or "", 400)

    @property
    def decision(self) -> str:
        """What a decision system said about the model, in a sentence; "" where nothing came back."""
        verdict = {"approve": "Approved", "hold": "On hold", "reject": "Rejected"}.get(str(self.decided.get("verdict")))
        if verdict is None:
            return ""
        trial = words.number(self.decided.get("trial"))
        by = f" by {words.clean(self.decided['reviewer'], 60)}" if self.decided.get("reviewer") else ""
        why = f": {words.clean(self.decided['reason'], 300).rstrip('.')}" if self.decided.get("reason") else ""
        which = f"the model of trial {trial}" if self.decided.get("trial") is not None else "this study"
        late = "" if self.decided.get("current") else " Another trial has won since; nothing was decided about it."
        return f"{verdict}{by} ({which}){why}.{late}"

    @property
    def advice(self) -> str:
        """What to do next, in one line."""
        given = words.clean(self.headline.get("next") or "", 400)
        if given:
            return given
        name = words.quoted(self.study.get("name", "study"))
        return f"%autotune attach {name} shows it live." if self.active else ""

    # -- trials ---------------------------------------------------------------------------------------------

    @cached_property
    def searched(self) -> list[str]:
        return searched_names(self.space)

    @cached_property
    def ranked(self) -> list[Mapping[str, Any]]:
        """Every trial that has ended: completed ones best first, then pruned, then failed."""
        order = {TrialState.COMPLETED: 0, TrialState.PRUNED: 1, TrialState.FAILED: 2}
        begun = [t for t in self.trials if t.get("state") in order]

        def key(trial: Mapping[str, Any]) -> tuple[int, int, float, int]:
            value = trial_value(trial)
            group = order[TrialState(trial["state"])]
            on_front = 0 if trial.get("number") in self.front else 1
            size = float("inf") if value is None else -value if self.maximize else value
            return (group, on_front, size, int(trial.get("number", 0)))

        return sorted(begun, key=key)

    @property
    def beyond(self) -> int:
        """Trials of the study that this snapshot does not hold (it is a page of a long study)."""
        return max(0, self.total_trials - len(self.trials))

    @property
    def running(self) -> list[Mapping[str, Any]]:
        return [t for t in self.trials if t.get("state") == TrialState.RUNNING]

    def counts(self) -> str:
        """How the trials at hand ended: "18 completed, 4 pruned, 2 failed"."""
        parts = []
        for state in (TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED):
            n = sum(t.get("state") == state for t in self.trials)
            if n:
                parts.append(f"{n} {state}")
        return ", ".join(parts)

    def values(self, trial: Mapping[str, Any]) -> list[str]:
        """A trial's objectives as text; a pruned trial shows its last report, in brackets."""
        if len(self.objectives) > 1:
            given = list(trial.get("values") or [])
            return [words.score(given[i] if i < len(given) else None) for i in range(len(self.objectives))]
        value = trial_value(trial)
        text = words.score(value)
        return [f"({text})" if value is not None and trial.get("state") != TrialState.COMPLETED else text]

    # -- the test split -------------------------------------------------------------------------------------

    @property
    def has_final(self) -> bool:
        return bool(self.final.get("winner"))

    def final_rows(self) -> list[tuple[str, str, str]]:
        """Who, mean on the test split, 95 % interval."""
        rows = [("Best configuration", *_scored(self.final.get("winner")))]
        if self.final.get("baseline"):
            rows.append(("Default settings", *_scored(self.final["baseline"])))
        if words.finite(self.final.get("majority")) is not None:
            rows.append(("Always the commonest class", words.score(self.final["majority"]), "–"))
        return rows

    @property
    def final_caption(self) -> str:
        rows, seeds = self.final.get("rows"), list(self.final.get("seeds") or [])
        split = words.clean(self.final.get("split") or "test", 20)
        metric = words.metric_name(self.final.get("metric") or self.study.get("metric"))
        seen = "which selection never saw" if split == "test" else "no test split was given"
        size = f"{rows} {split} rows" if rows else f"the {split} rows"
        over = f", {_count(len(seeds), 'seed')} ({', '.join(words.number(s) for s in seeds)})" if seeds else ""
        return f"{metric[:1].upper()}{metric[1:]} on {size}, {seen}{over}"

    @property
    def final_sentence(self) -> str:
        """The paired difference in a sentence that claims no more than the interval carries."""
        paired = self.final.get("difference") or {}
        mean, low, high = (words.finite(paired.get(key)) for key in ("mean", "low", "high"))
        if mean is None:
            return ""
        if low is None or high is None:
            return f"Difference to the default settings: {words.gain(mean)} (one seed, no interval)."
        interval = f"95 % interval {words.gain(low)} to {words.gain(high)}, paired over seeds"
        if low > 0:
            return f"Better than the default settings by {words.gain(mean)} ({interval})."
        if high < 0:
            return f"Worse than the default settings by {words.score(abs(mean))} ({interval})."
        return f"Difference to the default settings {words.gain(mean)}: not clear from these seeds ({interval})."

    # -- the rest -------------------------------------------------------------------------------------------

    def note_rows(self) -> list[tuple[str, str, str]]:
        """What a note is on, what it says, who wrote it; stars and tags included."""
        rows = []
        for note in self.notes:
            where = "study" if note.get("trial") is None else f"trial {words.number(note['trial'])}"
            kind = str(note.get("kind", "comment"))
            text = words.clean(note.get("text") or "", 2000, lines=True)
            lead = "★ " if kind == "star" else "# " if kind == "tag" else ""
            rows.append((where, lead + text, words.clean(note.get("author") or "", 60)))
        return rows

    def space_rows(self) -> list[tuple[str, str, str]]:
        """Name, where it may lie, under which condition; constants included."""
        return [
            (words.clean(p.get("name", "?"), 40), _range(p), condition_words(p.get("condition")))
            for p in _parameters(self.space)
        ]

    def provenance_rows(self) -> list[tuple[str, str]]:
        """What this result came from, one line each, nested keys joined by a dot."""
        study = [
            (key.replace("_", " "), words.number(self.study[key]))
            for key in ("task", "strategy", "pruner", "seed", "executor", "device")
            if self.study.get(key) not in (None, "")
        ]
        if words.finite(self.study.get("active_seconds")):
            study.append(("training time", words.duration(self.study["active_seconds"])))
        rest = [(key, text) for key, text in _flat(self.provenance) if text][:40]
        return study + rest


def fingerprint(snapshot: Mapping[str, Any]) -> tuple[Any, ...]:
    """What has to change before the record would be drawn differently; cheap, unlike drawing it.

    The state comes first. Progress, readings and time left are not part of it.
    """
    study, headline = snapshot.get("study") or {}, snapshot.get("headline") or {}
    return (
        study.get("state"),
        study.get("reason"),
        *(headline.get(key) for key in ("finished", "total", "baseline_value", "best_value", "best_trial")),
        tuple(t.get("number") for t in snapshot.get("trials") or [] if t.get("state") == TrialState.RUNNING),
        snapshot.get("trials_total"),
        tuple(note.get("id") for note in snapshot.get("notes") or []),
        bool(snapshot.get("final")),
        tuple((snapshot.get("decision") or {}).values()),
    )


def searched_names(space: Mapping[str, Any]) -> list[str]:
    """Names that a space as JSON searches over, each once, in their order; constants left out."""
    return list(dict.fromkeys(str(p["name"]) for p in _parameters(space) if p.get("kind") != "constant"))


def trial_value(trial: Mapping[str, Any]) -> float | None:
    """A trial's value, or its last report where it ended early."""
    value = words.finite(trial.get("value"))
    if value is None and trial.get("state") in (TrialState.PRUNED, TrialState.RUNNING):
        reports = trial.get("reports") or []
        if reports and len(reports[-1]) > 1:
            value = words.finite(reports[-1][1])
    return value


def condition_words(condition: object) -> str:
    """A condition (as `Condition.to_json` writes it) in words: "method in lora, dora"."""
    if not isinstance(condition, Mapping):
        return ""
    for key, word in (("all", " and "), ("any", " or ")):
        if isinstance(condition.get(key), (list, tuple)):
            parts = [condition_words(part) for part in condition[key]]
            return word.join(f"({part})" if " or " in part and key == "all" else part for part in parts)
    operator, value = condition.get("op"), condition.get("value")
    listed = ", ".join(words.number(v) for v in value) if isinstance(value, (list, tuple)) else words.number(value)
    return words.clean(f"{condition.get('name')} {operator} {listed}", 200)


def _parameters(space: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Dimensions and constants of a space as `Space.to_json` writes it, in the order of the cell."""
    dimensions = [p for p in space.get("dimensions") or [] if isinstance(p, Mapping)]
    constants = [{**p, "kind": "constant"} for p in space.get("constants") or [] if isinstance(p, Mapping)]
    named = [p for p in [*dimensions, *constants] if p.get("name")]
    return sorted(named, key=lambda p: p["place"] if isinstance(p.get("place"), int) else len(named))


def _range(parameter: Mapping[str, Any]) -> str:
    if parameter.get("kind") == "constant":
        return words.number(parameter.get("value"))
    choices = parameter.get("choices")
    if choices:
        return words.clean(", ".join(words.number(c) for c in choices), 300)
    text = f"{words.number(parameter.get('low'))} to {words.number(parameter.get('high'))}"
    if parameter.get("log"):
        text += ", log scale"
    if parameter.get("step") not in (None, 1, 0):
        text += f", steps of {words.number(parameter['step'])}"
    return text + (", whole numbers" if parameter.get("kind") == "int" else "")


def _scored(score: object) -> tuple[str, str]:
    if not isinstance(score, Mapping):
        return ("–", "–")
    low, high = words.finite(score.get("low")), words.finite(score.get("high"))
    interval = "–" if low is None or high is None else f"{words.score(low)} to {words.score(high)}"
    return (words.score(score.get("mean")), interval)


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for key, item in value.items():
        name = words.clean(f"{prefix}{key}", 60)
        if isinstance(item, Mapping):
            out.extend(_flat(item, f"{name}."))
        elif isinstance(item, (list, tuple)):
            out.append((name, words.clean(", ".join(words.number(v) for v in item), 300)))
        else:
            out.append(
                (
                    name,
                    words.clean(
                        "" if item is None else words.number(item, 6) if isinstance(item, float) else item, 300
                    ),
                )
            )
    return out


def _count(n: object, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
