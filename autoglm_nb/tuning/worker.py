"""The worker: one study, one device, in a process of its own or a thread of the kernel.

`python -m autoglm_nb.tuning.worker --home H --study S` is what `executors`
starts. The process leads its own session, so interrupting or restarting the
kernel does not reach it; it is a little nicer than the notebook it serves; it
leaves on SIGTERM with everything resumable.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from autoglm_nb import settings
from autoglm_nb.errors import AutoGLMError, DiskFullError
from autoglm_nb.explain.privacy import private
from autoglm_nb.protocol import StudyState
from autoglm_nb.record import words
from autoglm_nb.store import EventWriter, Lease, Store, is_disk_full
from autoglm_nb.training.threads import ThreadGovernor
from autoglm_nb.tuning.context import Extras, StudyContext, log_traceback
from autoglm_nb.tuning.control import Control, Detached, StudyStopped
from autoglm_nb.tuning.recovery import was_killed_for_memory

__all__ = ["main", "run_worker"]

NICENESS = 5


def run_worker(
    home: Path,
    study: str,
    *,
    extras: Extras | None = None,
    control: Control | None = None,
    governor: ThreadGovernor | None = None,
) -> None:
    """Carry `study` to its end in the calling thread; returns when nothing is left to do.

    A live worker of the same study makes this return at once; a busy device
    makes it wait in the queue. Whatever ends it is stored as the study's state:
    this function raises nothing on purpose.
    """
    store = Store(home)
    spec = store.spec(study)
    device = _pick_device(spec.device)
    control = control or Control(store, study)
    holder = store.holder(study)
    if holder is not None and holder.alive:
        return
    events = EventWriter(store.study_dir(study) / "events.jsonl")
    lease = _wait_for_lease(store, study, device, control, events)
    if lease is None:
        return
    # judged here, before this worker's own pulse overwrites the dead one's
    starved = was_killed_for_memory(store, study)
    context = StudyContext(store, spec, device, events, control, lease, extras or Extras(), starved, governor)
    try:
        _carry(context)
    finally:
        context.lease.release()


def main(argv: list[str] | None = None) -> int:
    """Command line of the worker process."""
    parser = argparse.ArgumentParser(prog="python -m autoglm_nb.tuning.worker", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--study", required=True)
    parser.add_argument("--extras", action="store_true", help="read a cloudpickled `Extras` from standard input")
    arguments = parser.parse_args(argv)
    extras = None
    if arguments.extras:
        import cloudpickle

        extras = cloudpickle.load(sys.stdin.buffer)
    control = Control(Store(arguments.home), arguments.study)

    def leave(_signal: int, _frame: FrameType | None) -> None:
        control.detach()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    run_worker(arguments.home, arguments.study, extras=extras, control=control, governor=_set_threads())
    return 0


def _carry(context: StudyContext) -> None:
    """Run the study and store how it ended."""
    from autoglm_nb.tuning.pulse import Pulse
    from autoglm_nb.tuning.study_run import StudyRun

    try:
        with Pulse(context):
            StudyRun(context).run()
    except StudyStopped:
        context.flush_clock()
        context.state(StudyState.STOPPED, "Stopped by a person. The same cell continues it.")
    except Detached:
        context.flush_clock()
    except DiskFullError as error:
        _last_words(context, StudyState.PAUSED, f"{error} Then `%autotune resume {words.quoted(context.study)}`.")
    except AutoGLMError as error:
        _last_words(context, StudyState.FAILED, str(error))
    except Exception as error:  # noqa: BLE001 - the last line of defence: the card must say what happened
        if is_disk_full(error):
            reason = "There is no room left on the disk. Free some space."
            _last_words(context, StudyState.PAUSED, f"{reason} Then `%autotune resume {words.quoted(context.study)}`.")
            return
        log_traceback(context.store, context.study)
        _last_words(
            context,
            StudyState.FAILED,
            f"The worker met an unexpected {type(error).__name__}: {private(str(error))}. "
            f"`%autotune logs {words.quoted(context.study)}` shows where; finished trials are kept.",
        )


def _last_words(context: StudyContext, state: StudyState, reason: str) -> None:
    """Store the final state even when the disk has no room for an event."""
    try:
        context.store.set_state(context.study, state, reason)
        context.events.emit("state", state=str(state), reason=reason)
    except (OSError, AutoGLMError):
        log_traceback(context.store, context.study)


def _wait_for_lease(store: Store, study: str, device: str, control: Control, events: EventWriter) -> Lease | None:
    """The lease, None when another live worker has this study or a person stopped it in the queue."""
    queued = False
    while True:
        holder = store.holder(study)
        if holder is not None and holder.alive:
            return None
        lease = store.acquire(study, device)
        if lease is not None:
            return lease
        if not queued:
            other = store.device_holder(device)
            by = f" by study {other.study!r}" if other else ""
            reason = f"Waiting: {device} is in use{by}."
            store.set_state(study, StudyState.QUEUED, reason)
            events.emit("state", state="queued", reason=reason)
            queued = True
        try:
            control.poll()
        except Detached:
            return None
        if control.stopped:
            store.set_state(study, StudyState.STOPPED, "Stopped by a person while it waited.")
            events.emit("state", state="stopped", reason="Stopped by a person while it waited.")
            return None
        time.sleep(settings.CONTROL_POLL_SECONDS)


def _pick_device(asked: str) -> str:
    if asked != "auto":
        return asked
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _set_threads() -> ThreadGovernor | None:
    """A fixed number of threads if that was asked for, else a governor that moves it with what is free."""
    threads = settings.torch_threads()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
        return None
    governor = ThreadGovernor()
    governor.start()
    return governor


if __name__ == "__main__":
    sys.exit(main())
