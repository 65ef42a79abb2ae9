"""What each setting did to the prediction (`--what shap`), or why SHAP values would say nothing here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autoglm_nb.errors import UsageError
from autoglm_nb.explain.document import Section, Sentence, Table
from autoglm_nb.explain.facts import Facts, plural
from autoglm_nb.explain.figures.beeswarm import beeswarm_figure
from autoglm_nb.record import words
from autoglm_nb.surrogates.attribution import Attribution, Effect, installed, shapley
from autoglm_nb.surrogates.encoding import label

__all__ = ["attributed"]

_CLEAR = 0.5
"""A direction is told from this rank correlation on."""


def attributed(facts: Facts) -> Section:
    """The section of `--what shap`.

    Raises:
        UsageError: the library `shap` is not installed.
    """
    if not installed():
        raise UsageError(
            'SHAP values need the library shap, but it is not installed. Run `%pip install "autoglm-nb[shap]"`, or '
            "ask for --what importance, which needs nothing more."
        )
    directions = [facts.direction, *facts.directions[1:]][: len(facts.objectives)]
    sentences: list[Sentence] = []
    tables, pictures, numbers = [], [], []
    for place, (objective, direction) in enumerate(zip(facts.objectives, directions, strict=True)):
        found = shapley(facts.trials, facts.space, direction, objective=place)
        sentences += _sentences(facts, found, objective)
        numbers.append(_numbers(found))
        if found.evidence:
            tables.append(_table(found, objective))
            picture = beeswarm_figure(found, facts, objective, "shap" if place == 0 else f"shap-{place + 1}")
            pictures += [picture] if picture is not None else []
    return Section(
        "shap",
        "What each setting did to the prediction",
        tuple(sentences),
        tuple(tables),
        tuple(pictures),
        facts={"objectives": numbers},
    )


def _sentences(facts: Facts, found: Attribution, objective: str) -> list[Sentence]:
    lead = f"For {objective}: " if facts.several else ""
    if not found.evidence:
        return [
            Sentence(
                f"{lead}{'t' if lead else 'T'}here is no evidence that the settings move {objective}, so SHAP values "
                "are not shown",
                found.because,
            ),
            *([Sentence(found.observations.sentence.rstrip("."))] if len(found.observations) else []),
        ]
    told = [e for e in found.effects if e.matters]
    sentences = [_effect(lead, e, found, objective) for e in told[:6]]
    if not told:
        sentences = [
            Sentence(
                f"{lead}{'t' if lead else 'T'}he settings together predict held-out trials, but none stands out alone",
                f"R² {found.r2:.2f}; no setting's SHAP values exceed those of a column of noise in 95 % of the "
                "resamples",
            )
        ]
    quiet = [e for e in found.effects if not e.matters]
    if quiet:
        parts = ", ".join(f"{e.name} {words.score(e.size)}" for e in quiet[:8])
        names = ", ".join(e.name for e in quiet[:8])
        sentences.append(
            Sentence(
                f"{lead}{'n' if lead else 'N'}o effect beyond noise could be shown for {names}",
                f"mean |SHAP value|: {parts}",
            )
        )
    if found.unscored:
        parts = ", ".join(f"{name} in {plural(n, 'trial')}" for name, n in found.unscored)
        sentences.append(Sentence("Too rarely active to be told", parts))
    if any(e.axis.conditional for e in found.effects):
        sentences.append(
            Sentence(
                "A setting counts in the trials in which it is active; what its absence does belongs to the settings "
                "that decide about it"
            )
        )
    p = f", permutation p ≤ {found.p:.3f}" if found.p is not None else ""
    sentences.append(
        Sentence(
            "These are explanations of a random forest fitted to the trials, not of the models trained",
            f"cross-validated R² {found.r2:.2f}{p}; predictions start from {words.score(found.base)} {objective}",
        )
    )
    sentences.append(Sentence(found.observations.sentence.rstrip(".")))
    return sentences


def _effect(lead: str, effect: Effect, found: Attribution, objective: str) -> Sentence:
    given = " where it is active" if effect.axis.conditional else ""
    tail, evidence = _direction(effect, found)
    return Sentence(
        f"{lead}{effect.name} moves the predicted {objective} by {words.score(effect.size)} on average{given}{tail}",
        f"mean |SHAP value|, 95 % interval {words.score(effect.low)} to {words.score(effect.high)}, "
        f"{plural(effect.trials, 'trial')}{evidence}",
    )


def _direction(effect: Effect, found: Attribution) -> tuple[str, str]:
    """How the setting pushes, as the end of a sentence and of its evidence; nothing where that is not clear."""
    if effect.axis.kind == "choice":
        means = choice_means(effect, found)
        if len(means) < 2:
            return "", ""
        best = max(means, key=lambda m: means[m][0])
        worst = min(means, key=lambda m: means[m][0])
        parts = ", ".join(f"{words.clean(m, 30)} {words.gain(v)}" for m, (v, _) in list(means.items())[:6])
        tail = (
            f"; from {words.gain(means[worst][0])} with {words.clean(worst, 30)} to {words.gain(means[best][0])} with "
            f"{words.clean(best, 30)}"
        )
        return tail, f"; mean by choice: {parts}"
    rank = effect.rank_correlation
    if rank is None or abs(rank) < _CLEAR:
        return "", "" if rank is None else f"; no one direction, rank correlation {words.gain(rank)}"
    return f"; greater values {'raise' if rank > 0 else 'lower'} it", f"; rank correlation {words.gain(rank)}"


def choice_means(effect: Effect, found: Attribution) -> dict[str, tuple[float, int]]:
    """Mean SHAP value and number of trials for each choice that was tried, in the axis's order."""
    explained = found.explained if found.explained is not None else np.arange(len(found.observations))
    groups: dict[str, list[float]] = {label(c): [] for c in effect.axis.choices}
    for row, value in zip(effect.rows, effect.values, strict=True):
        groups.setdefault(label(found.observations.configs[int(explained[row])][effect.name]), []).append(float(value))
    return {name: (sum(g) / len(g), len(g)) for name, g in groups.items() if g}


