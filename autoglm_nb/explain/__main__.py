"""`python -m autoglm_nb.explain`: the explanation made by a child process of the notebook.

The kernel never imports matplotlib, scikit-learn or Optuna, and stays responsive. The
MIME bundle is written to `--out` (else to standard output, as text); an error is one
sentence on standard error and exit code 2.
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
    from autoglm_nb.explain.kept import keep_from
    from autoglm_nb.explain.page import write_report
    from autoglm_nb.explain.study import PAGE, explain

    what = tuple(p for p in options.what.split(",") if p.strip()) if options.what is not None else PAGE
    explanation = explain(options.home, options.study, what, options.trial)
    keep_from(options.home, options.study, explanation.sections)
    if options.html:
        write_report(explanation, options.html)
    if options.figures:
        explanation.save_figures(options.figures)
    if options.out:
        target = Path(options.out)
        partial = target.with_name(target.name + ".part")
        partial.write_text(json.dumps(explanation._repr_mimebundle_(), ensure_ascii=False), encoding="utf-8")
        partial.replace(target)
    elif not options.html:
        print(explanation.text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m autoglm_nb.explain", description="Explain a stored study.")
    parser.add_argument("--home", type=Path, default=settings.home(), help="the .autoglm folder")
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument("--what", help="parts, separated by commas; the whole page when left out")
    parser.add_argument("--trial", type=int, help="explain this trial only")
    parser.add_argument("--out", help="write the MIME bundle (JSON) here")
    parser.add_argument("--html", help="write a self-contained page (or .json) here")
    parser.add_argument("--figures", help="save every figure as SVG, PNG and PDF in this folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
