"""A process that trains through the kernels, run by Triton's interpreter: `python -m tests.training.interpreted`.

One named case a line of JSON (`tests.kernels.child`). Each trains twice: with the
kernels, and with what runs on a CPU otherwise.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

os.environ["TRITON_INTERPRET"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import torch

import autoglm_kernels as kernels
from autoglm_nb.protocol import DataSpec
from tests import tiny
from tests.kernels.child import answer

TRIALS: tuple[dict[str, Any], ...] = (
    {"rank": 4, "dropout": 0.1, "batch_size": 6, "learning_rate": 5e-3, "target_modules": "qv", "weight_decay": 0.1},
    {"rank": 9, "dropout": 0.3, "batch_size": 5, "learning_rate": 2e-3, "optimizer": "adam", "use_rslora": True,
     "target_modules": "attention", "beta2": 0.9},
    {"rank": 16, "dropout": 0.2, "batch_size": 4, "learning_rate": 1e-3, "method": "dora", "lora_plus_ratio": 4.0,
     "max_grad_norm": 0.1, "target_modules": "qv"},
    {"rank": 5, "dropout": 0.0, "batch_size": 3, "learning_rate": 1e-2, "optimizer": "sgd", "target_modules": "qv"},
)  # fmt: skip
SWITCHES = ("HAS_BASE", "HAS_WEIGHT", "HAS_BIAS", "DROPOUT", "ATOMIC")
"""What is fixed when a kernel is compiled, beside types, sizes of blocks and whether addresses are aligned."""
SCRATCH = tempfile.TemporaryDirectory()
CELL = """\
%%autotune --model {folder}/model --data {folder}/reviews.csv --target label --name {name} --executor thread \
--strategy random --trials 2 --seed 3 --seeds 0 --no-baseline --pruner none --device cpu --precision fp32 --max-rows 40
method        = "lora"
learning_rate = loguniform(1e-3, 1e-2)
rank          = choice(2, 4)
dropout       = 0.1
target_modules = "qv"
batch_size    = 8
steps         = 3
"""


def study() -> dict[str, Any]:
    """Two trials of a cell, with the kernels and without: losses of every step, scores, and launches."""
    from IPython.core.interactiveshell import InteractiveShell

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        tiny.tiny_encoder(Path(folder) / "model")
        tiny.toy_reviews(60).to_csv(Path(folder) / "reviews.csv", index=False)
        environment = {"AUTOGLM_HOME": f"{folder}/home", "JUPYTER_RUNTIME_DIR": f"{folder}/runtime"}
        for name in ("torch", "triton"):
            with mock.patch.dict(os.environ, {**environment, "AUTOGLM_KERNELS": name}):
                kernels.reset_launches()
                shell = InteractiveShell()
                with contextlib.redirect_stdout(io.StringIO()):
                    shell.run_cell("%load_ext autoglm_nb").raise_error()
                    shell.run_cell(CELL.format(folder=folder, name=name)).raise_error()
                    shell.run_cell(f"%autotune wait {name}").raise_error()
                logs = sorted((Path(folder) / "home").rglob("losses.jsonl"))
                curves = [
                    [json.loads(line)["loss"] for line in log.read_text().splitlines()]
                    for log in logs
                    if name in log.parts
                ]
                found[name] = {"losses": curves, "launches": kernels.launches()}
    return found


def parity(kind: str, fuse: bool, steps: int = 3) -> dict[str, Any]:
    """Losses of a pack of four, step by step, either way, and the kernels' launches.

    Fused, without the CPU path, whose frozen layers are none that a kernel could take the place of.
    """
    found: dict[str, Any] = {}
    path = {"AUTOGLM_CPU_PATH": "none"} if fuse else {}
    for name in ("torch", "triton"):
        with mock.patch.dict(os.environ, {"AUTOGLM_KERNELS": name, **path}), _noting() as kinds:
            engine, slots = _engine(kind)
            engine._packed.row_map.fuse = fuse
            kernels.reset_launches()
            results = [engine.step() for _ in range(steps)]
            found[name] = {
                "losses": [[r[s].loss for r in results] for s in slots],
                "norms": [[r[s].grad_norm for r in results] for s in slots],
                "launches": kernels.launches(),
                "kinds": sorted(kinds),
            }
    return found


def launched() -> dict[str, list[str]]:
    """What a step of LoRA launches, with dropout or without; and what is compiled ahead of time, by type of rows."""
    from autoglm_kernels import ahead_of_time

    found: dict[str, set[str]] = {"bf16": set(), "fp16": set(), "fp32": set()}
    with mock.patch.dict(os.environ, {"AUTOGLM_KERNELS": "triton"}), _noting() as found["launched"]:
        for dropout in (0.1, 0.0):
            engine, _ = _engine("encoder", trials=({**TRIALS[0], "dropout": dropout},))
            engine.step()
    for variant in ahead_of_time.variants():
        found[variant.rows].add(_kind(variant.kernel, variant.constants))
    return {name: sorted(kinds) for name, kinds in found.items()}


@contextlib.contextmanager
def _noting() -> Iterator[set[str]]:
    """The kinds of kernels that are launched inside the block: a kernel's name and its switches."""
    from autoglm_kernels import adamw, backend, lora_launch

    kinds: set[str] = set()

    def noted(kernel: Any, *arguments: Any, **meta: Any) -> None:
        kinds.add(_kind(kernel.fn.__name__, meta))
        backend.launch(kernel, *arguments, **meta)

    with mock.patch.object(lora_launch, "launch", noted), mock.patch.object(adamw, "launch", noted):
        yield kinds


