"""The cell language: what it reads, what it refuses, and that it says everything at once."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoglm_nb.errors import SpaceError
from autoglm_nb.space import Constant, Dimension, Space, parse_cell


def faults(text: str, names: dict[str, Any] | None = None, **options: Any) -> tuple[str, ...]:
    with pytest.raises(SpaceError) as caught:
        parse_cell(text, names, **options)
    return caught.value.faults


def only(text: str, names: dict[str, Any] | None = None) -> Any:
    """The one parameter of a cell with free names, without its key."""
    (parameter,) = parse_cell(text, names, strict_names=False).parameters
    return parameter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = uniform(0, 1)", Dimension.real("x", 0, 1)),
        ("x = uniform(low=0, high=1)", Dimension.real("x", 0, 1)),
        ("x = loguniform(1e-5, 1e-2)", Dimension.real("x", 1e-5, 1e-2, log=True)),
        ("x = quniform(0, 0.3, 0.05)", Dimension.real("x", 0, 0.3, step=0.05)),
        ("x = randint(1, 5)", Dimension.integer("x", 1, 5)),
        ("x = randint(8, 64, 8)", Dimension.integer("x", 8, 64, step=8)),
        ("x = randint(8, 64, step=8)", Dimension.integer("x", 8, 64, step=8)),
        ("x = randint(1e3, 2e3)", Dimension.integer("x", 1000, 2000)),
        ("x = logint(1, 256)", Dimension.integer("x", 1, 256, log=True)),
        ('x = choice("a", 2, 2.5, True, None)', Dimension.choice("x", ("a", 2, 2.5, True, None))),
        ("x = choice([1, 2])", Dimension.choice("x", (1, 2))),
        ("x = choice((1, 2),)", Dimension.choice("x", (1, 2))),
        ('x = choice(["q"], ["q", "v"])', Dimension.choice("x", (("q",), ("q", "v")))),
        ('x = choice([["q", "v"]])', Dimension.choice("x", (("q", "v"),))),
        ('x = ["q", "v"]', Constant("x", ("q", "v"))),
        ("x = -2 ** 2 + 7 // 2 * 3 % 4 - 1 / 4", Constant("x", -(2**2) + 7 // 2 * 3 % 4 - 1 / 4)),
        ("x = None  # nothing", Constant("x", None)),
        ("x = (1 +\n     2)", Constant("x", 3)),
    ],
)
def test_definitions(text: str, expected: Any) -> None:
    """Every form of the language, against the record it stands for."""
    got = only(text)
    assert (got.source(), type(got)) == (expected.source(), type(expected))
    if isinstance(expected, Constant):
        assert got.value == expected.value and type(got.value) is type(expected.value)


def test_ranges_include_both_ends() -> None:
    """`randint(1, 3)` has 3, unlike Python's `range`; a raster ends at its last value."""
    assert only("x = randint(1, 3)").points(9) == [1, 2, 3]
    assert only("x = randint(1, 10, 4)").points(9) == [1, 5, 9]
    assert only("x = quniform(0, 1, 0.3)").points(9) == [0.0, 0.3, 0.6, 0.9]


@pytest.mark.parametrize("text", ["", "   \n", "# only a comment\n", "pass"])
def test_an_empty_cell_is_an_empty_space(text: str) -> None:
    """The session puts the default space in its place."""
    assert parse_cell(text) == Space() and not parse_cell(text)


def test_notebook_variables_are_copied_by_value() -> None:
    """NumPy scalars become Python's, lists become choices, and later changes do not reach the space."""
    ranks = [4, 8]
    names = {"ranks": ranks, "low": np.float64(0.25), "k": np.int64(3), "flag": np.bool_(True), "s": np.str_("a")}
    space = parse_cell("a = choice(ranks)\nb = uniform(low, k)\nc = flag\nd = s\ne = k", names, strict_names=False)
    ranks.append(16)
    assert space.dimensions[0].choices == (4, 8)
    assert [type(c.value) for c in space.constants] == [bool, str, int]


@pytest.mark.parametrize(
    "value", [object(), {"a": 1}, {1, 2}, print, np.zeros(3), Decimal("1.5"), [object()], float("nan"), float("inf")]
)
def test_other_notebook_objects_are_refused(value: Any) -> None:
    """Only plain values can be stored and shown."""
    assert "`v`" in faults("x = v", {"v": value}, strict_names=False)[0]


