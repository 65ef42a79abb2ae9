"""The process in which kernels are interpreted, started once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernels.child import child


@pytest.fixture(scope="session")
def interpreted() -> Iterator[Callable[..., Any]]:
    """`interpreted(case, **arguments)` runs a case of tests/kernels/interpreted.py."""
    yield from child("tests.kernels.interpreted")
