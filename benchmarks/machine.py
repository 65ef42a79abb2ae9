"""Where and when a figure was measured: printed beside every table, stored in every JSON file."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "VARIABLES", "command", "describe", "save", "sentence"]

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("torch", "transformers", "peft", "optuna", "ipykernel", "ipywidgets")

VARIABLES = (
    "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "MKL_NUM_THREADS", "AUTOGLM_THREADS",
    "AUTOGLM_CPU_PATH", "AUTOGLM_CPU_PRODUCTS", "AUTOGLM_KERNELS",
)  # fmt: skip
"""What changes how fast something is computed, where a user has set it."""


def describe() -> dict[str, Any]:
    """Processor, cores, load, memory, versions and date of this run."""
    import psutil

    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def sentence(machine: dict[str, Any]) -> str:
    """The machine in a line, the load before the measurement included."""
    return (
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GiB, "
        f"load {machine['load_average']} before, Python {machine['python']}, torch {machine['packages']['torch']}"
    )


def command(arguments: Sequence[str] | None = None) -> str:
    """The command line of this run, with what is set to compute differently, without the places of files."""
    given = sys.argv[1:] if arguments is None else arguments
    shown = [Path(word).name if Path(word).is_absolute() else word for word in given]
    set_here = [f"{name}={os.environ[name]}" for name in VARIABLES if os.environ.get(name)]
    return shlex.join([*set_here, "python", f"benchmarks/{Path(sys.argv[0]).name}", *shown])


def save(name: str, result: dict[str, Any], path: Path | None = None) -> Path:
    """Write a result as JSON, by default to `benchmarks/results/<name>.json`; return where."""
    target = path or RESULTS / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return target


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