def test_a_fraction_is_a_number() -> None:
    """Whatever Python counts as a real number is taken as a float."""
    assert only("x = v", {"v": Fraction(1, 4)}).value == 0.25


def test_constants_of_the_cell_can_be_calculated_with() -> None:
    """A constant defined above hides the notebook's variable of the same name."""
    space = parse_cell("rank = 8\nalpha = 2 * rank", {"rank": 100})
    assert space.constants[1].value == 16


def test_a_name_may_use_the_notebooks_value_of_itself() -> None:
    """`batch_size = batch_size` copies the notebook's."""
    assert parse_cell("batch_size = batch_size", {"batch_size": 16}).constants[0].value == 16


def test_branches_on_notebook_variables_are_decided_at_once() -> None:
    """The branch not taken leaves no trace, but its faults are reported."""
    text = "if big and n > 3:\n    rank = choice(64, 128)\nelif big:\n    rank = 16\nelse:\n    rank = 8"
    assert parse_cell(text, {"big": True, "n": 5}).to_source() == "rank = choice(64, 128)"
    assert parse_cell(text, {"big": True, "n": 1}).to_source() == "rank = 16"
    assert parse_cell(text, {"big": False, "n": 1}).to_source() == "rank = 8"
    assert faults("if False:\n    rank = 0") != ()


def test_conditions_read_as_python_does() -> None:
    """Chains, constants on the left, bare booleans, negations, sets."""
    head = "r = choice(4, 8, 16)\nm = choice('a', 'b')\nf = choice(True, False)\n"
    same = {
        "2 < r < 16": "r > 2 and r < 16",
        "8 == r": "r == 8",
        "f": "f == True",
        "not f": "f != True",
        "not (r == 4 or m == 'a')": "r != 4 and m != 'a'",
        "m in {'a'}": "m in ('a',)",
        "not m in ['a', 'b'] or r >= 8": "m not in ('a', 'b') or r >= 8",
        "True and r == 4": "r == 4",
    }
    for one, two in same.items():
        left = parse_cell(f"{head}if {one}:\n    x = 1", strict_names=False)
        assert left == parse_cell(f"{head}if {two}:\n    x = 1", strict_names=False), one


def test_a_guard_may_stand_in_the_same_condition() -> None:
    """`and` stops early, so the second half may ask for what the first half guarantees."""
    text = "m = choice('a', 'b')\nif m == 'a':\n    r = choice(4, 8)\nif m == 'a' and r > 4:\n    x = 1"
    assert parse_cell(text, strict_names=False).names() == ("m", "r", "x")


def test_definitions_in_branches_that_exclude_each_other_in_fact() -> None:
    """Exclusive is what can never hold together, not what stands in one `if`."""
    text = "m = choice('a', 'b', 'c')\nif m == 'a':\n    r = 1\nif m in ('b', 'c'):\n    r = choice(2, 3)"
    assert parse_cell(text, strict_names=False).names() == ("m", "r")


