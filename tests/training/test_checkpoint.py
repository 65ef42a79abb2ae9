"""Checkpoints: exact resumption, whole or not there, never pickled."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from autoglm_nb.errors import CheckpointError, DiskFullError
from autoglm_nb.training import LossLog, checkpoint, newest_checkpoint, plan_run
from tests.forked import Forked
from tests.training import saving
from tests.training.conftest import run_losses

CONFIG: dict[str, Any] = {
    "method": "lora", "rank": 4, "dropout": 0.2, "target_modules": "attention", "learning_rate": 5e-3,
    "warmup_ratio": 0.2, "batch_size": 8, "steps": 30,
}  # fmt: skip

KINDS: dict[str, tuple[str, dict[str, Any], int | None]] = {
    "lora, accumulation, adaptive": ("encoder", {"schedule": "adaptive"}, 3),
    "dora, cosine, adam": ("encoder", {"method": "dora", "schedule": "cosine", "optimizer": "adam"}, None),
    "lora on a decoder, adafactor": ("decoder", {"optimizer": "adafactor", "schedule": "exponential"}, 4),
    "adapter": ("encoder", {"method": "adapter", "adapter_width": 8}, None),
    "p-tuning, adaptive": ("encoder", {"method": "p-tuning", "prompt_length": 4, "schedule": "adaptive"}, None),
    "full, momentum": ("encoder", {"method": "full", "optimizer": "sgd", "learning_rate": 1e-2}, 5),
    "top-k on a decoder": ("decoder", {"method": "top-k", "top_k": 1}, None),
}


@pytest.mark.parametrize("case", KINDS)
@pytest.mark.slow
def test_a_resumed_run_repeats_the_uninterrupted_one_bit_for_bit(
    make_engine: Callable[..., Any], tmp_path: Path, case: str
) -> None:
    """Stopped at step 13 (within an epoch) and taken up in a new engine: every loss and weight is identical."""
    kind, extra, micro_batch = KINDS[case]
    engine = make_engine(kind)
    plan = plan_run("t", {**CONFIG, **extra}, 7, engine.data, micro_batch=micro_batch)
    slot = engine.admit(plan)
    whole = run_losses(engine, slot, 30)
    final = {n: p.detach().clone() for n, p in engine._slots[slot].parameters.items()}

    engine = make_engine(kind)
    slot = engine.admit(plan, tmp_path / "checkpoints")
    first = run_losses(engine, slot, 13)
    engine.save_checkpoint(slot, tmp_path / "checkpoints")
    run_losses(engine, slot, 4)  # lost with the worker
    engine = make_engine(kind)
    torch.manual_seed(999)
    slot = engine.admit(plan, tmp_path / "checkpoints")
    assert engine.step_of(slot) == 13
    rest = run_losses(engine, slot, 17)
    assert first + rest == whole
    assert all(torch.equal(p, final[n]) for n, p in engine._slots[slot].parameters.items())


def test_a_run_resumes_into_another_slot_of_a_pack(make_engine: Callable[..., Any], tmp_path: Path) -> None:
    """A checkpoint belongs to the run, not to the slot it had."""
    engine = make_engine()
    plan = plan_run("t", CONFIG, 7, engine.data)
    slot = engine.admit(plan)
    expected = run_losses(engine, slot, 8)[5:]
    engine = make_engine()
    slot = engine.admit(plan)
    run_losses(engine, slot, 5)
    engine.save_checkpoint(slot, tmp_path)
    engine = make_engine(capacity=2)
    engine.admit(plan_run("other", {**CONFIG, "rank": 2, "batch_size": 4}, 1, engine.data))
    slot = engine.admit(plan, tmp_path)
    assert slot == 1
    assert run_losses(engine, slot, 3) == pytest.approx(expected, rel=1e-4)


def test_a_shrunken_micro_batch_may_resume(make_engine: Callable[..., Any], tmp_path: Path) -> None:
    """After an out-of-memory death the run goes on with the same gradients in smaller portions."""
    engine = make_engine()
    plan = plan_run("t", CONFIG, 7, engine.data)
    slot = engine.admit(plan)
    expected = run_losses(engine, slot, 4)
    engine.evict(slot)
    slot = engine.admit(plan)
    run_losses(engine, slot, 2)
    engine.save_checkpoint(slot, tmp_path)
    engine.evict(slot)
    slot = engine.admit(plan_run("t", CONFIG, 7, engine.data, micro_batch=4), tmp_path)
    assert run_losses(engine, slot, 2) == pytest.approx(expected[2:], rel=1e-5)


def saved(make_engine: Callable[..., Any], folder: Path, steps: tuple[int, ...]) -> tuple[Any, int, Any]:
    engine = make_engine()
    plan = plan_run("t", CONFIG, 7, engine.data)
    slot = engine.admit(plan)
    for step in range(1, max(steps) + 1):
        engine.step()
        if step in steps:
            engine.save_checkpoint(slot, folder)
    return engine, slot, plan


def test_the_last_two_are_kept_and_nothing_is_pickled(make_engine: Callable[..., Any], tmp_path: Path) -> None:
    """Older ones go; what is there is safetensors and JSON only."""
    saved(make_engine, tmp_path, (1, 2, 3, 4))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000003", "step-000004"]
    for folder in tmp_path.iterdir():
        assert sorted(p.name for p in folder.iterdir()) == ["state.json", "tensors.safetensors"]
        json.loads((folder / "state.json").read_text())
        load_file(folder / "tensors.safetensors")


def cut_tensors(path: Path) -> None:
    data = (path / "tensors.safetensors").read_bytes()
    (path / "tensors.safetensors").write_bytes(data[: len(data) // 2])


def flip_a_bit(path: Path) -> None:
    data = bytearray((path / "tensors.safetensors").read_bytes())
    data[-5] ^= 1
    (path / "tensors.safetensors").write_bytes(data)


def change_state(path: Path) -> None:
    text = (path / "state.json").read_text()
    (path / "state.json").write_text(text.replace('"step": 3', '"step": 2'))


def cut_state(path: Path) -> None:
    (path / "state.json").write_text((path / "state.json").read_text()[:50])


def lose_tensors(path: Path) -> None:
    (path / "tensors.safetensors").unlink()


@pytest.mark.parametrize("damage", [cut_tensors, flip_a_bit, change_state, cut_state, lose_tensors])
def test_a_damaged_checkpoint_is_passed_over_with_a_message(
    make_engine: Callable[..., Any], tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The next older whole one is taken instead."""
    _, _, plan = saved(make_engine, tmp_path, (2, 3))
    damage(tmp_path / "step-000003")
    engine = make_engine()
    slot = engine.admit(plan, tmp_path)
    assert engine.step_of(slot) == 2
    assert "step-000003" in caplog.text and "passed over" in caplog.text


