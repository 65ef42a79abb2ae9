"""Why a test here may be skipped."""

from __future__ import annotations

import importlib.util

import pytest

from tests.browser.looks import AXE
from tests.browser.server import BUILT

needs_extension = pytest.mark.skipif(
    not BUILT.exists(), reason="the extension is not built: make labextension (needs Node.js)"
)
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci in labextension/")
needs_notebook = pytest.mark.skipif(
    importlib.util.find_spec("notebook") is None, reason="Notebook 7 is not installed (pip install notebook)"
)
