"""How the search moved through its space, and why each trial was proposed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoglm_nb.explain.document import Section, Sentence, Table
from autoglm_nb.explain.facts import Facts, plural
from autoglm_nb.explain.figures.evolution import evolution_figure
from autoglm_nb.record import words
from autoglm_nb.surrogates.encoding import Axis, axes_of, label

__all__ = ["evolved", "leader_before", "proposed"]

MIN_TRIALS = 12
"""Fewer trials than this have no beginning and end to compare."""

_ROWS, _SHUFFLES = 40, 999


def evolved(facts: Facts) -> Section:
    """Where the proposals for each setting lay in the first and in the last third of the study."""
    title = "How the search space was explored"
    axes = axes_of(facts.space, [dict(t.get("config") or {}) for t in facts.trials])
    if len(facts.trials) < MIN_TRIALS or not axes:
        short = (
            f"{plural(len(facts.trials), 'trial')}, and {MIN_TRIALS} are needed" if axes else "no setting was varied"
        )
        lead = "There are too few trials to say how the search moved" if axes else "There is no space to move in"
        return Section("evolution", title, (Sentence(lead, short),))
    changes = [c for c in (_change(facts, a) for a in axes) if c is not None]
    for change in changes:
        change["p"] = min(1.0, change["p"] * len(changes))
    told = [c for c in changes if c["p"] < 0.05]
    sentences = [
        Sentence(
            f"Proposals for {c['name']} changed in the course of the study",
            f"{c['first']} in the first third, {c['last']} in the last; {c['trials'][0]} and {c['trials'][1]} "
            f"proposals, shuffle test p = {c['p']:.3f} after {plural(len(changes), 'comparison')}",
        )
        for c in told
    ]
    quiet = [c["name"] for c in changes if c["p"] >= 0.05]
    if not told:
        sentences.append(
            Sentence(
                "There is no evidence that the proposals moved between the beginning and the end",
                f"shuffle tests of the first against the last third, {plural(len(changes), 'setting')}, every p ≥ 0.05",
            )
        )
    elif quiet:
        sentences.append(Sentence(f"No clear change for {', '.join(quiet)}", "shuffle tests, p ≥ 0.05"))
    rows = tuple(
        (words.clean(c["name"], 40), c["first"], c["last"], "yes" if c["p"] < 0.05 else "not shown") for c in changes
    )
    heads = ("Setting", "First third", "Last third", "Changed")
    caption = "Proposals at the beginning and at the end: the middle half of numbers, the commonest choices"
    picture = evolution_figure(facts, axes)
    return Section(
        "evolution",
        title,
        tuple(sentences),
        (Table(caption, heads, rows),) if rows else (),
        (picture,) if picture else (),
        facts={"changes": changes},
    )


def proposed(facts: Facts) -> Section:
    """Why each trial was proposed, as its sampler recorded it, beside the best trial known at that time."""
    title = "Why each trial was proposed"
    if not facts.trials:
        return Section("proposals", title, (Sentence("No trial was proposed yet", f"it is {facts.story.state}"),))
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for trial in facts.trials:
        groups.setdefault(_reason(trial), []).append(trial)
    sentences = []
    for reason, trials in sorted(groups.items(), key=lambda item: -len(item[1]))[:8]:
        values = [float(t["value"]) for t in trials if t in facts.completed]
        best = f", best {words.score((max if facts.maximize else min)(values))}" if values else ""
        sentences.append(
            Sentence(
                f"{plural(len(trials), 'trial')}: {reason}", f"{len(values)} completed{best}; {_numbers_of(trials)}"
            )
        )
    shown = facts.trials[-_ROWS:]
    rows = []
    for trial in shown:
        leader = leader_before(facts, trial)
        rows.append(
            (
                f"{trial['number']}",
                _reason(trial),
                "–" if leader is None else f"{words.score(leader['value'])} (trial {leader['number']})",
                "–" if leader is None else _changed(facts, trial, leader),
                _outcome(facts, trial),
            )
        )
    last = f"the last {len(shown)} of " if len(shown) < len(facts.trials) else ""
    caption = f"Proposals: {last}{plural(len(facts.trials), 'trial')}, each beside the best one completed before it"
    heads = ("Trial", "Proposed by", "Best before it", "Settings that differ from that", "Outcome")
    return Section(
        "proposals",
        title,
        tuple(sentences),
        (Table(caption, heads, tuple(rows), frozenset({0})),),
        facts={"proposed_by": [[t["number"], str(t.get("proposed_by") or "")] for t in facts.trials]},
    )


def leader_before(facts: Facts, trial: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The best completed trial of a lower number, None for the first ones.

    Trials trained at the same time end out of order; by number is what the store can tell.
    """
    earlier = [t for t in facts.completed if int(t["number"]) < int(trial["number"])]
    return (max if facts.maximize else min)(earlier, key=lambda t: float(t["value"])) if earlier else None


