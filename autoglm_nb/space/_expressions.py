"""Constant expressions of the cell language: literals, names, arithmetic, lists.

An expression is walked as a syntax tree; nothing is ever executed. A fault is
reported where it lies and the walk goes on, so that one look finds them all; the
value of a faulty expression is `BROKEN`.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from autoglm_nb.errors import did_you_mean
from autoglm_nb.space.values import Value, import_value

__all__ = ["BROKEN", "FUNCTIONS", "Expressions"]

FUNCTIONS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "uniform": (("low", "high"), ()),
    "loguniform": (("low", "high"), ()),
    "quniform": (("low", "high", "step"), ()),
    "randint": (("low", "high"), ("step",)),
    "logint": (("low", "high"), ()),
    "choice": ((), ()),
}
"""Functions of the cell language: required and optional argument names."""

MAX_BITS = 2048
"""Integer powers larger than this are refused rather than computed."""


class _Broken:
    def __repr__(self) -> str:
        return "BROKEN"


BROKEN: Final = _Broken()
"""The value of an expression with a fault that has been reported."""

Report = Callable[[ast.AST, str], None]
Lookup = Callable[[ast.Name], Any]


class Expressions:
    """Evaluates constant expressions.

    Args:
        names: the notebook's variables.
        lookup: the value of a name defined in the cell; None when the cell does not define it.
        report: told about each fault, with the node it lies at.
    """

    def __init__(self, names: Mapping[str, object], lookup: Lookup, report: Report) -> None:
        self._names = names
        self._lookup = lookup
        self._report = report

    def value(self, node: ast.expr) -> Value | _Broken:
        """The value of an expression, or `BROKEN` after reporting why it has none."""
        match node:
            case ast.Constant(value=value):
                return self._literal(node, value)
            case ast.Name():
                return self._name(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                return self._arithmetic(node, [operand], lambda x: -x if isinstance(node.op, ast.USub) else x)
            case ast.BinOp(left=left, right=right, op=op):
                operation = _OPERATIONS.get(type(op))
                if operation is None:
                    return self._fault(
                        node,
                        "Only + - * / // % and ** can be calculated in a cell. "
                        "Compute the value in a cell of its own and use its name here.",
                    )
                return self._arithmetic(node, [left, right], operation)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                values = [self.value(item) for item in items]
                return BROKEN if any(v is BROKEN for v in values) else tuple(values)
            case ast.Call():
                return self._call(node)
            case _:
                return self._fault(
                    node,
                    f"{construct(node)} is outside the cell language. Compute the value in a cell "
                    "of its own and use its name here.",
                )

    def _literal(self, node: ast.Constant, value: object) -> Value | _Broken:
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else self._fault(node, "A number must be finite, but got infinity.")
        return self._fault(node, f"Values are numbers, strings, True, False and None, but got {value!r}.")

    def _name(self, node: ast.Name) -> Value | _Broken:
        found = self._lookup(node)
        if found is not None:
            return found[0]
        if node.id not in self._names:
            if node.id in FUNCTIONS:
                return self._fault(node, f"`{node.id}` is a function of the cell language. Write {node.id}(…).")
            known = [name for name in self._names if not name.startswith("_")]
            hint = did_you_mean(node.id, known) if known else ""
            hint = hint if hint.startswith("Did") else "Define it in an earlier cell, or put it in quotes."
            return self._fault(node, f"`{node.id}` is not defined in this cell or in the notebook. {hint}")
        try:
            return import_value(self._names[node.id])
        except TypeError as error:
            return self._fault(
                node,
                f"A cell can use numbers, strings, True, False, None and lists of them, but the "
                f"notebook's `{node.id}` contains {_article(str(error))}. "
                "Convert it in a cell of its own.",
            )
        except ValueError as error:
            return self._fault(node, f"The notebook's `{node.id}` cannot be used: {error}.")

    def _call(self, node: ast.Call) -> _Broken:
        if isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            return self._fault(
                node, f"`{node.func.id}` must stand alone on the right of `name =`, but is part of an expression here."
            )
        return self._fault(node, unknown_function(node))

    def _arithmetic(self, node: ast.expr, parts: list[ast.expr], operation: Callable[..., Any]) -> Value | _Broken:
        values = [self.value(part) for part in parts]
        if any(v is BROKEN for v in values):
            return BROKEN
        for value in values:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                return self._fault(node, f"Only numbers can be calculated with, but got {value!r}.")
        try:
            result = operation(*values)
            finite = not isinstance(result, complex) and math.isfinite(result)
        except ZeroDivisionError:
            return self._fault(node, f"`{ast.unparse(node)}` divides by zero.")
        except (OverflowError, ValueError):
            return self._fault(node, f"`{ast.unparse(node)}` is too large a number.")
        if not finite:
            return self._fault(node, f"`{ast.unparse(node)}` is not a finite real number.")
        return result

    def _fault(self, node: ast.AST, message: str) -> _Broken:
        self._report(node, message)
        return BROKEN


def unknown_function(node: ast.Call) -> str:
    """The sentence about a call of anything but the functions of the cell language."""
    if isinstance(node.func, ast.Name):
        return (
            f"`{node.func.id}` is not a function of the cell language. "
            f"{did_you_mean(_ALIASES.get(node.func.id, node.func.id), list(FUNCTIONS))}"
        )
    return (
        f"`{ast.unparse(node.func)}` cannot be called in a cell, which is read and never executed. "
        "Compute the value in a cell of its own and use its name here."
    )


def construct(node: ast.AST) -> str:
    """What a reader would call a piece of Python that the cell language does not have."""
    return _CONSTRUCTS.get(type(node), f"This ({type(node).__name__})")


def _power(left: float, right: float) -> Any:
    whole = isinstance(left, int) and isinstance(right, int)
    if whole and abs(left) > 1 and abs(right) * int(abs(left)).bit_length() > MAX_BITS:
        raise OverflowError
    return left**right


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


_OPERATIONS: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: lambda x, y: x + y,
    ast.Sub: lambda x, y: x - y,
    ast.Mult: lambda x, y: x * y,
    ast.Div: lambda x, y: x / y,
    ast.FloorDiv: lambda x, y: x // y,
    ast.Mod: lambda x, y: x % y,
    ast.Pow: _power,
}

_ALIASES = {
    "log_uniform": "loguniform",
    "reciprocal": "loguniform",
    "float": "uniform",
    "int": "randint",
    "categorical": "choice",
    "grid": "choice",
    "grid_search": "choice",
    "lograndint": "logint",
    "qrandint": "randint",
    "suggest_float": "uniform",
    "suggest_int": "randint",
    "suggest_categorical": "choice",
    "discrete": "quniform",
}

_CONSTRUCTS: dict[type[ast.AST], str] = {
    ast.For: "A `for` loop",
    ast.While: "A `while` loop",
    ast.FunctionDef: "A function definition",
    ast.AsyncFunctionDef: "A function definition",
    ast.ClassDef: "A class",
    ast.Import: "An import",
    ast.ImportFrom: "An import",
    ast.With: "A `with` block",
    ast.Try: "A `try` block",
    ast.Delete: "`del`",
    ast.AugAssign: "An assignment such as `+=`",
    ast.AnnAssign: "A type annotation",
    ast.Return: "`return`",
    ast.Global: "`global`",
    ast.Raise: "`raise`",
    ast.Assert: "`assert`",
    ast.Match: "A `match` block",
    ast.Lambda: "A lambda",
    ast.ListComp: "A comprehension",
    ast.SetComp: "A comprehension",
    ast.DictComp: "A comprehension",
    ast.GeneratorExp: "A comprehension",
    ast.Dict: "A dictionary",
    ast.Set: "A set",
    ast.Attribute: "An attribute such as `a.b`",
    ast.Subscript: "An index such as `a[0]`",
    ast.JoinedStr: "An f-string",
    ast.IfExp: "`x if c else y`",
    ast.NamedExpr: "`:=`",
    ast.Starred: "`*`",
    ast.Compare: "A comparison used as a value",
    ast.BoolOp: "`and` / `or` used as a value",
    ast.UnaryOp: "`not` or `~` used as a value",
    ast.Await: "`await`",
    ast.Yield: "`yield`",
}
