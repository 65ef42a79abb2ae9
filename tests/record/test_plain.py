"""The record in a terminal."""

from __future__ import annotations

import pytest

from autoglm_nb import record
from autoglm_nb.record import words
from autoglm_nb.record.plain import COLUMNS
from tests.notebook.fakes import summary
from tests.record import samples


@pytest.mark.parametrize("make", [samples.running_snapshot, samples.finished_snapshot, samples.hostile_snapshot])
def test_no_line_is_wider_than_the_terminal(make: object) -> None:
    """Hostile and long names included."""
    text = record.text(make())  # type: ignore[operator]
    assert max(words.width(line) for line in text.splitlines()) <= COLUMNS


def test_text_tells_the_story() -> None:
    """Answer, advice, test comparison, curve with its signs, best trials, notes."""
    lines = record.text(samples.finished_snapshot()).splitlines()
    assert lines[0].endswith("✓ finished")
    assert lines[2].startswith("Best 0.850 accuracy (+0.065 over the default settings)")
    text = "\n".join(lines)
    for part in ("Adapter:", "Default settings", "● completed  ○ pruned  × failed", "┤", "#14", "… 19 more", "Notes"):
        assert part in text


def test_plot_puts_the_best_trial_above_the_worst() -> None:
    """The characters are where the values are."""
    snapshot = samples.running_snapshot()
    snapshot["trials"] = [samples.trial(0, value=0.1), samples.trial(1, value=0.9)]
    snapshot["curve"], snapshot["headline"]["baseline_value"] = [], None
    rows = [line for line in record.text(snapshot).splitlines() if "┤" in line]
    assert "●" in rows[0]
    assert rows[0].rstrip().endswith("●")
    assert rows[-1].index("●") < rows[0].index("●")


def test_list_of_studies_puts_active_ones_first_and_lines_up() -> None:
    """Columns are aligned whatever the width of a name."""
    text = record.studies_text([summary("done", "finished"), summary("日本語", "running"), summary("c" * 30, "paused")])
    lines = text.splitlines()
    assert "日本語" in lines[1]
    columns = {words.width(line[: line.index("0.847")]) for line in lines[1:]}
    assert len(columns) == 1


def test_list_of_studies_escapes_names() -> None:
    """A hostile name is text in the table."""
    page = record.studies_html([summary("<script>x</script>")])
    assert "<script>" not in page
    assert record.studies_text([]) == "No study is stored here."
