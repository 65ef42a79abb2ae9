"""`python -m autoglm_nb.decisions`: push a report or ask for the decision, in a child process of the notebook.

The MIME bundle is written to `--out` (else text to standard output); an error is one sentence
on standard error and exit code 2. Where the report cannot be delivered in time that is no
error: it is kept, and the answer says so.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from autoglm_nb import settings
from autoglm_nb.errors import AutoGLMError

__all__ = ["main"]

PUSH_SECONDS = 30.0
"""A push waits this long for a delivery before it says that the report is kept."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (0, or 2 for a request that cannot be carried out)."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except (AutoGLMError, OSError) as error:
        if settings.debug():
            raise
        print(str(error), file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace) -> None:
    from autoglm_nb.decisions.pushing import ask, push, report_section
    from autoglm_nb.explain.facts import load

    load(options.home, options.study)  # an unknown study is told with the names there are
    if options.push:
        push(options.home, options.study, seconds=options.seconds)
    else:
        ask(options.home, options.study)
    told = report_section(options.home, options.study)
    if options.out:
        target = Path(options.out)
        partial = target.with_name(target.name + ".part")
        partial.write_text(json.dumps(told._repr_mimebundle_(), ensure_ascii=False), encoding="utf-8")
        partial.replace(target)
    else:
        print(told.text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m autoglm_nb.decisions", description="Reports and decisions.")
    parser.add_argument("--home", type=Path, default=settings.home(), help="the .autoglm folder")
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument("--push", action="store_true", help="send the report; otherwise ask for the decision")
    parser.add_argument("--seconds", type=float, default=PUSH_SECONDS, help="how long to try")
    parser.add_argument("--out", help="write the MIME bundle (JSON) here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
