"""What does each measure of the CPU path gain, and how near does a training step come to the processor's products?

One LoRA trial (rank 8 on query and value, dropout 0.05) on real reviews, and one that
adapts the last two layers only. An engine is made for no measure, for each alone and
for all of them; they take their steps in turn, in one process, on the same batches, so
that whatever else the machine does hits all alike. Gains are ratios of the fastest steps
per token and the median of ratios of steps that lay side by side. The share of the matrix
ceiling is the arithmetic that a step really does (see `ceiling`) over its time, against
bare products of the same shapes, timed between the steps and each by its fastest way.

`--waiting` measures in worker processes, nicer than this one as beside a kernel, what the
OpenMP settings and the governor of threads do while one core is busy and while none is.

Refused, with exit status 1, if the losses of any two engines differ by more than 1e-4.

    python benchmarks/cpu_path.py                     # minilm: about four minutes on two idle cores
    python benchmarks/cpu_path.py --waiting           # about five minutes more
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import machine

MEASURES = ("products", "attention", "first-token", "prefix")
CONFIG = {"method": "lora", "rank": 8, "dropout": 0.05, "learning_rate": 1e-3, "steps": 100_000}
LIMIT = 1e-4
WARM_UP = 4
BUSY = "while True: pass"
Clock = Callable[[], float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, save; return the exit status."""
    parser = argparse.ArgumentParser(description="Ablation of the CPU path, interleaved in one run.")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--data", default="sentiment-domains/movies")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=60, help="per engine")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--waiting", action="store_true", help="also measure worker processes beside a busy core")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each turn of a worker process")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, processor time: beside other work")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        return child(options)
    clock: Clock = time.perf_counter
    if options.cpu_time:
        import torch

        torch.set_num_threads(1)
        clock = time.process_time
    about = {**machine.describe(), "clock": clock.__name__}
    print(machine.sentence(about))
    base, data = prepared(options)
    result: dict[str, Any] = {"machine": about, "command": machine.command(arguments), "ablation": []}
    for batch_size in options.batch_sizes:
        for top_layers in (0, 2):
            found = ablation(base, data, batch_size, top_layers, options.steps, clock)
            if found["deviation"] > LIMIT:
                print(f"refused: losses of two engines differ by {found['deviation']:.1e}, more than {LIMIT:.0e}")
                return 1
            result["ablation"].append(found)
            show(found)
    result["evaluation"] = evaluation(base, data, clock)
    print(f"evaluation of {result['evaluation']['rows']} rows, fastest of three: "
          f"{result['evaluation']['gain']:.2f} times as fast with all measures")  # fmt: skip
    if options.waiting:
        result["waiting"] = waiting(options)
    print(f"JSON: {machine.save('cpu_path', result, options.json)}")
    return 0


def prepared(options: argparse.Namespace) -> tuple[Any, Any]:
    """The base model and the encoded reviews."""
    from autoglm_nb import data, models, settings
    from autoglm_nb.protocol import DataSpec

    spec = DataSpec(source=options.data, target="label", max_rows=options.rows)
    dataset = data.prepare(spec, "classification", seed=0, folder=Path(tempfile.mkdtemp()))
    resolved = models.resolve(options.model)
    base = models.load_base(resolved, task="classification", label_names=list(dataset.label_names))
    return base, data.encode(dataset, base.tokenizer, cache=settings.cache_dir() / "encoded")


def engine_with(base: Any, data: Any, measures: str, batch_size: int, top_layers: int) -> tuple[Any, int]:
    """An engine under some measures, and the slot of its trial."""
    from autoglm_nb.training import Engine, plan_run

    os.environ["AUTOGLM_CPU_PATH"] = measures
    engine = Engine(base, data, device="cpu", precision="fp32")
    config = {**CONFIG, "batch_size": batch_size, **({"top_layers": top_layers} if top_layers else {})}
    slot = engine.admit(plan_run("trial", config, 0, data))
    engine.packer.overhead_tokens  # noqa: B018 - measured at its first use, which is not a step's time
    return engine, slot


