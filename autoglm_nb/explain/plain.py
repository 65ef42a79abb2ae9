"""An explanation as text for a terminal."""

from __future__ import annotations

import textwrap

from autoglm_nb.explain.document import Explanation, Section, Table
from autoglm_nb.record import words

__all__ = ["plain"]

_WIDTH = 100
_COLUMN = 64


def plain(explanation: Explanation) -> str:
    """Title, then each section: sentences, tables, what the figures show."""
    title = words.clean(f"{explanation.title} · {explanation.subject}", 200)
    parts = [title, "=" * min(words.width(title), _WIDTH)]
    parts += [_section(i + 1, s) for i, s in enumerate(explanation.sections)]
    return "\n".join(parts).rstrip() + "\n"


def _section(number: int, section: Section) -> str:
    lines = ["", f"{number}. {section.title}"]
    for sentence in section.sentences:
        text = words.clean(str(sentence), 2000)
        lines += textwrap.wrap(text, _WIDTH, initial_indent="   ", subsequent_indent="   ")
    for table in section.tables:
        lines += ["", *_table(table)]
    for picture in section.pictures:
        text = words.clean(f"[figure {picture.name}] {picture.alt}", 600)
        lines += ["", *textwrap.wrap(text, _WIDTH, initial_indent="   ", subsequent_indent="   ")]
    if section.code:
        lines += ["", *[f"   | {line}" for line in words.clean(section.code.rstrip(), 8000, lines=True).split("\n")]]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    rows = [[words.clean(c, _COLUMN) for c in row] for row in (table.heads, *table.rows)]
    widths = [max(words.width(r[i]) for r in rows) for i in range(len(table.heads))]
    lines = textwrap.wrap(words.clean(table.caption, 300), _WIDTH, initial_indent="   ", subsequent_indent="   ")
    for n, row in enumerate(rows):
        cells = [_pad(c, w, right=i in table.numeric) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append(("   " + "  ".join(cells)).rstrip())
        if n == 0 and any(table.heads):
            lines.append("   " + "  ".join("-" * w for w in widths))
    return lines


def _pad(text: str, width: int, *, right: bool) -> str:
    space = " " * max(0, width - words.width(text))
    return space + text if right else text + space
