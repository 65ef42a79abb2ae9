"""AutoGLM for notebooks: automatic tuning of language models from inside a Jupyter notebook.

`%load_ext autoglm_nb` registers the magics; `AutoTuner` is the same in plain
Python. Nothing heavy (torch, transformers, pandas, optuna, matplotlib) is
imported until a study needs it, and then mostly in the worker process.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from autoglm_nb.errors import AutoGLMError, TrialPruned
    from autoglm_nb.session import AutoTuner, OpenAutoGLM, Results, StudyHandle, attach, open_shared, share, studies
    from autoglm_nb.training.adaptive_lr import AdaptiveLR

__version__ = "0.1.0"

__all__ = [
    "AdaptiveLR",
    "AutoGLMError",
    "AutoTuner",
    "OpenAutoGLM",
    "Results",
    "StudyHandle",
    "TrialPruned",
    "__version__",
    "attach",
    "load_ipython_extension",
    "open_shared",
    "share",
    "studies",
    "unload_ipython_extension",
]

_LAZY = {
    "AdaptiveLR": "autoglm_nb.training.adaptive_lr",
    "AutoGLMError": "autoglm_nb.errors",
    "AutoTuner": "autoglm_nb.session",
    "OpenAutoGLM": "autoglm_nb.session",
    "Results": "autoglm_nb.session",
    "StudyHandle": "autoglm_nb.session",
    "TrialPruned": "autoglm_nb.errors",
    "attach": "autoglm_nb.session",
    "open_shared": "autoglm_nb.session",
    "share": "autoglm_nb.session",
    "studies": "autoglm_nb.session",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics (`%load_ext autoglm_nb`)."""
    from autoglm_nb.notebook import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics away again (`%unload_ext autoglm_nb`)."""
    from autoglm_nb.notebook import unload

    unload(shell)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where Jupyter Server finds the extension; nothing is imported before it does."""
    return [{"module": "autoglm_nb.server"}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Where the built JupyterLab extension lies in a checkout; `jupyter-builder develop` asks."""
    return [{"src": "labextension", "dest": "autoglm-nb"}]