def test_every_fault_of_a_cell_is_reported_at_once() -> None:
    """One look, one list, in the order of the lines."""
    text = """\
learning_rate = loguniform(0, 1e-2
method = choice()
rnk = randint(1, 3)
rank = randint(8, 4)
dropout = loguniform(0, 1)
alpha = unifrom(2, 3)
for i in range(3):
    pass
if mehtod == "lora":
    batch_size = 8
optimizer = "adamm"
if schedule == "linear":
    weight_decay = foo
schedule = choice("linear", "cosine")
if schedule == "liner":
    top_k = 0
"""
    found = faults(text)
    assert [int(f.split(":")[0].removeprefix("line ")) for f in found] == [1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 13, 15, 16]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rank = 0", "line 1: `rank` must be a positive integer, but got rank=0. Choose 4, 8 or 16 for most models."),
        ("rank = choice(8, 0)", "`rank` must be a positive integer, but got rank=0"),
        ("rank = uniform(4, 64)", "but got uniform(4.0, 64.0). Write rank = randint(4, 64)"),
        ("dropout = uniform(0, 1)", "`dropout` must be at least 0 and below 1, but got dropout from 0.0 to 1.0"),
        ("method = 'loar'", "Did you mean 'lora'"),
        ("optimizer = randint(1, 2)", "`optimizer` must be the name of an optimizer"),
        ("use_rslora = 1", "`use_rslora` must be True or False"),
        ("target_modules = 'qkv'", '`target_modules` must be "qv"'),
        ("target_modules = choice('qv', 'v_proj')", 'or a list of module names, but got target_modules="v_proj"'),
        ("lerning_rate = 1", "`lerning_rate` is not a hyper-parameter. Did you mean 'learning_rate'?"),
        ("rank = 8\nrank = 16", "line 2: `rank` is defined twice (first on line 1)"),
        ("rank = 8\nif rank > 4:\n    rank = 16", "line 3: `rank` is defined twice"),
        (
            "method = choice('lora', 'full')\nif method == 'lora':\n    rank = 8\nif rank == 8:\n    alpha = 1",
            'line 4: `rank` has a value only when method == "lora"',
        ),
        ("if rank > 4:\n    alpha = 1\nrank = choice(4, 8)", "line 1: `rank` is used before line 3 defines it"),
        ("method = choice('lora', 'full')\nif method == 'lroa':\n    rank = 8", "Did you mean 'lora'?"),
        ("rank = choice(4, 4)", "lists the value 4 twice"),
        ("rank = choice(4, 8)\nalpha = 2 * rank", "`rank` is searched, and only constants can be calculated with"),
        ("learning_rate = uniform(1)", "The form is uniform(low, high), but got uniform(1)"),
        ("learning_rate = uniform(1, 2, 3)", "The form is uniform(low, high)"),
        ("learning_rate = uniform(1, low=2)", "The form is uniform(low, high)"),
        ("rank = randint(1, 2.5)", "randint needs integers, but got high=2.5"),
        ("learning_rate = uniform('a', 1)", "uniform needs numbers, but got low='a'"),
        ("dropout = quniform(0, 0.5, 0)", "The step of `dropout` must be positive"),
        ("rank = logint(0, 8)", "A log range needs positive ends, but got rank from 0 to 8. Start at 1"),
        ("rank == 8", "To define `rank`, write rank = …"),
        ("'a docstring'", "A bare string does nothing"),
        ("rank", "`rank` defines nothing"),
        ("rank: int = 8", "A type annotation is outside the cell language"),
        ("rank += 1", "An assignment such as `+=`"),
        ("rank = alpha = 8", "several names at once"),
        ("rank, alpha = 8, 16", "several names at once"),
        ("a.b = 1", "`a.b`"),
        ("import os", "An import is outside"),
        ("def f(): pass", "A function definition is outside"),
        ("while True: pass", "A `while` loop is outside"),
        ("rank = [r for r in (1, 2)]", "A comprehension is outside"),
        ("rank = 8 if True else 4", "`x if c else y` is outside"),
        ("rank = max(1, 2)", "`max` is not a function of the cell language"),
        ("rank = os.getpid()", "`os.getpid` cannot be called in a cell, which is read and never executed"),
        ("rank = __import__('os').system('true')", "cannot be called in a cell"),
        ("rank = choice(uniform(1, 2))", "`uniform` must stand alone"),
        ("rank = choice(*[1])", "choice takes its values one after the other"),
        ("rank = 1 / 0", "divides by zero"),
        ("rank = 10 ** 10 ** 10", "too large a number"),
        ("alpha = (-8) ** 0.5", "not a finite real number"),
        ("alpha = 'a' * 3", "Only numbers can be calculated with"),
        ("alpha = 1e999", "must be finite"),
        ("alpha = uniform", "Write uniform(…)"),
        ("alpha = f'{1}'", "An f-string is outside"),
        ("alpha = 1 << 3", "Only + - * / // % and **"),
        ("alpha = {'a': 1}", "A dictionary is outside"),
        ("alpha = [1, 2]", "To try several values, write choice"),
        ("rank = choice(4, 8)\nif rank is 8:\n    alpha = 1", "Write == or !="),
        ("rank = choice(4, 8)\nif rank:\n    alpha = 1", "`rank` is not simply true or false"),
        ("rank = choice(4, 8)\nif 8 in rank:\n    alpha = 1", "Write the name on the left"),
        ("rank = choice(4, 8)\nif rank in 8:\n    alpha = 1", "needs a list of values on its right"),
        ("rank = choice(4, 8)\nalpha = choice(1, 2)\nif rank == alpha:\n    top_k = 1", "one name with a constant"),
        ("rank = choice(4, 8)\nif rank > 'a':\n    alpha = 1", "compares by size what has no size"),
        ("rank = choice(4, 8)\nif rank + 1 > 4:\n    alpha = 1", "`rank` is searched"),
        ("rank = choice(4, 8)\nif f(rank):\n    alpha = 1", "cannot be a condition"),
        ("rank = choice(4, 8)\nif rank = 8:\n    alpha = 1", "line 2: This is not valid Python"),
        ("  rank = 8\n rank = 9", "The indentation is wrong"),
        ("if True:\nrank = 8", "The indentation is wrong"),
        ("!pip install x", "Magics and shell commands cannot stand inside a search space"),
        ("method = choice('lora', 'full')\nif method == 'lora':\n    seed = 3\nalpha = 2 * seed", "in one branch only"),
    ],
)
def test_a_fault_names_rule_evidence_and_remedy(text: str, expected: str) -> None:
    """Each slip has a sentence of its own, and only that one."""
    found = faults(text)
    assert len(found) == 1 and expected in found[0], found


