"""How methods compare, and what the Pareto front offers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from autoglm_nb.explain.document import Section, Sentence, Table
from autoglm_nb.explain.facts import Facts, plural
from autoglm_nb.explain.figures.compare import methods_figure, pareto_figure
from autoglm_nb.record import words

__all__ = ["methods", "pareto"]

_ENOUGH = 5
"""Completed trials a method needs before it is compared by a test."""


def methods(facts: Facts) -> Section:
    """Trainable share, time, memory and quality of each method the study tried."""
    groups = _by_method(facts)
    if len(groups) < 2:
        name = next(iter(groups), "")
        told = f"the method was {name} in every trial" if name else "no trial names its method"
        return Section("methods", "Methods compared", (Sentence("There is nothing to compare", told),))
    done = {n: [t for t in g if t in facts.completed] for n, g in groups.items()}
    rows = tuple(_row(facts, name, groups[name], done[name]) for name in groups)
    heads = (
        "Method",
        "Trials",
        f"Best {facts.metric}",
        f"Median {facts.metric}",
        "Trainable share",
        "Time a trial",
        "Peak memory",
    )
    caption = "Methods as they did in this study; medians over completed trials"
    table = Table(caption, heads, rows, frozenset(range(1, 7)))
    picture = methods_figure(facts, done)
    numbers = {
        n: {
            "trials": len(groups[n]),
            "values": [t["value"] for t in done[n]],
            "trainable_share": _median(done[n], "trainable_share"),
            "memory_gb": _median(done[n], "memory_gb"),
            "seconds": _median_seconds(done[n]),
        }
        for n in groups
    }
    return Section(
        "methods",
        "Methods compared",
        tuple(_sentences(facts, done)),
        (table,),
        (picture,) if picture else (),
        facts=numbers,
    )


def pareto(facts: Facts) -> Section:
    """The trials that cannot be improved in one objective without losing in another."""
    if not facts.several:
        return Section(
            "pareto",
            "Pareto front",
            (Sentence("There is no front, because the study has one objective", facts.metric),),
        )
    front = [t for t in facts.trials if t.get("number") in facts.story.front]
    if not front:
        return Section(
            "pareto", "Pareto front", (Sentence("There is no front yet", facts.story.counts() or "no trial has ended"),)
        )
    rows = tuple(
        (f"{t['number']}", *facts.story.values(t), words.config_line(t.get("config") or {}, facts.searched))
        for t in front[:30]
    )
    count = len(facts.objectives)
    table = Table(
        "Trials on the front", ("Trial", *facts.objectives, "Configuration"), rows, frozenset(range(0, count + 1))
    )
    sentences = [
        Sentence(
            f"{plural(len(front), 'trial')} of {plural(len(facts.completed), 'completed one')} "
            f"{'is' if len(front) == 1 else 'are'} on the front",
            " and ".join(facts.objectives),
        )
    ]
    for i, objective in enumerate(facts.objectives):
        values = [(float(t["values"][i]), t["number"]) for t in front if len(t.get("values") or []) > i]
        if values:
            lower = i < len(facts.directions) and facts.directions[i] == "minimize"
            value, number = (min if lower else max)(values)
            word = "lowest" if lower else "highest"
            sentences.append(
                Sentence(f"The {word} {objective} on the front is {words.score(value)}", f"trial {number}")
            )
    picture = pareto_figure(facts)
    return Section(
        "pareto",
        "Pareto front",
        tuple(sentences),
        (table,),
        (picture,) if picture else (),
        facts={"front": sorted(facts.story.front)},
    )


def _by_method(facts: Facts) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for trial in facts.trials:
        method = (trial.get("config") or {}).get("method")
        if method is not None:
            groups.setdefault(words.clean(method, 40), []).append(trial)
    return groups


def _sentences(facts: Facts, done: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Sentence]:
    values = {n: [float(t["value"]) for t in g] for n, g in done.items() if g}
    if not values:
        return [Sentence("No method can be judged", "no trial completed")]
    pick = max if facts.maximize else min
    leader = pick(values, key=lambda n: pick(values[n]))
    parts = ", ".join(f"{n} {words.score(pick(v))} of {len(v)}" for n, v in values.items())
    sentences = [Sentence(f"The best single trial used {leader}", f"best {facts.metric} by method: {parts}")]
    rivals = {n: v for n, v in values.items() if n != leader and len(v) >= _ENOUGH}
    if len(values[leader]) < _ENOUGH or not rivals:
        short = ", ".join(f"{n} {len(v)}" for n, v in values.items())
        sentences.append(
            Sentence(
                "There are too few completed trials to say that one method is better than another",
                f"{short}; {_ENOUGH} each are needed",
            )
        )
    else:
        sentences += [_test(facts, leader, values[leader], n, v, len(rivals)) for n, v in rivals.items()]
    cheap = _cheapest(done)
    if cheap:
        sentences.append(cheap)
    sentences.append(
        Sentence("Methods were tried as the search saw fit, not under equal conditions; other settings differ too")
    )
    return sentences


def _test(facts: Facts, one: str, ours: list[float], other: str, theirs: list[float], tests: int) -> Sentence:
    """Two-sided Mann-Whitney over trials, Holm's first step (times the number of tests)."""
    from scipy import stats

    p = 1.0
    if len(set(ours + theirs)) > 1:
        p = min(1.0, float(stats.mannwhitneyu(ours, theirs, alternative="two-sided").pvalue) * tests)
    middle = [_middle(ours), _middle(theirs)]
    evidence = (
        f"median {words.score(middle[0])} of {len(ours)} against {words.score(middle[1])} of {len(theirs)}, "
        f"Mann-Whitney p = {p:.3f}" + (f" after {tests} comparisons" if tests > 1 else "")
    )
    if p >= 0.05 or middle[0] == middle[1]:
        return Sentence(f"There is no evidence of a difference between {one} and {other} over their trials", evidence)
    first, second = (one, other) if facts.better(middle[0], middle[1]) else (other, one)
    return Sentence(f"Over their trials {first} did better than {second}", evidence)


