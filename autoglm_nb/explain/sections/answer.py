"""1. The answer: the best configuration, what it gained, how sure that is."""

from __future__ import annotations

from autoglm_nb.explain.document import Section, Sentence, Table
from autoglm_nb.explain.facts import Facts, plural
from autoglm_nb.record import words

__all__ = ["answer"]


def answer(facts: Facts) -> Section:
    """What won, by how much, and whether the gain holds on rows that selection never saw."""
    if facts.best is None:
        return Section("answer", "The answer", tuple(_nothing(facts)))
    sentences = _several(facts) if facts.several else [_winner(facts), *_gain(facts)]
    sentences += _sure(facts)
    config = facts.best_config
    items = words.config_items(config, facts.searched)
    tables = [Table(_config_caption(facts), ("Setting", "Value"), tuple(items), frozenset({1}))]
    if facts.story.has_final:
        rows = tuple(facts.story.final_rows())
        tables.append(
            Table(facts.story.final_caption, ("", "Mean", "95 % interval"), rows, frozenset({1, 2}), frozenset({0}))
        )
    return Section("answer", "The answer", tuple(sentences), tuple(tables), facts=_numbers(facts))


def _config_caption(facts: Facts) -> str:
    return f"Best configuration for {facts.objectives[0]} alone" if facts.several else "Best configuration"


def _nothing(facts: Facts) -> list[Sentence]:
    begun = len(facts.trials)
    if not begun:
        return [Sentence("There is no answer yet: no trial has started", f"the study is {facts.story.state}")]
    failed, pruned = len(facts.in_state("failed")), len(facts.in_state("pruned"))
    counts = facts.story.counts() or f"{plural(begun, 'trial')} under way"
    sentences = [Sentence("There is no answer yet: no trial has completed with a usable value", counts)]
    if failed and failed + pruned == begun:
        sentences.append(_why_failed(facts))
    return sentences


def _why_failed(facts: Facts) -> Sentence:
    reasons: dict[str, int] = {}
    for trial in facts.in_state("failed"):
        reason = words.clean(trial.get("because") or "no reason was recorded", 240).rstrip(".")
        reasons[reason] = reasons.get(reason, 0) + 1
    reason, times = max(reasons.items(), key=lambda item: item[1])
    total = sum(reasons.values())
    return Sentence(f"The commonest reason for failure: {reason}", f"{times} of {plural(total, 'failed trial')}")


def _winner(facts: Facts) -> Sentence:
    best = facts.best or {}
    line = words.config_line(facts.best_config, facts.searched)
    with_what = f" with {line}" if line else ""
    return Sentence(
        f"The best trial reached {words.score(best['value'])} {facts.metric}{with_what}",
        f"trial {best['number']} of {plural(len(facts.trials), 'trial')}, validation rows, seed of the study",
    )


def _several(facts: Facts) -> list[Sentence]:
    front = sorted(facts.story.front)
    names = " and ".join(facts.objectives)
    shown = ", ".join(str(n) for n in front[:12]) + (", …" if len(front) > 12 else "")
    return [
        Sentence(
            f"No single trial is best in {names}: {plural(len(front), 'trial')} cannot be improved in one without "
            "losing in another",
            f"Pareto front: {'trials' if len(front) != 1 else 'trial'} {shown}" if front else "no front yet",
        ),
        Sentence(
            f"Best in {facts.objectives[0]} alone: {words.score((facts.best or {})['value'])}",
            f"trial {(facts.best or {})['number']}",
        ),
    ]


def _gain(facts: Facts) -> list[Sentence]:
    head = facts.story.headline
    baseline, gain = words.finite(head.get("baseline_value")), words.finite(head.get("gain"))
    if baseline is None or gain is None:
        return [Sentence("How much tuning gained is not known, because the default settings were not measured")]
    best = words.score((facts.best or {})["value"])
    evidence = f"{best} against {words.score(baseline)} {facts.metric}, same validation rows"
    if gain > 0:
        return [
            Sentence(
                f"On the rows it was chosen by, that is {words.score(gain)} better than the default settings", evidence
            )
        ]
    return [Sentence("On the rows it was chosen by, tuning found nothing better than the default settings", evidence)]


def _sure(facts: Facts) -> list[Sentence]:
    story = facts.story
    if not story.has_final:
        number = len(facts.completed)
        return [
            Sentence(
                "How sure this is has not been measured: the value is the best of several on the same rows with one "
                "seed, so it is optimistic",
                f"best of {plural(number, 'completed trial')}; no confirmation runs",
            )
        ]
    final = story.final
    split = words.clean(final.get("split") or "test", 20)
    rows = f"{final['rows']} {split} rows" if final.get("rows") else f"the {split} rows"
    if split == "test":
        rows += " that selection never saw"
    winner = final["winner"]
    seeds = len(winner.get("values") or [])
    if not seeds:
        return [Sentence("How sure this is could not be measured", "every confirmation run failed")]
    metric = words.metric_name(final.get("metric") or facts.study.get("metric"))
    low, high = (words.finite(winner.get(k)) for k in ("low", "high"))
    interval = (
        ""
        if seeds < 2 or low is None or high is None
        else (f", 95 % interval {words.score(low)} to {words.score(high)}")
    )
    sentences = [
        Sentence(
            f"Trained again, the best configuration reaches {words.score(winner.get('mean'))} {metric} on {rows}",
            f"mean of {plural(seeds, 'seed')}{interval}",
        )
    ]
    sentences += _paired(facts)
    majority = words.finite(final.get("majority"))
    mean = words.finite(winner.get("mean"))
    if majority is not None and mean is not None:
        word = "better than" if facts.better(mean, majority) else "no better than"
        sentences.append(
            Sentence(f"That is {word} always answering the commonest class", f"which scores {words.score(majority)}")
        )
    return sentences


def _paired(facts: Facts) -> list[Sentence]:
    final = facts.story.final
    difference = final.get("difference") or {}
    mean, low, high, p = (words.finite(difference.get(k)) for k in ("mean", "low", "high", "p"))
    if mean is None or low is None or high is None:
        if final.get("baseline"):
            return [Sentence("Whether it beats the default settings there is not known", "one seed, no interval")]
        return []
    seeds = len(final.get("seeds") or [])
    interval = f"95 % interval {words.gain(low)} to {words.gain(high)}"
    evidence = f"paired over {plural(seeds, 'seed')}: {words.gain(mean)}, {interval}" + _p_value(p)
    if low > 0:
        return [Sentence("The gain over the default settings holds on these rows", evidence)]
    if high < 0:
        return [Sentence("On these rows it is worse than the default settings", evidence)]
    return [
        Sentence(
            "On these rows there is no clear difference from the default settings; chance may explain it", evidence
        )
    ]


def _p_value(p: float | None) -> str:
    if p is None:
        return ""
    return f", p = {p:.3f}" if p >= 0.001 else ", p < 0.001"


def _numbers(facts: Facts) -> dict[str, object]:
    best = facts.best or {}
    return {
        "best_trial": best.get("number"),
        "best_value": best.get("value"),
        "best_config": facts.best_config,
        "metric": facts.study.get("metric"),
        "direction": facts.direction,
        "baseline_value": facts.story.headline.get("baseline_value"),
        "gain": facts.story.headline.get("gain"),
        "final": dict(facts.story.final),
        "front": sorted(facts.story.front),
    }
