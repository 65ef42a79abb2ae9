"""One trial: its configuration beside the winner's and the median, why proposed, why ended, its course."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from autoglm_nb.errors import UsageError
from autoglm_nb.explain.document import Section, Sentence, Table
from autoglm_nb.explain.facts import Facts, plural
from autoglm_nb.explain.figures.history import curves_figure
from autoglm_nb.explain.sections.proposals import leader_before
from autoglm_nb.record import words
from autoglm_nb.surrogates.encoding import label

__all__ = ["one_trial"]


def one_trial(facts: Facts, number: int) -> Section:
    """The section for `--trial N`.

    Raises:
        UsageError: the study has no such trial.
    """
    trial = facts.trial(number)
    if trial is None:
        numbers = [int(t["number"]) for t in facts.trials]
        known = f"It has trials {min(numbers)} to {max(numbers)}." if numbers else "It has no trials yet."
        raise UsageError(f"Study {facts.name!r} has no trial {number}. {known}")
    sentences = [_ended(facts, trial), *_proposed(facts, trial)]
    sentences += _rank(facts, trial) + _against(facts, trial) + _course(facts, trial)
    picture = curves_figure(facts, trial)
    return Section(
        "trial",
        f"Trial {number}",
        tuple(sentences),
        (_table(facts, trial), *_metrics(trial)),
        (picture,) if picture else (),
        facts={"trial": dict(trial)},
    )


def _ended(facts: Facts, trial: Mapping[str, Any]) -> Sentence:
    state = str(trial.get("state"))
    because = words.clean(trial.get("because") or "", 400).rstrip(".")
    took = f"{trial.get('step', 0)} of {trial.get('total_steps', 0)} steps, {words.duration(trial.get('seconds'))}"
    if int(trial.get("attempts") or 1) > 1:
        took += f", {trial['attempts']} attempts"
    value = words.finite(trial.get("value"))
    if state == "completed" and value is None:
        return Sentence("It completed without a usable value", took)
    if state == "completed":
        return Sentence(f"It completed with {words.score(value)} {facts.metric}", took)
    if state in ("pruned", "failed"):
        what = "ended early" if state == "pruned" else "failed"
        return Sentence(f"It {what}: {because}" if because else f"It {what}; no reason was recorded", took)
    return Sentence(f"It is {state}", took)


def _proposed(facts: Facts, trial: Mapping[str, Any]) -> list[Sentence]:
    """Its sampler's own words, and how it stood to the best one known by then."""
    by = words.clean(trial.get("proposed_by") or "", 160)
    sentences = [Sentence(f"It was proposed by {by}" if by else "Why it was proposed was not recorded")]
    leader = leader_before(facts, trial)
    if leader is not None:
        mine, best = dict(trial.get("config") or {}), dict(leader.get("config") or {})
        names = dict.fromkeys([*facts.searched, *mine, *best])
        other = [n for n in names if label(mine.get(n)) != label(best.get(n)) and n != "seed"]
        parts = ", ".join(f"{n} {_shown(mine, n)} against {_shown(best, n)}" for n in other[:8]) or "no difference"
        sentences.append(
            Sentence(
                f"The best trial before it was trial {leader['number']} with {words.score(leader['value'])}; it "
                f"differs from that in {plural(len(other), 'setting')}",
                parts,
            )
        )
    return sentences


def _rank(facts: Facts, trial: Mapping[str, Any]) -> list[Sentence]:
    value = words.finite(trial.get("value"))
    if trial.get("state") != "completed" or value is None:
        return []
    ahead = sum(facts.better(float(t["value"]), value) for t in facts.completed)
    if facts.best is not None and trial["number"] == facts.best["number"]:
        return [Sentence("It is the winner", f"of {plural(len(facts.completed), 'completed trial')}")]
    return [Sentence(f"{plural(ahead, 'completed trial')} did better", f"of {len(facts.completed)}")]


def _against(facts: Facts, trial: Mapping[str, Any]) -> list[Sentence]:
    if facts.best is None or trial["number"] == facts.best["number"]:
        return []
    mine, best = dict(trial.get("config") or {}), facts.best_config
    names = list(dict.fromkeys([*facts.searched, *mine, *best]))
    other = [n for n in names if label(mine.get(n)) != label(best.get(n)) and n != "seed"]
    if not other:
        return [
            Sentence("Its configuration is the winner's; the difference is chance", f"trial {facts.best['number']}")
        ]
    parts = ", ".join(f"{n} {_shown(mine, n)} against {_shown(best, n)}" for n in other[:8])
    return [Sentence(f"It differs from the winner in {plural(len(other), 'setting')}", parts)]


def _shown(config: Mapping[str, Any], name: str) -> str:
    return words.number(config[name]) if name in config else "not active"


def _course(facts: Facts, trial: Mapping[str, Any]) -> list[Sentence]:
    """Where it stood against the winner and the others at its last evaluation."""
    reports = [p for p in trial.get("reports") or [] if len(p) == 2 and words.finite(p[1]) is not None]
    if not reports:
        return []
    rung, value = int(reports[-1][0]), float(reports[-1][1])
    others = [
        float(p[1])
        for t in facts.trials
        if t["number"] != trial["number"]
        for p in t.get("reports") or []
        if int(p[0]) == rung and words.finite(p[1]) is not None
    ]
    if not others:
        return []
    ahead = sum(facts.better(o, value) for o in others)
    return [
        Sentence(
            f"At its last evaluation {ahead} of {plural(len(others), 'other trial')} were ahead of it",
            f"{words.score(value)} {facts.metric} at evaluation {rung}",
        )
    ]


def _table(facts: Facts, trial: Mapping[str, Any]) -> Table:
    mine, best = dict(trial.get("config") or {}), facts.best_config
    names = list(dict.fromkeys([*[n for n in facts.searched if n in mine or n in best], *mine, *best]))
    rows = tuple(
        (
            words.clean(n, 40),
            words.number(mine[n]) if n in mine else "·",
            words.number(best[n]) if n in best else "·",
            _typical(facts, n),
        )
        for n in names
    )
    heads = ("Setting", f"Trial {trial['number']}", "Winner", "Median or commonest")
    return Table(
        "Its configuration beside the winner's and what completed trials used", heads, rows, frozenset({1, 2, 3})
    )


def _typical(facts: Facts, name: str) -> str:
    values = [t["config"][name] for t in facts.completed if name in (t.get("config") or {})]
    if not values:
        return "–"
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values):
        return words.number(sorted(values)[len(values) // 2])
    counts: dict[str, int] = {}
    for value in values:
        counts[words.number(value)] = counts.get(words.number(value), 0) + 1
    return max(counts, key=lambda k: counts[k])


def _metrics(trial: Mapping[str, Any]) -> list[Table]:
    metrics = trial.get("metrics") or {}
    rows = tuple(
        (words.metric_name(k), words.number(v)) for k, v in metrics.items() if isinstance(v, (int, float, str))
    )
    return [Table("What was measured", ("Metric", "Value"), rows, frozenset({1}))] if rows else []
