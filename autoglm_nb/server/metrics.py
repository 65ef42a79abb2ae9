"""Figures for Prometheus: requests as they are served, studies and workers as they are when it asks.

A registry of its own, so that two servers in one process do not meet, and
nothing is added to Jupyter's `/metrics`. Only studies that are not over have
figures of their own, so that the number of series does not grow with history.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from autoglm_nb import __version__
from autoglm_nb.protocol import StudyState

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_GIB = 1024**3

Overview = Callable[[], tuple[list[dict[str, Any]], int]]
Resources = Callable[[], dict[str, Any]]


class Metrics:
    """The registry of one server.

    Args:
        overview: gives the lines of all studies, and how many stores or studies cannot be read.
        resources: gives the machine and its workers.
    """

    def __init__(self, overview: Overview, resources: Resources) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "autoglm_requests", "Requests served.", ["route", "method", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "autoglm_request_seconds", "Time to serve a request.", ["route"], buckets=_BUCKETS, registry=self._registry
        )
        self._registry.register(_Studies(overview, resources))

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Adds a request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Everything in Prometheus' text format. Reads the stores: call it in a thread."""
        return generate_latest(self._registry)


class _Studies(Collector):
    """Reads when it is asked."""

    def __init__(self, overview: Overview, resources: Resources) -> None:
        self._overview, self._resources = overview, resources

    def describe(self) -> list[Any]:
        """Nothing: otherwise registering would collect, and so read the stores."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        lines, faults = self._overview()
        yield _gauge("autoglm_info", "The version of autoglm_nb.", ["version"], [([__version__], 1)])
        yield _gauge("autoglm_unreadable", "Stores and studies that cannot be read.", [], [([], faults)])
        states = Tally(line["state"] for line in lines)
        yield _gauge(
            "autoglm_studies", "Studies by state.", ["state"], [([str(s)], states.get(s, 0)) for s in StudyState]
        )
        going = [line for line in lines if not StudyState(line["state"]).final]
        for name, field, help in (
            ("autoglm_study_finished_trials", "finished", "Trials that have ended, of a study that is not over."),
            ("autoglm_study_running_trials", "running", "Trials under way."),
            ("autoglm_study_planned_trials", "total", "Trials asked for."),
            ("autoglm_study_best_value", "best_value", "Best value so far."),
            ("autoglm_study_active_seconds", "active_seconds", "Time that workers have spent."),
        ):
            samples = [([x["home"], x["name"]], x[field]) for x in going if x[field] is not None]
            yield _gauge(name, help, ["home", "study"], samples)
        waiting = [([x["home"], x["name"], x["device"], x["queued_behind"]], 1) for x in going if x["queued_behind"]]
        yield _gauge(
            "autoglm_study_waiting", "1 for a study that waits.", ["home", "study", "device", "behind"], waiting
        )
        yield from self._workers()

    def _workers(self) -> Iterator[GaugeMetricFamily]:
        workers = self._resources()["workers"]
        labels = ["home", "study", "device"]
        for name, field, unit, help in (
            ("autoglm_worker_cpu_ratio", "cpu_percent", 0.01, "CPU of a worker's processes; 1 is one core."),
            ("autoglm_worker_memory_bytes", "memory_gb", _GIB, "Resident memory of a worker's processes."),
            ("autoglm_worker_gpu_memory_bytes", "gpu_memory_gb", _GIB, "GPU memory of a worker."),
        ):
            samples = [([w[x] for x in labels], w[field] * unit) for w in workers if w[field] is not None]
            yield _gauge(name, help, labels, samples)


def _gauge(name: str, help: str, labels: list[str], samples: Sequence[tuple[list[str], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help, labels=labels)
    for values, value in samples:
        family.add_metric([_clean(v) for v in values], value)
    return family


def _clean(value: str) -> str:
    """A label that can be encoded, whatever a study is called."""
    return str(value).encode("utf-8", "replace").decode()
