"""A space as data: round trips, walking, validating, counting, describing."""

from __future__ import annotations

import json
import math
import pickle
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoglm_nb.errors import SpaceError
from autoglm_nb.space import Compare, Constant, Dimension, Space, parse_cell
from tests.space.spaces import parameter_lists, spaces

relaxed = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

CELL = """\
learning_rate = loguniform(1e-05, 0.01)
method = choice("lora", "dora", "adapter")
if method in ("lora", "dora"):
    rank = choice(4, 8, 16, 32)
    if rank > 8:
        dropout = quniform(0.0, 0.3, 0.05)
    else:
        dropout = 0.1
else:
    adapter_width = logint(8, 256)
    rank = choice(1, 2)
target_modules = choice(["q", "v"], "qv")
batch_size = randint(8, 64, 8)"""


def draw_from(seed: int) -> Any:
    """An independent sampler: uniform over the choices or the range, by the standard library."""
    rng = random.Random(seed)

    def suggest(dimension: Dimension) -> Any:
        if dimension.kind == "categorical":
            return rng.choice(dimension.choices)
        assert dimension.low is not None and dimension.high is not None
        if dimension.kind == "int":
            return rng.randrange(int(dimension.low), int(dimension.high) + 1, int(dimension.step or 1))
        if dimension.step is not None:
            last = round((dimension.high - dimension.low) / dimension.step)
            return dimension.low + dimension.step * rng.randint(0, last)
        return rng.uniform(dimension.low, dimension.high)

    return suggest


@relaxed
@given(spaces)
def test_source_and_json_bring_back_an_equal_space(space: Space) -> None:
    """Cell text and JSON are complete: nothing of a space is lost in either."""
    assert parse_cell(space.to_source(), strict_names=False) == space
    assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space


@relaxed
@given(spaces, st.integers(0, 10**6))
def test_every_walk_is_a_valid_configuration(space: Space, seed: int) -> None:
    """What a walk gives, validation accepts unchanged, also after a trip through JSON."""
    config = space.walk(draw_from(seed))
    assert space.validate(json.loads(json.dumps(config))) == config


@relaxed
@given(parameter_lists(), st.integers(0, 10**6))
def test_simplified_conditions_mean_the_same(parameters: list[Any], seed: int) -> None:
    """Dropping implied conditions and unreachable parameters changes no configuration."""
    space = Space(parameters)
    config = space.walk(draw_from(seed))
    assigned: dict[str, Any] = {}
    for p in parameters:  # the definition of a walk, on the parameters as they were given
        try:
            active = p.condition is None or p.condition.holds(assigned)
        except LookupError:
            active = False
        if active:
            value = p.value if isinstance(p, Constant) else config[p.name]
            assigned[p.name] = tuple(value) if isinstance(value, list) else value
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in assigned.items()} == config


@relaxed
@given(spaces)
def test_grid_has_each_configuration_once_at_its_place(space: Space) -> None:
    """Counting, indexing and iterating agree, and every configuration is valid and new."""
    grid = space.grid(levels=3)
    if grid.size > 400:
        assert space.validate(grid[grid.size - 1]) == grid[grid.size - 1]
        return
    listed = list(grid)
    assert len(listed) == grid.size
    assert [grid[i] for i in range(grid.size)] == listed
    assert len({json.dumps(config, sort_keys=True) for config in listed}) == len(listed)
    assert all(space.validate(config) == config for config in listed)


@relaxed
@given(spaces)
def test_cardinality_equals_a_full_listing(space: Space) -> None:
    """For a finite space, counting without listing gives what listing gives."""
    count = space.cardinality()
    if count is not None and count <= 300:
        assert count == sum(1 for _ in space.grid(levels=10**6))
    if count is None:
        assert any(d.count() is None for d in space.dimensions)


