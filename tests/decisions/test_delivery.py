"""From a push to a decision, against a real HTTP server that misbehaves in every way a server can."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoglm_nb.decisions import delivery, drain, poll, push, resume, waiting
from autoglm_nb.errors import UsageError
from autoglm_nb.store import Store, decisions, outbox
from tests.decisions.conftest import Answer, System, decision
from tests.explain.studies import Made, make


def _in_turn(*answers: Answer) -> Iterator[Answer]:
    yield from answers
    while True:
        yield answers[-1]


def test_a_report_is_posted_once_with_key_token_and_no_path(system: System, made: Made) -> None:
    """One POST of JSON: the report, its idempotency key, the bearer token; nothing of this machine."""
    message = push(made.home, "reviews")
    assert message.state == "sent" and message.attempts == 1
    (_, path, headers, raw), body = system.posts[0], json.loads(system.posts[0][3])
    assert path == "/reports" and headers["authorization"] == "Bearer open-sesame"
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == body["idempotency_key"] == message.key
    assert body["schema"] == "autoglm.report.v1" and body["study"] == "reviews"
    assert body["trial"] == _winner(made)
    assert body["report"]["sections"][0]["key"] == "answer"
    assert str(made.home.parent) not in raw.decode()


def _winner(made: Made) -> int:
    rows = [r for r in made.store.runs("reviews") if r.trial is not None and r.value is not None]
    return int(max(rows, key=lambda r: r.value or 0.0).trial or 0)


def test_the_same_report_twice_is_one_message(system: System, made: Made) -> None:
    """A second push of an unchanged study sends nothing; a study with a new note is a new report."""
    first = push(made.home, "reviews")
    time.sleep(1.1)  # the report carries a time of its own, which is no part of what it says
    assert push(made.home, "reviews").key == first.key
    assert len(system.posts) == 1
    made.store.set_final("reviews", None)
    assert push(made.home, "reviews").key != first.key
    assert len(system.reports) == 2


def test_after_an_outage_the_report_arrives(system: System, made: Made) -> None:
    """Nobody listens: the report waits on disk with the reason; once somebody does, it is delivered."""
    system.stop()
    message = push(made.home, "reviews", seconds=2)
    assert message.state == "waiting" and message.attempts >= 3
    assert "refused" in message.problem.lower()
    system.start()
    assert drain(made.store, seconds=5) == []
    assert list(system.reports) == [message.key]


def test_errors_of_the_server_are_tried_again_and_waits_grow(system: System, made: Made) -> None:
    """503, 500, 429, then accepted: four attempts."""
    answers = _in_turn((503, {}, b""), (500, {}, b"oops"), (429, {"Retry-After": "0"}, b""), (200, {}, decision()))
    system.answer = lambda: next(answers)
    message = push(made.home, "reviews", seconds=10)
    assert (message.state, message.attempts, len(system.posts)) == ("decided", 4, 4)
    assert len({p[2]["idempotency-key"] for p in system.posts}) == 1


def test_waits_double_up_to_a_limit_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """2, 4, 8 ... seconds times 0.5 to 1.5, never beyond 15 minutes times 1.5; two processes do not agree."""
    monkeypatch.setattr(delivery, "FIRST_SECONDS", 2.0)
    monkeypatch.setattr(delivery, "LONGEST_SECONDS", 900.0)
    for attempts in (1, 2, 5, 9, 10, 50, 10_000):
        base = min(2.0 * 2.0 ** (attempts - 1), 900.0) if attempts < 50 else 900.0
        drawn = [delivery.delay(attempts, random.Random(seed)) for seed in range(200)]
        assert 0.5 * base <= min(drawn) < 0.6 * base and 1.4 * base < max(drawn) <= 1.5 * base
        assert len(set(drawn)) > 190


def test_a_wait_that_the_server_asks_for_is_kept(system: System, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Retry-After: 30` puts the next attempt half a minute off, not two hundredths of a second."""
    monkeypatch.setattr(delivery, "LONGEST_SECONDS", 900.0)
    system.answer = lambda: (503, {"Retry-After": "30"}, b"")
    message = push(made.home, "reviews")
    assert 25 < message.next_at - time.time() <= 31
    assert drain(made.store) == waiting(made.store) != []
    assert len(system.posts) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
