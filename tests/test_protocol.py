"""The records that notebook, store and worker exchange: what goes in comes out, and newer versions are refused."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoglm_nb import protocol
from autoglm_nb.protocol import DataSpec, Event, StudySpec, StudyState, TrialState

JSON_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


def a_spec() -> StudySpec:
    return StudySpec(
        name="reviews",
        model="minilm",
        data=DataSpec(source="reviews.csv", text=("title", "body"), target="label", max_rows=500, checksum="ab12"),
        space={"version": 1, "dimensions": [{"name": "rank", "choices": [4, 8]}]},
        objectives=("accuracy", "latency_ms_p50"),
        constraints=("memory_gb <= 10",),
        trials=None,
        budget_seconds=1200.0,
        enqueue=({"rank": 4}, {"rank": 8, "target_modules": ["query", "value"]}),
        cell="%%autotune --name reviews\nrank = choice(4, 8)",
    )


def test_a_spec_survives_json_with_its_tuples_and_nested_records() -> None:
    """Equality of the frozen records: lists must come back as tuples, the data as a DataSpec."""
    spec = a_spec()
    again = StudySpec.from_json(spec.to_json())
    assert again == spec
    assert isinstance(again.data, DataSpec)
    assert isinstance(again.enqueue, tuple)


def test_a_minimal_spec_survives_json() -> None:
    """Every default is a value that JSON can hold."""
    spec = StudySpec(name="a", model="m", data=DataSpec(source="d.csv"), space={})
    assert StudySpec.from_json(spec.to_json()) == spec


def test_equal_specs_are_written_alike() -> None:
    """Sorted keys: the text of a spec does not depend on the order in which a dict was filled."""
    one = dataclasses.replace(a_spec(), space={"a": 1, "b": 2})
    two = dataclasses.replace(a_spec(), space={"b": 2, "a": 1})
    assert one.to_json() == two.to_json()


def test_a_spec_of_a_newer_version_is_refused_with_the_remedy() -> None:
    """An old package must not half-understand a newer record."""
    raw = json.loads(a_spec().to_json()) | {"version": protocol.SPEC_VERSION + 1}
    with pytest.raises(ValueError, match=r"version 2 .* reads up to 1\. Upgrade"):
        StudySpec.from_json(json.dumps(raw))


def test_unknown_fields_of_a_spec_are_named() -> None:
    """A field nobody knows would otherwise be dropped silently."""
    raw = json.loads(a_spec().to_json()) | {"zebra": 1, "yak": 2}
    with pytest.raises(ValueError, match="yak, zebra"):
        StudySpec.from_json(json.dumps(raw))


def test_a_spec_is_frozen() -> None:
    """A running study's request cannot be changed under the worker."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        a_spec().trials = 3  # type: ignore[misc]


FIELDS = st.dictionaries(st.text().filter(lambda k: k not in {"v", "n", "t", "type"}), JSON_SCALARS, max_size=5)


@given(n=st.integers(min_value=0), t=st.floats(0, 4e9), data=FIELDS)
def test_an_event_is_one_line_and_comes_back(n: int, t: float, data: dict[str, object]) -> None:
    """Whatever text the data holds, the event stays on one line; time keeps milliseconds."""
    line = Event(n=n, t=t, type="message", data=data).to_line()
    assert "\n" not in line
    again = Event.from_line(line)
    assert again is not None
    assert (again.n, again.type, again.data) == (n, "message", data)
    assert again.t == pytest.approx(t, abs=5.1e-4)


@pytest.mark.parametrize("cut", range(len(Event(n=7, t=1.5, type="step", data={"run": "trial-0001"}).to_line())))
def test_a_half_written_event_is_none_at_every_cut(cut: int) -> None:
    """The worker may be killed within a write: any proper prefix of a line is no event."""
    line = Event(n=7, t=1.5, type="step", data={"run": "trial-0001"}).to_line()
    assert Event.from_line(line[:cut]) is None


@pytest.mark.parametrize(
    "line",
    ['{"v": 2, "n": 1, "t": 0, "type": "state"}', "[1, 2]", "3", "null", '{"n": 1}', '{"v": "x", "n": 1, "t": 0}'],
)
def test_a_line_that_is_no_event_of_ours_is_none(line: str) -> None:
    """A newer version, another JSON type and missing keys are skipped, not raised."""
    assert Event.from_line(line) is None


def test_which_states_are_final() -> None:
    """Views stop following, and the worker stops working, on exactly these."""
    assert {s for s in StudyState if s.final} == {StudyState.FINISHED, StudyState.STOPPED, StudyState.FAILED}
    assert {s for s in TrialState if s.final} == {TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED}


def test_everything_exported_exists() -> None:
    """`__all__` is what other rooms import."""
    assert [name for name in protocol.__all__ if not hasattr(protocol, name)] == []
