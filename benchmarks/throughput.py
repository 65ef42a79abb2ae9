"""The same list of LoRA configurations, trained by this package and by PEFT with transformers' Trainer: how fast?

Both sides train every configuration for one epoch on the same rows and score it on
the same validation rows, each side in a child process of its own. The package trains
all of them in one engine; the peer trains one after the other, as it must. The work
alternates in slices: a configuration by each variant of the peer, then as large a
share of the packed training, so that a machine growing slower or faster meets all
alike. Compared is the time inside the training loops; set-up and evaluation stand
beside it.

A speed is printed only after the work was found equal: same rows and tokens, same
steps and trainable parameters, all finite, and the accuracies within the bounds of
`fidelity.py`. Otherwise it is refused and the exit status is 1.

    python benchmarks/throughput.py --subset 4 --rows 500      # minutes
    python benchmarks/throughput.py                            # 16 configurations, 2,000 rows, two seeds
    python benchmarks/throughput.py --ablation --subset 4      # one measure off at a time
    python benchmarks/throughput.py --busy --subset 4          # with one core kept busy
    python benchmarks/throughput.py --full                     # all of it, both models; one JSON file
    python benchmarks/throughput.py --full --keep raw.json     # the same, in as many sittings as it takes
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import ablation, comparison, machine, workload
from benchmarks.children import ChildFailed, side_child
from benchmarks.comparison import RECIPES, TWIN, Part
from benchmarks.kept import Kept

ROWS = {"encoder": 2000, "decoder": 500}
VALIDATION_ROWS = 4000
ABLATION_CONFIGURATIONS = 6
BUSY_CONFIGURATIONS = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, check, print and store; 0 if no speed had to be refused."""
    options = _options(argv)
    about = machine.describe()
    print(machine.sentence(about), flush=True)
    result: dict[str, Any] = {"machine": about, "command": machine.command(argv), "parts": []}
    kept = Kept(options.keep, about) if options.keep else None
    with tempfile.TemporaryDirectory(prefix="autoglm-bench-") as folder:
        parts = _parts(options, Path(folder))
        try:
            if len(parts) > 1:
                seconds = _estimates(parts, Path(folder))
                print(f"All parts take about {comparison.duration(sum(seconds))}.", flush=True)
            for number, part in enumerate(parts):
                print(f"\nPart {number + 1} of {len(parts)}: {_title(part)}", flush=True)
                place = Path(folder) / f"part-{number}"
                if part.without:
                    result["parts"].append(ablation.measure(part, place, _say))
                    print(_ablation_table(result["parts"][-1]), flush=True)
                else:
                    result["parts"].append(comparison.weigh(part, comparison.measure(part, place, _say, kept)))
                    print(_table(result["parts"][-1]), flush=True)
        except ChildFailed as failure:
            result["failed"] = str(failure).splitlines()[0].replace(str(folder), "...")
            print(f"refused: {failure}")
    name = "throughput" if options.full else "throughput-part"
    print(f"JSON: {machine.save(name, result, options.json)}")
    return 1 if "failed" in result or any(part["refused"] for part in result["parts"]) else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--data", default="sentiment-domains/movies")
    parser.add_argument("--task", choices=("classification", "causal-lm"), default="classification")
    parser.add_argument("--rows", type=int, help="training rows (2,000; 500 for a decoder)")
    parser.add_argument("--validation-rows", type=int, default=VALIDATION_ROWS)
    parser.add_argument("--subset", type=int, metavar="K", help="the first K configurations")
    parser.add_argument("--seeds", type=int, default=2, help="at least 2: the peer is its own yardstick")
    parser.add_argument("--variants", nargs="+", choices=list(RECIPES), help="of the peer (default: all that apply)")
    parser.add_argument("--precision", default="auto", help="the engine's")
    parser.add_argument("--busy", action="store_true", help="keep one core busy meanwhile")
    parser.add_argument("--ablation", action="store_true", help="the engine without one measure at a time")
    parser.add_argument("--measures", nargs="+", choices=list(ablation.MEASURES), help="for --ablation")
    parser.add_argument("--full", action="store_true", help="everything, for both models")
    parser.add_argument("--tiny", action="store_true", help="a toy model and toy rows: checks the benchmark only")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="store each finished seed there, and go on from it")
    parser.add_argument("--json", type=Path, help="where to write the result (default: benchmarks/results/)")
    options = parser.parse_args(argv)
    if options.seeds < 2:
        parser.error("--seeds must be at least 2, for the peer's own spread is what differences are judged by.")
    return options


def _parts(options: argparse.Namespace, folder: Path) -> list[Part]:
    """What is to be measured, in order."""
    if options.tiny:
        _make_tiny(options, folder)
    part = _part(options, options.model, options.task)
    if options.ablation:
        names = options.measures or ablation.applicable(part.task)
        return [replace(part, without=tuple(names))]
    if not options.full:
        return [part]
    decoder = _part(options, "smollm2-135m", "classification")
    few = replace(part, count=BUSY_CONFIGURATIONS, complete=False)
    return [
        part,
        decoder,
        _part(options, "smollm2-135m", "causal-lm"),
        replace(few, busy=True, recipes=(TWIN,)),
        replace(few, count=ABLATION_CONFIGURATIONS, without=tuple(ablation.applicable(part.task))),
    ]


def _part(options: argparse.Namespace, model: str, task: str) -> Part:
    _, family = workload.model_folder(model)
    everything = len(workload.configurations(family=family))
    count = options.subset or everything
    recipes = options.variants or _applying(family)
    return Part(
        model=model,
        source=options.data,
        family=family,
        task=task,
        count=count,
        complete=count == everything,
        rows=options.rows or ROWS[family],
        validation_rows=options.validation_rows if task == "classification" else min(500, options.validation_rows),
        seeds=options.seeds,
        recipes=tuple(recipes),
        precision=options.precision,
        busy=options.busy,
    )


