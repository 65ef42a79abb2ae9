"""What became of a decision: in the record, in `%explain`, at the door through which models leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from autoglm_nb import record
from autoglm_nb.decisions import push, report_section
from autoglm_nb.errors import RejectedError, StudyNotFoundError
from autoglm_nb.explain import explain
from autoglm_nb.protocol import RunRole, TrialState
from autoglm_nb.session.results import Results
from autoglm_nb.store import Decision, Store, add_decision, decisions, refuse_if_rejected, snapshot
from tests.decisions.conftest import System, decision
from tests.explain.studies import Made

EVIL = '<img src=x onerror="alert(1)">\x1b[31m'


def _winner(made: Made) -> int:
    return int(snapshot(made.store, "reviews", limit=1)["headline"]["best_trial"] or 0)


def test_a_rejected_model_is_not_handed_out_without_force(system: System, made: Made) -> None:
    """`best_model()` raises before it looks for the adapter; with force it goes on to look."""
    system.answer = lambda: (200, {}, decision("reject", reviewer="Ada", reason="Unfair to short reviews."))
    push(made.home, "reviews")
    with pytest.raises(RejectedError, match=r"was rejected by Ada: Unfair to short reviews\. Ask the reviewer"):
        Results(made.home, "reviews").best_model()
    with pytest.raises(Exception, match="adapter of trial"):
        Results(made.home, "reviews").best_model(force=True)
    refuse_if_rejected(made.store, "reviews", force=True)


@pytest.mark.parametrize("verdict", ["approve", "hold"])
def test_any_other_verdict_lets_it_through(made: Made, verdict: str) -> None:
    """Neither an approval nor a model on hold is refused; nor one that nobody decided about."""
    refuse_if_rejected(made.store, "reviews")
    add_decision(made.store, "reviews", Decision(verdict, trial=_winner(made)))
    refuse_if_rejected(made.store, "reviews")


def test_the_newest_decision_counts(made: Made) -> None:
    """Rejected, then approved after all; then rejected again."""
    for verdict, refused in (("reject", True), ("approve", False), ("reject", True)):
        add_decision(made.store, "reviews", Decision(verdict, trial=_winner(made), key="ab"))
        if refused:
            with pytest.raises(RejectedError):
                refuse_if_rejected(made.store, "reviews")
        else:
            refuse_if_rejected(made.store, "reviews")


def test_a_rejection_is_about_one_trial(made: Made) -> None:
    """A later trial wins: the rejection does not concern it, and the record says that nothing was decided."""
    old = _winner(made)
    add_decision(made.store, "reviews", Decision("reject", reviewer="Ada", trial=old))
    import optuna

    study = made.store.optuna_study("reviews", ["maximize"])
    study.add_trial(optuna.trial.create_trial(values=[0.999]))
    made.store.start_run("reviews", "trial-0012", RunRole.TRIAL, config={"learning_rate": 1e-3}, trial=12)
    made.store.end_run("reviews", "trial-0012", TrialState.COMPLETED, value=0.999)
    assert _winner(made) == 12
    refuse_if_rejected(made.store, "reviews")
    text = record.bundle(snapshot(made.store, "reviews"))["text/plain"]
    assert f"Rejected by Ada (the model of trial {old})" in " ".join(text.split())
    assert "nothing was decided about it" in " ".join(text.split())
    assert "About the present winner nothing was decided" in explain(made.home, "reviews", ("decision",)).text


def test_the_record_shows_the_decision_and_escapes_it(made: Made) -> None:
    """In HTML and text; markup from outside stays text, escape sequences go."""
    add_decision(made.store, "reviews", Decision("reject", reviewer=EVIL, reason=EVIL, trial=_winner(made)))
    bundle = record.bundle(snapshot(made.store, "reviews"))
    assert "&lt;img src=x" in bundle["text/html"] and "<img src=x" not in bundle["text/html"]
    assert "Rejected by" in bundle["text/plain"] and "\x1b" not in bundle["text/plain"]


def test_an_approval_draws_the_record_anew(made: Made) -> None:
    """The fingerprint changes, so that the saved record is replaced."""
    before = record.story.fingerprint(snapshot(made.store, "reviews"))
    add_decision(made.store, "reviews", Decision("approve", trial=_winner(made)))
    assert record.story.fingerprint(snapshot(made.store, "reviews")) != before


def test_explain_tells_decision_and_delivery_each_with_its_evidence(system: System, made: Made) -> None:
    """Undecided, then rejected; the page has the section only once there is something to tell."""
    assert explain(made.home, "reviews", ("stopping",)).section("decision") is None
    assert "%explain reviews --push sends the report" in report_section(made.home, "reviews").text
    push(made.home, "reviews")
    assert "1 report: delivered, undecided (report " in report_section(made.home, "reviews").text.replace("\n   ", " ")
    add_decision(made.store, "reviews", Decision("reject", "Ada", EVIL, "2026-01-02", trial=_winner(made)))
    told = explain(made.home, "reviews", ("decision",))
    assert f"The model of trial {_winner(made)} was rejected by Ada (2026-01-02; <img" in told.text.replace(
        "\n   ", " "
    )
    assert "<img src=x" not in told.html and "&lt;img src=x" in told.html
    assert json.dumps(told.json(), allow_nan=False)


def test_a_refused_report_is_shown_with_what_was_answered(system: System, made: Made) -> None:
    """The reason, and how to try again."""
    system.answer = lambda: (403, {}, b"unknown token")
    push(made.home, "reviews")
    text = " ".join(report_section(made.home, "reviews").text.split())
    assert "1 report: refused; %explain reviews --push tries again" in text
    assert "it answered 403: unknown token" in text


def test_a_decision_is_not_part_of_the_report_it_answers(system: System, made: Made) -> None:
    """Otherwise every decision would make another report."""
    system.answer = lambda: (200, {}, decision("hold"))
    first = push(made.home, "reviews")
    assert push(made.home, "reviews").key == first.key
    assert len(system.posts) == 1


def test_decisions_and_outbox_follow_their_study(system: System, made: Made) -> None:
    """Renamed with it, deleted with it."""
    system.answer = lambda: (200, {}, decision("reject", reviewer="Ada"))
    push(made.home, "reviews")
    made.store.rename_study("reviews", "films")
    with pytest.raises(RejectedError, match="study 'films'"):
        refuse_if_rejected(made.store, "films")
    assert "was rejected by Ada" in report_section(made.home, "films").text
    made.store.delete_study("films")
    assert not (made.home / "runs" / "films").exists()


def test_a_damaged_decision_file_is_no_decision(made: Made) -> None:
    """Nothing is made up from half a file, and nothing breaks."""
    path = made.home / "runs" / "reviews" / "decisions.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    for text in ("", "{", "[]", '{"decisions": 3}', '{"decisions": [{"verdict": "maybe"}, null, 7]}'):
        path.write_text(text)
        assert decisions(made.store, "reviews") == []
        assert "decision" not in snapshot(made.store, "reviews", limit=1)


def test_an_unknown_verdict_or_study_is_refused(made: Made) -> None:
    """Law and evidence."""
    with pytest.raises(ValueError, match="approve, hold, reject, but got 'fine'"):
        add_decision(made.store, "reviews", Decision("fine"))
    with pytest.raises(StudyNotFoundError):
        add_decision(Store(made.home), "nope", Decision("hold"))


def _child(made: Made, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autoglm_nb.decisions", "--home", str(made.home), "--study", "reviews", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_the_child_process_pushes_the_whole_report_and_asks(
    system: System, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `%explain --push` and `--decision` run: a section as text; an unset address is one sentence."""
    done = _child(made, "--push")
    assert (done.returncode, done.stderr) == (0, "") and "delivered, undecided" in done.stdout
    (report,) = system.reports.values()
    assert [s["key"] for s in report["report"]["sections"]][:2] == ["answer", "importance"]
    system.status = lambda path: (200, {}, decision("approve", reviewer="Ada"))
    assert "was approved by Ada" in _child(made).stdout
    monkeypatch.setenv("AUTOGLM_DECISION_URL", "")
    refused = _child(made, "--push")
    assert refused.returncode == 2 and "AUTOGLM_DECISION_URL is not set" in refused.stderr
