"""The clock behind the overhead figure: exclusive times that add up."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmarks.overhead import Clock

ROOT = Path(__file__).resolve().parents[2]


def test_nested_parts_are_counted_once_and_add_up_to_the_whole() -> None:
    """A store call inside a search call is the store's time, not the search's."""
    readings = iter([0.0, 2.0, 5.0, 11.0, 12.0, 20.0])
    clock = Clock(root="rest", now=lambda: next(readings))
    with clock.part("rest"), clock.part("search"), clock.part("store"):
        pass
    assert clock.parts == {"rest": 2.0 + 8.0, "search": 3.0 + 1.0, "store": 6.0}
    assert clock.whole == 20.0
    assert clock.calls == {"rest": 1, "search": 1, "store": 1}


def test_what_runs_outside_the_root_or_in_another_thread_is_not_counted() -> None:
    """The baseline before the trials and the pulse thread do not belong to a trial's time."""
    clock = Clock(root="rest")

    def elsewhere() -> None:
        with clock.part("events"):
            pass

    with clock.part("store"):
        pass
    with clock.part("rest"):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert set(clock.parts) == {"rest"}


def test_a_wrapped_method_still_raises_and_returns() -> None:
    """The clock must not change what it measures, and an exception leaves it balanced."""

    class Thing:
        def double(self, x: int) -> int:
            if x < 0:
                raise ValueError(x)
            return 2 * x

    clock = Clock(root="rest")
    clock.wrap(Thing, "double", "thing")
    with clock.part("rest"):
        assert Thing().double(4) == 8
        with pytest.raises(ValueError, match="-1"):
            Thing().double(-1)
    assert clock.calls["thing"] == 2
    assert clock.whole == pytest.approx(sum(clock.parts.values()))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_benchmark_runs_on_a_toy_model(tmp_path: Path) -> None:
    """Every part is seen at work and the parts add up; the share itself is not judged on a toy."""
    script = [sys.executable, "benchmarks/overhead.py", "--tiny", "--trials", "3", "--max-rows", "400"]
    out = tmp_path / "result.json"
    done = subprocess.run([*script, "--json", str(out)], cwd=ROOT, capture_output=True, text=True, timeout=880)
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["faults"] == [], done.stdout
    assert result["trials"] == 3
    parts = {"model: training steps", "model: evaluation", "checkpoints and slots", "search", "store", "events"}
    assert parts <= {part for part, calls in result["calls"].items() if calls}
    assert sum(result["parts"].values()) == pytest.approx(result["seconds"], rel=0.01)