def _cheapest(done: Mapping[str, Sequence[Mapping[str, Any]]]) -> Sentence | None:
    shares = {n: s for n, g in done.items() if (s := _median(g, "trainable_share")) is not None}
    if len(shares) < 2:
        return None
    least = min(shares, key=lambda n: shares[n])
    parts = ", ".join(f"{n} {_percent(s)}" for n, s in shares.items())
    return Sentence(f"{least} trains the smallest part of the model", f"median trainable share: {parts}")


def _row(
    facts: Facts, name: str, trials: Sequence[Mapping[str, Any]], done: Sequence[Mapping[str, Any]]
) -> tuple[str, ...]:
    values = [float(t["value"]) for t in done]
    best = (max if facts.maximize else min)(values) if values else None
    memory = _median(done, "memory_gb", "peak_memory_gb")
    return (
        name,
        f"{len(done)} of {len(trials)}",
        words.score(best),
        words.score(_middle(values) if values else None),
        _percent(_median(done, "trainable_share")),
        words.duration(_median_seconds(done)),
        "–" if memory is None else f"{memory:.2f} GB",
    )


def _median(trials: Sequence[Mapping[str, Any]], *keys: str) -> float | None:
    found = []
    for trial in trials:
        metrics = trial.get("metrics") or {}
        value = next((words.finite(metrics[k]) for k in keys if k in metrics), None)
        if value is not None:
            found.append(value)
    return _middle(found) if found else None


def _median_seconds(trials: Sequence[Mapping[str, Any]]) -> float | None:
    found = [s for t in trials if (s := words.finite(t.get("seconds")))]
    return _middle(found) if found else None


def _middle(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    digits = 0 if share >= 0.1 else max(0, min(4, 1 - math.floor(math.log10(max(share * 100, 1e-4)))))
    return f"{100 * share:.{digits}f} %"