def _table(found: Attribution, objective: str) -> Table:
    rows = []
    for effect in found.effects:
        if effect.axis.kind == "choice":
            parts = list(choice_means(effect, found).items())[:8]
            how = ", ".join(f"{words.clean(n, 24)} {words.gain(v)} ({m})" for n, (v, m) in parts)
        else:
            how = "–" if effect.rank_correlation is None else f"rank correlation {words.gain(effect.rank_correlation)}"
        rows.append(
            (
                words.clean(effect.name, 40),
                words.score(effect.size),
                f"{words.score(effect.low)} to {words.score(effect.high)}",
                "yes" if effect.matters else "not shown",
                how,
                f"{effect.trials}" + (" (conditional)" if effect.axis.conditional else ""),
            )
        )
    heads = ("Setting", "Mean |SHAP|", "95 % interval", "Beyond noise", "Value and effect", "Trials")
    caption = (
        f"SHAP values of the surrogate for {objective}: their mean size with a bootstrap interval over trials, and how "
        "the effect goes with the value (for choices the mean, and the number of trials in brackets)"
    )
    return Table(caption, heads, tuple(rows), frozenset({1, 2, 5}))


def _numbers(found: Attribution) -> dict[str, Any]:
    explained: Any = found.explained if found.explained is not None else []
    return {
        "evidence": found.evidence,
        "because": found.because,
        "r2": None if math.isnan(found.r2) else found.r2,
        "p": found.p,
        "base": found.base,
        "trials": [found.observations.numbers[int(i)] for i in explained],
        "effects": [
            {
                "name": e.name,
                "size": e.size,
                "low": e.low,
                "high": e.high,
                "matters": e.matters,
                "trials": e.trials,
                "rank_correlation": e.rank_correlation,
                "values": [[found.observations.numbers[int(explained[r])], float(v)] for r, v in zip(e.rows, e.values)],
            }
            for e in found.effects
        ],
    }
