"""The two sides of a comparison, each in a child process of its own, asked for the same things.

    python -m benchmarks.sides engine | peer     (started by `children.Child`)

Both are set up (everything loaded, a few steps for warming up) and score a trial when
it is trained. `engine` trains all its trials together: `admit`, then `advance` to a
share of the work, as often as the parent likes, so that slices of it can alternate
with the peer's trials. `peer` trains one trial a request.

The engine computes with the threads of a study's worker: the caller sets the environment
(`worker_environment`), and a `ThreadGovernor` moves their number with what is free, up to
`AUTOGLM_THREADS` where that is set.

Training time is the time inside the training loop: for the engine from the call of
`step` to its return, for the peer that of `Trainer.train`. Set-up and evaluation are
timed apart.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import ablation, children

if TYPE_CHECKING:
    from transformers import Trainer

WARM_UP_STEPS = 4


class EngineSide:
    """This package: one engine, all trials in it."""

    def __init__(self) -> None:
        self._runs: dict[int, _Run] = {}
        self._seconds = 0.0

    def setup(
        self,
        model: str,
        files: Mapping[str, Any],
        folder: str,
        warm_up: Mapping[str, Any],
        task: str,
        capacity: int = 16,
        precision: str = "auto",
        without: str = "",
    ) -> dict[str, Any]:
        """Load the base and the rows; train a few steps that count for nothing.

        Args:
            without: a measure of `ablation.MEASURES` to do without.

        Returns:
            seconds, and the training and evaluation rates seen (rows a second).
        """
        began = time.perf_counter()
        changes = ablation.apply(without)
        from autoglm_nb import data, models, settings
        from autoglm_nb.protocol import DataSpec
        from autoglm_nb.training import Engine
        from autoglm_nb.training.threads import ThreadGovernor

        self._governor = ThreadGovernor(changes.get("threads", settings.torch_threads()))
        self._governor.start()
        spec = DataSpec(
            source=files["train"],
            text=("text",),
            target="label" if task == "classification" else None,
            validation=files["validation"],
            test=files["test"],
        )
        dataset = data.prepare(spec, task, seed=0, folder=Path(folder))
        base = models.load_base(models.resolve(model), task=task, label_names=list(dataset.label_names))
        self.data = data.encode(dataset, base.tokenizer)
        self.capacity = int(changes.get("capacity", capacity))
        self.engine = Engine(base, self.data, capacity=self.capacity, precision=precision)
        self._task = task
        setup = time.perf_counter() - began
        self.admit([dict(warm_up)], seed=0)
        began, rows = time.perf_counter(), 0
        for _ in range(WARM_UP_STEPS):
            (slot,) = self._runs
            rows += self._runs[slot].plan.batch_size
            self.engine.step()
        trained = time.perf_counter() - began
        began = time.perf_counter()
        scored = min(200, len(self.data.validation))
        self.engine.evaluate(slot, "validation", limit_rows=scored)
        evaluated = time.perf_counter() - began
        self.engine.evict(slot)
        self._runs.clear()
        return {
            "seconds": setup,
            "rows": len(self.data.train),
            "train_rate": rows / trained,
            "evaluation_rate": scored / evaluated,
            "precision": self.engine.precision,
        }

    def admit(self, configs: list[dict[str, Any]], seed: int | list[int]) -> dict[str, Any]:
        """Plan these trials and give as many as there is room for a slot; the others follow as slots get free.

        Args:
            seed: of all of them, or of each.
        """
        from autoglm_nb.training import plan_run

        seeds = seed if isinstance(seed, list) else [seed] * len(configs)
        plans = [
            plan_run(f"trial-{i:04d}", config, own, self.data, rungs=1)
            for i, (config, own) in enumerate(zip(configs, seeds, strict=True))
        ]
        self._waiting = [(i, plan) for i, plan in enumerate(plans)]
        self._total = sum(plan.total_steps * plan.batch_size for plan in plans)
        self._done = 0
        self._finished: list[dict[str, Any]] = []
        self._seconds = self._evaluation = 0.0
        self._calls = self._tokens = 0
        children.reset_peak_memory()
        began = time.perf_counter()
        self._fill()
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "memory_gb": children.proportional_memory_gb(os.getpid())}

    def advance(self, share: float, evaluate: bool = True) -> dict[str, Any]:
        """Train until this share (0 to 1) of all rows is done.

        Returns:
            seconds of training since `admit`, and the trials that are finished so far.
        """
        self._governor.start()  # what others did since the last slice says nothing of this one
        while self._runs and (share >= 1.0 or self._done < share * self._total):
            self._governor.tick()
            began = time.perf_counter()
            results = self.engine.step()
            self._seconds += time.perf_counter() - began
            self._calls += 1
            for slot, result in results.items():
                run = self._runs[slot]
                run.see(result)
                self._done += run.plan.batch_size
                self._tokens += result.tokens
            for slot in [slot for slot in results if self.engine.finished(slot)]:
                self._finish(slot, evaluate)
            self._fill()
        return {
            "seconds": self._seconds,
            "evaluation_seconds": self._evaluation,
            "trials": sorted(self._finished, key=lambda trial: trial["trial"]),
        }

    def totals(self) -> dict[str, Any]:
        """What the training since `admit` came to as a whole."""
        return {
            "seconds": self._seconds,
            "evaluation_seconds": self._evaluation,
            "tokens": self._tokens,
            "tokens_per_step": self._tokens / max(1, self._calls),
            "memory_gb": children.peak_memory_gb(),
            "packing": self.engine.packing(),
            "threads": self._governor.threads,
            "grad_norms": [run.result()["grad_norm"] for run in self._runs.values() if run.norms]
            + [trial["grad_norm"] for trial in self._finished],
        }

    def arithmetic(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `ceiling.Operations.per_token`. There must be a free slot and no trial under way."""
        from autoglm_nb.training import plan_run
        from benchmarks.ceiling import counting

        slot = self.engine.admit(plan_run("arithmetic", config, 0, self.data, rungs=1))
        with counting() as operations:
            tokens = self.engine.step()[slot].tokens
        self.engine.evict(slot)
        return operations.per_token(tokens)

    def ceiling(self, shapes: list[list[int]], tokens: int) -> dict[str, Any]:
        """See `ceiling.matrix_ceiling`; here, for this side has the same threads as the training had."""
        from benchmarks.ceiling import matrix_ceiling

        return matrix_ceiling(shapes, tokens)

    def _fill(self) -> None:
        while self._waiting and len(self._runs) < self.capacity:
            number, plan = self._waiting.pop(0)
            self._runs[self.engine.admit(plan)] = _Run(number, plan)

    def _finish(self, slot: int, evaluate: bool) -> None:
        run = self._runs.pop(slot)
        began = time.perf_counter()
        metrics = self.engine.evaluate(slot, "validation") if evaluate else {}
        self._evaluation += time.perf_counter() - began
        self._finished.append(
            {
                **run.result(),
                "parameters": self.engine.adapter_bytes(slot) // 4,
                "accuracy": metrics.get("accuracy", math.nan),
                "loss": metrics.get("loss", math.nan),
                "rows_scored": metrics.get("rows", 0),
            }
        )
        self.engine.evict(slot)