def test_a_no_is_kept_and_shown_and_not_repeated(system: System, made: Made, status: int) -> None:
    """A 4xx will not change by itself: kept with the answer's words; only a person's push tries again."""
    system.answer = lambda: (status, {}, b"no such \x1b[31m<b>project</b>\n")
    message = push(made.home, "reviews", seconds=0.3)
    assert message.state == "refused" and len(system.posts) == 1
    assert message.problem == f"it answered {status}: no such [31m<b>project</b>"
    assert drain(made.store, seconds=0.2) == [] and len(system.posts) == 1
    system.answer = lambda: (200, {}, decision())
    assert push(made.home, "reviews").state == "decided"


def test_a_redirect_does_not_carry_the_token_away(system: System, made: Made) -> None:
    """307 to another server: not followed, told to the person."""
    other = System()
    other.start()
    system.answer = lambda: (307, {"Location": other.url}, b"")
    message = push(made.home, "reviews")
    other.stop()
    assert message.state == "refused" and "a redirect is not followed" in message.problem
    assert other.requests == []


def test_a_process_killed_while_sending_loses_nothing(system: System, made: Made, tmp_path: Path) -> None:
    """The server has the report, the sender dies before it hears so: another process sends it again under the
    same key, and the server keeps one report."""
    arrived, release = threading.Event(), threading.Event()

    def slow() -> Answer:
        arrived.set()
        release.wait(20)
        return 202, {}, b""

    system.answer = slow
    code = (
        "import sys; from autoglm_nb.decisions import pushing; from autoglm_nb.explain import explain\n"
        "pushing.explain = lambda home, study: explain(home, study, ('stopping',))\n"
        "pushing.push(sys.argv[1], 'reviews')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(made.home)], env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert arrived.wait(60)
    process.kill()
    process.wait()
    release.set()
    system.answer = lambda: (202, {}, b"")
    (left,) = waiting(made.store)
    assert left.attempts == 0  # nothing was noted before the answer
    thread = resume(made.home)
    assert thread is not None
    thread.join(20)
    assert waiting(made.store) == []
    assert [p[2]["idempotency-key"] for p in system.posts] == [left.key, left.key]
    assert list(system.reports) == [left.key]


def test_two_processes_do_not_send_one_report_twice(system: System, made: Made) -> None:
    """Four drain one outbox of five reports at the same time: five POSTs."""
    system.stop()
    for name in "abcde":
        make(made.home, 3, name=name, final=False)
        push(made.home, name)
    system.start()
    stores = [Store(made.home) for _ in range(4)]
    for message in waiting(made.store):
        outbox.put(made.store, delivery.replace(message, next_at=0.0))
    threads = [threading.Thread(target=drain, args=(s,), kwargs={"seconds": 5}) for s in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert waiting(made.store) == [] and len(system.posts) == 5 == len(system.reports)


def test_a_decision_may_come_later(system: System, made: Made) -> None:
    """202 first; its address is asked until it decides: undecided, on hold, at last approved."""
    system.answer = lambda: (202, {"Location": "/reports/7"}, b"")
    message = push(made.home, "reviews")
    answers = _in_turn(
        (200, {}, b'{"decision": null}'),
        (200, {}, decision("hold", reviewer="Ada", reason="more seeds")),
        (200, {}, decision("approve", reviewer="Ada")),
    )
    system.status = lambda path: next(answers)
    states = [poll(made.store, "reviews")[0].state for _ in range(4)]
    assert states == ["sent", "decided", "decided", "decided"]
    assert [r[1] for r in system.requests if r[0] == "GET"] == ["/reports/7"] * 4
    assert [r[2]["authorization"] for r in system.requests if r[0] == "GET"] == ["Bearer open-sesame"] * 4
    assert [(d.verdict, d.reviewer, d.key) for d in decisions(made.store, "reviews")] == [
        ("hold", "Ada", message.key),
        ("approve", "Ada", message.key),
    ]


def test_without_an_address_of_its_own_the_report_is_asked_for_by_its_key(system: System, made: Made) -> None:
    """GET <address>/<key>; 404 means that it is not decided."""
    message = push(made.home, "reviews")
    assert poll(made.store)[0].state == "sent"
    assert system.requests[-1][:2] == ("GET", f"/reports/{message.key}")
    system.status = lambda path: (200, {}, decision("reject", reason="biased"))
    assert poll(made.store)[0].state == "decided"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"<html>login</html>", "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"decision": "maybe"}', "must be one of approve, hold, reject, but is maybe"),
        (b'{"decision": 7}', "but is int"),
        (b'{"decision": {"verdict": ["approve"]}}', "but is list"),
        (b'{"decision": "approve", "reviewer": {"name": "x"}}', "reviewer must be text"),
        (b'{"decision": "approve", "reason": NaN}', "not JSON"),
        (b'{"decision": "approve", "idempotency_key": "other"}', "about another report"),
        (b'{"decision": null, "status_url": "http://169.254.169.254/latest"}', "another host"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b'{"x": "' + b"y" * 1_200_000 + b'"}', "too long"),
    ],
)
def test_a_malformed_answer_is_no_decision(system: System, made: Made, body: bytes, problem: str) -> None:
    """Delivered, undecided, with the reason; never repeated, never an exception, never a verdict."""
    system.answer = lambda: (200, {}, body)
    message = push(made.home, "reviews", seconds=0.2)
    assert message.state == "sent" and problem in message.problem
    assert decisions(made.store, "reviews") == [] and len(system.posts) == 1


