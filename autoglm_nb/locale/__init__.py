"""Translations of the JupyterLab extension, where JupyterLab looks for them.

`<locale>/LC_MESSAGES/autoglm_nb.json` holds each message of `labextension/src`
with its translation. JupyterLab's server finds it by two entry points:

- `jupyterlab.locale` adds our messages to a language pack that is installed;
- `jupyterlab.languagepack` makes the language one that can be chosen. Without
  it JupyterLab would offer a language, and hand out our messages, only after
  its own language pack has been installed.

There is one answer a language, so where JupyterLab's own pack is installed
ours must not take its place: `zh_CN` then points at that pack, and the first
entry point brings our messages in.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

__all__ = ["CATALOGUE", "LANGUAGES", "zh_CN"]

CATALOGUE = "LC_MESSAGES/autoglm_nb.json"
LANGUAGES = ("zh_CN",)


def _pack(language: str) -> SimpleNamespace:
    """What JupyterLab takes for a language pack: something whose `__file__` lies in its folder."""
    found = find_spec(f"jupyterlab_language_pack_{language}")
    own = Path(__file__).parent / language / "__init__.py"
    return SimpleNamespace(__file__=found.origin if found is not None and found.origin else str(own))


zh_CN = _pack("zh_CN")
