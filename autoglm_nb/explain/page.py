"""`report`: one self-contained HTML page, or JSON, for someone who has neither notebook nor store.

The page carries its own style sheet (light and dark by the reader's preference, printable)
and its pictures; it has no script and asks for nothing from outside, which a content
security policy in its head enforces. It is written beside its target and renamed, so that
a reader never sees half a page.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

from autoglm_nb.errors import UsageError
from autoglm_nb.explain.document import Explanation
from autoglm_nb.explain.html import body
from autoglm_nb.explain.study import PAGE, explain
from autoglm_nb.record import words

__all__ = ["page", "report", "write_report"]

_STYLE = """
:root { color-scheme: light dark; --ink: #22262b; --quiet: #5d646c; --ground: #ffffff; --line: #d9dcdf; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --quiet: #a5abb2; --ground: #16181b; --line: #3a3f45; }
}
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 52rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: break-word; }
h1 { margin: 0; font-size: 1.7rem; } header p { margin: .1rem 0; color: var(--quiet); }
h3 { margin: 2.2rem 0 .5rem; padding-top: .8rem; border-top: 1px solid var(--line); font-size: 1.15rem; }
ul { padding-left: 1.2rem; } li { margin: .3rem 0; } small { color: var(--quiet); font-size: .88em; }
section { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; }
caption { text-align: left; color: var(--quiet); padding-bottom: .3rem; }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } td[align=right] { font-variant-numeric: tabular-nums; white-space: nowrap; }
img { max-width: 100%; height: auto; border-radius: 4px; }
pre { padding: .8rem; border: 1px solid var(--line); border-radius: 4px; white-space: pre-wrap; font-size: .85rem; }
@media print {
  :root { --ink: #000000; --quiet: #444444; --ground: #ffffff; --line: #bbbbbb; }
  body { max-width: none; padding: 0; font-size: 11pt; }
  section { overflow: visible; } img, table, pre { break-inside: avoid; } h3 { break-after: avoid; }
}
""".strip()

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def report(home: str | os.PathLike[str], study: str, path: str | os.PathLike[str], what: Sequence[str] = PAGE) -> Path:
    """Explain a study into one file: JSON where the path ends in `.json`, else an HTML page.

    Args:
        home: the `.autoglm` folder.
        study: the study's name.
        path: file to write; its folder must exist.
        what: parts, as for `explain`.

    Returns:
        The path written.

    Raises:
        UsageError: unknown part, or a folder that does not exist.
        StudyNotFoundError: no such study.
    """
    target = _checked(path)
    return write_report(explain(home, study, what), target)


def write_report(explanation: Explanation, path: str | os.PathLike[str]) -> Path:
    """Write an explanation that is at hand; the same rules as `report`."""
    target = _checked(path)
    if target.suffix.lower() == ".json":
        text = json.dumps(explanation.json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        text = page(explanation)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def page(explanation: Explanation) -> str:
    """A complete HTML document."""
    title = escape(words.clean(f"{explanation.title} · {explanation.subject}", 200))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n{body(explanation)}\n</body>\n</html>\n"
    )


def _checked(path: str | os.PathLike[str]) -> Path:
    """The target, before any work is done for it.

    Raises:
        UsageError: its folder does not exist, or it is a folder itself.
    """
    target = Path(path).expanduser()
    name = words.clean(target.name, 80)
    if target.is_dir():
        raise UsageError(f"A report needs a file name, but {name!r} is a folder. Add a file name.")
    if not target.parent.is_dir():
        raise UsageError(
            f"A report needs a folder that exists, but the folder given for {name!r} does not. Create the folder first "
            "or give another path."
        )
    return target
