"""4. How it behaves: what a small change to one setting of the winner would do."""

from __future__ import annotations

from autoglm_nb.explain.document import Section, Sentence, Table
from autoglm_nb.explain.facts import Facts
from autoglm_nb.record import words
from autoglm_nb.surrogates import Move, Sensitivity, sensitivity
from autoglm_nb.surrogates.encoding import label

__all__ = ["around_of", "behaves"]


def around_of(facts: Facts) -> Sensitivity | None:
    """Sensitivity around the winner, None without a winner."""
    return sensitivity(facts.trials, facts.space, facts.direction, facts.best_config) if facts.best else None


def behaves(facts: Facts, found: Sensitivity | None) -> Section:
    """Predicted changes around the winner, with the interval of each."""
    title = "How it behaves around the winner"
    if found is None:
        return Section(
            "sensitivity",
            title,
            (Sentence("There is no winner to look around", facts.story.counts() or "no trial has ended"),),
        )
    if not found.evidence:
        return Section(
            "sensitivity", title, (Sentence("There is no evidence about what small changes would do", found.because),)
        )
    clear = [m for m in found.moves if m.low > 0 or m.high < 0]
    sentences = [_told(facts, m) for m in sorted(clear, key=lambda m: -abs(m.change))[:5]]
    if not clear:
        sentences = [
            Sentence("No single change around the winner has a clear effect", "every 95 % interval contains zero")
        ]
    quiet = sorted({m.name for m in found.moves} - {m.name for m in clear})
    if clear and quiet:
        sentences.append(Sentence(f"No clear effect of changing {', '.join(quiet)}", "95 % intervals contain zero"))
    if found.skipped:
        sentences.append(
            Sentence(f"{', '.join(found.skipped)} cannot be changed alone, because other settings depend on it")
        )
    sentences.append(
        Sentence(
            "Predicted by a Gaussian process, not measured", f"cross-validated R² {found.r2:.2f}, {found.trials} trials"
        )
    )
    rows = tuple(
        (
            words.clean(m.name, 40),
            label(m.value) if isinstance(m.value, str) else words.number(m.value),
            words.number(m.to),
            words.gain(m.change),
            f"{words.gain(m.low)} to {words.gain(m.high)}",
        )
        for m in found.moves
    )
    table = Table(
        f"Predicted change in {facts.metric} when one setting moves by a tenth of its range, or to another choice",
        ("Setting", "Now", "Changed to", "Change", "95 % interval"),
        rows,
        frozenset({1, 2, 3, 4}),
    )
    numbers = {
        "r2": found.r2,
        "moves": [m.__dict__ for m in found.moves],
        "elasticity": [list(e) for e in found.elasticity],
    }
    return Section("sensitivity", title, tuple(sentences), (table,), facts=numbers)


def _told(facts: Facts, move: Move) -> Sentence:
    better = move.change > 0 if facts.maximize else move.change < 0
    return Sentence(
        f"Changing {move.name} from {words.number(move.value)} to {words.number(move.to)} would make it "
        f"{'better' if better else 'worse'} by about {words.score(abs(move.change))}",
        f"95 % interval {words.gain(move.low)} to {words.gain(move.high)}, predicted",
    )
