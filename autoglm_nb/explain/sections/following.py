"""5. What to try next, each suggestion derived from a figure of this study."""

from __future__ import annotations

from collections.abc import Iterator

from autoglm_nb.explain.document import Section, Sentence
from autoglm_nb.explain.facts import Facts, plural
from autoglm_nb.explain.sections.went import savings
from autoglm_nb.record import words
from autoglm_nb.surrogates import Importance, Sensitivity, axes_of

__all__ = ["following"]

EDGE = 0.05
"""The winner is at a range's edge when it lies within this share of the range."""


def following(facts: Facts, found: tuple[Importance, ...], around: Sensitivity | None) -> Section:
    """Suggestions in order of weight, or that the figures suggest none.

    Args:
        facts: the study.
        found: importance for each objective.
        around: sensitivity around the winner, None without a winner.
    """
    sentences = [
        *_unfinished(facts),
        *_failures(facts),
        *_edges(facts, found[0]),
        *_fewer(found[0], around),
        *_search(facts, found[0]),
        *_seeds(facts),
        *_stopped(facts),
    ]
    if not sentences:
        sentences = [Sentence("The figures suggest nothing in particular", "no setting at its edge, no open question")]
    return Section("next", "What to try next", tuple(sentences))


def _unfinished(facts: Facts) -> Iterator[Sentence]:
    state = facts.story.state
    if state in ("interrupted", "paused", "stopped", "failed"):
        reason = facts.story.reason.rstrip(".")
        yield Sentence(
            f"Continue the study: start the same cell with --name {words.quoted(facts.name)}",
            f"it is {state}" + (f": {reason}" if reason else ""),
        )
    elif not facts.trials:
        yield Sentence("Wait for the first trial", f"the study is {state}")


def _failures(facts: Facts) -> Iterator[Sentence]:
    failed = facts.in_state("failed")
    if failed and len(failed) >= max(2, len(facts.trials) // 4):
        reason = words.clean(failed[-1].get("because") or "no reason was recorded", 200).rstrip(".")
        yield Sentence(
            "See to the failures first: a search that loses trials learns little",
            f"{len(failed)} of {plural(len(facts.trials), 'trial')} failed, the last one: {reason}",
        )


def _edges(facts: Facts, one: Importance) -> Iterator[Sentence]:
    """Widen a range where the winner sits at its end, unless the setting was shown not to matter."""
    if facts.best is None or len(facts.completed) < 5:
        return
    shares = {s.name: s for s in one.shares}
    searched = set(facts.searched)
    for axis in axes_of(facts.space):
        if axis.kind == "choice" or axis.name not in facts.best_config or axis.name not in searched:
            continue
        if words.finite(facts.best_config[axis.name]) is None:  # a text, in a study that came from elsewhere
            continue
        unit = axis.unit(facts.best_config[axis.name])
        if EDGE < unit < 1 - EDGE:
            continue
        share = shares.get(axis.name)
        if share is not None and not share.matters:
            continue
        low, high = axis.value(0.0), axis.value(1.0)
        end, word = (high, "above") if unit >= 0.5 else (low, "below")
        lead = (
            f"Widen {axis.name} to {word} {words.number(end)}"
            if axis.kind == "number"
            else (f"Try values of {axis.name} {word} {words.number(end)}")
        )
        weight = f"; it explains {words.share(share.share)} of the variation" if share is not None else ""
        yield Sentence(
            lead,
            f"the winner lies at the end of its range: {words.number(facts.best_config[axis.name])} in "
            f"{words.number(low)} to {words.number(high)}{weight}",
        )


def _fewer(one: Importance, around: Sensitivity | None) -> Iterator[Sentence]:
    """Fix what explains next to nothing anywhere and changes nothing clearly around the winner either."""
    if not one.evidence or around is None or not around.evidence:
        return
    still = {m.name for m in around.moves if m.low <= 0 <= m.high} - {
        m.name for m in around.moves if m.low > 0 or m.high < 0
    }
    small = [s for s in one.shares if not s.matters and s.high < 0.05 and s.name in still]
    if small:
        parts = ", ".join(f"{s.name} at most {words.share(s.high)}" for s in small[:6])
        yield Sentence(
            f"Fix {', '.join(s.name for s in small[:6])} and search the rest",
            f"upper ends of the 95 % intervals of their share: {parts}; no clear effect around the winner",
        )


def _search(facts: Facts, one: Importance) -> Iterator[Sentence]:
    done = facts.completed
    if facts.best is None:
        return
    if len(done) >= 8:
        position = next(i for i, t in enumerate(done) if t["number"] == facts.best["number"]) + 1
        if position > 0.8 * len(done):
            yield Sentence(
                "Give it more trials: continue with a greater --trials",
                f"the best came with completed trial {position} of {len(done)}",
            )
        elif position <= len(done) / 2 and len(done) >= 16:
            yield Sentence(
                "More trials of the same kind are unlikely to help much; change the space, the data or the "
                "model instead",
                f"nothing better in the last {len(done) - position} of {len(done)} completed trials",
            )
    if not one.evidence and len(done) > 0:
        yield Sentence("Run more trials before fixing or dropping a setting", one.because)


def _seeds(facts: Facts) -> Iterator[Sentence]:
    final = facts.story.final
    difference = final.get("difference") or {}
    low, high = words.finite(difference.get("low")), words.finite(difference.get("high"))
    seeds = len(final.get("seeds") or [])
    if low is not None and high is not None and low <= 0 <= high:
        yield Sentence(
            f"Confirm on more seeds, for example --seeds {max(5, seeds + 2)}",
            f"with {plural(seeds, 'seed')} the interval {words.gain(low)} to {words.gain(high)} contains zero",
        )
    elif facts.completed and not facts.story.has_final and facts.story.state == "finished":
        yield Sentence("Confirm the winner on several seeds, for example --seeds 3", "no confirmation runs are stored")


def _stopped(facts: Facts) -> Iterator[Sentence]:
    saved = savings(facts)
    if saved.compared >= 3 and len(saved.ahead) >= 0.3 * saved.compared:
        yield Sentence(
            "Prune later or not at all, for example --pruner none",
            f"{len(saved.ahead)} of {saved.compared} early stops were ahead of the winner at that point",
        )
