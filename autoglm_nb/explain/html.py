"""An explanation as HTML, twice from the same parts: a fragment for a notebook, the body of a page.

The fragment uses what an untrusted notebook, GitHub and a mail keep: headings, paragraphs,
tables, `<img>` with data URIs. No `<svg>`, `<style>`, `<script>`, class or id; a few
attributes align numbers. Every string is cleaned and escaped here, once.
"""

from __future__ import annotations

import base64
from html import escape

from autoglm_nb.explain.document import Explanation, Section, Sentence, Table
from autoglm_nb.explain.figures.style import Picture
from autoglm_nb.record import words

__all__ = ["body", "fragment"]

_WIDTH = 720


def fragment(explanation: Explanation) -> str:
    """Headings, sentences, tables and pictures, without looks of its own."""
    title = f"<h2>{_e(explanation.title)} <small>{_e(explanation.subject)}</small></h2>"
    return "<div>" + title + "".join(_section(i + 1, s) for i, s in enumerate(explanation.sections)) + "</div>"


def body(explanation: Explanation) -> str:
    """The same for the page, whose style sheet gives the looks to plain elements."""
    head = (
        f"<header><h1>{_e(explanation.title)}</h1><p>{_e(explanation.subject)}</p>"
        f"<p><small>Explained {_e(explanation.made_at)}</small></p></header>"
    )
    sections = (f"<section>{_section(i + 1, s)}</section>" for i, s in enumerate(explanation.sections))
    return head + "<main>" + "\n".join(sections) + "</main>"


def _section(number: int, section: Section) -> str:
    parts = [f"<h3>{number}. {_e(section.title)}</h3>"]
    if section.sentences:
        parts.append("<ul>" + "".join(f"<li>{_sentence(s)}</li>" for s in section.sentences) + "</ul>")
    parts += [_picture(p) for p in section.pictures]
    parts += [_table(t) for t in section.tables]
    if section.code:
        parts.append(f"<pre><code>{_e(section.code, 8000, lines=True)}</code></pre>")
    return "".join(parts)


def _sentence(sentence: Sentence) -> str:
    text = _e(sentence.text, 1000)
    return f"{text} <small>({_e(sentence.evidence, 1000)})</small>." if sentence.evidence else f"{text}."


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    return (
        f'<p><img src="data:image/png;base64,{data}" alt="{_e(picture.alt, 1000)}" width="{_WIDTH}"><br>'
        f"<small>{_e(picture.caption, 500)}</small></p>"
    )


def _table(table: Table) -> str:
    head = ""
    if any(table.heads):
        cells = "".join(f'<th scope="col"{_side(i, table)}>{_e(h)}</th>' for i, h in enumerate(table.heads))
        head = f"<thead><tr>{cells}</tr></thead>"
    rows = "".join(_row(row, table, strong=n in table.strong) for n, row in enumerate(table.rows))
    return f"<table><caption>{_e(table.caption, 500)}</caption>{head}<tbody>{rows}</tbody></table>"


def _row(row: tuple[str, ...], table: Table, *, strong: bool) -> str:
    cells = []
    for i, cell in enumerate(row):
        text = _e(cell, 2000, lines=True).replace("\n", "<br>")
        cells.append(f"<td{_side(i, table)}>{f'<strong>{text}</strong>' if strong else text}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _side(column: int, table: Table) -> str:
    return ' align="right"' if column in table.numeric else ' align="left"'


def _e(text: object, limit: int = 300, *, lines: bool = False) -> str:
    return escape(words.clean(text, limit, lines=lines), quote=True)