def test_cardinality_of_large_ranges_needs_no_listing() -> None:
    """A long integer range that conditions ask about is counted by classes."""
    text = "n = randint(1, 1000000)\nif n > 999990:\n    k = randint(1, 3)\nm = choice(1, 2)"
    space = parse_cell(text, strict_names=False)
    assert space.cardinality() == 2 * (999_990 + 10 * 3)


def test_a_reused_name_gets_its_own_key() -> None:
    """`rank` and `rank#2` are two dimensions with one name."""
    space = parse_cell(CELL)
    assert [d.key for d in space.dimensions if d.name == "rank"] == ["rank", "rank#2"]
    assert space.names().count("rank") == 1


def test_source_is_written_as_a_person_would() -> None:
    """Definitions under the same condition share an `if`, opposites an `else`."""
    assert parse_cell(CELL).to_source() == CELL


def test_walk_asks_active_dimensions_only_in_order() -> None:
    """Define by run: the answer to one question decides which questions follow."""
    asked = []

    def suggest(dimension: Dimension) -> Any:
        asked.append(dimension.key)
        return "adapter" if dimension.name == "method" else dimension.points(2)[0]

    config = parse_cell(CELL).walk(suggest)
    assert asked == ["learning_rate", "method", "adapter_width", "rank#2", "target_modules", "batch_size"]
    assert config["rank"] == 1 and "dropout" not in config
    assert config["target_modules"] == ["q", "v"]


def test_walk_refuses_a_value_outside_the_dimension() -> None:
    """A sampler that answers nonsense is not believed."""
    with pytest.raises(SpaceError, match="`learning_rate` must be within"):
        parse_cell(CELL).walk(lambda d: 5.0)


def test_validate_reports_every_fault_at_once() -> None:
    """An unknown name, a wrong value, a changed constant and a missing dimension: four sentences."""
    space = parse_cell("learning_rate = uniform(0.1, 1)\nrank = choice(4, 8)\nepochs = 2\nbatch_size = randint(1, 4)")
    with pytest.raises(SpaceError) as caught:
        space.validate({"learning_rate": 2, "epochs": 3, "rnk": 4, "rank": 4})
    assert len(caught.value.faults) == 4
    assert "Did you mean 'rank'?" in caught.value.faults[0]


@pytest.mark.parametrize(
    "cell", ["rank = randint(2, 64)", "rank = logint(2, 64)", "rank = choice(2, 4)", "dropout = quniform(0, 0.5, 0.1)"]
)
@pytest.mark.parametrize("value", [10**400, -(10**400), math.inf, math.nan])
def test_a_number_beyond_what_a_float_holds_is_refused(cell: str, value: float) -> None:
    """It may come from anywhere: a request over REST, a file."""
    space = parse_cell(cell, {})
    with pytest.raises(SpaceError, match="must be within"):
        space.validate({space.dimensions[0].name: value}, partial=True)


def test_validate_completes_constants_and_leaves_dimensions_open_when_partial() -> None:
    """A configuration to enqueue may say less than everything."""
    space = parse_cell("learning_rate = uniform(0.1, 1)\nepochs = 2")
    assert space.validate({}, partial=True) == {"epochs": 2}
    with pytest.raises(SpaceError, match="`learning_rate` is missing"):
        space.validate({})


def test_validate_refuses_a_value_for_an_inactive_dimension() -> None:
    """`adapter_width` says nothing to LoRA; leaving it in would mislead."""
    space = parse_cell(CELL)
    config = space.walk(lambda d: "lora" if d.name == "method" else d.points(2)[0])
    with pytest.raises(SpaceError, match="it is active only when method not in"):
        space.validate({**config, "adapter_width": 16})


def test_an_unknown_condition_leaves_partial_values_alone() -> None:
    """A rank without a method may be meant for the branch that is drawn later."""
    assert parse_cell(CELL).validate({"rank": 8}, partial=True) == {}