def test_without_a_whole_checkpoint_the_run_begins_again(make_engine: Callable[..., Any], tmp_path: Path) -> None:
    """Losing progress is better than going on from damaged weights."""
    _, _, plan = saved(make_engine, tmp_path, (2,))
    flip_a_bit(tmp_path / "step-000002")
    engine = make_engine()
    assert engine.step_of(engine.admit(plan, tmp_path)) == 0


def test_a_damaged_checkpoint_asked_for_by_name_is_an_error(make_engine: Callable[..., Any], tmp_path: Path) -> None:
    """Only the search for the newest may pass something over."""
    _, _, plan = saved(make_engine, tmp_path, (2,))
    flip_a_bit(tmp_path / "step-000002")
    engine = make_engine()
    with pytest.raises(CheckpointError, match="checksums"):
        engine.admit(plan, tmp_path / "step-000002")
    assert engine.admit(plan) == 0  # the slot is free


def test_another_configuration_is_refused(make_engine: Callable[..., Any], tmp_path: Path) -> None:
    """Optimizer state must not be mixed into another run."""
    saved(make_engine, tmp_path, (2,))
    engine = make_engine()
    with pytest.raises(CheckpointError, match="configuration"):
        engine.admit(plan_run("t", {**CONFIG, "learning_rate": 1e-3}, 7, engine.data), tmp_path)


