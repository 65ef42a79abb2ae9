"""The exception tree: one root, the expected built-ins beside it, messages as written."""

from __future__ import annotations

import inspect

import pytest

from autoglm_nb import errors
from autoglm_nb.errors import AutoGLMError, SpaceError, StudyNotFoundError, UsageError, did_you_mean

BUILT_INS = {
    errors.UsageError: ValueError,
    errors.SpaceError: ValueError,
    errors.DataError: ValueError,
    errors.ModelError: ValueError,
    errors.StrategyError: ValueError,
    errors.StoreError: RuntimeError,
    errors.StudyNotFoundError: KeyError,
    errors.StudyMismatchError: ValueError,
    errors.TrialError: RuntimeError,
    errors.OutOfMemoryError: MemoryError,
    errors.UnexpectedError: RuntimeError,
    errors.CheckpointError: RuntimeError,
    errors.RejectedError: RuntimeError,
    errors.DiskFullError: OSError,
    errors.WorkerError: RuntimeError,
}


FUNCTIONS = {"did_you_mean", "no_room"}


def test_every_error_of_the_package_has_the_one_root() -> None:
    """`except AutoGLMError` catches all that is raised on purpose."""
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    assert len(classes) >= 14
    assert [c for c in classes if not issubclass(c, AutoGLMError)] == []


def test_every_error_is_exported() -> None:
    """The public list and the classes of the module are the same."""
    classes = {n for n, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__}
    assert classes | FUNCTIONS == set(errors.__all__)


@pytest.mark.parametrize(("error", "built_in"), BUILT_INS.items())
def test_an_error_is_also_the_built_in_a_caller_expects(error: type[Exception], built_in: type[Exception]) -> None:
    """`except ValueError` around a bad request works without knowing this package."""
    with pytest.raises(built_in):
        raise error("a sentence")


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name not in FUNCTIONS])
def test_a_message_is_shown_as_written(name: str) -> None:
    """KeyError would put quotes around it, OSError might add an errno."""
    sentence = "No study named 'a' is stored. Choose one of b, c."
    assert str(getattr(errors, name)(sentence)) == sentence


def test_an_error_without_a_message_shows_its_name() -> None:
    """An empty line in a cell would say nothing."""
    assert str(StudyNotFoundError()) == "StudyNotFoundError"


def test_all_faults_of_a_request_are_kept_and_shown() -> None:
    """Three mistakes in a cell are one error with three lines."""
    error = SpaceError("3 faults", ["line 1: a", "line 2: b", "line 4: c"])
    assert error.faults == ("line 1: a", "line 2: b", "line 4: c")
    assert str(error) == "line 1: a\nline 2: b\nline 4: c"


def test_a_single_fault_is_its_own_list() -> None:
    """Callers may always walk `faults`."""
    assert UsageError("rank must be positive").faults == ("rank must be positive",)


def test_a_close_name_is_suggested() -> None:
    """The remedy of a typing mistake is the name that was meant."""
    assert did_you_mean("bayesan", ["bayesian", "random", "grid"]) == "Did you mean 'bayesian'?"


def test_all_names_are_listed_when_none_is_close() -> None:
    """Sorted, so that the sentence does not depend on a dictionary's order."""
    assert did_you_mean("xyz", ["grid", "bayesian"]) == "Choose one of bayesian, grid."


def test_nothing_is_suggested_when_nothing_is_known() -> None:
    """An empty remedy rather than 'Choose one of .'."""
    assert did_you_mean("xyz", []) == ""
