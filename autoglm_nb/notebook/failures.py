"""How a mistake is told in the notebook: one or two sentences, no traceback.

The exception itself is raised again, so the cell counts as failed for "run
all" and nbclient, and `%debug` finds the frames; only its rendering changes,
through the hook that IPython asks for (`_render_traceback_`).
`AUTOGLM_DEBUG=1` leaves the traceback as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from autoglm_nb import settings
from autoglm_nb.errors import AutoGLMError, UsageError

__all__ = ["StoppedWaiting", "merged", "sentences", "told"]

Function = TypeVar("Function", bound=Callable[..., Any])


class StoppedWaiting(KeyboardInterrupt):
    """Ctrl-C during `wait`: the waiting ended, and cells queued behind it do not run. The study goes on."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def told(function: Function) -> Function:
    """Decorate a magic: errors raised on purpose are shown as sentences."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except AutoGLMError as error:
            if settings.debug():
                raise
            lines = sentences(error)
            error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]
            raise error from None

    return wrapper  # type: ignore[return-value]


def sentences(error: AutoGLMError) -> list[str]:
    """The message in lines: a single fault as it is, several as a list under a heading."""
    faults: Sequence[str] = error.faults if isinstance(error, UsageError) else ()
    if len(faults) < 2:
        return [str(error)]
    return [f"{len(faults)} things to change before this can run:", *(f"- {fault}" for fault in faults)]


def merged(first: Sequence[str], error: UsageError | None) -> UsageError | None:
    """One error with all the faults: those found on the line and those found behind it."""
    if not first:
        return error
    faults = [*first, *(fault for fault in (error.faults if error else ()) if fault not in first)]
    return UsageError(faults[0], faults)
