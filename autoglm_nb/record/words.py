"""The words of every view: numbers, durations, states and configurations as a person reads them.

The live card, the record, the report and the list of studies all take their
words from here, so that the same fact never reads differently in two places.
Every string that comes from a person or a file is hostile until it has been
through `clean` (no control or direction characters, one line, bounded length);
HTML escaping is `html`'s own business on top of that.
"""

from __future__ import annotations

import math
import re
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from autoglm_nb.protocol import StudyState, TrialState

__all__ = [
    "STATE_MARKS",
    "TRIAL_MARKS",
    "clean",
    "config_items",
    "config_line",
    "duration",
    "finite",
    "gain",
    "metric_name",
    "number",
    "quoted",
    "score",
    "share",
    "state_words",
    "width",
]

STATE_MARKS: dict[str, str] = {
    StudyState.QUEUED: "○",
    StudyState.PREPARING: "◔",
    StudyState.RUNNING: "●",
    StudyState.PAUSED: "‖",
    StudyState.CONFIRMING: "◕",
    StudyState.FINISHED: "✓",
    StudyState.STOPPED: "■",
    StudyState.FAILED: "×",
    StudyState.INTERRUPTED: "▲",
}
"""One sign per state of a study, always shown beside the word, never instead of it."""

TRIAL_MARKS: dict[str, str] = {
    TrialState.COMPLETED: "●",
    TrialState.PRUNED: "○",
    TrialState.FAILED: "×",
    TrialState.RUNNING: "▸",
    TrialState.WAITING: "·",
}
"""One sign per state of a trial, the same as in the curve; they differ by shape, not by colour alone."""

_UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters but tab and line ends
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction marks and overrides
    "\ud800-\udfff]"  # lone surrogates, which cannot be encoded
)


def clean(text: object, limit: int = 200, *, lines: bool = False) -> str:
    """`text` without control characters (terminal escapes, direction overrides), bounded.

    Args:
        text: anything; turned into a string.
        limit: longest result; a longer one ends in "…".
        lines: keep line breaks; otherwise any white space becomes one space.
    """
    out = _UNSAFE.sub("", str(text).replace("\r\n", "\n").replace("\r", "\n"))
    if not lines:
        out = " ".join(out.split())
    return out if len(out) <= limit else out[: limit - 1].rstrip() + "…"


def finite(value: object) -> float | None:
    """`value` as a float, or None where it is missing, not a number, NaN or infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:  # a whole number beyond what a float holds
        return None
    return found if math.isfinite(found) else None


def number(value: object, digits: int = 3) -> str:
    """A hyper-parameter's value: 0.00081 → "8.1e-4", 16 → "16", ["q", "v"] → "q+v"."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        if abs(value) < 10**9:
            return str(value)
        return "–" if finite(value) is None else f"{value:.{digits - 1}e}"
    if isinstance(value, float):
        return _float(value, digits)
    if isinstance(value, (list, tuple)):
        return clean("+".join(number(item) for item in value), 60)
    return clean(value, 60)


def score(value: object, *, signed: bool = False) -> str:
    """A metric's value, to a thousandth where it is of ordinary size: 0.8468 → "0.847"."""
    given = finite(value)
    if given is None:
        return "–"
    sign = "+" if signed and given >= 0 else "−" if given < 0 else ""
    size = abs(given)
    if size == 0 or 0.001 <= size < 100:
        return f"{sign}{size:.3f}"
    return sign + (f"{size:.0f}" if 100 <= size < 1e6 else _float(size, 3))


def gain(value: object) -> str:
    """A signed difference, better being positive: 0.062 → "+0.062"."""
    return score(value, signed=True)


def share(value: object) -> str:
    """A part of one in per cent: 0.62 → "62 %"."""
    given = finite(value)
    return "–" if given is None else f"{100 * min(1.0, max(0.0, given)):.0f} %"


def duration(seconds: object) -> str:
    """Seconds as a person says them: 42 → "42 s", 380 → "6 min", 5000 → "1 h 23 min"."""
    given = finite(seconds)
    if given is None:
        return "–"
    whole = max(0, round(given))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"


def metric_name(metric: object) -> str:
    """`macro_f1` → "macro F1"; others with spaces for underscores."""
    name = clean(metric or "score", 40)
    return {"macro_f1": "macro F1", "memory_gb": "memory (GB)"}.get(name, name.replace("_", " "))


def state_words(state: object) -> str:
    """The sign and the word of a study's state: "● running"."""
    word = clean(state, 20)
    return f"{STATE_MARKS.get(word, '·')} {word}"


def quoted(name: object) -> str:
    """A study's name as one word of a magic's line, quoted where the line would be split otherwise."""
    return shlex.quote(clean(name, 120))


def config_items(config: Mapping[str, Any], searched: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Names and values of a configuration, the searched hyper-parameters alone where any are active."""
    chosen = [name for name in searched if name in config] or list(config)
    return [(clean(name, 40), number(config[name])) for name in chosen]


def config_line(config: Mapping[str, Any], searched: Sequence[str] = ()) -> str:
    """One line: "learning_rate 8.1e-4 · rank 16 · lora". A method or model speaks for itself."""
    return " · ".join(
        value if name in ("method", "model") else f"{name} {value}" for name, value in config_items(config, searched)
    )


def width(text: str) -> int:
    """Columns that `text` takes in a terminal (East Asian wide characters take two)."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _float(value: float, digits: int) -> str:
    """At most `digits` significant digits, exponents without padding: 2e-05 → "2e-5"."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 10**6:
        return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"
