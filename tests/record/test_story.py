"""The facts of a snapshot: the space in words, the state in words, what to list."""

from __future__ import annotations

from autoglm_nb.protocol import StudyState, TrialState
from autoglm_nb.record import Story, words
from autoglm_nb.space import parse_cell
from tests.record import samples


def test_space_rows_follow_the_cell() -> None:
    """Ranges, choices, constants and conditions of a real space, in the order of its cell."""
    space = parse_cell(
        samples.CELL + "\nepochs = 2\ndropout = quniform(0, 0.3, 0.1)\n"
        "if method == 'adapter' and not dropout > 0.2:\n    adapter_width = logint(8, 64)",
        {},
    )
    story = Story({"space": space.to_json()})
    assert story.searched == ["learning_rate", "method", "rank", "dropout", "adapter_width"]
    assert story.space_rows()[:3] == [
        ("learning_rate", "1e-5 to 0.01, log scale", ""),
        ("method", "lora, dora, adapter", ""),
        ("rank", "4, 8, 16, 32", "method in lora, dora"),
    ]
    rest = {name: (values, condition) for name, values, condition in story.space_rows()[3:]}
    assert rest["epochs"] == ("2", "")
    assert rest["dropout"][0] == "0 to 0.3, steps of 0.1"
    assert rest["adapter_width"][1] == "method == adapter and dropout <= 0.2"


def test_every_state_has_a_sign_of_its_own() -> None:
    """A state is never told by colour alone, and a new state cannot be forgotten here."""
    assert set(words.STATE_MARKS) == set(StudyState)
    assert len(set(words.STATE_MARKS.values())) == len(StudyState)
    assert set(words.TRIAL_MARKS) == set(TrialState)
    assert len(set(words.TRIAL_MARKS.values())) == len(TrialState)


def test_ranking_puts_completed_before_pruned_before_failed() -> None:
    """Completed by value, then pruned by their last report, then failed; running ones are not ranked."""
    ranked = Story(samples.running_snapshot()).ranked
    states = [t["state"] for t in ranked]
    assert states == ["completed"] * 7 + ["pruned"] * 3 + ["failed"]
    assert [t["number"] for t in ranked[:3]] == [8, 10, 7]
    assert [t["number"] for t in ranked[7:10]] == [9, 2, 5]


def test_count_and_best_change_their_words_at_the_end() -> None:
    """While running the trial under way is counted, afterwards those done; "so far" goes at the end."""
    running, finished = Story(samples.running_snapshot()), Story(samples.finished_snapshot())
    assert (running.count, finished.count) == ("trial 12 of 24", "24 of 24 trials")
    assert running.best.startswith("Best so far")
    assert finished.best == "Best 0.850 accuracy"


def test_a_study_without_result_says_so() -> None:
    """Nothing yet, or nothing at all."""
    snapshot = samples.running_snapshot()
    snapshot["headline"].update(best_value=None, gain=None, best_trial=None, best_config={})
    assert Story(snapshot).best == "No result yet"
    snapshot["study"]["state"] = "failed"
    assert Story(snapshot).best == "No result"
    assert Story(snapshot).gain == ""


def test_a_baseline_that_is_not_there_yet_is_said() -> None:
    """Only while it may still come."""
    snapshot = samples.running_snapshot()
    snapshot["headline"]["gain"] = None
    assert Story(snapshot).gain == "(default settings not measured yet)"
    snapshot["study"]["state"] = "finished"
    assert Story(snapshot).gain == ""
