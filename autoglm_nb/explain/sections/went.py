"""3. How the search went: convergence, the space, early stops and what they saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoglm_nb.explain.document import Section, Sentence, Table
from autoglm_nb.explain.facts import Facts, plural
from autoglm_nb.explain.figures.history import band_figure, curves_figure, history_figure
from autoglm_nb.explain.figures.settings import ranges_figure
from autoglm_nb.record import words

__all__ = ["Savings", "converged", "savings", "stopping"]

NEAR = 0.01
"""Converged: within this share of the best value, as the specification counts it."""


@dataclass(frozen=True)
class Savings:
    """What early stops saved.

    Attributes:
        pruned: pruned trials with known length.
        steps, planned: training steps not taken, out of the steps all trials would have taken.
        seconds: estimated from the pruned trials' own pace; None where no time is known.
        spent: seconds all trials took.
        ahead: pruned trials that were ahead of the winner at the evaluation that ended them.
        compared: pruned trials for which that comparison was possible.
    """

    pruned: int
    steps: int
    planned: int
    seconds: float | None
    spent: float
    ahead: tuple[int, ...]
    compared: int


def converged(facts: Facts) -> Section:
    """When the best was found, whether more came after it, and where the trials lay."""
    pictures = tuple(p for p in (history_figure(facts), band_figure(facts), ranges_figure(facts)) if p)
    sentences = [_counts(facts)]
    done = facts.completed
    if facts.several:
        sentences.append(Sentence("Convergence is told for the first objective", facts.objectives[0]))
    if len(done) >= 2 and facts.best is not None:
        sentences += _course(facts)
    sentences += _proposed(facts)
    table = _space_table(facts)
    return Section(
        "convergence",
        "How the search went",
        tuple(sentences),
        (table,) if table else (),
        pictures,
        facts=_numbers(facts),
    )


def stopping(facts: Facts) -> Section:
    """Which trials ended early, why, and what that saved."""
    saved = savings(facts)
    pruned = facts.in_state("pruned")
    picture = curves_figure(facts)
    if not pruned:
        sentences: list[Sentence] = [Sentence("No trial ended early, so nothing was saved", facts.story.counts())]
    else:
        sentences = _saved_sentences(facts, saved, len(pruned))
    failed = facts.in_state("failed")
    if failed:
        sentences.append(Sentence(f"{plural(len(failed), 'trial')} failed", _commonest(failed)))
    rows = tuple(
        (
            f"{t['number']}",
            words.score(_last_report(t)),
            f"{t.get('step', 0)} of {t.get('total_steps', 0)}",
            words.clean(t.get("because") or "", 160),
        )
        for t in pruned[:15]
    )
    caption = "Trials that ended early" + (f" (first 15 of {len(pruned)})" if len(pruned) > 15 else "")
    tables = (Table(caption, ("Trial", f"Last {facts.metric}", "Steps", "Why"), rows, frozenset({0, 1, 2})),)
    return Section(
        "stopping",
        "Early stops",
        tuple(sentences),
        tables if rows else (),
        (picture,) if picture else (),
        facts=saved.__dict__,
    )


def savings(facts: Facts) -> Savings:
    """Steps not taken by pruned trials, and their seconds at the pace of the same trial."""
    steps = planned = 0
    seconds: float | None = None
    known = 0
    for trial in facts.trials:
        total, step = int(trial.get("total_steps") or 0), int(trial.get("step") or 0)
        planned += total
        if trial.get("state") == "pruned" and 0 < step <= total:
            known += 1
            steps += total - step
            spent = words.finite(trial.get("seconds")) or 0.0
            if spent > 0:
                seconds = (seconds or 0.0) + spent / step * (total - step)
    ahead, compared = _ahead(facts)
    spent = sum(words.finite(t.get("seconds")) or 0.0 for t in facts.trials)
    return Savings(known, steps, planned, seconds, spent, tuple(ahead), compared)


def _saved_sentences(facts: Facts, saved: Savings, pruned: int) -> list[Sentence]:
    sentences = [Sentence(f"{plural(pruned, 'trial')} ended early", f"of {plural(len(facts.trials), 'trial')}")]
    if saved.steps and saved.planned:
        time = ""
        if saved.seconds is not None:
            time = f", about {words.duration(saved.seconds)} at each trial's own pace"
        sentences.append(
            Sentence(
                f"That saved {words.share(saved.steps / saved.planned)} of the training steps",
                f"{saved.steps} of {saved.planned} steps{time}; {words.duration(saved.spent)} were spent",
            )
        )
    if saved.compared:
        if saved.ahead:
            which = ", ".join(str(n) for n in saved.ahead[:8])
            sentences.append(
                Sentence(
                    f"{plural(len(saved.ahead), 'early stop')} may have been a mistake: the trial was ahead of the "
                    "winner at the same evaluation",
                    f"{'trial' if len(saved.ahead) == 1 else 'trials'} {which} of {saved.compared} compared",
                )
            )
        else:
            sentences.append(
                Sentence(
                    "No trial that ended early was ahead of the winner at the same evaluation",
                    f"{saved.compared} of {pruned} could be compared",
                )
            )
    return sentences


def _ahead(facts: Facts) -> tuple[list[int], int]:
    if facts.best is None:
        return [], 0
    winner = {int(p[0]): float(p[1]) for p in facts.best.get("reports") or [] if words.finite(p[1]) is not None}
    ahead, compared = [], 0
    for trial in facts.in_state("pruned"):
        reports = [p for p in trial.get("reports") or [] if words.finite(p[1]) is not None]
        if reports and int(reports[-1][0]) in winner:
            compared += 1
            if facts.better(float(reports[-1][1]), winner[int(reports[-1][0])]):
                ahead.append(int(trial["number"]))
    return ahead, compared


def _counts(facts: Facts) -> Sentence:
    strategy = words.clean(facts.study.get("strategy") or "", 40)
    pruner = words.clean(facts.study.get("pruner") or "", 40)
    active = words.finite(facts.study.get("active_seconds"))
    parts = [facts.story.counts() or "no trial has ended"]
    if active:
        parts.append(f"{words.duration(active)} of training")
    how = f" by the strategy {strategy}" if strategy else ""
    how += f" with {pruner} pruning" if pruner and pruner != "none" else ""
    return Sentence(f"{plural(len(facts.trials), 'trial')} proposed{how}", ", ".join(parts))


def _course(facts: Facts) -> list[Sentence]:
    best = facts.best or {}
    done = facts.completed
    position = next(i for i, t in enumerate(done) if t["number"] == best["number"]) + 1
    near = _first_near(facts)
    after = len(done) - position
    sentences = [
        Sentence(
            f"The best value came with the {_ordinal(position)} of {plural(len(done), 'completed trial')}; "
            f"{plural(after, 'completed trial')} after it brought nothing better",
            f"trial {best['number']}, {words.score(best['value'])} {facts.metric}",
        )
    ]
    if near is not None and near < position:
        sentences.append(
            Sentence(
                f"A value within 1 % of it was there from the {_ordinal(near)} completed trial on",
                f"trial {done[near - 1]['number']}, {words.score(done[near - 1]['value'])}",
            )
        )
    if len(done) >= 8 and position > 0.8 * len(done):
        sentences.append(
            Sentence(
                "The search was still improving when it ended",
                f"the best came in the last fifth of {len(done)} completed trials",
            )
        )
    return sentences


def _first_near(facts: Facts) -> int | None:
    best = float((facts.best or {})["value"])
    margin = NEAR * abs(best)
    for i, trial in enumerate(facts.completed):
        if abs(float(trial["value"]) - best) <= margin or facts.better(float(trial["value"]), best):
            return i + 1
    return None


def _proposed(facts: Facts) -> list[Sentence]:
    groups: dict[str, list[float]] = {}
    for trial in facts.completed:
        groups.setdefault(words.clean(trial.get("proposed_by") or "unknown", 60), []).append(float(trial["value"]))
    if len(groups) < 2:
        return []
    pick = max if facts.maximize else min
    parts = [f"{name}: best {words.score(pick(v))} of {len(v)}" for name, v in groups.items()]
    leader = words.clean((facts.best or {}).get("proposed_by") or "unknown", 60)
    return [Sentence(f"The winner was proposed by {leader}", "; ".join(parts[:6]))]


def _space_table(facts: Facts) -> Table | None:
    if facts.space is None or not facts.space.dimensions:
        return None
    rows = []
    for dimension in facts.space.dimensions:
        tried = [t["config"][dimension.name] for t in facts.trials if dimension.name in (t.get("config") or {})]
        numbers = [v for v in tried if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if dimension.kind == "categorical":
            extent = plural(len({words.number(v, 12) for v in tried}), "value")
        else:
            extent = f"{words.number(min(numbers))} to {words.number(max(numbers))}" if numbers else "–"
        winner = words.number(facts.best_config[dimension.name]) if dimension.name in facts.best_config else "–"
        condition = dimension.condition.source() if dimension.condition is not None else ""
        rows.append(
            (
                words.clean(dimension.name, 40),
                words.clean(dimension.range_text(), 120),
                extent,
                winner,
                words.clean(condition, 120),
            )
        )
    heads = ("Setting", "Searched", "Tried", "Winner", "Only if")
    return Table("The search space and what was tried", heads, tuple(rows), frozenset({3}))


def _commonest(trials: list[Mapping[str, Any]]) -> str:
    reasons: dict[str, int] = {}
    for trial in trials:
        reason = words.clean(trial.get("because") or "no reason recorded", 200).rstrip(".")
        reasons[reason] = reasons.get(reason, 0) + 1
    reason, times = max(reasons.items(), key=lambda item: item[1])
    return reason if times == len(trials) else f"{times} of {len(trials)}: {reason}"


def _last_report(trial: Mapping[str, Any]) -> float | None:
    reports = trial.get("reports") or []
    return words.finite(reports[-1][1]) if reports and len(reports[-1]) > 1 else None


def _ordinal(n: int) -> str:
    if 10 <= n % 100 <= 20:
        return f"{n}th"
    return f"{n}" + {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")


def _numbers(facts: Facts) -> dict[str, Any]:
    return {
        "trials": len(facts.trials),
        "completed": len(facts.completed),
        "values": [[t["number"], t["value"]] for t in facts.completed],
        "seeds": [
            {"group": c.group, "seed": c.seed, "what": c.what, "points": [list(p) for p in c.points]}
            for c in facts.curves
        ],
    }
