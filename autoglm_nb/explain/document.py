"""An explanation as data: sections of sentences, tables and figures, written four ways.

A `Sentence` carries its evidence apart from its claim, so that no claim can be written
without saying what it rests on. The HTML fragment survives an untrusted notebook (no
`<svg>`, `<style>`, `<script>` or class: pictures are `<img>` with data URIs), the page of
`report` stands alone, the text reads in a terminal, the JSON holds every figure as numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoglm_nb.record import words

if TYPE_CHECKING:
    from autoglm_nb.explain.figures.style import Picture

__all__ = ["EXPLANATION_VERSION", "Explanation", "Section", "Sentence", "Table"]

EXPLANATION_VERSION = 1
"""Version of the JSON form."""


@dataclass(frozen=True)
class Sentence:
    """A claim and the figures it was computed from.

    Attributes:
        text: without the closing full stop.
        evidence: shown in parentheses; "" where the sentence only states what was done.
    """

    text: str
    evidence: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.evidence})." if self.evidence else f"{self.text}."


@dataclass(frozen=True)
class Table:
    """Cells are plain text; `numeric` columns are aligned to the right, `strong` rows stand out."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    strong: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        key: "answer", "importance", "convergence", ... the token of `--what` where there is one.
        title: as shown.
        sentences: the narrative.
        tables, pictures: drawn after the sentences, in order.
        code: shown as written, for example the cell that started the study.
        facts: the numbers behind the sentences, JSON values only.
    """

    key: str
    title: str
    sentences: tuple[Sentence, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    code: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """A stored study explained. Made by `explain`; holds no connection and may be kept.

    Attributes:
        study: its name.
        subject: what was tuned on what.
        trial: the trial explained, None for the whole study.
        sections: in the order of the page.
        made_at: when, as text in UTC.
    """

    study: str
    subject: str
    trial: int | None
    sections: tuple[Section, ...]
    made_at: str = ""

    @property
    def title(self) -> str:
        """The heading: the study's name, and the trial where one is explained."""
        return self.study if self.trial is None else f"{self.study}, trial {self.trial}"

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Every figure, in order."""
        return tuple(p for s in self.sections for p in s.pictures)

    @property
    def text(self) -> str:
        """The explanation for a terminal."""
        from autoglm_nb.explain.plain import plain

        return plain(self)

    @property
    def html(self) -> str:
        """The explanation as a fragment that survives an untrusted notebook."""
        from autoglm_nb.explain.html import fragment

        return fragment(self)

    def section(self, key: str) -> Section | None:
        """The section of that key, None when it was not asked for."""
        return next((s for s in self.sections if s.key == key), None)

    def json(self) -> dict[str, Any]:
        """Sentences, tables and numbers as JSON values; figures by name and description."""
        return {
            "version": EXPLANATION_VERSION,
            "study": self.study,
            "subject": self.subject,
            "trial": self.trial,
            "made_at": self.made_at,
            "sections": [_section_json(s) for s in self.sections],
        }

    def save_figures(self, folder: str | Path, formats: Sequence[str] = ("svg", "png", "pdf")) -> list[Path]:
        """Write every figure in every format; returns the paths.

        Raises:
            UsageError: a format that is not svg, png or pdf.
        """
        from autoglm_nb.explain.figures.style import save

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        return [path for picture in self.pictures for path in save(picture, target, formats)]

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Explanation of {self.title!r}: {', '.join(s.key for s in self.sections)}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}


def _section_json(section: Section) -> dict[str, Any]:
    return {
        "key": section.key,
        "title": section.title,
        "sentences": [{"text": s.text, "evidence": s.evidence} for s in section.sentences],
        "tables": [
            {"caption": t.caption, "heads": list(t.heads), "rows": [list(r) for r in t.rows]} for t in section.tables
        ],
        "figures": [{"name": p.name, "alt": p.alt, "caption": p.caption} for p in section.pictures],
        "code": section.code,
        "facts": _plain(section.facts),
    }


def _plain(value: Any) -> Any:
    """JSON values only: NaN and infinity become null, numpy numbers become Python's."""
    if isinstance(value, Mapping):
        return {words.clean(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    if hasattr(value, "item") and callable(value.item):
        value = value.item()
    if isinstance(value, float):
        return words.finite(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    return words.clean(value, 4000, lines=True)
