"""`%%autotune`, `%autotune` and `%explain`."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import magic_arguments

from autoglm_nb.errors import UsageError
from autoglm_nb.notebook import commands, failures, options, surroundings

__all__ = ["AutoglmMagics"]


def _described(description: str) -> Any:
    """Give a magic the description that its help shows above the options."""

    def decorate(function: Any) -> Any:
        function.__doc__ = description
        return function

    return decorate


@magics_class
class AutoglmMagics(Magics):
    """The magics of autoglm_nb. One instance per shell; it remembers the study used last."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.commands = commands.Commands(shell)

    @magic_arguments()
    @options.add_options
    @line_cell_magic
    @_described(options.DESCRIPTION)
    @failures.told
    def autotune(self, line: str, cell: str | None = None) -> None:
        if cell is None:
            first = line.split(maxsplit=1)[:1]
            if not first or not first[0].startswith("-"):
                self.commands.run(line)
                return
        self._start(line, cell or "")

    @line_magic
    @failures.told
    def explain(self, line: str) -> None:
        """Say why the winner won, as text, tables and plots.

        ::

          %explain NAME [--trial N] [--what importance,convergence,...] [--html FILE] [--wait]
          %explain NAME --push | --decision

        It is computed by a process of its own, so the notebook stays usable; the
        answer replaces the line below the cell. `--wait` blocks until it is there
        (Ctrl-C stops only the waiting), `--html` also writes a page that needs
        nothing else. `--push` sends the report to the decision system of
        AUTOGLM_DECISION_URL, `--decision` asks what was decided.
        """
        from autoglm_nb.notebook.explaining import explain

        explain(self.commands, line)

    def _start(self, line: str, cell: str) -> None:
        from autoglm_nb import session

        request, faults = options.read(self.autotune.parser, line)
        asked = request.plan
        asked.setdefault("notebook", surroundings.notebook_name(self.commands.shell))
        source = f"%%autotune {line.strip()}".rstrip() + (f"\n{cell.strip(chr(10))}" if cell.strip() else "")
        plan: Any = None
        wrong: UsageError | None = None
        try:
            names = self.commands.shell.user_ns
            space = cell if cell.strip() else None
            plan = session.plan(space=space, names=names, cell=source, first_line=2, **asked)
        except UsageError as error:
            wrong = error
        fault = failures.merged(faults, wrong)
        if fault is not None:
            raise fault
        if request.dry_run:
            self.commands.show_forecast(session.dry_run(plan))
            return
        self.commands.show_notes(plan.notes)
        handle = session.launch(plan)
        self.commands.show(handle, output=request.output, view=request.view)
