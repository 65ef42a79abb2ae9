"""2. What mattered: importance with uncertainty, a sentence each, or that there is no evidence."""

from __future__ import annotations

import math
from typing import Any

from autoglm_nb.explain.document import Section, Sentence, Table
from autoglm_nb.explain.facts import Facts, plural
from autoglm_nb.explain.figures.settings import importance_figure, parallel_figure, two_figure
from autoglm_nb.record import words
from autoglm_nb.surrogates import Importance, Interaction, Share, importance, ped_anova
from autoglm_nb.surrogates.fanova import best_setting

__all__ = ["evidence_of", "mattered", "numbers"]

_INTERACTION = 0.05
"""An interaction is told from this share on, if its interval stays above half of it."""


def evidence_of(facts: Facts) -> tuple[Importance, ...]:
    """Importance for each objective of the study."""
    directions = [facts.direction, *facts.directions[1:]][: len(facts.objectives)]
    return tuple(
        importance(facts.trials, facts.space, direction, objective=i) for i, direction in enumerate(directions)
    )


def mattered(facts: Facts, found: tuple[Importance, ...]) -> Section:
    """The section; figures of trials are drawn even where there is no evidence, bars are not."""
    sentences: list[Sentence] = []
    tables, pictures = [], []
    for objective, one in zip(facts.objectives, found, strict=True):
        sentences += _sentences(facts, one, objective)
        if one.evidence:
            tables.append(_table(facts, one, objective))
            tables += _pairs_table(one, objective)
    first = found[0]
    if first.evidence:
        pictures.append(importance_figure(first, facts))
    order = [s.name for s in first.shares]
    pictures.append(parallel_figure(facts, order))
    if first.evidence and len(order) > 1:
        pictures.append(two_figure(facts, (order[0], order[1])))
    return Section(
        "importance",
        "What mattered",
        tuple(sentences),
        tuple(tables),
        tuple(p for p in pictures if p),
        facts={"objectives": [numbers(one) for one in found]},
    )


def _sentences(facts: Facts, one: Importance, objective: str) -> list[Sentence]:
    lead = f"For {objective}: " if facts.several else ""
    if not one.evidence:
        return [
            Sentence(f"{lead}{'t' if lead else 'T'}here is no evidence about which settings mattered", one.because),
            *([Sentence(one.observations.sentence.rstrip("."))] if len(one.observations) else []),
        ]
    sentences = [_share_sentence(lead, s, one, objective) for s in one.shares if s.matters][:6]
    if not sentences:
        sentences.append(
            Sentence(
                f"{lead}{'t' if lead else 'T'}he settings together predict held-out trials, but none stands out alone",
                f"R² {one.r2:.2f}; no setting beats a column of noise in 95 % of the resamples",
            )
        )
    quiet = [s for s in one.shares if not s.matters]
    if quiet:
        names = ", ".join(f"{s.name} {words.share(s.share)}" for s in quiet[:8])
        sentences.append(
            Sentence(
                f"{lead}{'n' if lead else 'N'}o effect could be shown for {_listed([s.name for s in quiet])}",
                f"{names}; no more than a column of noise",
            )
        )
    sentences += _interactions(lead, one)
    if one.unscored:
        names = ", ".join(f"{name} in {plural(n, 'trial')}" for name, n in one.unscored)
        sentences.append(Sentence("Too rarely active to be scored", names))
    p = f", permutation p ≤ {one.p:.3f}" if one.p is not None else ""
    sentences.append(Sentence(one.observations.sentence.rstrip("."), f"cross-validated R² {one.r2:.2f}{p}"))
    return sentences


def _share_sentence(lead: str, share: Share, one: Importance, objective: str) -> Sentence:
    setting, mean = best_setting(share, one.observations.maximize)
    worst = (min if one.observations.maximize else max)(m for _, m in share.marginal)
    given = " where it is active" if share.conditional else ""
    evidence = (
        f"95 % interval {100 * share.low:.0f} to {100 * share.high:.0f} %, {plural(share.trials, 'trial')}; predicted "
        f"{objective} {words.score(mean)} near {_value(setting)}, {words.score(worst)} at worst"
    )
    return Sentence(
        f"{lead}{share.name} explains {words.share(share.share)} of the variation{given}, best near {_value(setting)}",
        evidence,
    )


def _interactions(lead: str, one: Importance) -> list[Sentence]:
    told = [i for i in one.interactions if _shown(i)]
    return [
        Sentence(
            f"{lead}{i.names[0]} and {i.names[1]} depend on each other: the best value of one changes with the other",
            f"together {words.share(i.share)} of the variation beyond their single shares, 95 % interval "
            f"{100 * i.low:.0f} to {100 * i.high:.0f} %",
        )
        for i in told[:2]
    ]


def _table(facts: Facts, one: Importance, objective: str) -> Table:
    top = ped_anova(one.observations, facts.space)
    rows = []
    for s in one.shares:
        other = top.get(s.name)
        rows.append(
            (
                words.clean(s.name, 40),
                words.share(s.share),
                f"{100 * s.low:.0f} to {100 * s.high:.0f} %",
                "yes" if s.matters else "not shown",
                _value(best_setting(s, one.observations.maximize)[0]),
                "–" if other is None else f"{words.share(other[0])} ({100 * other[1]:.0f} to {100 * other[2]:.0f})",
                f"{s.trials}" + (" (conditional)" if s.conditional else ""),
            )
        )
    caption = (
        f"Importance for {objective}: share of the variation over the whole space (fANOVA, 95 % bootstrap interval), "
        "and share in what sets the best trials apart (PED-ANOVA)"
    )
    heads = ("Setting", "Share", "Interval", "Beyond noise", "Best near", "Among the best", "Trials")
    return Table(caption, heads, tuple(rows), frozenset({1, 2, 5, 6}))


def _pairs_table(one: Importance, objective: str) -> list[Table]:
    """Every pair that was scored, told or not: an interval that begins near zero is no interaction."""
    rows = tuple(
        (
            f"{words.clean(i.names[0], 40)} and {words.clean(i.names[1], 40)}",
            words.share(i.share),
            f"{100 * i.low:.0f} to {100 * i.high:.0f} %",
            "yes" if _shown(i) else "not shown",
        )
        for i in one.interactions
    )
    caption = f"Interactions for {objective}: what a pair explains beyond its single shares (95 % bootstrap interval)"
    heads = ("Pair", "Share", "Interval", "Depend on each other")
    return [Table(caption, heads, rows, frozenset({1, 2}))] if rows else []


def _shown(interaction: Interaction) -> bool:
    return interaction.share >= _INTERACTION and interaction.low >= _INTERACTION / 2


def numbers(one: Importance) -> dict[str, Any]:
    """The figures of one objective as plain JSON."""
    return {
        "evidence": one.evidence,
        "because": one.because,
        "r2": None if math.isnan(one.r2) else one.r2,
        "p": one.p,
        "completed": int(len(one.observations) - one.observations.pruned.sum()),
        "pruned_used": int(one.observations.pruned.sum()),
        "left_out": one.observations.left_out,
        "shares": [
            {
                "name": s.name,
                "share": s.share,
                "low": s.low,
                "high": s.high,
                "trials": s.trials,
                "conditional": s.conditional,
                "matters": s.matters,
                "marginal": [list(m) for m in s.marginal],
            }
            for s in one.shares
        ],
        "interactions": [
            {"names": list(i.names), "share": i.share, "low": i.low, "high": i.high} for i in one.interactions
        ],
    }


def _value(value: Any) -> str:
    return words.clean(value, 40) if isinstance(value, str) else words.number(value, 2)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