class _Run:
    """What a trial of the engine has come to."""

    def __init__(self, number: int, plan: Any) -> None:
        self.number, self.plan = number, plan
        self.seconds, self.tokens, self.norms = 0.0, 0, list[float]()
        self.failed = False

    def see(self, step: Any) -> None:
        self.seconds += step.seconds
        self.tokens += step.tokens
        self.norms.append(step.grad_norm)
        self.failed = self.failed or step.failure is not None

    def result(self) -> dict[str, Any]:
        return {
            "trial": self.number,
            "seconds": self.seconds,
            "tokens": self.tokens,
            "steps": len(self.norms),
            "grad_norm": statistics.median(self.norms),
            "failed": self.failed,
        }


class PeerSide:
    """PEFT and transformers' Trainer: one trial after the other."""

    def setup(
        self, model: str, files: Mapping[str, Any], folder: str, warm_up: Mapping[str, Any], task: str
    ) -> dict[str, Any]:
        """Import, tokenise, train a few steps that count for nothing."""
        began = time.perf_counter()
        from benchmarks.peers import peft_trainer

        self._peer, self._model, self._output = peft_trainer, model, Path(folder) / "trainer"
        splits = {name: files[name] for name in ("train", "validation", "test")}
        self._data = peft_trainer.read_data(
            model, splits, tuple(files["labels"]), task=task, cache=Path(folder) / "cache"
        )
        setup = time.perf_counter() - began
        trainer = self._trainer(warm_up, {}, seed=0, max_steps=WARM_UP_STEPS)
        began = time.perf_counter()
        trainer.train()
        trained = time.perf_counter() - began
        scored = self._data.validation.select(range(min(200, len(self._data.validation))))
        began = time.perf_counter()
        peft_trainer.evaluate(trainer, scored)
        evaluated = time.perf_counter() - began
        peft_trainer.release(trainer)
        return {
            "seconds": setup,
            "rows": len(self._data.train),
            "train_rate": WARM_UP_STEPS * warm_up["batch_size"] / trained,
            "evaluation_rate": len(scored) / evaluated,
        }

    def train(
        self,
        config: Mapping[str, Any],
        recipe: Mapping[str, bool],
        seed: int,
        evaluate: bool = True,
        max_steps: int = -1,
    ) -> dict[str, Any]:
        """One trial from its model to its score."""
        peer = self._peer
        children.reset_peak_memory()
        began = time.perf_counter()
        trainer = self._trainer(config, recipe, seed=seed, max_steps=max_steps)
        built = time.perf_counter()
        trainer.train()
        trained = time.perf_counter()
        memory = children.peak_memory_gb()
        found = {"accuracy": math.nan, "loss": math.nan}
        if evaluate and self._data.task == "classification":
            found |= peer.evaluate(trainer, self._data.validation)
        elif evaluate:
            found["loss"] = peer.language_model_loss(trainer, self._data.validation)
        logged = trainer.state.log_history
        answer = {
            "setup_seconds": built - began,
            "seconds": trained - built,
            "evaluation_seconds": time.perf_counter() - trained,
            "tokens": sum(self._data.train["length"]) * int(config["epochs"]),
            "steps": trainer.state.global_step,
            "grad_norm": statistics.median(float(entry["grad_norm"]) for entry in logged if "grad_norm" in entry),
            "parameters": trainer.model.num_parameters(only_trainable=True),
            "memory_gb": memory,
            "accuracy": found["accuracy"],
            "loss": found["loss"],
            "rows_scored": len(self._data.validation) if evaluate else 0,
        }
        peer.release(trainer)
        return answer

    def arithmetic(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `ceiling.Operations.per_token`."""
        from benchmarks.ceiling import counting

        trainer = self._trainer(config, {}, seed=0)
        batch = next(iter(trainer.get_train_dataloader()))
        adapters = [module for name, module in trainer.model.named_modules() if "lora_" in name]
        with counting(skip=adapters) as operations:
            trainer.model(**batch)
        self._peer.release(trainer)
        return operations.per_token(int(batch["attention_mask"].sum()))

    def _trainer(
        self, config: Mapping[str, Any], recipe: Mapping[str, bool], *, seed: int, max_steps: int = -1
    ) -> Trainer:
        made = self._peer.Recipe(**recipe)
        return self._peer.make_trainer(
            self._model, self._data, config, made, seed=seed, output=self._output, max_steps=max_steps
        )


def main() -> int:
    """The child's entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=("engine", "peer"))
    parser.add_argument("--pipes", required=True)
    options = parser.parse_args()
    side: EngineSide | PeerSide = EngineSide() if options.side == "engine" else PeerSide()
    names = [name for name in dir(type(side)) if not name.startswith("_")]
    children.serve(options.pipes, {name: getattr(side, name) for name in names})
    return 0


if __name__ == "__main__":
    sys.exit(main())
