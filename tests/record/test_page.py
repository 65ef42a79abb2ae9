"""The record as HTML: facts in order, real tables, nothing a sanitizer takes away, nothing hostile let through."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from autoglm_nb import record
from tests.record import samples

# What JupyterLab 4.6's sanitizer lets through of what the record uses (read from its bundle).
ALLOWED_TAGS = {
    "div", "span", "strong", "code", "pre", "p", "br", "img", "details", "summary", "table", "caption", "thead",
    "tbody", "tr", "th", "td",
}  # fmt: skip
ALLOWED_ATTRIBUTES = {
    "*": {"style"}, "img": {"src", "alt", "width", "height"}, "details": {"open"}, "th": {"scope"}, "td": {"scope"},
}  # fmt: skip
VOID = {"br", "img"}


class Reader(HTMLParser):
    """Collects tags and text, and checks that every tag is closed by its own end."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(snapshot: dict[str, Any]) -> Reader:
    reader = Reader()
    reader.feed(record.html(snapshot))
    reader.close()
    assert reader.open == []
    return reader


SNAPSHOTS = {
    "running": samples.running_snapshot, "finished": samples.finished_snapshot, "hostile": samples.hostile_snapshot,
    "empty": dict,
}  # fmt: skip


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_html_uses_only_what_survives_an_untrusted_notebook(name: str) -> None:
    """No svg, style, script, class or id; only tags and attributes of JupyterLab's list; well nested."""
    for tag, attributes in read(SNAPSHOTS[name]()).tags:
        assert tag in ALLOWED_TAGS
        assert set(attributes) <= ALLOWED_ATTRIBUTES["*"] | ALLOWED_ATTRIBUTES.get(tag, set()), tag


def test_the_answer_comes_first() -> None:
    """Name and state, best and gain and count, configuration: in this order, before anything else."""
    text = " ".join(read(samples.running_snapshot()).text.split())
    assert text.startswith(
        "reviews · smollm2-135m · sentiment-domains/movies ● running Best so far 0.847 accuracy "
        "(+0.062 over the default settings) trial 12 of 24 learning_rate 4.05e-4 · adapter"
    )


def test_finished_study_compares_on_the_test_split() -> None:
    """Winner, default and majority with means and interval, and a sentence that the interval carries."""
    text = " ".join(read(samples.finished_snapshot()).text.split())
    assert "Best configuration0.8420.832 to 0.852" in text
    assert "Default settings" in text
    assert "Always the commonest class" in text
    assert "Accuracy on 1061 test rows, which selection never saw, 3 seeds (1, 2, 3)" in text
    assert "Better than the default settings by +0.054 (95 % interval +0.045 to +0.064, paired over seeds)." in text


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.01, 0.09, "Better than"), (-0.02, 0.09, "not clear from these seeds"), (-0.09, -0.01, "Worse than")],
)
def test_the_sentence_claims_no_more_than_the_interval(low: float, high: float, words: str) -> None:
    """An interval that holds zero is called unclear, one below zero worse."""
    snapshot = samples.finished_snapshot()
    snapshot["final"]["difference"] = {"mean": (low + high) / 2, "low": low, "high": high, "p": 0.1}
    assert words in read(snapshot).text


def test_trials_table_has_caption_scope_and_says_how_many_are_left_out() -> None:
    """Twenty rows, best first, then "… n more"; pruned values in brackets; column heads have a scope."""
    snapshot = samples.finished_snapshot(50)
    reader = read(snapshot)
    assert "… 30 more" in reader.text
    assert sum(tag == "caption" for tag, _ in reader.tags) == sum(tag == "table" for tag, _ in reader.tags)
    assert all(attributes.get("scope") == "col" for tag, attributes in reader.tags if tag == "th")
    rows = re.findall(r"#(\d+)", reader.text)
    values = {str(t["number"]): t["value"] for t in snapshot["trials"]}
    shown = [values[n] for n in rows[:20]]
    assert shown == sorted(shown, reverse=True)


def test_a_page_of_a_long_study_says_so() -> None:
    """A snapshot that holds the latest 200 of 1,000 trials does not claim to rank them all."""
    snapshot = samples.finished_snapshot(200)
    snapshot["trials_total"] = 1000
    text = read(snapshot).text
    assert "The latest 200 trials, best first." in text
    assert "… 980 more" in text
    assert "1000 in all" in text


def test_minimised_metric_ranks_the_lowest_first() -> None:
    """With a loss the smallest value is the best row."""
    snapshot = samples.finished_snapshot()
    snapshot["study"].update(direction="minimize", metric="loss")
    lowest = min((t for t in snapshot["trials"] if t["value"] is not None), key=lambda t: t["value"])
    assert f"#{lowest['number']}" == re.findall(r"#\d+", read(snapshot).text)[0]


def test_several_objectives_have_a_column_each() -> None:
    """The front's size is the headline, and both objectives stand in the table."""
    snapshot = samples.finished_snapshot()
    snapshot["study"]["objectives"] = ["accuracy", "latency_ms_p50"]
    snapshot["front"] = [3, 8]
    for item in snapshot["trials"]:
        item["values"] = [item["value"], 12.5] if item["value"] is not None else []
    text = read(snapshot).text
    assert "Pareto front of 2 trials over accuracy and latency ms p50" in text
    assert "12.500" in text


def test_hostile_strings_are_text() -> None:
    """A script in every name, note, value, cell and message stays text; control characters are gone."""
    html = record.html(samples.hostile_snapshot())
    reader = read(samples.hostile_snapshot())
    assert "<script>alert(1)</script>" in reader.text
    assert sum(tag == "img" for tag, _ in reader.tags) == 1
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", html)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", record.text(samples.hostile_snapshot()))


def test_nothing_moves_without_new_data() -> None:
    """Progress, readings, time left and messages change the live view only: the record keeps its bytes."""
    before = record.bundle(samples.running_snapshot())
    later = samples.running_snapshot()
    later["headline"]["seconds_left"] = 12.0
    later["readings"] = later["readings"][:1]
    later["messages"] = [{"t": 1.0, "level": "info", "text": "hello"}]
    for item in later["trials"]:
        if item["state"] == "running":
            item.update(progress=0.9, step=90, loss=0.2, seconds=99.0, reports=[[0, 0.5]], metrics={"accuracy": 0.5})
    assert record.bundle(later) == before


def test_folded_record_opens_into_the_same_card() -> None:
    """While a live view stands below it, the record is one line with the whole card behind it."""
    snapshot = samples.running_snapshot()
    folded = record.bundle(snapshot, fold=True)["text/html"]
    assert folded.startswith("<details")
    assert record.html(snapshot) in folded
    assert " open" not in folded[: folded.index(">")]
    assert "Best so far 0.847 accuracy" in folded[: folded.index("</summary>")]
