"""A space written in the cell language: definitions grouped under nested `if`s.

Consecutive definitions that share the beginning of their conditions share the
`if`; the opposite of the `if` just closed becomes its `else`. Reading the text
back gives the same parts in the same order, hence an equal space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoglm_nb.space.conditions import Condition, negated, path_of
from autoglm_nb.space.dimensions import Parameter

__all__ = ["space_source"]

INDENT = "    "


def space_source(parameters: Sequence[Parameter]) -> str:
    """The cell text of the parameters; empty for none."""
    lines: list[str] = []
    blocks: list[_Block] = []
    for parameter in parameters:
        rest, depth = path_of(parameter.condition), 0
        while depth < len(blocks) and rest[: len(blocks[depth].parts)] == blocks[depth].parts:
            rest = rest[len(blocks[depth].parts) :]
            depth += 1
        closed = blocks[depth] if depth < len(blocks) else None
        del blocks[depth:]
        if closed is not None and not closed.is_else:
            opposite = path_of(negated(closed.parts[0]))
            if rest[: len(opposite)] == opposite:
                lines.append(f"{INDENT * len(blocks)}else:")
                blocks.append(_Block(opposite, True))
                rest = rest[len(opposite) :]
        for test in rest:
            lines.append(f"{INDENT * len(blocks)}if {test.source()}:")
            blocks.append(_Block((test,), False))
        lines.append(f"{INDENT * len(blocks)}{parameter.name} = {parameter.source()}")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Block:
    """An open branch: the parts of the condition it stands for, and whether `else` opened it."""

    parts: tuple[Condition, ...]
    is_else: bool