def test_leftovers_of_a_killed_writer_are_ignored_and_swept(make_engine: Callable[..., Any], tmp_path: Path) -> None:
    """A temporary folder is never read, and the next save removes it."""
    engine, slot, plan = saved(make_engine, tmp_path, (2,))
    (tmp_path / ".tmp-step-000009-1").mkdir()
    other = make_engine()
    assert other.step_of(other.admit(plan, tmp_path)) == 2
    engine.step()
    engine.save_checkpoint(slot, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000002", "step-000003"]


def test_saving_the_same_step_again_replaces_it(make_engine: Callable[..., Any], tmp_path: Path) -> None:
    """An evaluation after the save is remembered by the second save."""
    engine, slot, plan = saved(make_engine, tmp_path, (8,))
    assert engine.due(slot) == 1
    engine.evaluate(slot, limit_rows=4)
    engine.save_checkpoint(slot, tmp_path)
    other = make_engine()
    assert other.due(other.admit(plan, tmp_path)) is None


@pytest.mark.parametrize("where", ["tensors", "flush", "rename"])
def test_a_full_disk_leaves_the_older_checkpoint(
    make_engine: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """DiskFullError; no half checkpoint, the older one valid, and training can go on."""
    engine, slot, _ = saved(make_engine, tmp_path, (2,))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = {
        "tensors": (checkpoint, "save_file"), "flush": (checkpoint.os, "fsync"), "rename": (checkpoint.os, "rename"),
    }  # fmt: skip
    engine.step()
    with monkeypatch.context() as patch:
        patch.setattr(*target[where], full)
        with pytest.raises(DiskFullError, match="Free some space"):
            engine.save_checkpoint(slot, tmp_path)
    assert newest_checkpoint(tmp_path) == tmp_path / "step-000002"
    assert [p.name for p in tmp_path.iterdir()] == ["step-000002"]
    engine.save_checkpoint(slot, tmp_path)
    assert newest_checkpoint(tmp_path) == tmp_path / "step-000003"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device /dev/full of Linux")
def test_a_losses_file_on_a_full_disk_is_a_disk_full_error() -> None:
    """The kernel's own ENOSPC, not a simulated one."""
    with pytest.raises(DiskFullError):
        LossLog(Path("/dev/full")).append(1, 0.5, 1e-3)


def test_the_losses_file_is_cut_back_to_the_checkpoint(make_engine: Callable[..., Any], tmp_path: Path) -> None:
    """Lines after the checkpoint, and a half-written one, are dropped; the file then equals an uninterrupted one."""
    log = tmp_path / "losses.jsonl"
    engine = make_engine()
    plan = plan_run("t", CONFIG, 7, engine.data)
    slot = engine.admit(plan, losses=tmp_path / "whole.jsonl")
    run_losses(engine, slot, 8)

    engine = make_engine()
    slot = engine.admit(plan, tmp_path / "c", losses=log)
    run_losses(engine, slot, 5)
    engine.save_checkpoint(slot, tmp_path / "c")
    run_losses(engine, slot, 2)
    with open(log, "a") as file:
        file.write('{"step": 8, "lo')
    engine = make_engine()
    slot = engine.admit(plan, tmp_path / "c", losses=log)
    assert [line["step"] for line in LossLog(log).read()] == [1, 2, 3, 4, 5]
    run_losses(engine, slot, 3)
    assert log.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.slow
def test_killed_while_writing_there_is_always_a_whole_checkpoint(tmp_path: Path) -> None:
    """SIGKILL at five arbitrary instants of a process that only saves: the newest completed save is there."""
    for round_number in range(5):
        folder, log = tmp_path / str(round_number), tmp_path / f"{round_number}.log"
        process = Forked(saving.forever, folder, log)
        while not (log.exists() and log.read_text()):
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(0.05 + 0.027 * round_number)
        process.kill()
        process.wait()
        completed = [int(line) for line in log.read_text().splitlines()[1:]]
        newest = newest_checkpoint(folder)
        if completed:
            assert newest is not None
            step = int(newest.name.removeprefix("step-"))
            assert step >= completed[-1]
            assert set(load_file(newest / "tensors.safetensors")["parameter/w"].tolist()) == {float(step)}


def test_tensors_are_stored_exactly(tmp_path: Path) -> None:
    """Odd sizes, zero dimensions and extreme values survive safetensors (what the bit-equality rests on)."""
    tensors = {"a": torch.tensor([1e-45, 3.4e38, -0.0]), "b": torch.tensor(7.0), "c": torch.empty(0, 3)}
    save_file(tensors, tmp_path / "t")
    back = load_file(tmp_path / "t")
    assert all(torch.equal(back[n], t) and back[n].shape == t.shape for n, t in tensors.items())
