"""Reads the test of an `if` as a condition.

Names the cell has defined become comparisons; names of the notebook are
constants, and a test made of constants alone is decided on the spot.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from autoglm_nb.errors import did_you_mean
from autoglm_nb.space._expressions import BROKEN, Expressions, Report, construct
from autoglm_nb.space.conditions import Compare, Condition, conjunction, disjunction, negated
from autoglm_nb.space.dimensions import Constant, Parameter

__all__ = ["ConditionReader"]

_OPERATORS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
_FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


class ConditionReader:
    """Turns tests into conditions.

    Args:
        expressions: evaluates the constant side of a comparison.
        defined: what the cell has defined under a name so far.
        later: the line on which each name of the cell is defined first.
        names: the notebook's variables.
        report: told about each fault.
    """

    def __init__(
        self,
        expressions: Expressions,
        defined: Callable[[str], list[Parameter | None]],
        later: Mapping[str, int],
        names: Mapping[str, object],
        report: Report,
    ) -> None:
        self._expressions = expressions
        self._defined = defined
        self._later = later
        self._names = names
        self._report = report

    def read(self, node: ast.expr) -> Condition | bool | None:
        """The condition; True or False when constants decide it; None after reporting a fault."""
        match node:
            case ast.BoolOp(op=op, values=values):
                return self._combined([self.read(value) for value in values], isinstance(op, ast.And))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.read(operand)
                return inner if inner is None else (not inner if isinstance(inner, bool) else negated(inner))
            case ast.Compare(left=left, ops=ops, comparators=right):
                sides = [left, *right]
                parts = [self._comparison(sides[i], op, sides[i + 1], node) for i, op in enumerate(ops)]
                return self._combined(parts, True)
            case ast.Name(id=name) if self._is_cells(name):
                return self._switch(node)
            case ast.Constant(value=value) if value is Ellipsis:  # stands for a test that was not valid Python
                return None
            case ast.Constant() | ast.Name():
                decided: Any = self._expressions.value(node)
                return None if decided is BROKEN else bool(decided)
            case _:
                self._report(
                    node,
                    f"{construct(node)} cannot be a condition. Compare a name defined above with a "
                    'constant, as in `method == "lora"`.',
                )
                return None

    def _combined(self, parts: list[Condition | bool | None], every: bool) -> Condition | bool | None:
        if any(part is None for part in parts):
            return None
        open_parts: list[Condition] = []
        for part in parts:
            if isinstance(part, Condition):
                open_parts.append(part)
            elif part is not every:  # False decides an `and`, True an `or`
                return part
        if not open_parts:
            return every
        return conjunction(open_parts) if every else disjunction(open_parts)

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr, node: ast.Compare) -> Condition | bool | None:
        operator = _OPERATORS.get(type(op))
        if operator is None:
            self._report(node, "`is` compares objects, which a search space does not have. Write == or !=.")
            return None
        left_name, right_name = self._cell_name(left), self._cell_name(right)
        if left_name and right_name:
            self._report(node, f"A condition compares one name with a constant, but got `{ast.unparse(node)}`.")
            return None
        if right_name and operator in ("in", "not in"):
            self._report(
                node,
                f"`{ast.unparse(node)}` looks into a hyper-parameter. Write the name on the left, as in "
                f"`{right_name} == …`.",
            )
            return None
        constant = self._constant(left if right_name else right, operator)
        if constant is BROKEN:
            if not (left_name or right_name):
                self._constant(left, "==")
            return None
        if left_name or right_name:
            name = left_name or right_name
            if any(parameter is None for parameter in self._defined(name)) or not self._defined(name):
                self._undefined(left if left_name else right, name)
                return None
            return Compare(name, operator if left_name else _FLIPPED[operator], constant)
        other = self._constant(left, "==")
        if other is BROKEN:
            return None
        try:
            return Compare("value", operator, constant).holds({"value": other})
        except TypeError:
            self._report(node, f"`{ast.unparse(node)}` compares by size what has no size.")
            return None

    def _constant(self, node: ast.expr, operator: str) -> Any:
        if isinstance(node, ast.Set):
            node = ast.copy_location(ast.List(elts=node.elts, ctx=ast.Load()), node)
        if isinstance(node, ast.Name) and not self._is_cells(node.id) and node.id not in self._names:
            return self._unknown(node)
        value = self._expressions.value(node)
        if value is not BROKEN and operator in ("in", "not in") and not isinstance(value, tuple):
            self._report(
                node, f"`{operator}` needs a list of values on its right, but got {value!r}. Write ({value!r},)."
            )
            return BROKEN
        return value

    def _switch(self, node: ast.Name) -> Condition | None:
        """A bare name as a test: allowed where it can only be true or false."""
        parameters = self._defined(node.id)
        if not parameters or any(parameter is None for parameter in parameters):
            self._undefined(node, node.id)
            return None
        values = [
            value
            for p in parameters
            if p is not None
            for value in ((p.value,) if isinstance(p, Constant) else p.choices or (None,))
        ]
        if all(isinstance(value, bool) for value in values):
            return Compare(node.id, "==", True)
        self._report(node, f"`{node.id}` is not simply true or false. Compare it with a value, as in `{node.id} == …`.")
        return None

    def _undefined(self, node: ast.expr, name: str) -> None:
        if not self._defined(name):  # a definition with faults has been reported already
            self._report(
                node,
                f"`{name}` is used before line {self._later[name]} defines it. "
                "Move the definition above this condition.",
            )

    def _unknown(self, node: ast.Name) -> Any:
        known = [*self._later, *(name for name in self._names if not name.startswith("_"))]
        hint = did_you_mean(node.id, known) if known else ""
        hint = hint if hint.startswith("Did") else "Define it above, or put it in quotes."
        self._report(node, f"`{node.id}` is not defined in this cell or in the notebook. {hint}")
        return BROKEN

    def _cell_name(self, node: ast.expr) -> str:
        return node.id if isinstance(node, ast.Name) and self._is_cells(node.id) else ""

    def _is_cells(self, name: str) -> bool:
        return bool(self._defined(name)) or name in self._later
