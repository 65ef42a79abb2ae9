"""How much memory do K trials take: packed in one engine, in K engines, in K processes of the peer?

Each arrangement really runs: its processes are started, set up and given K trials
(MiniLM, LoRA ranks 4 to 32, batch 16), and while all of them train, the memory of
every process is read several times a second, each shared page (libraries, weights
mapped from the same file) divided among the processes that share it. Reported is the
sum of each process's highest reading. Arrangements that would not fit into the free
memory, or that were not asked for, are predicted by a straight line through the
measured ones and marked so. Beside the packed figure stands what the engine itself
predicts: memory after its trials were admitted, plus its prediction for one pass.

A figure is refused, and the exit status is 1, if a trial did not train (no step, or a
gradient that is zero or not finite), or if a process could not be read.

    python benchmarks/memory.py                     # K = 1, 2, 4, 8, 16, 32 as far as memory allows
    python benchmarks/memory.py --measured 1 2 4
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import comparison, machine, workload
from benchmarks.children import ChildFailed, proportional_memory_gb, side_child

COUNTS = (1, 2, 4, 8, 16, 32)
ARRANGEMENTS = {
    "packed": "K trials in one engine",
    "engines": "K engines, a process each",
    "peers": "K PEFT + Trainer processes",
}
BATCH = 16
STEPS = 6
ROWS = 400
SHARE_OF_FREE = 0.75
SECONDS_OF_A_PROCESS = 25.0


class Readings(threading.Thread):
    """The highest memory reading of each process while it runs."""

    def __init__(self, pids: Sequence[int]) -> None:
        super().__init__(daemon=True)
        self.highest = dict.fromkeys(pids, 0.0)
        self._ended = threading.Event()

    def run(self) -> None:
        """Read all processes, again and again, and once more at the end."""
        ended = False
        while not ended:
            ended = self._ended.wait(0.1)
            for pid in self.highest:
                self.highest[pid] = max(self.highest[pid], proportional_memory_gb(pid))

    def __enter__(self) -> Readings:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, predict, print and store; 0 if nothing was refused."""
    options = _options(argv)
    about = machine.describe()
    print(machine.sentence(about), flush=True)
    result: dict[str, Any] = {"machine": about, "command": machine.command(argv), "rows": [], "refused": []}
    with tempfile.TemporaryDirectory(prefix="autoglm-bench-") as name:
        folder = Path(name)
        if options.tiny:
            _make_tiny(options, folder)
        given, model = _inputs(options, folder)
        result["model"] = Path(options.model).name
        processes = sum(1 if what == "packed" else k for what in options.arrangements for k in options.measured)
        print(f"At most about {comparison.duration(SECONDS_OF_A_PROCESS * processes)}.", flush=True)
        for what in options.arrangements:
            for count in options.measured:
                if not _fits(result["rows"], what, count):
                    print(f"  {what}, {count}: would not fit into the free memory", flush=True)
                    continue
                try:
                    row = measure(what, count, given, options.model if what != "peers" else model, folder)
                except ChildFailed as failure:
                    result["refused"].append(
                        f"{what}, {count} trials: {str(failure).splitlines()[0]}".replace(name, "...")
                    )
                    break
                faults = row.pop("faults")
                result["refused"] += faults
                if not faults:
                    result["rows"].append(row)
                    print(f"  {what}, {count}: {row['gb']:.2f} GiB", flush=True)
    result["rows"] += predicted(result["rows"], options.counts)
    print(table(result["rows"], options.counts))
    for sentence in result["refused"]:
        print(f"refused: {sentence}")
    print(f"JSON: {machine.save('memory', result, options.json)}")
    return 1 if result["refused"] else 0


def measure(what: str, count: int, given: Mapping[str, Any], model: str, folder: Path) -> dict[str, Any]:
    """Run `count` trials in one arrangement and read the memory of its processes.

    Returns:
        arrangement, trials, gb, the engine's own prediction where there is one, and `faults`.

    Raises:
        ChildFailed: a process could not do its part.
    """
    side = "peer" if what == "peers" else "engine"
    capacity = {"capacity": count if what == "packed" else 1} if side == "engine" else {}
    configs = _configs(count)
    groups = [configs] if what == "packed" else [[config] for config in configs]
    with ExitStack() as stack:
        children = []
        for number in range(len(groups)):
            place = folder / f"{what}-{count}-{number}"
            place.mkdir()
            child = stack.enter_context(side_child(side, place / "log"))
            child.send("setup", model=model, **{**given, **capacity, "folder": str(place)})
            children.append(child)
        for child in children:
            child.receive()
        with Readings([child.pid for child in children]) as readings:
            for child, group in zip(children, groups, strict=True):
                if side == "engine":
                    child.send("admit", configs=group, seed=0)
                    child.send("advance", share=STEPS * BATCH / ROWS, evaluate=False)
                    child.send("totals")
                else:
                    child.send("train", config=group[0], recipe={}, seed=0, evaluate=False, max_steps=STEPS)
            answers = [[child.receive() for _ in range(3 if side == "engine" else 1)] for child in children]
    faults = [] if all(readings.highest.values()) else ["a process could not be read"]
    found: dict[str, Any] = {"arrangement": what, "trials": count, "gb": round(sum(readings.highest.values()), 4)}
    if side == "engine":
        norms = [norm for admitted, advanced, totals in answers for norm in totals["grad_norms"]]
        if what == "packed":
            before, totals = answers[0][0]["memory_gb"], answers[0][2]
            one_pass = ((totals["packing"] or {}).get("predicted") or {}).get("pass_memory_gb")
            found["engine_predicted_gb"] = None if one_pass is None else round(before + one_pass, 4)
            found["passes_per_step"] = (totals["packing"] or {}).get("passes_per_step")
    else:
        norms = [answer[0]["grad_norm"] for answer in answers]
    if len(norms) != count or not all(math.isfinite(norm) and norm > 0 for norm in norms):
        faults.append(f"{len(norms)} trials trained, with gradient norms {norms}")
    return {**found, "measured": True, "faults": [f"{what}, {count} trials: {fault}" for fault in faults]}


