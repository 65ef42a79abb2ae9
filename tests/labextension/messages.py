"""The messages of the extension, read from its TypeScript: what `__` and `_n` are given."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "labextension" / "src"

_LITERAL = r"('(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"|`(?:[^`\\$]|\\.)*`)"
_CALL = re.compile(r"(?<![\w$])(?:[\w$]+\.)*(__|_n)\(")
_ONE = re.compile(rf"\s*{_LITERAL}\s*[,)]")
_TWO = re.compile(rf"\s*{_LITERAL}\s*,\s*{_LITERAL}\s*,")


@dataclass(frozen=True)
class Use:
    """One call: the file, its line, and what it says in the singular and the plural."""

    file: str
    line: int
    singular: str | None  # None: not written as a literal
    plural: str | None = None


def uses() -> list[Use]:
    """Every call of the translator in our own domain."""
    found = []
    for path in sorted(SOURCES.rglob("*.ts")):
        text = path.read_text(encoding="utf-8")
        for call in _CALL.finditer(text):
            before = text[text.rfind("\n", 0, call.start()) + 1 : call.start()]
            if "load('jupyterlab')" in before or re.search(r"^\s*(\*|//)", before):
                continue
            line = text.count("\n", 0, call.start()) + 1
            name = path.relative_to(SOURCES).as_posix()
            two = _TWO.match(text, call.end()) if call[1] == "_n" else None
            one = _ONE.match(text, call.end()) if call[1] == "__" else None
            if two:
                found.append(Use(name, line, _value(two[1]), _value(two[2])))
            elif one:
                found.append(Use(name, line, _value(one[1])))
            elif not re.match(r"\s*\w+\s*:", text[call.end() :]):  # a declaration, not a call
                found.append(Use(name, line, None))
    return found


def _value(literal: str) -> str:
    """What a literal says; of the escapes of JavaScript only those that Python shares are used."""
    if literal[0] == "`":
        literal = '"""' + literal[1:-1].replace('"', '\\"') + '"""'
    return str(ast.literal_eval(literal))
