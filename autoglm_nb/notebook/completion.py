"""Completion inside `%autotune`, `%%autotune` and `%explain`: options, their values, commands, study names.

A matcher of IPython's second matcher interface. It answers only in lines that
belong to these magics, reads nothing heavier than the list of studies, and
says nothing rather than fail.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher

from autoglm_nb.notebook.commands import COMMANDS
from autoglm_nb.notebook.options import OPTIONS

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["candidates", "install", "remove"]

FUNCTIONS = ("choice(", "loguniform(", "logint(", "quniform(", "randint(", "uniform(")
_MAGIC = re.compile(r"\s*(?:\w+\s*=\s*)?(%%?)(autotune|explain)\b(.*)", re.DOTALL)
_EXPLAIN = ("--trial", "--what", "--html", "--push", "--decision", "--wait")
_NAMED = (
    "status", "pause", "resume", "stop", "wait", "attach", "best", "note", "share", "logs", "rename", "clean", "delete",
)  # fmt: skip
_COMMAND_OPTIONS = {
    "stop": ("--trial",), "wait": ("--timeout",), "attach": ("-o", "--view", "--panel"), "best": ("-o",),
    "logs": ("--lines",), "delete": ("--yes",), "clean": ("--keep",),
    "note": ("--trial", "--tag", "--star", "--unstar", "--remove"),
    "share": ("--html", "--zip", "--include-data", "--force"), "open": ("--name", "-o"),
}  # fmt: skip


def install(shell: InteractiveShell) -> None:
    """Add the matcher."""
    completer = getattr(shell, "Completer", None)
    if completer is not None:
        completer.custom_matchers.append(_matcher(shell))


def remove(shell: InteractiveShell) -> None:
    """Take the matcher away, also one of an earlier import of this module."""
    completer = getattr(shell, "Completer", None)
    if completer is not None:
        completer.custom_matchers[:] = [
            m for m in completer.custom_matchers if getattr(m, "matcher_identifier", "") != "autoglm"
        ]


def candidates(text: str, line: int, column: int, names: Iterable[str] = ()) -> tuple[str, list[str]] | None:
    """What is being typed at a place, and what it may become; None outside our magics.

    Args:
        text: the whole cell.
        line, column: where the cursor is.
        names: variables of the notebook, for `--data` and `--objective`.
    """
    lines = text.split("\n")
    if line >= len(lines):
        return None
    before = lines[line][:column]
    found = _MAGIC.fullmatch(before)
    if found is None:
        return _in_body(lines, line, before)
    given = found[3]
    if given[:1].strip():
        return None  # still inside the magic's name
    token = re.split(r"[\s=]", given)[-1] if given else ""
    earlier = given[: len(given) - len(token)].replace("=", " ").split()
    if found[2] == "explain":
        return token, _for_explain(token, earlier)
    if found[1] == "%" and (not earlier or not earlier[0].startswith("-")) and not (token[:1] == "-" and not earlier):
        return token, _for_command(token, earlier)
    return token, _for_options(token, earlier, names)


def _for_options(token: str, earlier: list[str], names: Iterable[str]) -> list[str]:
    if earlier and earlier[-1] in OPTIONS and OPTIONS[earlier[-1]].get("action") != "store_true":
        values = _values(earlier[-1], names)
        if values or not token.startswith("-"):
            return values
    used = {word for word in earlier if word != "--constraint"}
    shown = [name for name, how in OPTIONS.items() if how.get("help") != argparse.SUPPRESS and name not in used]
    return [*shown, "-o"]


def _for_command(token: str, earlier: list[str]) -> list[str]:
    if not earlier:
        return list(COMMANDS)
    if earlier[0] == "help":
        return list(COMMANDS)
    if earlier[-1] == "--view":
        return ["live", "record"]
    if earlier[-1] == "--panel":
        return ["card", "progress", "resources"]
    if token.startswith("-"):
        return list(_COMMAND_OPTIONS.get(earlier[0], ()))
    if earlier == ["open"]:
        return _files((".zip",))
    return _studies() if earlier[0] in _NAMED and len(earlier) == 1 else list(_COMMAND_OPTIONS.get(earlier[0], ()))


def _for_explain(token: str, earlier: list[str]) -> list[str]:
    if earlier and earlier[-1] == "--what":
        from autoglm_nb.notebook.explaining import PARTS

        lead = token.rpartition(",")[0]
        return [f"{lead},{part}" if lead else part for part in PARTS]
    if token.startswith("-") or earlier:
        return list(_EXPLAIN)
    return _studies()


def _in_body(lines: list[str], line: int, before: str) -> tuple[str, list[str]] | None:
    """Inside a `%%autotune` cell: hyper-parameters at the start of a line, functions after `=`."""
    if line == 0 or not lines[0].startswith("%%autotune"):
        return None
    token = re.split(r"[^\w]", before)[-1]
    lead = before[: len(before) - len(token)]
    if not lead.strip():
        from autoglm_nb.space import HYPERPARAMETERS

        return token, [f"{name} = " for name in HYPERPARAMETERS]
    return (token, list(FUNCTIONS)) if lead.rstrip().endswith("=") else None


def _values(option: str, names: Iterable[str]) -> list[str]:
    from autoglm_nb.search import names as search_names

    if option == "--model":
        from autoglm_nb.models import CATALOGUE

        return list(CATALOGUE)
    if option in ("--data", "--validation", "--test"):
        return [*_files((".csv", ".jsonl", ".json", ".parquet")), *_domains(), *_public(names)]
    fixed: dict[str, Callable[[], Iterable[str]]] = {
        "--strategy": lambda: search_names.STRATEGIES,
        "--pruner": lambda: search_names.PRUNERS,
        "--task": lambda: ("classification", "causal-lm"),
        "--direction": lambda: ("maximize", "minimize"),
        "--executor": lambda: ("process", "thread"),
        "--device": lambda: ("auto", "cpu", "cuda"),
        "--precision": lambda: ("auto", "fp32", "bf16", "fp16", "nf4"),
        "--view": lambda: ("live", "record"),
        "--log-to": _hooks,
        "--metric": _metrics,
        "--objectives": _metrics,
        "--name": _studies,
        "--objective": lambda: _public(names),
    }
    return list(fixed[option]()) if option in fixed else []


def _metrics() -> list[str]:
    from autoglm_nb.tuning import goal

    return list(goal.DIRECTIONS)


def _hooks() -> list[str]:
    from autoglm_nb.hooks import HOOKS

    return list(HOOKS)


def _studies() -> list[str]:
    from autoglm_nb import session

    return [f'"{s.name}"' if " " in s.name else s.name for s in session.studies()[:200]]


def _files(endings: tuple[str, ...]) -> list[str]:
    import os

    with os.scandir(".") as entries:
        return sorted(entry.name for entry in entries if entry.name.endswith(endings))[:100]


def _domains() -> list[str]:
    from autoglm_nb.data.catalogue import CATALOGUE

    return list(CATALOGUE)


def _public(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith("_")][:500]


def _matcher(shell: InteractiveShell) -> Any:
    @context_matcher(identifier="autoglm")
    def autoglm(context: CompletionContext) -> Any:
        nothing: dict[str, Any] = {"completions": []}
        try:
            found = candidates(context.full_text, context.cursor_line, context.cursor_position, shell.user_ns)
        except Exception:  # noqa: BLE001 - completion must never disturb typing
            return nothing
        if found is None:
            return nothing
        token, words = found
        fitting = sorted({word for word in words if word.lower().startswith(token.lower())})
        return {
            "completions": [SimpleCompletion(text=word, type="autoglm") for word in fitting],
            "matched_fragment": token,
            "suppress": bool(fitting),
            "ordered": True,
        }

    return autoglm