def _change(facts: Facts, axis: Axis) -> dict[str, Any] | None:
    """First against last third of the proposals of one setting, None where it was proposed too seldom."""
    given = [t["config"][axis.name] for t in facts.trials if axis.name in (t.get("config") or {})]
    third = len(given) // 3
    if third < MIN_TRIALS // 3:
        return None
    first, last = given[:third], given[-third:]
    described = _middle_half if axis.kind == "number" else _commonest
    return {
        "name": axis.name,
        "first": described(axis, first),
        "last": described(axis, last),
        "trials": [len(first), len(last)],
        "p": _shuffle_test(axis, first, last),
    }


def _shuffle_test(axis: Axis, first: Sequence[Any], last: Sequence[Any]) -> float:
    """Whether two groups of proposals differ in place or spread: the energy distance, proposals shuffled 999 times."""
    if axis.kind == "choice":
        places = {label(c): i for i, c in enumerate(axis.choices)}
        points = np.array([places.get(label(v), -1) for v in (*first, *last)], dtype=float)
        far = (points[:, None] != points[None, :]).astype(float)
    else:
        points = np.array([axis.unit(v) for v in (*first, *last)])
        far = np.abs(points[:, None] - points[None, :])
    rng = np.random.default_rng(0)
    observed = np.zeros((1, len(points)))
    observed[0, : len(first)] = 1.0
    shuffled = rng.permuted(np.repeat(observed, _SHUFFLES, axis=0), axis=1)
    as_far = int((_energy(far, shuffled) >= _energy(far, observed) - 1e-12).sum())
    return (1 + as_far) / (1 + _SHUFFLES)


def _energy(far: np.ndarray, first: np.ndarray) -> np.ndarray:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| (Székely and Rizzo 2004) for each row that marks the first group by ones."""
    last = 1.0 - first
    n, m = first.sum(axis=1), last.sum(axis=1)
    to_first, to_last = first @ far, last @ far
    between = (to_first * last).sum(axis=1) / (n * m)
    within = (to_first * first).sum(axis=1) / n**2 + (to_last * last).sum(axis=1) / m**2
    return np.asarray(2 * between - within)


def _middle_half(axis: Axis, values: Sequence[Any]) -> str:
    low, high = np.quantile([axis.unit(v) for v in values], [0.25, 0.75])
    return f"{words.number(axis.value(float(low)))} to {words.number(axis.value(float(high)))}"


def _commonest(axis: Axis, values: Sequence[Any]) -> str:
    counts = Counter(words.clean(label(v), 24) for v in values).most_common(3)
    return ", ".join(f"{name} {n} of {len(values)}" for name, n in counts)


def _reason(trial: Mapping[str, Any]) -> str:
    return words.clean(trial.get("proposed_by") or "not recorded", 160)


def _numbers_of(trials: Sequence[Mapping[str, Any]]) -> str:
    shown = ", ".join(str(t["number"]) for t in trials[:8]) + (", …" if len(trials) > 8 else "")
    return f"{'trial' if len(trials) == 1 else 'trials'} {shown}"


def _changed(facts: Facts, trial: Mapping[str, Any], leader: Mapping[str, Any]) -> str:
    mine, best = dict(trial.get("config") or {}), dict(leader.get("config") or {})
    names = [n for n in dict.fromkeys([*facts.searched, *mine, *best]) if label(mine.get(n)) != label(best.get(n))]
    return words.clean(", ".join(names), 120) if names else "none"


def _outcome(facts: Facts, trial: Mapping[str, Any]) -> str:
    state = words.clean(trial.get("state") or "", 20)
    return words.score(trial.get("value")) if trial in facts.completed else state
