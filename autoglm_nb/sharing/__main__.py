"""`python -m autoglm_nb.sharing`: sharing and opening by a child process of the notebook.

The kernel never imports matplotlib or Optuna. `--out` gets what was done as JSON; an error
is one sentence on standard error and exit code 2.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoglm_nb import settings
from autoglm_nb.errors import AutoGLMError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (0, or 2 for a request that cannot be carried out)."""
    options = _parser().parse_args(arguments)
    try:
        done = _run(options)
    except (AutoGLMError, OSError) as error:
        if settings.debug():
            raise
        print(str(error), file=sys.stderr)
        return 2
    if options.out:
        Path(options.out).write_text(json.dumps(done), encoding="utf-8")
    else:
        print(done["sentence"])
    return 0


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from autoglm_nb.sharing import open_shared, share_page, share_zip

    if options.command == "open":
        return dataclasses.asdict(open_shared(options.file, options.home, options.name))
    written = []
    if options.html:
        written.append(share_page(options.home, options.study, options.html))
    if options.zip:
        asked = {"include_data": options.include_data, "force": options.force}
        written.append(share_zip(options.home, options.study, options.zip, **asked))
    sizes = {path.name: path.stat().st_size for path in written}
    said = ", ".join(f"{name} ({size / 1e6:.1f} MB)" for name, size in sizes.items())
    return {"files": sizes, "sentence": f"Study {options.study!r} is shared as {said}."}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m autoglm_nb.sharing", description="Share or open a stored study.")
    parser.add_argument("--home", type=Path, default=settings.home(), help="the .autoglm folder")
    parser.add_argument("--out", help="write what was done (JSON) here")
    commands = parser.add_subparsers(dest="command", required=True)
    share = commands.add_parser("share", help="write a study as a page or a zip")
    share.add_argument("--study", required=True, help="name of the study")
    share.add_argument("--html", help="one self-contained page")
    share.add_argument("--zip", help="a zip that can be opened elsewhere")
    share.add_argument("--include-data", action="store_true", help="put the data's rows in as well")
    share.add_argument("--force", action="store_true", help="also a model that was rejected")
    opened = commands.add_parser("open", help="bring a shared zip into the store")
    opened.add_argument("file", help="the zip")
    opened.add_argument("--name", help="what to call the study here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
