"""Every environment variable and default of the package, in one place.

Read through functions, not module constants, so that a test or a notebook may
set a variable after import. Paths are absolute and not created here. `AUTOGLM_KERNELS`
alone is used elsewhere, by `autoglm_kernels`, which stands by itself.

A value that cannot be read raises `UsageError` where it is used; `faults` finds all of
them before anything is started.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path

from autoglm_nb.errors import UsageError

__all__ = [
    "CONTROL_POLL_SECONDS",
    "CPU_MEASURES",
    "CPU_PRODUCTS",
    "LEASE_STALE_SECONDS",
    "READING_SECONDS",
    "VIEW_SECONDS",
    "author",
    "cache_dir",
    "checkpoint_seconds",
    "child_environment",
    "cpu_path",
    "cpu_products",
    "debug",
    "decision_token",
    "decision_url",
    "disk_quota_bytes",
    "faults",
    "home",
    "hub_probe_seconds",
    "keep_adapters",
    "offline",
    "prefix_bytes",
    "shown_path",
    "tensorboard_dir",
    "torch_threads",
    "view",
]

CONTROL_POLL_SECONDS = 0.5
"""How often a worker looks for pause, resume and stop requests."""

VIEW_SECONDS = 0.5
"""Live views change at most this often (twice a second)."""

READING_SECONDS = 2.0
"""Interval between two readings of CPU, memory and GPU."""

LEASE_STALE_SECONDS = 30.0
"""A lease on another host counts as dead after this long without a heartbeat.

On the same host the process id and its start time decide at once.
"""

CPU_MEASURES = ("products", "attention", "first-token", "prefix")
"""The words of `AUTOGLM_CPU_PATH`."""

CPU_PRODUCTS = ("plain", "plain-added", "onednn", "mkl", "mkl-added")
"""The words of `AUTOGLM_CPU_PRODUCTS` besides `auto`; the names of `training.products`."""


def home(notebook_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder `.autoglm` that holds the store: `AUTOGLM_HOME`, else beside the notebook."""
    given = os.environ.get("AUTOGLM_HOME")
    if given:
        return Path(given).expanduser().resolve()
    return Path(notebook_dir or Path.cwd()).resolve() / ".autoglm"


def cache_dir() -> Path:
    """Where models and data sets are cached: `AUTOGLM_CACHE`, else the user's cache folder."""
    given = os.environ.get("AUTOGLM_CACHE")
    if given:
        return Path(given).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "autoglm"


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path as a sentence may show it: a notebook that is shared must not tell the machine's folders or the account.

    From the working folder where it lies below that, else from the home folder with `~` in front,
    else its last part alone.
    """
    try:
        whole, real = Path(os.path.abspath(path)), Path(os.path.realpath(path))
    except OSError:  # a relative path, and a working folder that was removed
        return f"…/{Path(path).name}"
    bases = _bases()
    for candidate in (whole, real):
        for base, mark in bases:
            if candidate.is_relative_to(base):
                inside = candidate.relative_to(base).as_posix()
                return mark if inside == "." else f"{mark}/{inside}" if mark != "." else inside
    return f"…/{whole.name}"


def child_environment(**more: str) -> dict[str, str]:
    """This process's environment for a child, in which it finds the same package.

    Args:
        more: variables to set beside.
    """
    root = str(Path(__file__).resolve().parents[1])
    paths = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, *(p for p in paths if p != root)]), **more}


def checkpoint_seconds() -> float:
    """`AUTOGLM_CHECKPOINT_SECONDS` (15): a running trial is checkpointed at least this often.

    It is also checkpointed at every evaluation.
    """
    return _number("AUTOGLM_CHECKPOINT_SECONDS", "15")


def debug() -> bool:
    """Whether `AUTOGLM_DEBUG=1` asks for full tracebacks in the notebook."""
    return os.environ.get("AUTOGLM_DEBUG", "") not in ("", "0")


def decision_url() -> str:
    """`AUTOGLM_DECISION_URL`: where reports are pushed for a decision; "" where there is no such system."""
    return os.environ.get("AUTOGLM_DECISION_URL", "").strip()


def decision_token() -> str:
    """`AUTOGLM_DECISION_TOKEN`: sent to that system as a bearer token, and nowhere else; never stored."""
    return os.environ.get("AUTOGLM_DECISION_TOKEN", "").strip()


def offline() -> bool:
    """Whether `AUTOGLM_OFFLINE=1` or `HF_HUB_OFFLINE=1` forbids asking the model hub."""
    return any(os.environ.get(v, "") not in ("", "0") for v in ("AUTOGLM_OFFLINE", "HF_HUB_OFFLINE"))


def hub_probe_seconds() -> float:
    """The longest an unreachable hub may cost before the fallback (`AUTOGLM_HUB_PROBE`, 2 s)."""
    return _number("AUTOGLM_HUB_PROBE", "2")


def cpu_path() -> frozenset[str]:
    """`AUTOGLM_CPU_PATH`: which measures a CPU trains with, with commas, or `none`; all if not set."""
    given = os.environ.get("AUTOGLM_CPU_PATH", "").strip().lower()
    if given in ("", "all"):
        return frozenset(CPU_MEASURES)
    if given == "none":
        return frozenset()
    names = [name.strip() for name in given.split(",")]
    return frozenset(_word("AUTOGLM_CPU_PATH", name, (*CPU_MEASURES, "none", "all")) for name in names)


def cpu_products() -> str:
    """`AUTOGLM_CPU_PRODUCTS`: `auto` (measured), or one way of `training.products` for all frozen layers."""
    given = os.environ.get("AUTOGLM_CPU_PRODUCTS", "").strip().lower() or "auto"
    return _word("AUTOGLM_CPU_PRODUCTS", given, ("auto", *CPU_PRODUCTS))


def prefix_bytes() -> int:
    """`AUTOGLM_PREFIX_MB` (1024): memory of one engine for hidden states below the lowest adapted layer."""
    return int(_number("AUTOGLM_PREFIX_MB", "1024") * 2**20)


def tensorboard_dir() -> Path | None:
    """`AUTOGLM_TENSORBOARD_DIR`: the folder of TensorBoard's files; None (not set) is `.autoglm/tensorboard`."""
    given = os.environ.get("AUTOGLM_TENSORBOARD_DIR", "").strip()
    return Path(given).expanduser() if given else None


