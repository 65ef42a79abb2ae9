"""The exception tree of AutoGLM.

Everything this package raises on purpose derives from `AutoGLMError`, and from
the built-in a caller would expect beside it::

    AutoGLMError
    ├── UsageError (ValueError)            the request itself is wrong
    │   ├── SpaceError                     the search space (cell language included)
    │   ├── DataError                      the data set or one of its columns
    │   ├── ModelError                     the base model, the method or a rank that does not fit
    │   ├── StrategyError                  the strategy or the pruner
    │   └── SharedFileError                a file that another person shared
    ├── StoreError (RuntimeError)          the study store
    │   ├── StudyNotFoundError (KeyError)  no study of that name
    │   ├── StudyMismatchError             same name, other model, data, space or metric
    │   └── StoreVersionError              written by a newer version of this package
    ├── TrialError (RuntimeError)          one trial cannot go on; the study does
    │   ├── DivergedError                  loss is NaN or infinite
    │   ├── OutOfMemoryError (MemoryError) did not fit even at the smallest micro-batch
    │   └── UnexpectedError                what nobody foresaw, while this trial was computed
    ├── TrialPruned                        raised by a custom objective to end a trial early
    ├── CheckpointError (RuntimeError)     a checkpoint is missing or damaged
    ├── RejectedError (RuntimeError)       a decision system rejected the model; force hands it out all the same
    ├── DiskFullError (OSError)            no room left; the study is paused, nothing is lost
    └── WorkerError (RuntimeError)         the worker process could not be started or died

A message has three parts: the rule, what was given, and the remedy, in one or
two sentences. `UsageError.faults` lists all the faults of one request, so that
a cell with three mistakes says so once.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from difflib import get_close_matches

__all__ = [
    "AutoGLMError",
    "CheckpointError",
    "DataError",
    "DiskFullError",
    "DivergedError",
    "ModelError",
    "OutOfMemoryError",
    "RejectedError",
    "SharedFileError",
    "SpaceError",
    "StoreError",
    "StoreVersionError",
    "StrategyError",
    "StudyMismatchError",
    "StudyNotFoundError",
    "TrialError",
    "TrialPruned",
    "UnexpectedError",
    "UsageError",
    "WorkerError",
    "did_you_mean",
    "no_room",
]


class AutoGLMError(Exception):
    """Root of every error this package raises on purpose."""

    def __str__(self) -> str:  # KeyError would quote the message
        return str(self.args[0]) if self.args else self.__class__.__name__


class UsageError(AutoGLMError, ValueError):
    """A request that cannot be carried out as written.

    Args:
        message: one fault as a sentence, or the summary when `faults` is given.
        faults: every fault found in the request; defaults to the message alone.
    """

    def __init__(self, message: str, faults: Sequence[str] | None = None) -> None:
        self.faults: tuple[str, ...] = tuple(faults) if faults else (message,)
        super().__init__(message if not faults else "\n".join(self.faults))


class SpaceError(UsageError):
    """The search space is wrong: syntax, an empty dimension, low above high."""


class DataError(UsageError):
    """The data set is missing, empty, or lacks what the task needs."""


class ModelError(UsageError):
    """The base model is unknown or unreachable, or a method does not fit it."""


class StrategyError(UsageError):
    """The search strategy or pruner is unknown or does not fit the space."""


class SharedFileError(UsageError):
    """A shared study cannot be opened: damaged, of a newer version, or not what it says it is."""


class StoreError(AutoGLMError, RuntimeError):
    """The study store cannot be read or written."""


class StudyNotFoundError(StoreError, KeyError):
    """No study of that name is stored."""


class StudyMismatchError(StoreError, ValueError):
    """A stored study of the same name was made with another model, data, space or metric."""


class StoreVersionError(StoreError):
    """The store was written by a newer version of this package."""


class TrialError(AutoGLMError, RuntimeError):
    """One trial cannot go on; the study continues without it."""


class DivergedError(TrialError):
    """The loss of a trial became NaN or infinite."""


class OutOfMemoryError(TrialError, MemoryError):
    """A trial did not fit into memory even at the smallest micro-batch."""


class UnexpectedError(TrialError):
    """Computing a trial raised what nobody foresaw; `__cause__` is the error."""


class TrialPruned(AutoGLMError):
    """Raised by a custom objective to end its trial early; the trial is stored as pruned."""


class CheckpointError(AutoGLMError, RuntimeError):
    """A checkpoint is missing, half-written or does not match its checksums."""


class RejectedError(AutoGLMError, RuntimeError):
    """A decision system rejected this model, so it is not handed out without force."""


class DiskFullError(AutoGLMError, OSError):
    """There is no room left on the disk; the study is paused and nothing finished is lost."""


class WorkerError(AutoGLMError, RuntimeError):
    """The worker process could not be started, or died and could not be replaced."""


def no_room(error: BaseException) -> bool:
    """Whether an error says that the disk is full; safetensors' says so in its message alone."""
    full = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    return getattr(error, "errno", None) in full or "No space left" in str(error)


def did_you_mean(given: str, known: Sequence[str]) -> str:
    """A remedy clause: the closest known names, or all of them when none is close."""
    close = get_close_matches(given, known, n=3, cutoff=0.5)
    if close:
        return "Did you mean " + " or ".join(f"{c!r}" for c in close) + "?"
    return "Choose one of " + ", ".join(sorted(known)) + "." if known else ""
