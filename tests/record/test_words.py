"""Numbers, durations and configurations as a person reads them."""

from __future__ import annotations

import math
import shlex

import pytest

from autoglm_nb.record import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00081, "8.1e-4"), (2e-05, "2e-5"), (16, "16"), (0.1, "0.1"), (1.0, "1"), (True, "yes"), (None, "–"),
        ("lora", "lora"), (["q_proj", "v_proj"], "q_proj+v_proj"), (math.nan, "–"), (math.inf, "∞"), (12345.0, "12345"),
        (0.30000000000000004, "0.3"), (1e12, "1e12"), (0.0, "0"), (-2e-5, "-2e-5"),
        (10**12, "1.00e+12"), (10**400, "–"),
    ],
)  # fmt: skip
def test_number_is_short_and_keeps_its_meaning(value: object, text: str) -> None:
    """Three significant digits, exponents without padding, lists joined."""
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.8468, "0.847"), (-0.02, "−0.020"), (None, "–"), (math.nan, "–"), (12.5, "12.500"), (1234.5, "1234"),
     (1e-5, "1e-5"), (True, "–"), (0, "0.000"), (10**400, "–")],
)  # fmt: skip
def test_score_shows_a_thousandth(value: object, text: str) -> None:
    """A metric of ordinary size has three decimals; what is not a number is a dash."""
    assert words.score(value) == text


def test_gain_always_has_its_sign() -> None:
    """A gain of nothing is +0.000, a loss has a minus."""
    assert [words.gain(v) for v in (0.062, 0.0, -0.01)] == ["+0.062", "+0.000", "−0.010"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (42.4, "42 s"), (380, "6 min"), (5000, "83 min"), (7500, "2 h 5 min"), (7200, "2 h"),
     (200000, "2 days"), (-3, "0 s"), (None, "–"), (math.inf, "–")],
)  # fmt: skip
def test_duration_in_words(seconds: object, text: str) -> None:
    """The coarsest unit that still says something."""
    assert words.duration(seconds) == text


def test_clean_takes_away_what_could_steer_a_terminal_or_the_reading_direction() -> None:
    """Escape sequences lose their escape, direction overrides go, lines become one, length is bounded."""
    assert words.clean("\x1b[31mred\x07\u202egnp.exe\ud800") == "[31mredgnp.exe"
    assert words.clean("a\r\n\tb\x00") == "a b"
    assert words.clean("a\r\nb", lines=True) == "a\nb"
    assert words.clean("x" * 300, 10) == "x" * 9 + "…"


def test_config_line_shows_what_was_searched() -> None:
    """Searched names in the space's order; the method speaks for itself; a fixed configuration is shown whole."""
    config = {"batch_size": 16, "method": "lora", "learning_rate": 8.1e-4, "rank": 8}
    assert words.config_line(config, ["learning_rate", "method", "rank"]) == "learning_rate 8.1e-4 · lora · rank 8"
    assert words.config_line({"batch_size": 16}, ["rank"]) == "batch_size 16"


@pytest.mark.parametrize("name", ["reviews", "old study", "a(1)", "名字", "R&D (2), b=c", "x.y_z-1"])
def test_a_name_in_a_line_is_one_word_again(name: str) -> None:
    """Whatever a study may be called, a hint can be copied into a cell."""
    assert shlex.split(f"%autotune best {words.quoted(name)} -o best") == ["%autotune", "best", name, "-o", "best"]
    assert words.quoted("reviews") == "reviews"