def predicted(rows: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> list[dict[str, Any]]:
    """Rows for the counts that were not measured, from a least-squares line through those that were."""
    made = []
    for what in ARRANGEMENTS:
        line = _line(rows, what)
        known = {row["trials"] for row in rows if row["arrangement"] == what}
        for count in counts:
            if line is not None and count not in known:
                made.append(
                    {
                        "arrangement": what,
                        "trials": count,
                        "gb": round(line[0] + line[1] * count, 4),
                        "measured": False,
                    }
                )
    return made


def table(rows: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> str:
    """GiB by arrangement and number of trials; predicted figures have a tilde."""
    found = {(row["arrangement"], row["trials"]): row for row in rows}
    lines = [f"{'GiB for K trials':<30}" + "".join(f"{count:>9}" for count in counts)]

    def cell(row: Mapping[str, Any] | None, key: str = "gb") -> str:
        if row is None or row.get(key) is None:
            return f"{'-':>9}"
        return f"{'' if row['measured'] else '~'}{row[key]:.2f}".rjust(9)

    for what, words in ARRANGEMENTS.items():
        lines.append(f"{words:<30}" + "".join(cell(found.get((what, count))) for count in counts))
        if what == "packed":
            own = "".join(cell(found.get((what, count)), "engine_predicted_gb") for count in counts)
            lines.append(f"{'  predicted by the engine':<30}{own}")
    for what in ("engines", "peers"):
        ratios = []
        for count in counts:
            one, many = found.get(("packed", count)), found.get((what, count))
            sure = one is not None and many is not None and one["measured"] and many["measured"]
            ratios.append(
                f"{'' if sure else '~'}{many['gb'] / one['gb']:.1f}x".rjust(9) if one and many else f"{'-':>9}"
            )
        lines.append(f"{what + ' over packed':<30}" + "".join(ratios))
    lines.append("~ not measured: from a straight line through the measured figures of its row")
    return "\n".join(lines)


def _line(rows: Sequence[Mapping[str, Any]], what: str) -> tuple[float, float] | None:
    """Intercept and slope over the measured rows of an arrangement, never falling; None for fewer than two."""
    points = [(row["trials"], row["gb"]) for row in rows if row["arrangement"] == what and row["measured"]]
    if len(points) < 2:
        return None
    middle = sum(x for x, _ in points) / len(points)
    height = sum(y for _, y in points) / len(points)
    slope = sum((x - middle) * (y - height) for x, y in points) / sum((x - middle) ** 2 for x, _ in points)
    slope = max(0.0, slope)
    return height - slope * middle, slope


def _fits(rows: Sequence[Mapping[str, Any]], what: str, count: int) -> bool:
    """Whether an arrangement is expected to leave a quarter of the free memory free."""
    import psutil

    line = _line(rows, what)
    single = max((row["gb"] / row["trials"] for row in rows if row["arrangement"] == what), default=1.0)
    expected = line[0] + line[1] * count if line else single * count
    return bool(expected < SHARE_OF_FREE * psutil.virtual_memory().available / 2**30)


def _configs(count: int) -> list[dict[str, Any]]:
    """The configurations of the throughput benchmark in turn, all with the same batch size."""
    known = workload.configurations()
    return [{**known[i % len(known)], "batch_size": BATCH} for i in range(count)]


def _inputs(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], str]:
    files = workload.write_files(options.data, folder / "rows", rows=ROWS, validation_rows=100, test_rows=50)
    given = {"files": files.to_json(), "warm_up": _configs(1)[0], "task": "classification"}
    return given, workload.model_folder(options.model)[0]


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--data", default="sentiment-domains/movies")
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS), help="K in the table")
    parser.add_argument("--measured", type=int, nargs="+", help="K to measure (default: all that fit)")
    parser.add_argument("--arrangements", nargs="+", choices=list(ARRANGEMENTS), default=list(ARRANGEMENTS))
    parser.add_argument("--tiny", action="store_true", help="a toy model and toy rows: checks the benchmark only")
    parser.add_argument("--json", type=Path, help="where to write the result (default: benchmarks/results/)")
    options = parser.parse_args(argv)
    options.measured = sorted(options.measured or options.counts)
    return options


def _make_tiny(options: argparse.Namespace, folder: Path) -> None:
    from tests import tiny

    options.model = str(tiny.tiny_encoder(folder / "tiny-encoder"))
    options.data = str(folder / "reviews.csv")
    tiny.toy_reviews(700).to_csv(options.data, index=False)


if __name__ == "__main__":
    sys.exit(main())