def torch_threads() -> int | None:
    """`AUTOGLM_THREADS`: intra-op threads of a worker process; None lets its governor move them with what is free."""
    given = os.environ.get("AUTOGLM_THREADS", "").strip()
    return _whole("AUTOGLM_THREADS", given, least=1) if given else None


def author() -> str:
    """Who signs notes: `AUTOGLM_AUTHOR`, else the name that JupyterHub gives, else nobody."""
    return os.environ.get("AUTOGLM_AUTHOR") or os.environ.get("JUPYTERHUB_USER") or ""


def keep_adapters() -> int | None:
    """`AUTOGLM_KEEP_ADAPTERS` (20): so many of a study's latest adapters stay, besides best and starred ones.

    `all` keeps every one.
    """
    given = (os.environ.get("AUTOGLM_KEEP_ADAPTERS") or "20").strip()
    return None if given.lower() == "all" else _whole("AUTOGLM_KEEP_ADAPTERS", given, least=0, besides=" or `all`")


def disk_quota_bytes() -> int | None:
    """`AUTOGLM_DISK_QUOTA_GB`: the most that the runs of a store may take on disk; None (not set) is no limit."""
    given = os.environ.get("AUTOGLM_DISK_QUOTA_GB", "").strip()
    return int(_number("AUTOGLM_DISK_QUOTA_GB", given) * 10**9) if given else None


def view() -> str:
    """`AUTOGLM_VIEW`: the live view, `lab` (the JupyterLab extension's), `stock` (ipywidgets) or `auto`.

    `auto` asks the front end and takes `stock` where it does not answer.
    """
    given = os.environ.get("AUTOGLM_VIEW", "auto").strip().lower()
    return given if given in ("lab", "stock") else "auto"


def faults() -> list[str]:
    """What is wrong with the variables that are set, a sentence each."""
    found = []
    for read in (
        checkpoint_seconds, hub_probe_seconds, cpu_path, cpu_products, prefix_bytes, torch_threads, keep_adapters,
        disk_quota_bytes, _kernels,
    ):  # fmt: skip
        try:
            read()
        except UsageError as error:
            found.append(str(error))
    return found


def _kernels() -> str:
    """`AUTOGLM_KERNELS`, which `autoglm_kernels` decides by."""
    given = os.environ.get("AUTOGLM_KERNELS", "").strip().lower() or "auto"
    return _word("AUTOGLM_KERNELS", given, ("auto", "triton", "torch"))


def _number(variable: str, default: str) -> float:
    """A number from 0 on.

    Raises:
        UsageError: it is none.
    """
    given = (os.environ.get(variable) or default).strip()
    number = _parsed(float, given)
    if number is None or not 0 <= number < math.inf:
        raise UsageError(f"`{variable}` must be a number from 0 on, but is {given!r}. Correct it, or unset it.")
    return float(number)


def _whole(variable: str, given: str, *, least: int, besides: str = "") -> int:
    """A whole number from `least` on.

    Raises:
        UsageError: it is none.
    """
    number = _parsed(int, given)
    if number is None or number < least:
        law = f"`{variable}` must be a whole number from {least} on{besides}"
        raise UsageError(f"{law}, but is {given!r}. Correct it, or unset it.")
    return int(number)


def _parsed(kind: Callable[[str], float], given: str) -> float | None:
    try:
        return kind(given)
    except ValueError:
        return None


def _word(variable: str, given: str, known: tuple[str, ...]) -> str:
    """One of the words that a variable knows.

    Raises:
        UsageError: it is none of them.
    """
    if given not in known:
        raise UsageError(f"`{variable}` must be one of {', '.join(known)}, but is {given!r}. Correct it, or unset it.")
    return given


def _bases() -> list[tuple[Path, str]]:
    """Folders that need not be spelt out, and how each is called: the more telling one first."""
    found: list[tuple[Path, str]] = []
    with contextlib.suppress(OSError):  # a working folder that was removed
        found.append((Path.cwd(), "."))
    with contextlib.suppress(RuntimeError):  # an account without a home
        found.append((Path(os.path.abspath(Path.home())), "~"))
        found.append((Path(os.path.realpath(Path.home())), "~"))
    # Seen from the root or from /home, what is below would name the account again.
    found = [(base, mark) for base, mark in found if len(base.parts) > 1]
    homes = [base for base, mark in found if mark == "~"]
    return [(b, m) for b, m in found if m == "~" or not any(h != b and h.is_relative_to(b) for h in homes)]
