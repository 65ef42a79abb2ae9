"""The responsiveness benchmark refuses figures whose conditions did not hold."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import responsiveness
from benchmarks.responsiveness import MIN_SAMPLES, Refused, Row, measure, table


class FakeKernel:
    """Answers at once; each answer publishes one message of the live view."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter(comm_msg=1000)

    def one_plus_one(self) -> float:
        self.messages["comm_msg"] += 1
        return 5.0

    def drain(self) -> None:
        return None


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responsiveness, "PAUSE_SECONDS", 0.0)


def test_percentiles_are_those_of_numpy() -> None:
    """NumPy's default, linear interpolation, is the reference."""
    samples = list(np.random.default_rng(0).gamma(2.0, 5.0, size=137))
    row = Row("x", promised=True, samples_ms=samples)
    assert row.percentile(50) == pytest.approx(np.percentile(samples, 50))
    assert row.percentile(95) == pytest.approx(np.percentile(samples, 95))


def test_samples_count_only_while_the_condition_holds_before_and_after() -> None:
    """A sample that straddles the start or the end of the study is not one of the study."""
    left = iter(range(3 * MIN_SAMPLES))
    asked = iter([False, *[True] * 6 * MIN_SAMPLES])
    row = measure(Row("x", promised=True), FakeKernel(), lambda: next(left, None) is not None, lambda: next(asked))  # type: ignore[arg-type]
    assert len(row.samples_ms) == 3 * MIN_SAMPLES - 1


def test_messages_from_before_the_measurement_do_not_count() -> None:
    """Only what was published meanwhile shows that the view was updated meanwhile."""
    left = iter(range(MIN_SAMPLES))
    row = measure(Row("x", promised=True), FakeKernel(), lambda: next(left, None) is not None)  # type: ignore[arg-type]
    assert row.messages["comm_msg"] == MIN_SAMPLES


def test_too_few_samples_are_refused() -> None:
    """A percentile of a handful of samples says nothing."""
    left = iter(range(MIN_SAMPLES - 1))
    with pytest.raises(Refused, match=f"only {MIN_SAMPLES - 1} samples"):
        measure(Row("x", promised=True), FakeKernel(), lambda: next(left, None) is not None)  # type: ignore[arg-type]


def test_a_missed_promise_is_shown_as_missed() -> None:
    """31 ms is not 30 ms; an idle kernel and a thread have no promise to keep."""
    slow = Row("study", promised=True, samples_ms=[31.0] * MIN_SAMPLES).result()
    idle = Row("idle", promised=False, samples_ms=[31.0] * MIN_SAMPLES).result()
    assert (slow["kept"], idle["kept"]) == (False, None)
    assert "MISSED" in table([slow])
    assert "MISSED" not in table([idle])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_benchmark_runs_on_a_toy_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real kernel, a real study and a real explanation; the speeds of a test machine are not judged."""
    out = tmp_path / "result.json"
    responsiveness.main(["--tiny", "--executors", "process", "--json", str(out)])
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["refused"] == [], capsys.readouterr().out
    assert [row["situation"] for row in result["rows"]] == ["idle", "study, process executor", "%explain"]
    assert result["rows"][1]["trials_finished"] >= 8
