"""Checkpoints of a run: whole or not there, and never pickled.

A checkpoint is a folder `step-000123` with `tensors.safetensors` (parameters, buffers,
optimizer state) and `state.json` (counters, schedule, optimizer scalars, and the
SHA-256 of both). It is written under a temporary name, flushed to the disk and then
renamed, so that a kill at any instant leaves the older one. Reading takes the newest
whose checksums agree. The data position and the random state are the step number, so
nothing else is needed to go on with the exact next batch.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from autoglm_nb.errors import CheckpointError, DiskFullError, no_room
from autoglm_nb.training.slots import Slot

__all__ = ["KEEP", "LossLog", "newest_checkpoint", "resume", "save"]

KEEP = 2
"""Checkpoints kept per run."""

FORMAT = 1
TENSORS = "tensors.safetensors"
STATE = "state.json"

_NAME = re.compile(r"step-(\d{6,})")
_log = logging.getLogger(__name__)


class LossLog:
    """`losses.jsonl`: one line per optimizer step, cut back on resume to where the run resumes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, step: int, loss: float, learning_rate: float) -> None:
        """Add a line.

        Raises:
            DiskFullError: no room.
        """
        line = json.dumps({"step": step, "loss": loss, "learning_rate": learning_rate})
        with _disk_full(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def truncate(self, step: int) -> None:
        """Drop the lines after `step`, and a half-written last one."""
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return
        keep = 0
        with open(self.path, "rb+") as file:
            for line in file:
                try:
                    if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                        break
                except (ValueError, KeyError, TypeError):
                    break
                keep += len(line)
            file.truncate(keep)

    def read(self) -> list[dict[str, Any]]:
        """The whole lines so far."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found


def save(slot: Slot, folder: Path) -> Path:
    """Write the slot's state as `folder/step-N` and drop all but the newest `KEEP`.

    Raises:
        DiskFullError: no room; what was there before is untouched.
    """
    target = folder / f"step-{slot.step:06d}"
    temporary = folder / f".tmp-{target.name}-{os.getpid()}"
    tensors, scalars = _optimizer_state(slot.optimizer)
    tensors |= {f"parameter/{name}": p.detach() for name, p in slot.parameters.items()}
    tensors |= {f"buffer/{name}": b for name, b in _buffers(slot).items()}
    with _disk_full(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        try:
            temporary.mkdir()
            save_file({name: t.contiguous().cpu() for name, t in tensors.items()}, temporary / TENSORS)
            content = {
                "format": FORMAT,
                "run": slot.plan.run,
                "fingerprint": slot.plan.fingerprint(),
                "counters": slot.counters(),
                "schedule": _plain(slot.schedule.state_dict()),
                "optimizer": scalars,
                "tensors_sha256": _sha256(temporary / TENSORS),
            }
            text = json.dumps(content, sort_keys=True)
            signed = json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "content": content})
            (temporary / STATE).write_text(signed, encoding="utf-8")
            for path in (temporary / TENSORS, temporary / STATE, temporary):
                _flush(path)
            if target.exists():
                os.rename(target, folder / f".tmp-old-{target.name}-{os.getpid()}")
            os.rename(temporary, target)
            _flush(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sweep(folder)
        for old in _candidates(folder)[KEEP:]:
            shutil.rmtree(old, ignore_errors=True)
    return target


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in a run's folder; damaged ones are passed over with a message."""
    for path in _candidates(folder):
        try:
            _read_state(path)
            return path
        except CheckpointError as error:
            _log.warning("%s It is passed over.", error)
    return None


def resume(slot: Slot, folder: Path) -> int:
    """Load the newest whole checkpoint into a fresh slot; returns its step, 0 when there is none.

    Args:
        folder: a run's folder of checkpoints, or one checkpoint.

    Raises:
        CheckpointError: the checkpoint named is damaged, or belongs to another configuration.
    """
    path = folder if (folder / STATE).exists() else newest_checkpoint(folder)
    if path is None:
        return 0
    content = _read_state(path)
    if content["fingerprint"] != slot.plan.fingerprint():
        raise CheckpointError(
            f"A run resumes with the configuration it began with, but {path.name} of {slot.plan.run} was written by "
            "another. Remove its checkpoints to begin again."
        )
    tensors = load_file(path / TENSORS)
    with torch.no_grad():
        for name, parameter in slot.parameters.items():
            parameter.copy_(tensors[f"parameter/{name}"])
        for name, buffer in _buffers(slot).items():
            buffer.copy_(tensors[f"buffer/{name}"])
    slot.optimizer.load_state_dict(_join_optimizer(content["optimizer"], tensors))
    slot.schedule.load_state_dict(content["schedule"])
    slot.load_counters(content["counters"])
    return slot.step


def _optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    state = optimizer.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        scalars[str(index)] = {}
        for key, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer/{index}/{key}"] = value
            else:
                scalars[str(index)][key] = value
    return tensors, {"groups": state["param_groups"], "state": scalars}


def _join_optimizer(scalars: dict[str, Any], tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {int(i): dict(entries) for i, entries in scalars["state"].items()}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "optimizer":
            index, _, key = rest.partition("/")
            state.setdefault(int(index), {})[key] = tensor
    groups = [
        {k: tuple(v) if isinstance(v, list) and k in ("betas", "eps") else v for k, v in group.items()}
        for group in scalars["groups"]
    ]
    return {"state": state, "param_groups": groups}


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for key, value in state.items():
        try:
            json.dumps(value)
        except TypeError:
            continue
        kept[key] = value
    return kept


def _buffers(slot: Slot) -> dict[str, torch.Tensor]:
    """Persistent buffers of a slot's own model; packed slots have none."""
    if slot.model is None:
        return {}
    parameters = {name for name, _ in slot.model.named_parameters(remove_duplicate=False)}
    return {name: t for name, t in slot.model.state_dict().items() if name not in parameters}


def _candidates(folder: Path) -> list[Path]:
    """Checkpoint folders, newest first, whole or not."""
    if not folder.is_dir():
        return []
    found = [(int(m.group(1)), path) for path in folder.iterdir() if (m := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _read_state(path: Path) -> dict[str, Any]:
    """The content of a whole checkpoint, both checksums verified."""
    try:
        signed = json.loads((path / STATE).read_text(encoding="utf-8"))
        content: dict[str, Any] = signed["content"]
        text = json.dumps(content, sort_keys=True)
        if hashlib.sha256(text.encode()).hexdigest() != signed["sha256"]:
            raise CheckpointError(f"Checkpoint {path.name} must match its checksums, but its state does not.")
        if content["format"] > FORMAT:
            raise CheckpointError(
                f"Checkpoint {path.name} has format {content['format']}, but this package reads up to {FORMAT}."
            )
        if _sha256(path / TENSORS) != content["tensors_sha256"]:
            raise CheckpointError(f"Checkpoint {path.name} must match its checksums, but its tensors do not.")
        return content
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = getattr(error, "strerror", None) or error  # without the path
        raise CheckpointError(f"Checkpoint {path.name} must be whole, but it cannot be read: {why}.") from error


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what a killed writer left."""
    for path in folder.glob(".tmp-*"):
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _disk_full(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not no_room(error):
            raise
        sentence = f"Training needs room for its checkpoints, but the disk of {path.name!r} is full. Free some space."
        translated = DiskFullError(sentence)
        translated.errno = errno.ENOSPC
        raise translated from error