def _kind(kernel: str, options: Mapping[str, Any]) -> str:
    return " ".join([kernel, *(switch for switch in SWITCHES if options.get(switch))])


def poisoned() -> dict[str, Any]:
    """One step with a healthy and one with a poisoned neighbour: whether the others' weights and moments agree."""
    states = []
    for poison in (False, True):
        with mock.patch.dict(os.environ, {"AUTOGLM_KERNELS": "triton"}):
            engine, slots = _engine("encoder")
            engine.step()
            if poison:
                with torch.no_grad():
                    for adapter in engine._slots[slots[1]].adapters.values():
                        adapter.lora_B.fill_(float("nan"))
            results = engine.step()
            failed = [results[s].failure is not None for s in slots]
            others = [engine._slots[s] for i, s in enumerate(slots) if i != 1]
            tensors = [p for slot in others for p in slot.parameters.values()]
            tensors += [
                v for slot in others for entry in slot.optimizer.state.values() for v in entry.values() if v is not None
            ]
            states.append([t.detach().clone() for t in tensors])
    return {"failed": failed, "equal": all(torch.equal(a, b) for a, b in zip(*states, strict=True))}


def optimizers() -> dict[str, Any]:
    """Two steps of four slots, three of them Adam's: launches, and the largest deviation from torch's own steps."""
    states = []
    for name in ("torch", "triton"):
        with mock.patch.dict(os.environ, {"AUTOGLM_KERNELS": name}):
            from autoglm_nb.training.slots import update_together

            engine, slots = _engine("encoder")
            members = [engine._slots[s] for s in slots]
            kernels.reset_launches()
            draw = torch.Generator().manual_seed(0)
            for step in range(2):
                for slot in members:
                    for p in slot.parameters.values():
                        p.grad = torch.randn(p.shape, generator=draw)
                losses = [1.0, float("nan"), 1.0, 1.0] if step else [1.0] * 4
                updated = update_together(members, losses, [10.0] * 4)
            states.append([p.detach().clone() for slot in members for p in slot.parameters.values()])
    worst = max(float((a - b).abs().max()) for a, b in zip(*states, strict=True))
    return {"launches": kernels.launches(), "worst": worst, "updated": updated}


def restored() -> dict[str, Any]:
    """A checkpoint written with torch's optimizers goes on with the kernels, and the other way round."""
    curves: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for first, second in (("torch", "torch"), ("torch", "triton"), ("triton", "torch")):
            with mock.patch.dict(os.environ, {"AUTOGLM_KERNELS": first}):
                engine, slots = _engine("encoder")
                engine.step()
                for slot in slots:
                    engine.save_checkpoint(slot, Path(folder) / f"{first}-{second}-{slot}")
            with mock.patch.dict(os.environ, {"AUTOGLM_KERNELS": second}):
                engine, slots = _engine("encoder", checkpoints=Path(folder) / f"{first}-{second}-")
                result = engine.step()
                curves[f"{first} to {second}"] = [result[s].loss for s in slots]
    return curves


def _engine(
    kind: str, checkpoints: Path | None = None, trials: Sequence[dict[str, Any]] = TRIALS
) -> tuple[Any, list[int]]:
    from autoglm_nb.training import Engine, plan_run

    base, data = _material(kind)
    engine = Engine(base, data, capacity=len(trials), device="cpu", precision="fp32")
    slots = []
    for i, trial in enumerate(trials):
        plan = plan_run(f"trial-{i}", {**trial, "steps": 5}, i, data)
        folder = None if checkpoints is None else checkpoints.with_name(checkpoints.name + str(i))
        slots.append(engine.admit(plan, checkpoint=folder))
    return engine, slots


@functools.cache
def _material(kind: str) -> tuple[Any, Any]:
    from autoglm_nb.data import encode, prepare
    from autoglm_nb.models import load_base, resolve

    folder = Path(SCRATCH.name) / kind
    folder.mkdir()
    if kind == "encoder":
        model = resolve(str(tiny.tiny_encoder(folder / "model")))
        base = load_base(model, task="classification", label_names=["negative", "positive"])
        tiny.toy_reviews(40).to_csv(folder / "data.csv", index=False)
        spec = DataSpec(source=str(folder / "data.csv"), target="label")
    else:
        base = load_base(resolve(str(tiny.tiny_decoder(folder / "model"))), task="causal-lm")
        (folder / "data.jsonl").write_text("\n".join(json.dumps(row) for row in tiny.toy_pairs(40)), encoding="utf-8")
        spec = DataSpec(source=str(folder / "data.jsonl"))
    dataset = prepare(spec, base.task, seed=0, folder=folder / "study")
    return base, encode(dataset, base.tokenizer, max_length=24)


if __name__ == "__main__":
    torch.set_num_threads(1)
    answer(globals())
