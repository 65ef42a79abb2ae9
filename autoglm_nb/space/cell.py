"""The cell language: a search space written as a small subset of Python.

::

    # one assignment per hyper-parameter
    learning_rate = loguniform(1e-5, 1e-2)     # real, uniform in the logarithm
    method        = choice("lora", "dora", "adapter")
    if method in ("lora", "dora"):             # active in this branch only
        rank      = choice(4, 8, 16, 32)
        alpha     = 2 * base_alpha             # a notebook variable, copied by value
    else:
        adapter_width = logint(8, 256)
    dropout       = quniform(0, 0.3, 0.05)     # 0, 0.05, … 0.3
    batch_size    = randint(8, 64, 8)          # 8, 16, … 64: both ends included

What there is: `uniform(low, high)`, `loguniform(low, high)`,
`quniform(low, high, step)`, `randint(low, high[, step])`, `logint(low, high)`
(all ranges include both ends; with a step, the last value on the raster counts
as the end), `choice(a, b, …)` or `choice([a, b, …])`, constants, names of
notebook variables, the arithmetic `+ - * / // % **` on constants, `if` / `elif` /
`else` whose conditions compare earlier names with constants by `==`, `!=`, `<`,
`<=`, `>`, `>=`, `in`, `not in`, combined by `and`, `or`, `not`; `pass`; comments.
A choice of lists of module names is written as several lists,
`choice(["q_proj"], ["q_proj", "v_proj"])`.

The text is parsed, never executed. A name may be defined again in a branch that
excludes the first one. Every fault of a cell is reported in one `SpaceError`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autoglm_nb.errors import SpaceError
from autoglm_nb.space._conditions_of import ConditionReader
from autoglm_nb.space._expressions import BROKEN, FUNCTIONS, Expressions, construct, unknown_function
from autoglm_nb.space._survey import UNKNOWN, Step, survey
from autoglm_nb.space._syntax import parse_leniently
from autoglm_nb.space.conditions import Compare, Condition, conjunction, negated
from autoglm_nb.space.dimensions import Constant, Dimension, Parameter, dimension_faults
from autoglm_nb.space.hyperparameters import name_fault, parameter_faults
from autoglm_nb.space.space import Space
from autoglm_nb.space.values import Value

__all__ = ["parse_cell"]

Path = tuple[Condition, ...]


def parse_cell(
    text: str, names: Mapping[str, object] | None = None, *, strict_names: bool = True, first_line: int = 1
) -> Space:
    """Reads a search space from cell text.

    Args:
        text: the body of the cell. Empty, or comments only: an empty space.
        names: the notebook's variables; those used are copied by value.
        strict_names: only known hyper-parameters may be defined, and their rules
            are checked; False for a custom objective, whose names are free.
        first_line: the number of the first line in messages.

    Raises:
        SpaceError: with every fault, each beginning with its line.
    """
    reader = _Reader(names or {}, strict_names, first_line)
    reader.read(text)
    if reader.faults:
        ordered = [f"line {line}: {message}" for line, _, message in sorted(set(reader.faults))]
        raise SpaceError(ordered[0], ordered)
    return Space(step.parameter for step in reader.steps if step.parameter is not None)


class _Reader:
    """Walks the statements of one cell and collects steps and faults."""

    def __init__(self, names: Mapping[str, object], strict: bool, first_line: int) -> None:
        self.faults: list[tuple[int, int, str]] = []
        self.steps: list[Step] = []
        self._strict = strict
        self._offset = first_line - 1
        self._later: dict[str, int] = {}
        self._defined: dict[str, list[tuple[Path, Parameter | None, int]]] = {}
        self._unknowns = 0
        self._expressions = Expressions(names, self._defined_value, self._report)
        self._conditions = ConditionReader(
            self._expressions, self._defined_parameters, self._later, names, self._report
        )

    def read(self, text: str) -> None:
        tree, syntax_faults = parse_leniently(text)
        for line, column, message in syntax_faults:
            self.faults.append((line + self._offset, column, message))
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._later.setdefault(node.id, node.lineno + self._offset)
        try:
            self._block(tree.body, ())
        except RecursionError:
            self.faults.append((1 + self._offset, 0, "The cell is nested too deeply to be read. Write it more flatly."))
            return
        for where, message in survey(self.steps).faults:
            self.faults.append((where or 0, 0, message))

    def _block(self, body: list[ast.stmt], path: Path) -> None:
        for statement in body:
            match statement:
                case ast.Pass():
                    pass
                case ast.If():
                    self._branch(statement, path)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._define(statement, name, value, path)
                case ast.Assign(targets=targets):
                    several = len(targets) > 1 or isinstance(targets[0], (ast.Tuple, ast.List))
                    what = "several names at once" if several else f"`{ast.unparse(targets[0])}`"
                    self._report(
                        statement,
                        f"An assignment defines one plain name, but this one defines {what}. "
                        "Write one `name = …` per line.",
                    )
                case ast.Expr(value=ast.Constant(value=str())):
                    self._report(statement, "A bare string does nothing here. Write a comment with #.")
                case ast.Expr(value=ast.Compare(left=ast.Name(id=name), ops=[ast.Eq()])):
                    self._report(statement, f"`==` compares. To define `{name}`, write {name} = ….")
                case ast.Expr():
                    self._report(statement, f"`{_short(statement)}` defines nothing. Write `name = …`.")
                case _:
                    self._report(
                        statement,
                        f"{construct(statement)} is outside the cell language, which has "
                        "assignments and if / elif / else only. Write one `name = …` per line.",
                    )

    def _branch(self, node: ast.If, path: Path) -> None:
        condition = self._conditions.read(node.test)
        if condition is None:  # reported; the branches are read all the same, for their own faults
            self._unknowns += 1
            condition = Compare(f"{UNKNOWN}{self._unknowns}", "==", True)
        if isinstance(condition, bool):
            self._decided(node, path, condition)
            return
        line = node.test.lineno + self._offset
        self.steps.append(Step(path=conjunction(path), test=condition, line=line))
        self._block(node.body, (*path, condition))
        self._block(node.orelse, (*path, negated(condition)))

    def _decided(self, node: ast.If, path: Path, truth: bool) -> None:
        """A test on constants of the notebook: the side not taken is read for its faults, then dropped."""
        for body, taken in ((node.body, truth), (node.orelse, not truth)):
            kept, known = len(self.steps), {name: list(places) for name, places in self._defined.items()}
            self._block(body, path)
            if not taken:
                del self.steps[kept:]
                self._defined.clear()
                self._defined.update(known)

    def _define(self, node: ast.Assign, name: str, value: ast.expr, path: Path) -> None:
        line = node.lineno + self._offset
        fault = name_fault(name) if self._strict else None
        if fault is not None:
            self._report(node, fault)
        elif name in FUNCTIONS:
            self._report(node, f"`{name}` is a function of the cell language. Choose another name.")
        before = len(self.faults)
        parameter = self._parameter(name, value)
        if parameter is not None:
            own = dimension_faults(parameter) if isinstance(parameter, Dimension) else []
            if self._strict and not own:
                own = parameter_faults(parameter)
            for message in own:
                self._report(value, message)
        condition = conjunction(path)
        if parameter is None or len(self.faults) > before:
            self.steps.append(Step(path=condition, broken=name, line=line))
            parameter = None
        else:
            parameter = replace(parameter, condition=condition)
            self.steps.append(Step(path=condition, parameter=parameter, line=line))
        self._defined.setdefault(name, []).append((path, parameter, line))

    def _parameter(self, name: str, node: ast.expr) -> Parameter | None:
        if not isinstance(node, ast.Call):
            value = self._expressions.value(node)
            if value is BROKEN:
                return None
            if isinstance(value, tuple) and not (value and all(isinstance(item, str) for item in value)):
                self._report(
                    node,
                    f"`{name}` must be one value or a list of module names, but got {list(value)!r}. "
                    "To try several values, write choice(…).",
                )
                return None
            return Constant(name, value)
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            self._report(node, unknown_function(node))
            return None
        if node.func.id == "choice":
            return self._choice(name, node)
        arguments = self._arguments(node, node.func.id)
        return None if arguments is None else self._range(name, node, node.func.id, arguments)

    def _choice(self, name: str, node: ast.Call) -> Dimension | None:
        if node.keywords or any(isinstance(arg, ast.Starred) for arg in node.args):
            self._report(
                node,
                "choice takes its values one after the other, choice(a, b), or one list, "
                "choice(values). Leave out `*` and `name=`.",
            )
            return None
        values = [self._expressions.value(arg) for arg in node.args]
        if any(value is BROKEN for value in values):
            return None
        if len(values) == 1 and isinstance(values[0], tuple):
            values = list(values[0])
        for value in values:
            if isinstance(value, tuple) and not (value and all(isinstance(item, str) for item in value)):
                self._report(
                    node,
                    f"The values of a choice are single values or lists of module names, but `{name}` "
                    f"has {list(value)!r}.",
                )
                return None
        return Dimension.choice(name, tuple(values))

    def _arguments(self, node: ast.Call, function: str) -> dict[str, Any] | None:
        """The named arguments of a range function; None after reporting a fault."""
        required, optional = FUNCTIONS[function]
        accepted = (*required, *optional)
        form = f"{function}({', '.join(required)}{''.join(f'[, {name}]' for name in optional)})"
        given: dict[str, ast.expr] = dict(zip(accepted, node.args, strict=False))
        wrong = len(node.args) > len(accepted) or any(isinstance(arg, ast.Starred) for arg in node.args)
        for keyword in node.keywords:
            wrong = wrong or keyword.arg not in accepted or keyword.arg in given
            given[str(keyword.arg)] = keyword.value
        if wrong or any(name not in given for name in required):
            self._report(node, f"The form is {form}, but got {_short(node)}.")
            return None
        values: dict[str, Value] = {name: self._expressions.value(value) for name, value in given.items()}
        if any(value is BROKEN for value in values.values()):
            return None
        integral = function in ("randint", "logint")
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                self._report(
                    given[name],
                    f"{function} needs numbers, but got {name}={value!r}. "
                    "Write choice(…) for values that are not numbers.",
                )
                return None
            if integral and value != int(value):
                real = "loguniform" if function == "logint" else "uniform"
                self._report(
                    given[name],
                    f"{function} needs integers, but got {name}={value!r}. Write {real}(…) for real numbers.",
                )
                return None
        return {name: int(value) for name, value in values.items()} if integral else values

    def _range(self, name: str, node: ast.Call, function: str, given: dict[str, Any]) -> Dimension | None:
        low, high = given["low"], given["high"]
        if function in ("randint", "logint"):
            return Dimension.integer(name, low, high, step=given.get("step", 1), log=function == "logint")
        try:
            return Dimension.real(name, low, high, step=given.get("step"), log=function == "loguniform")
        except OverflowError:
            self._report(node, f"`{name}` reaches further than a floating-point number can.")
            return None

    def _defined_value(self, node: ast.Name) -> tuple[Any] | None:
        """For expressions: the value of a constant defined above; None when the cell does not define the name."""
        places = self._defined.get(node.id)
        if not places:
            return None
        if any(parameter is None for _, parameter, _ in places):
            return (BROKEN,)
        if any(isinstance(parameter, Dimension) for _, parameter, _ in places):
            self._report(
                node,
                f"`{node.id}` is searched, and only constants can be calculated with. "
                "Give this hyper-parameter a range of its own.",
            )
            return (BROKEN,)
        return self._constant_here(node, places)

    def _constant_here(self, node: ast.Name, places: list[tuple[Path, Parameter | None, int]]) -> tuple[Any]:
        for path, parameter, _ in reversed(places):
            if isinstance(parameter, Constant) and not path:
                return (parameter.value,)
        self._report(
            node,
            f"`{node.id}` has a value in one branch only, so it cannot be calculated with here. "
            "Define it outside of the `if`, or write the number.",
        )
        return (BROKEN,)

    def _defined_parameters(self, name: str) -> list[Parameter | None]:
        """For conditions: what the cell has defined under this name so far; None for a faulty definition."""
        return [parameter for _, parameter, _ in self._defined.get(name, [])]

    def _report(self, node: ast.AST, message: str) -> None:
        line = getattr(node, "lineno", 1) + self._offset
        self.faults.append((line, getattr(node, "col_offset", 0), message))


def _short(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 60 else text[:59] + "…"
