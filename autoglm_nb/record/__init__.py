"""A snapshot standing still: the card of a study as HTML, text and a small MIME dictionary.

Contract: pure functions of a `protocol.Snapshot`, standard library only; the
same snapshot gives the same bytes, and nothing that moves without new data is
drawn, so that notebooks differ in git only where results do.

Data flow: snapshot → `Story` (the facts in the order a person wants them) →
`html`, `text`, `curve_svg`, `bundle`. The live view and the report take their
words from `words` and `Story` as well.

Failure modes: a missing or older field reads as unknown ("–"); NaN and
infinity are drawn as missing; hostile names, notes and values are cleaned of
control characters and escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoglm_nb.record.curve import curve_alt as _curve_alt
from autoglm_nb.record.curve import curve_img as _curve_img
from autoglm_nb.record.curve import curve_svg as _curve_svg
from autoglm_nb.record.mime import MAX_BYTES, bundle, trimmed
from autoglm_nb.record.page import html as _html
from autoglm_nb.record.plain import text as _text
from autoglm_nb.record.story import Story, fingerprint
from autoglm_nb.record.studies import studies_html, studies_text, study_line

__all__ = [
    "MAX_BYTES",
    "Story",
    "bundle",
    "curve_alt",
    "curve_img",
    "curve_svg",
    "fingerprint",
    "html",
    "studies_html",
    "studies_text",
    "study_line",
    "text",
    "trimmed",
]


def html(snapshot: Mapping[str, Any]) -> str:
    """The card as HTML that survives an untrusted notebook."""
    return _html(Story(snapshot))


def text(snapshot: Mapping[str, Any]) -> str:
    """The card as plain text for a terminal."""
    return _text(Story(snapshot))


def curve_svg(snapshot: Mapping[str, Any]) -> str:
    """The curve as an SVG document, or "" while no trial has a value."""
    return _curve_svg(Story(snapshot))


def curve_img(snapshot: Mapping[str, Any]) -> str:
    """The curve as an `<img>` with a data URI, or ""."""
    return _curve_img(Story(snapshot))


def curve_alt(snapshot: Mapping[str, Any]) -> str:
    """The curve in a sentence."""
    return _curve_alt(Story(snapshot))
