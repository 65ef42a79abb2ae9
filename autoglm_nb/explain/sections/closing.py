"""6 and 7: the team's notes, and where the result comes from and how to get it again."""

from __future__ import annotations

from datetime import UTC, datetime

from autoglm_nb.explain.document import Section, Sentence, Table
from autoglm_nb.explain.facts import Facts, plural
from autoglm_nb.explain.privacy import account
from autoglm_nb.record import words

__all__ = ["notes", "provenance"]


def notes(facts: Facts) -> Section | None:
    """Who wrote what on which trial; None without notes. The machine account is not a name to share."""
    if not facts.story.notes:
        return None
    rows = []
    for note, (where, text, author) in zip(facts.story.notes, facts.story.note_rows(), strict=True):
        when = words.finite(note.get("created_at"))
        date = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M") if when else "–"
        rows.append((where, text, "" if author == account() else author, date))
    table = Table("Notes of the team (times in UTC)", ("On", "Note", "By", "When"), tuple(rows))
    return Section("notes", "Notes of the team", (Sentence(f"{plural(len(rows), 'note')} on this study"),), (table,))


def provenance(facts: Facts) -> Section:
    """Model, data, versions and checksums, and the cell that started it."""
    cell = words.clean(facts.study.get("cell") or "", 8000, lines=True)
    sentences = []
    created = words.finite(facts.study.get("created_at"))
    if created:
        day = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%d %H:%M UTC")
        sentences.append(Sentence(f"The study was created {day}", f"identity {str(facts.study.get('identity'))[:12]}"))
    seed = facts.study.get("seed")
    if cell:
        sentences.append(
            Sentence(
                "To reproduce it, run the cell below on the same data under another name",
                f"seed {words.number(seed)}; versions and checksums are in the table",
            )
        )
    else:
        sentences.append(
            Sentence(
                "The study was not started from a cell; its space and seed are in the table",
                f"seed {words.number(seed)}",
            )
        )
    rows = tuple((k, v) for k, v in facts.story.provenance_rows())
    code = cell
    if not cell and facts.space is not None and facts.space.dimensions:
        code = words.clean(facts.space.to_source(), 8000, lines=True)
    return Section(
        "provenance",
        "Provenance and how to reproduce it",
        tuple(sentences),
        (Table("Where this result comes from", ("What", "Value"), rows),) if rows else (),
        code=code,
        facts={"study": dict(facts.study), "provenance": dict(facts.story.provenance)},
    )
