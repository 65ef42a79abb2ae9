"""Syntax errors of a cell, more than one at a time.

Python's parser stops at the first error. To report the rest as well, the line
with the error is replaced by something harmless of the same shape and the text
is parsed again, as long as errors keep moving downwards.
"""

from __future__ import annotations

import ast
import re
import warnings

__all__ = ["parse_leniently"]

MAX_ERRORS = 10
_HEADER = re.compile(r"^(\s*)(if|elif|else)\b")


def parse_leniently(text: str) -> tuple[ast.Module, list[tuple[int, int, str]]]:
    """The syntax tree of what can be read, and the syntax errors as (line, column, message)."""
    found: list[tuple[int, int, str]] = []
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for _ in range(MAX_ERRORS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)  # `8in x`: the reader reports what is wrong itself
                return ast.parse("\n".join(lines)), found
        except SyntaxError as error:
            line = min(max(error.lineno or 1, 1), len(lines))
            if found and line <= found[-1][0]:
                break
            found.append((line, error.offset or 0, _message(error, lines[line - 1])))
            if isinstance(error, IndentationError):
                break
            lines[line - 1] = _harmless(lines[line - 1])
        except (ValueError, MemoryError, RecursionError) as error:
            found.append((1, 0, f"The cell cannot be read as Python: {error}. Simplify it."))
            break
    return ast.Module(body=[], type_ignores=[]), found


def _harmless(line: str) -> str:
    header = _HEADER.match(line)
    if header is None:
        return _indent(line) + "pass"
    word = header.group(2)
    return f"{header.group(1)}{word}:" if word == "else" else f"{header.group(1)}{word} ...:"


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _message(error: SyntaxError, line: str) -> str:
    if isinstance(error, IndentationError):
        return f"The indentation is wrong: {error.msg}. Indent the lines of a branch by four spaces, others not at all."
    if re.match(r"\s*[%!]", line):
        return "Magics and shell commands cannot stand inside a search space. Put them into a cell of their own."
    detail = (error.msg or "invalid syntax").rstrip(".")
    return f"This is not valid Python: {detail}. Write `name = …` or `if name == …:`."