def _applying(family: str) -> list[str]:
    """The variants worth their time: a decoder ships without dropout, bf16 pays where it is native."""
    from benchmarks.ceiling import native_bf16

    return [
        name
        for name, recipe in RECIPES.items()
        if (native_bf16() or not recipe.get("bf16")) and (family == "encoder" or not recipe.get("base_dropout"))
    ]


def _estimates(parts: Sequence[Part], folder: Path) -> list[float]:
    """Seconds of each part, from a short warm-up of both sides for each model and task."""
    rates: dict[tuple[str, str], Mapping[str, Any]] = {}
    for part in parts:
        key = (part.model, part.task)
        if key not in rates:
            place = folder / f"estimate-{len(rates)}"
            given, model = comparison.prepared(part, place)
            with side_child("engine", place / "engine.log") as ours:
                found = {"ours": ours.ask("setup", model=part.model, **given)}
            with side_child("peer", place / "peer.log") as peer:
                rates[key] = {**found, "peer": peer.ask("setup", model=model, **given)}
    return [comparison.estimate(part, rates[part.model, part.task]) for part in parts]


def _title(part: Part) -> str:
    what = "without one measure at a time" if part.without else "against PEFT + Trainer"
    return (
        f"{Path(part.model).name} ({part.task}), {part.count} configurations, {part.rows} rows each, one epoch, "
        f"{part.seeds} seeds, {what}{', one core busy' if part.busy else ''}"
    )


def _table(result: Mapping[str, Any]) -> str:
    """One comparison as text; speeds where the checks allow them."""
    key = "accuracy" if "accuracy" in result["ours"] else "loss"
    lines = [
        f"{'':<34}{'samples/s':>10} {'ratio (95 %)':>20} {'tokens/step':>12} {'of ceiling':>11} {'memory':>9} "
        f"{'grad norm':>10} {key:>9} {'set-up':>8} {'evaluation':>11}"
    ]
    sides = {f"this package ({result['ours']['precision']})": result["ours"]}
    sides |= {f"PEFT + Trainer, {name}": line for name, line in result["peer"].items()}
    for name, line in sides.items():
        speed = line.get("samples_per_second")
        ratio = ""
        if "ratio" in line:
            low, high = line["ratio_interval"] or (float("nan"),) * 2
            ratio = f"{line['ratio']:.2f} ({low:.2f}-{high:.2f})" if line["ratio_interval"] else f"{line['ratio']:.2f}"
        share = f"{line['share_of_ceiling']:.0%}" if speed else ""
        lines.append(
            f"{name:<34}{f'{speed:.1f}' if speed else 'refused':>10} {ratio:>20} {line['tokens_per_step']:>12.0f} "
            f"{share:>11} {line['memory_gb']:>5.2f} GiB {line['grad_norm']:>10.3g} {line[key]:>9.4f} "
            f"{line['setup_seconds']:>6.1f} s {line['evaluation_seconds']:>9.1f} s"
        )
    lines.append(f"ratio: the peer's training time over this package's, same trials; compared: {result['compared']}")
    ceiling, operations = result["ceiling"], result["operations_per_token"]
    mine, theirs = (
        f"{operations[side]['forward'] / 1e6:.1f} + {operations[side]['backward'] / 1e6:.1f}"
        for side in ("ours", "peer")
    )
    lines.append(
        f"ceiling: {ceiling['gflops']:.0f} GFLOP/s in {ceiling['dtype']} with {ceiling['tokens']} tokens at the "
        f"model's shapes; MFLOP a token, forward + backward: this package {mine}, the peer {theirs}"
    )
    packing = result["ours"]["packing"]
    if packing.get("passes_per_step"):
        lines.append(
            f"packing: {packing['passes_per_step']} passes a step, {packing['occupancy']:.0%} of their tokens real; "
            f"seconds a step predicted {packing['predicted']['seconds_per_step']:.3f}, measured "
            f"{packing['measured']['seconds_per_step']:.3f}"
        )
    for name, check in result["checks"].items():
        note = " (reduced run: a coarse check)" if check["reduced"] else ""
        lines.append(f"check against {name}: {'passed' if check['passed'] else 'FAILED'}. {check['because']}{note}")
    lines += [f"refused: {sentence}" for sentence in result["refused"]]
    return "\n".join(lines)


def _ablation_table(result: Mapping[str, Any]) -> str:
    lines = [f"{'measure':<20} {'gain':>7}  {'without it':<46} {'quality':>8} {'without':>8}"]
    for line in result["measures"]:
        gain = f"{line['gain']:.2f}x" if "gain" in line else "refused"
        lines.append(
            f"{line['measure']:<20} {gain:>7}  {line['without']:<46} {line['quality']:>8.4f} "
            f"{line['quality_without']:>8.4f}"
        )
    return "\n".join([*lines, *(f"refused: {sentence}" for sentence in result["refused"])])


def _make_tiny(options: argparse.Namespace, folder: Path) -> None:
    from tests import tiny

    make = tiny.tiny_decoder if options.task == "causal-lm" else tiny.tiny_encoder
    options.model = str(make(folder / "tiny-model"))
    options.data = str(folder / "reviews.csv")
    tiny.toy_reviews(1200).to_csv(options.data, index=False)
    options.rows, options.validation_rows = options.rows or 200, min(options.validation_rows, 300)


def _say(sentence: str) -> None:
    print(f"  {sentence}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