def test_lines_are_counted_from_the_line_given() -> None:
    """In a notebook the first line of the cell is the magic."""
    assert faults("\nrank = 0", first_line=2)[0].startswith("line 3:")


def test_free_names_for_a_custom_objective() -> None:
    """With `strict_names=False` any name may be searched and no rule is applied."""
    assert parse_cell("x = uniform(0, 1)\nrank = 0", strict_names=False).names() == ("x", "rank")


def test_two_syntax_errors_are_two_faults() -> None:
    """Python stops at the first; the cell does not."""
    found = faults("rank = choice(4, 8\nalpha = 16\ndropout = )\nif alpha = 3:\n    top_k = 0\n")
    assert [f.split(":")[0] for f in found] == ["line 1", "line 3", "line 4", "line 5"]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever is typed gives a space or a `SpaceError`, never another exception."""
    try:
        parse_cell(text)
    except SpaceError as error:
        assert all(f.startswith("line ") for f in error.faults)


WORDS = [
    "rank",
    "method",
    "=",
    "==",
    "choice",
    "(",
    ")",
    "4",
    "'lora'",
    ",",
    "if ",
    ":",
    "\n",
    "\n    ",
    "else",
    "in",
    "not ",
    " and ",
    "uniform",
    "[",
    "]",
    "-",
    "*",
    "**",
    "None",
    "#",
    "\t",
    "\\",
    "'",
    "%",
    "\x00",
    "é",
]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(WORDS), max_size=25).map("".join))
def test_no_mixture_of_words_breaks_the_reader(text: str) -> None:
    """The same with text that nearly is a cell."""
    with contextlib.suppress(SpaceError):
        parse_cell(text, {"method": "lora"})


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 5000,
        "x = " + "-" * 5000 + "1",
        "x = " + "1+" * 5000 + "1",
        "x = " + "9" * 5000,
        "\n".join("    " * i + "if x:" for i in range(90)),
    ],
)
def test_absurd_nesting_is_a_fault_not_a_crash(text: str) -> None:
    """The parser's own limits come out as a sentence."""
    assert faults(text, strict_names=False)


def test_nothing_is_executed() -> None:
    """A notebook object with side effects is not touched, not even compared or printed."""

    class Trap:
        def __getattribute__(self, name: str) -> Any:
            if name not in ("__class__",):
                raise AssertionError(f"touched {name}")
            return object.__getattribute__(self, name)

    assert "`t` contains a Trap" in faults("rank = t", {"t": Trap()})[0]


def test_only_the_standard_library_is_imported() -> None:
    """The kernel loads this room: it must be light."""
    code = (
        "import sys; before = set(sys.modules); import autoglm_nb.space; "
        "extra = {m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names) - {'autoglm_nb'}; "
        "assert not extra, extra"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
