"""Execute an example notebook headless, with the study's progress on the terminal.

`make demo` calls this for the quick start. The notebook runs in a folder of its
own under `executed/`, so that every run starts afresh and nothing of an earlier
one is touched: the executed notebook, the report and the study store lie there.
What is printed while cells run is read from the study store, the same snapshot
that every view draws.

    python example_notebooks/run.py                     # 01_quickstart.ipynb
    python example_notebooks/run.py 02_language_model.ipynb --out somewhere

The exit status is 0 if every cell ran and a report was written, 1 if not, and
130 after Ctrl-C, which stops the study as well as the notebook.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from autoglm_nb.errors import AutoGLMError
from autoglm_nb.protocol import Action
from autoglm_nb.store import Store, snapshot

HERE = Path(__file__).resolve().parent
POLL_SECONDS = 0.5
STOP_SECONDS = 30.0
CELL_SECONDS = 1800
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the notebook named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Execute an example notebook headless and show its study's progress.")
    parser.add_argument("notebook", nargs="?", default="01_quickstart.ipynb", help="a notebook (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder for the results (default: executed/<notebook>-<time>)")
    options = parser.parse_args(argv)

    source = Path(options.notebook)
    source = source if source.exists() else HERE / source
    if not source.exists():
        parser.error(f"There is no notebook {options.notebook}.")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    out = (options.out or HERE / "executed" / f"{source.stem}-{stamp}").resolve()
    out.mkdir(parents=True, exist_ok=True)
    return run(source, out)


def run(source: Path, out: Path) -> int:
    """Execute `source` in the folder `out`; return the exit status."""
    started = time.monotonic()
    home = out / ".autoglm"
    target = out / source.name
    notebook = nbformat.read(source, as_version=4)
    progress = Progress(home)
    print(f"Running {source.name}", flush=True)
    execution = Execution(notebook, out, home)
    status = 0
    execution.start()
    try:
        while execution.is_alive():
            execution.join(POLL_SECONDS)
            progress.poll()
    except KeyboardInterrupt:
        status = 130
        print("Stopping the study and the notebook", flush=True)
        stop_studies(home)
        execution.cancel()
        execution.join(STOP_SECONDS)
    progress.poll()
    nbformat.write(notebook, target)

    if status == 0 and execution.error is not None:
        status = 1
        print(f"\n{source.name} failed:\n{_COLOURS.sub('', str(execution.error))}", file=sys.stderr)
    progress.close()
    print(f"\nExecuted notebook  {_shown(target)}")
    reports = sorted(out.glob("*.html"))
    for report in reports:
        print(f"Report             {_shown(report)}")
    if status == 0 and not reports:
        print("No report was written: the notebook should end with `%explain NAME --html FILE`.", file=sys.stderr)
        status = 1
    print(f"Time               {time.monotonic() - started:.0f} s", flush=True)
    return status


class Execution(threading.Thread):
    """The notebook's run in a thread of its own, so that Ctrl-C reaches the terminal's loop and nothing else.

    `error` holds what ended the run early. The outputs so far are in the notebook either way.
    """

    def __init__(self, notebook: nbformat.NotebookNode, folder: Path, home: Path) -> None:
        super().__init__(name="notebook-run", daemon=True)
        self.error: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[Any] | None = None
        self._environment = {**os.environ, "AUTOGLM_HOME": str(home)}
        cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
        self._numbers = {cell.id: number for number, cell in enumerate(cells, start=1)}
        self._client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            store_widget_state=False,
            extra_arguments=["--log-level=40"],
            on_cell_start=self._announce,
        )

    def run(self) -> None:
        """Execute all cells; called by `start`."""
        try:
            self._task = self._loop.create_task(self._client.async_execute(env=self._environment))
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            self.error = KeyboardInterrupt()
        except (CellExecutionError, DeadKernelError, TimeoutError, OSError, RuntimeError) as error:
            self.error = error
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def cancel(self) -> None:
        """End the run; the kernel is shut down on the way out."""
        if self._task is not None and self.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)

    def _announce(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        if cell.id in self._numbers:
            line = next((line for line in cell.source.splitlines() if line.strip()), "")
            print(f"[{self._numbers[cell.id]}/{len(self._numbers)}] {line[:100]}", flush=True)


class Progress:
    """Prints what changed in the studies of one store since the last look: a line per state and per finished trial."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._store: Store | None = None
        self._printed: dict[str, set[int]] = {}
        self._states: dict[str, str] = {}

    def poll(self) -> None:
        """Look once. A store that is not there yet, or is just being made, is looked at again next time."""
        for name, shot in self._snapshots():
            state = shot["study"]["state"]
            if state != self._states.get(name):
                self._states[name] = state
                reason = shot["study"]["reason"]
                print(f"    {name}: {state}" + (f" ({reason})" if reason else ""), flush=True)
            printed = self._printed.setdefault(name, set())
            for trial in shot["trials"]:
                if trial["state"] in ("completed", "pruned", "failed") and trial["number"] not in printed:
                    printed.add(trial["number"])
                    print(f"    {_trial_line(trial, len(printed), shot)}", flush=True)

    def close(self) -> None:
        """Print how each study ended."""
        for name, shot in self._snapshots():
            best, default = shot["headline"]["best_value"], shot["headline"]["baseline_value"]
            if best is not None:
                beside = f", default settings {default:.4g}" if default is not None else ""
                print(f"\n{name}: best {shot['study']['metric']} on validation {best:.4g}{beside}")
            final = shot["final"]
            if final is not None:
                parts = [f"winner {_score(final['winner'])}"]
                parts += [f"default settings {_score(final['baseline'])}"] if final["baseline"] else []
                parts += [f"majority class {final['majority']:.4g}"] if final["majority"] is not None else []
                seeds, rows = len(final["seeds"]), final["rows"]
                print(f"{final['metric']} on {final['split']} ({rows} rows, {seeds} seeds): {'; '.join(parts)}")

    def _snapshots(self) -> list[tuple[str, Any]]:
        if not (self._home / "studies.db").exists():
            return []
        try:
            if self._store is None:
                self._store = Store(self._home, create=False)
            return [(study.name, snapshot(self._store, study.name)) for study in self._store.studies()]
        except AutoGLMError:
            return []


def stop_studies(home: Path) -> None:
    """Ask every running worker of this store to stop, and wait until none holds a study."""
    if not (home / "studies.db").exists():
        return
    store = Store(home, create=False)
    names = [study.name for study in store.studies() if _held(store, study.name)]
    for name in names:
        store.request(name, Action.STOP)
    deadline = time.monotonic() + STOP_SECONDS
    while any(_held(store, name) for name in names) and time.monotonic() < deadline:
        time.sleep(0.2)


def _held(store: Store, name: str) -> bool:
    holder = store.holder(name)
    return holder is not None and bool(holder.alive)


def _trial_line(trial: Any, finished: int, shot: Any) -> str:
    total = shot["headline"]["total"]
    value = "" if trial["value"] is None else f"{trial['value']:.4g}"
    config = " ".join(f"{name}={_brief(value)}" for name, value in trial["config"].items())
    ended = "" if trial["state"] == "completed" else f" {trial['state']}: {trial['because']}"
    of = f" of {total}" if total else ""
    return f"{finished}{of}  trial {trial['number']}  {value or '-':<7} {trial['seconds']:.0f} s  {config}{ended}"


def _brief(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _score(score: Any) -> str:
    return f"{score['mean']:.4g} [{score['low']:.4g}, {score['high']:.4g}]"


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


if __name__ == "__main__":
    sys.exit(main())
