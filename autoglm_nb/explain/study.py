"""`explain`: from the store to the document, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from autoglm_nb.errors import UsageError, did_you_mean
from autoglm_nb.explain.document import Explanation, Section
from autoglm_nb.explain.facts import Facts, load
from autoglm_nb.explain.sections.answer import answer
from autoglm_nb.explain.sections.attributed import attributed
from autoglm_nb.explain.sections.behaves import around_of, behaves
from autoglm_nb.explain.sections.closing import notes, provenance
from autoglm_nb.explain.sections.decision import decided
from autoglm_nb.explain.sections.following import following
from autoglm_nb.explain.sections.mattered import evidence_of, mattered
from autoglm_nb.explain.sections.methods import methods, pareto
from autoglm_nb.explain.sections.one_trial import one_trial
from autoglm_nb.explain.sections.proposals import MIN_TRIALS, evolved, proposed
from autoglm_nb.explain.sections.went import converged, stopping

__all__ = ["PAGE", "WHAT", "explain", "explain_facts"]

PAGE = ("importance", "convergence", "stopping", "methods")
"""What is asked for when nothing is: the page.

It adds evolution, sensitivity, with several objectives the front, and a decision where there is one.
"""

WHAT = (*PAGE, "sensitivity", "pareto", "shap", "evolution", "proposals", "decision")
"""Every part that can be asked for."""

_LATER = {
    "transfer": "Transfer between domains is not part of this version. --what importance says which settings mattered.",
}


def explain(
    home: str | os.PathLike[str], study: str, what: Sequence[str] = PAGE, trial: int | None = None
) -> Explanation:
    """Explain a stored study, finished or not.

    Args:
        home: the `.autoglm` folder.
        study: the study's name.
        what: parts of `WHAT`. The default gives the whole page: answer, the parts, what to
            try next, notes and provenance. A narrower request gives the answer and the parts.
        trial: explain this trial only.

    Returns:
        The document; it holds no connection to the store.

    Raises:
        UsageError: an unknown part, or a trial the study does not have.
        StudyNotFoundError: no such study.
    """
    asked = _checked(what)
    return explain_facts(load(Path(home), study), asked, trial)


def explain_facts(facts: Facts, what: Sequence[str] = PAGE, trial: int | None = None) -> Explanation:
    """The same from facts that are at hand already."""
    sections = [one_trial(facts, trial)] if trial is not None else _sections(facts, _checked(what))
    made_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Explanation(facts.name, facts.story.subject, trial, tuple(sections), made_at)


def _sections(facts: Facts, what: Sequence[str]) -> list[Section]:
    whole = set(PAGE) <= set(what)
    found = evidence_of(facts) if whole or "importance" in what else ()
    around = around_of(facts) if whole or "sensitivity" in what else None
    sections = [answer(facts)]
    if "importance" in what:
        sections.append(mattered(facts, found))
    if "shap" in what:
        sections.append(attributed(facts))
    if "convergence" in what:
        sections.append(converged(facts))
    if "evolution" in what or (whole and len(facts.trials) >= MIN_TRIALS):
        sections.append(evolved(facts))
    if "proposals" in what:
        sections.append(proposed(facts))
    if "stopping" in what:
        sections.append(stopping(facts))
    if whole or "sensitivity" in what:
        sections.append(behaves(facts, around))
    if "methods" in what:
        compared = methods(facts)
        if compared.tables or not whole:  # the page does not mention what a study never varied
            sections.append(compared)
    if "pareto" in what or (whole and facts.several):
        sections.append(pareto(facts))
    if "decision" in what or (whole and (facts.decisions or facts.reports)):
        sections.append(decided(facts, always="decision" in what))
    if whole:
        sections.append(following(facts, found, around))
        told = notes(facts)
        sections += [told] if told is not None else []
        sections.append(provenance(facts))
    return sections


def _checked(what: Sequence[str]) -> tuple[str, ...]:
    """Each part once, in the order given.

    Raises:
        UsageError: with a fault for each part that does not exist.
    """
    given = tuple(dict.fromkeys(p.strip() for p in ([what] if isinstance(what, str) else what) if p.strip()))
    if len(given) == 1 and "," in given[0]:
        return _checked(given[0].split(","))
    faults = [
        _LATER[part]
        if part in _LATER
        else f"--what takes {', '.join(WHAT)}, but got {part[:60]!r}. {did_you_mean(part, WHAT)}"
        for part in given
        if part not in WHAT
    ]
    if faults:
        raise UsageError(faults[0], faults)
    if not given:
        raise UsageError(f"--what needs at least one part, but none was given. Choose from {', '.join(WHAT)}.")
    return given