def ablation(base: Any, data: Any, batch_size: int, top_layers: int, steps: int, clock: Clock) -> dict[str, Any]:
    """Steps of all engines in turn: gains over no measure, and shares of the matrix ceiling."""
    import torch

    from benchmarks.ceiling import counting

    paths = ("none", *(m for m in MEASURES if top_layers or m != "prefix"), "all")
    engines = {path: engine_with(base, data, path, batch_size, top_layers) for path in paths}
    arithmetic: dict[str, float] = {}
    shapes: list[list[int]] = []
    for path, (engine, slot) in engines.items():
        fill_prefix(engine, slot)
        heads = [m for h in engine._packed.heads.values() for m in h.modules()]
        with counting(heads) as operations:
            tokens = engine.step()[slot].tokens
        counted = operations.per_token(tokens)
        arithmetic[path] = counted["forward"] + counted["backward"]
        shapes = counted["shapes"] if path == "none" else shapes
    tokens = round(float(data.train.lengths.mean()) * batch_size)
    bare_products = BareProducts(shapes, tokens, clock)
    seconds: dict[str, list[float]] = {path: [] for path in paths}
    deviation = 0.0
    for step in range(steps):
        order = paths if step % 2 else paths[::-1]
        bare_products.look()
        losses = {}
        for path in order:
            engine, slot = engines[path]
            began = clock()
            result = engine.step()[slot]
            seconds[path].append((clock() - began) / result.tokens)
            losses[path] = result.loss
        gaps = [abs(x - losses["none"]) / abs(losses["none"]) for x in losses.values()]
        deviation = max(deviation, *(gap if math.isfinite(gap) else math.inf for gap in gaps))
    gflops = bare_products.gflops()
    bare = seconds["none"][WARM_UP:]
    rows = []
    for path in paths:
        mine = seconds[path][WARM_UP:]
        best = sorted(mine)[len(mine) // 10]
        rows.append(
            {
                "measures": path,
                "gain_of_fastest": sorted(bare)[len(bare) // 10] / best,
                "gain_side_by_side": statistics.median(b / m for b, m in zip(bare, mine, strict=True)),
                "tokens_per_second": 1.0 / best,
                "gflops": arithmetic[path] / best / 1e9,
                "share_of_ceiling": arithmetic[path] / best / 1e9 / gflops,
            }
        )
    return {
        "batch_size": batch_size,
        "top_layers": top_layers or None,
        "tokens_per_step": tokens,
        "ceiling": {"gflops": gflops, "dtype": "float32", "threads": torch.get_num_threads()},
        "arithmetic_gflop_per_1k_tokens": {path: a / 1e6 for path, a in arithmetic.items()},
        "rows": rows,
        "deviation": deviation,
        "chosen": engines["all"][0]._packed.describe(),
        "prefix": engines["all"][0].prefix.describe(),
    }


class BareProducts:
    """The products of a model's layers by themselves, each by its fastest way: what a step could reach at most."""

    def __init__(self, shapes: list[list[int]], tokens: int, clock: Clock) -> None:
        import torch

        from autoglm_nb.training.products import PRODUCTS

        self._clock = clock
        self._work: list[tuple[float, int, Any, list[Any]]] = []
        self._best: list[float] = []
        for out, width, count in shapes:
            x, weight = torch.randn(tokens, width), torch.randn(out, width)
            ways = []
            for make in PRODUCTS.values():
                try:
                    ways.append(make(weight, None))
                except (RuntimeError, AttributeError):
                    continue
            self._work.append((2.0 * tokens * out * width, count, x, ways))
            self._best.append(float("inf"))

    def look(self) -> None:
        """Time every way once more; between steps, so that both meet the same machine."""
        for i, (_, _, x, ways) in enumerate(self._work):
            for way in ways:
                began = self._clock()
                way(x)
                self._best[i] = min(self._best[i], self._clock() - began)

    def gflops(self) -> float:
        """Over all layers, each as often as it occurs."""
        operations = sum(each * count for each, count, *_ in self._work)
        seconds = sum(best * count for best, (_, count, *_) in zip(self._best, self._work, strict=True))
        return operations / seconds / 1e9


def fill_prefix(engine: Any, slot: int) -> None:
    """Compute the states below the lowest adapted layer, so that they are there, as for every trial but the first."""
    import numpy as np

    from autoglm_nb.training.packed import Segment
    from autoglm_nb.training.rounds import make_round

    split, run = engine.data.train, engine._slots[slot]
    for rows in np.array_split(np.arange(len(split)), max(1, len(split) // 64)):
        segment = Segment(slot, 0, len(rows))
        one = make_round(split, rows, [segment], engine.data.pad_id, engine.data.task, engine.device)
        with engine.passing(run, engine.model_of(run)[1], one):
            pass


def evaluation(base: Any, data: Any, clock: Clock) -> dict[str, Any]:
    """Seconds of one evaluation with and without the measures, in turn."""
    engines = {path: engine_with(base, data, path, 32, 0) for path in ("none", "all")}
    seconds: dict[str, list[float]] = {path: [] for path in engines}
    for _ in range(3):
        for path, (engine, slot) in engines.items():
            began = clock()
            engine.evaluate(slot)
            seconds[path].append(clock() - began)
    best = {path: min(s) for path, s in seconds.items()}
    return {"rows": len(data.validation), "seconds": best, "gain": best["none"] / best["all"]}


def show(found: dict[str, Any]) -> None:
    """One table."""
    where = f"the last {found['top_layers']} layers adapted" if found["top_layers"] else "all layers adapted"
    ceiling = found["ceiling"]
    print(
        f"\nbatch {found['batch_size']}, {found['tokens_per_step']} tokens a step, {where}; "
        f"bare products {ceiling['gflops']:.0f} GFLOP/s ({ceiling['dtype']}, {ceiling['threads']} threads)"
    )
    print(f"{'measures':<14}{'gain':>7}{'side by side':>14}{'tokens/s':>10}{'GFLOP/s':>9}{'of ceiling':>12}")
    for row in found["rows"]:
        print(
            f"{row['measures']:<14}{row['gain_of_fastest']:>7.2f}{row['gain_side_by_side']:>14.2f}"
            f"{row['tokens_per_second']:>10.0f}{row['gflops']:>9.0f}{row['share_of_ceiling']:>12.0%}"
        )
    print(f"products: {found['chosen'].get('products')}; largest deviation of a loss {found['deviation']:.1e}")


def waiting(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens per second of worker processes with and without a busy core, by how their threads wait."""
    from autoglm_nb.training.threads import worker_environment

    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_", "AUTOGLM_CPU_PATH"))}
    variants: dict[str, dict[str, str]] = {
        "library default": {},
        "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
        "short spin": worker_environment({}),
        "short spin, governor": {**worker_environment({}), "CPU_PATH_GOVERNOR": "1"},
        "one thread": {"OMP_NUM_THREADS": "1"},
    }
    command = [sys.executable, __file__, "--child", "--model", options.model, "--data", options.data]
    command += ["--rows", str(options.rows), "--seconds", str(options.seconds)]
    children = {
        name: subprocess.Popen(
            command, env={**clean, **extra}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name, extra in variants.items()
    }
    found: dict[str, Any] = {}
    try:
        for process in children.values():
            _answer(process)
        for busy in (False, True):
            speeds: dict[str, list[float]] = {name: [] for name in children}
            for _ in range(3):
                for name, process in children.items():
                    load = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
                    try:
                        speeds[name].append(json.loads(_answer(process, "go"))["tokens_per_second"])
                    finally:
                        if load is not None:
                            load.kill()
                            load.wait()
            title = "one core busy" if busy else "nothing else"
            found[title] = {name: {"best": max(s), "median": statistics.median(s)} for name, s in speeds.items()}
            reference = found[title]["library default"]["median"]
            print(f"\nworkers, {title}: tokens per second, median of three (as a multiple of the library's default)")
            for name, speed in found[title].items():
                print(f"{name:<24}{speed['median']:>8.0f}{speed['median'] / reference:>8.2f}")
    finally:
        for process in children.values():
            if process.stdin is not None:
                process.stdin.close()
            process.wait(timeout=60)
    return found


def child(options: argparse.Namespace) -> int:
    """A worker: trains for a while each time it is asked, nicer than who asks."""
    from autoglm_nb.training.threads import ThreadGovernor

    if hasattr(os, "nice"):
        os.nice(5)
    base, data = prepared(options)
    engine, slot = engine_with(base, data, "all", 16, 0)
    governor = ThreadGovernor() if os.environ.get("CPU_PATH_GOVERNOR") else None
    if governor is not None:
        governor.start()
    for _ in range(WARM_UP):
        engine.step()
    print("{}", flush=True)
    for _ in sys.stdin:
        began, tokens = time.perf_counter(), 0
        while time.perf_counter() - began < options.seconds:
            tokens += engine.step()[slot].tokens
            if governor is not None:
                governor.tick()
        print(json.dumps({"tokens_per_second": tokens / (time.perf_counter() - began)}), flush=True)
    return 0


def _answer(process: subprocess.Popen[str], question: str | None = None) -> str:
    if question is not None and process.stdin is not None:
        process.stdin.write(question + "\n")
        process.stdin.flush()
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        raise RuntimeError(f"A worker of this benchmark must answer, but ended with status {process.wait()}.")
    return line


if __name__ == "__main__":
    sys.exit(main())
