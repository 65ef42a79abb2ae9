"""What a new worker does about runs that a dead one left behind.

Every run still marked as running is adopted under its own name and resumes
from its newest whole checkpoint. A death is charged to the run that was
training: an out-of-memory kill (the machine's kill counter rose, or memory was
all but full at the last pulse) halves the micro-batch, and the third one fails
the run with advice. Any other death costs nothing as long as the run made
progress since the one before; after five in a row without progress the run is
failed, so that a run which crashes its worker cannot hold up the study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoglm_nb.resources import oom_kill_count
from autoglm_nb.store import RunRow, Store
from autoglm_nb.tuning.pulse import read_pulse

__all__ = [
    "CAREFUL_DEATHS",
    "MEMORY_DEATHS",
    "STALLED_DEATHS",
    "Verdict",
    "charged",
    "halve",
    "judge_death",
    "memory_advice",
    "rows_of_a_pass",
    "was_killed_for_memory",
]

MEMORY_DEATHS = 3
"""A run fails at its third death from lack of memory."""

STALLED_DEATHS = 5
"""A run fails after this many worker deaths in a row at the same training step."""

CAREFUL_DEATHS = 2
"""After this many of them, runs that shared a worker go on one at a time, to find out which one kills it."""

FULL_MEMORY_PERCENT = 97.0


@dataclass(frozen=True)
class Verdict:
    """What becomes of a run whose worker died: `failure` is "" when it goes on."""

    micro_batch: int | None
    deaths: int
    stalled_deaths: int
    failure: str = ""


def was_killed_for_memory(store: Store, study: str) -> bool:
    """Whether the evidence says that the study's last worker was killed for memory."""
    pulse = read_pulse(store.study_dir(study))
    before, now = pulse.get("oom_kills"), oom_kill_count()
    if before is not None and now is not None and now > before:
        return True
    return float(pulse.get("memory_percent") or 0.0) >= FULL_MEMORY_PERCENT


def rows_of_a_pass(run: RunRow, batch_size: int) -> int:
    """What a run's passes had when its worker died: as noted at its start, or as limited since.

    Args:
        run: as the dead worker left it.
        batch_size: of a run that died before it noted anything and whose configuration names none.
    """
    known = [int(rows) for rows in (run.metrics.get("micro_batch"), run.micro_batch) if rows]
    return min(known, default=int(run.config.get("batch_size", batch_size)))


def charged(rows: Sequence[RunRow], *, for_memory: bool, batch_size: int) -> set[str]:
    """The runs that a death is charged to: all that were training, or for memory the one with the largest passes."""
    if not for_memory:
        return {row.run for row in rows}
    sizes = {row.run: rows_of_a_pass(row, batch_size) for row in rows}
    return {run for run in sorted(sizes) if sizes[run] == max(sizes.values())} if sizes else set()


def judge_death(run: RunRow, *, for_memory: bool, batch_size: int) -> Verdict:
    """Decide about one run that its worker's death interrupted.

    Args:
        run: as the dead worker left it.
        for_memory: whether the worker was killed for lack of memory.
        batch_size: as for `rows_of_a_pass`.
    """
    stalled = run.stalled_deaths + 1  # every checkpoint sets it back to 0
    if not for_memory:
        failure = ""
        if stalled >= STALLED_DEATHS:
            failure = (
                f"The worker died {stalled} times at training step {run.step} of this run. "
                "Look at `%autotune logs` for the reason."
            )
        return Verdict(run.micro_batch, run.deaths, stalled, failure)
    deaths = run.deaths + 1
    had = rows_of_a_pass(run, batch_size)
    failure = memory_advice(deaths, had) if deaths >= MEMORY_DEATHS else ""
    return Verdict(halve(had), deaths, stalled, failure)


def halve(micro_batch: int) -> int:
    """The next smaller micro-batch; at least 1."""
    return max(1, micro_batch // 2)


def memory_advice(deaths: int, micro_batch: int) -> str:
    """The sentence of a run that ran out of memory for good."""
    return (
        f"A run must fit into memory, but this one ran out of it {deaths} times, last with a micro-batch of "
        f"{micro_batch}. Use a smaller `--max-length`, rank or model, or `--precision bf16`."
    )