def test_active_follows_the_values_given() -> None:
    """The dimensions to show for a half-filled form."""
    space = parse_cell(CELL)
    assert [d.key for d in space.active({"method": "dora", "rank": 16})][2:4] == ["rank", "dropout"]
    assert "dropout" not in [d.name for d in space.active({"method": "dora"})]


def test_numbers_are_taken_as_the_dimension_writes_them() -> None:
    """An integer for a real dimension, and a raster value with binary noise."""
    space = parse_cell("dropout = quniform(0, 0.3, 0.1)\nlearning_rate = uniform(0, 1)", strict_names=False)
    assert space.validate({"dropout": 0.1 + 0.2, "learning_rate": 1}) == {"dropout": 0.3, "learning_rate": 1.0}
    with pytest.raises(SpaceError):
        space.validate({"dropout": 0.15, "learning_rate": 1})
    with pytest.raises(SpaceError):
        space.validate({"dropout": True, "learning_rate": 1})


def test_diff_names_what_changed() -> None:
    """Added, removed, another range, another condition."""
    one = parse_cell("a = uniform(0, 1)\nb = choice(1, 2)\nif b == 1:\n    c = 3\nd = 4", strict_names=False)
    two = parse_cell("a = uniform(0, 2)\nb = choice(1, 2)\nif b == 2:\n    c = 3\ne = 4", strict_names=False)
    lines = one.diff(two)
    assert len(lines) == 4 and one.diff(one) == []
    assert any(line.startswith("a changed from 0 … 1 to 0 … 2") for line in lines)
    assert any("c is active when b == 2" in line for line in lines)


def test_describe_gives_rows_of_text() -> None:
    """Name, range and condition, ready for a table and for JSON."""
    rows = parse_cell(CELL).describe()
    assert rows[0] == {"name": "learning_rate", "range": "1e-5 … 0.01 (log)", "condition": ""}
    assert rows[3]["condition"] == 'method in ("lora", "dora") and rank > 8'


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([Dimension.choice("a", ())], "is empty"),
        ([Dimension.real("a", 2, 1)], "must not be above"),
        ([Dimension.real("a", 0, 1, log=True)], "positive ends"),
        ([Dimension.integer("a", 1, 2), Constant("a", 3)], "defined twice"),
        ([Constant("b", 1, Compare("a", "==", 1)), Dimension.integer("a", 1, 2)], "before it is defined"),
        ([Dimension.choice("a b", (1, 2))], "plain Python name"),
        ([Constant("class", 1)], "plain Python name"),
    ],
)
def test_a_space_made_in_python_is_checked_as_well(parameters: list[Any], message: str) -> None:
    """The rules do not depend on the cell language."""
    with pytest.raises(SpaceError, match=message):
        Space(parameters)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"dimensions": 3},
        {"version": 99, "dimensions": []},
        {"dimensions": [{}]},
        {"dimensions": [{"name": "a", "kind": "odd"}]},
        {"dimensions": [{"name": "a", "kind": "int", "low": 1, "high": 2, "condition": 3}]},
    ],
)
def test_json_that_is_no_space_is_refused(raw: dict[str, Any]) -> None:
    """A damaged or newer record gives a sentence, not a traceback from within."""
    with pytest.raises(SpaceError):
        Space.from_json(raw)


def test_a_space_is_immutable_hashable_and_can_be_copied() -> None:
    """It travels to a worker and lives in sets."""
    space = parse_cell(CELL)
    assert pickle.loads(pickle.dumps(space)) == space and hash(space) == hash(parse_cell(CELL))
    with pytest.raises(AttributeError):
        space.parameters = ()


def test_too_many_combinations_are_refused_rather_than_guessed() -> None:
    """The check of conditions is exact, so it has a limit, which it states."""
    lines = [f"d{i} = choice(0, 1, 2, 3)" for i in range(9)]
    lines += [f"if d{i} == 1:\n    e{i} = {i}" for i in range(9)]
    with pytest.raises(SpaceError, match="too many to check"):
        parse_cell("\n".join(lines), strict_names=False)