def test_hostile_text_is_cleaned_on_the_way_in(system: System, made: Made) -> None:
    """Control characters and direction overrides go, length is bounded; markup stays text."""
    evil = "<script>alert(1)</script>\x1b[2J\u202e" + "x" * 5000
    system.answer = lambda: (200, {}, decision({"verdict": "hold", "reviewer": evil, "reason": evil}))
    push(made.home, "reviews")
    (found,) = decisions(made.store, "reviews")
    assert "\x1b" not in found.reason and "\u202e" not in found.reviewer
    assert len(found.reason) <= 2000 and len(found.reviewer) <= 120
    assert found.reason.startswith("<script>")


@pytest.mark.parametrize(
    ("url", "token", "sentence"),
    [
        ("", "", "AUTOGLM_DECISION_URL is not set"),
        ("file:///etc/passwd", "", "must be an address such as"),
        ("decisions.example.org", "", "must be an address such as"),
        ("http://[::1", "", "must be an address such as"),
        ("https://jo:secret@example.org/", "", "must hold no password"),
        ("http://example.org/reports", "t", "sent over https only"),
        ("https://example.org/reports", "two words", "must be one word"),
    ],
)
def test_an_unfit_address_is_refused_before_anything_is_sent(
    made: Made, monkeypatch: pytest.MonkeyPatch, url: str, token: str, sentence: str
) -> None:
    """Law, evidence and remedy; no password in the sentence."""
    monkeypatch.setenv("AUTOGLM_DECISION_URL", url)
    monkeypatch.setenv("AUTOGLM_DECISION_TOKEN", token)
    with pytest.raises(UsageError, match=sentence) as error:
        push(made.home, "reviews")
    assert "secret" not in str(error.value)


def test_without_a_result_nothing_is_pushed(system: System, home: Path) -> None:
    """There is nothing to decide about."""
    make(home, 0)
    with pytest.raises(UsageError, match="no trial of study 'reviews' has completed"):
        push(home, "reviews")
    assert system.requests == []


def test_nothing_is_resumed_without_an_address_or_a_message(
    system: System, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread is started for nothing."""
    assert resume(made.home) is None
    monkeypatch.delenv("AUTOGLM_DECISION_URL")
    assert resume(made.home) is None


def test_the_token_is_not_stored(system: System, made: Made) -> None:
    """Not in the outbox, not in the store."""
    system.stop()
    push(made.home, "reviews")
    files = [p for p in made.home.rglob("*") if p.is_file()]
    assert files and not any(b"open-sesame" in p.read_bytes() for p in files)


def test_a_damaged_file_in_the_outbox_is_passed_over(system: System, made: Made) -> None:
    """Half a file, another kind of file, a foreign name: the others are sent all the same."""
    system.stop()
    message = push(made.home, "reviews")
    folder = made.home / "runs" / "reviews" / "outbox"
    (folder / ("ab" * 20 + ".json")).write_text('{"key": "ab')
    (folder / ("cd" * 20 + ".json")).write_text('{"state": "waiting", "body": [1]}')
    (folder / "readme.json").write_text("{}")
    system.start()
    assert drain(made.store, seconds=5) == []
    assert list(system.reports) == [message.key]
