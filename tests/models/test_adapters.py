"""Adapters on disk: PEFT's layout for a process without this package, and the way back."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from autoglm_nb.errors import DiskFullError, DivergedError, ModelError
from autoglm_nb.models import (
    METHODS,
    PEFT_METHODS,
    LoadedBase,
    adapters,
    apply_method,
    load_adapter,
    method_config,
    read_card,
    save_adapter,
)
from autoglm_nb.models.apply import adapter_state, trainable_state
from tests.models.helpers import LABELS, load, logits_of, reviews, train

SETTINGS: dict[str, Any] = {
    "rank": 4,
    "adapter_width": 8,
    "prompt_length": 3,
    "top_k": 1,
    "target_modules": "all-linear",
}

# Plain PEFT: what a reader without this package would write. Prints one metric per folder.
READER = textwrap.dedent("""
    import json, math, sys
    sys.modules["autoglm_nb"] = None          # importing it would fail
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    rows = json.loads(sys.argv[1])
    for folder, base, task in json.loads(sys.argv[2]):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        kind = AutoModelForSequenceClassification if task == "classification" else AutoModelForCausalLM
        arguments = {"num_labels": 2} if task == "classification" else {}
        model = PeftModel.from_pretrained(kind.from_pretrained(base, **arguments), folder).eval()
        prompt = getattr(model.active_peft_config, "num_virtual_tokens", 0)
        loss, count = 0.0, 0
        with torch.no_grad():
            for text, label in rows:
                ids = tokenizer(text, return_tensors="pt")["input_ids"]
                logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
                if task == "classification":
                    loss += float(torch.nn.functional.cross_entropy(logits, torch.tensor([label]))); count += 1
                else:
                    logits = logits[0, prompt:-1]
                    loss += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
                    count += len(logits)
        print(json.dumps([folder, loss / count]))
""")


def metric(model: torch.nn.Module, base: LoadedBase) -> float:
    """Mean loss on held-out toy reviews, measured here."""
    total, count = 0.0, 0
    for text, label in zip(*reviews(20, seed=5), strict=True):
        logits = logits_of(model, base.tokenizer, [text])
        if base.task == "classification":
            total, count = total + float(torch.nn.functional.cross_entropy(logits, torch.tensor([label]))), count + 1
        else:
            ids = torch.tensor(base.tokenizer(text)["input_ids"][1:])
            total += float(torch.nn.functional.cross_entropy(logits[:-1], ids, reduction="sum"))
            count += len(ids)
    return total / count


def trained(base: LoadedBase, method: str, **settings: Any) -> tuple[Any, torch.nn.Module]:
    config = method_config({**SETTINGS, "method": method, **settings}, base)
    torch.manual_seed(0)
    model = apply_method(base, config)
    train(model, base)
    return config, model


@pytest.mark.slow
def test_plain_peft_in_a_process_without_this_package_reproduces_the_stored_metric(
    tiny_encoder_path: Path, tiny_decoder_path: Path, tmp_path: Path
) -> None:
    """Every PEFT method, for an encoder and a decoder, classification and language modelling."""
    stored, jobs, untrained = {}, [], {}
    cases = [
        (tiny_encoder_path, "classification"),
        (tiny_decoder_path, "classification"),
        (tiny_decoder_path, "causal-lm"),
    ]
    for number, (path, task) in enumerate(cases):
        base = load(path, task)
        untrained[task, path] = metric(base.model, base)
        for method, options in (("lora", {"use_rslora": True}), *((m, {}) for m in PEFT_METHODS)):
            config, model = trained(base, method, **options)
            folder = tmp_path / f"{number}-{method}-{len(options)}"
            save_adapter(
                folder, method=config, state=trainable_state(model), loaded=base, metrics={"loss": metric(model, base)}
            )
            jobs.append((str(folder), str(path), task))
            stored[str(folder)] = read_card(folder).metrics["loss"]
            assert abs(stored[str(folder)] - untrained[task, path]) > 0.01
    rows = list(zip(*reviews(20, seed=5), strict=True))
    done = subprocess.run(
        [sys.executable, "-c", READER, json.dumps(rows), json.dumps(jobs)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    read = dict(json.loads(line) for line in done.stdout.splitlines())
    assert read.keys() == stored.keys()
    for folder, value in stored.items():
        assert read[folder] == pytest.approx(value, rel=1e-4), folder


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_comes_back_with_the_same_answers(tiny_encoder_path: Path, tmp_path: Path, method: str) -> None:
    base = load(tiny_encoder_path)
    config, model = trained(base, method)
    save_adapter(tmp_path / "a", method=config, state=adapter_state(model, config), loaded=base)
    texts, _ = reviews(6, seed=2)
    back = load_adapter(tmp_path / "a", load(tiny_encoder_path))
    expected = logits_of(model, base.tokenizer, texts)
    torch.testing.assert_close(logits_of(back, base.tokenizer, texts), expected, rtol=1e-5, atol=1e-6)
    assert not any(p.requires_grad for p in back.parameters())


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_tensors_under_the_base_models_names_are_stored_under_pefts(
    tiny_encoder_path: Path, tmp_path: Path, method: str
) -> None:
    """Training has packed layers that know nothing of PEFT; its names and PEFT's own give one file."""
    base = load(tiny_encoder_path)
    config, model = trained(base, method)
    peft_names = adapter_state(model, config)
    packed = {name.removeprefix("base_model.model."): tensor for name, tensor in peft_names.items()}
    assert "bert.encoder.layer.0.attention.self.query.lora_A.weight" in packed
    save_adapter(tmp_path / "packed", method=config, state=packed, loaded=base)
    save_adapter(tmp_path / "memory", method=config, state=trainable_state(model), loaded=base)
    model.save_pretrained(tmp_path / "peft")  # type: ignore[operator]
    reference = load_file(tmp_path / "peft" / "adapter_model.safetensors")
    for name in ("packed", "memory"):
        stored = load_file(tmp_path / name / "adapter_model.safetensors")
        assert stored.keys() == reference.keys()
        assert all(torch.equal(stored[k], reference[k]) for k in reference)


@pytest.mark.parametrize("method", list(PEFT_METHODS))
def test_the_config_means_to_peft_what_peft_would_have_written(
    tiny_encoder_path: Path, tmp_path: Path, method: str
) -> None:
    from peft import PeftConfig

    base = load(tiny_encoder_path)
    config, model = trained(base, method, use_rslora=True, dropout=0.1)
    save_adapter(tmp_path / "ours", method=config, state=trainable_state(model), loaded=base)
    model.save_pretrained(tmp_path / "theirs")  # type: ignore[operator]
    ours, theirs = (PeftConfig.from_pretrained(str(tmp_path / who)).to_dict() for who in ("ours", "theirs"))
    meaningless = {
        "base_model_name_or_path",
        "revision",
        "auto_mapping",
        "modules_to_save",
        "target_modules",
        "peft_version",
        "prompt_tuning_init",
        "tokenizer_name_or_path",
        "encoder_num_layers",
        "encoder_dropout",
    }
    differ = {k for k in theirs if ours.get(k) != theirs[k]} - meaningless
    assert differ == set()
    if method in ("lora", "dora"):
        assert set(ours["target_modules"]) == set(theirs["target_modules"])


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_saved_adapter_names_its_base_by_id_and_revision_and_holds_no_path(
    tiny_encoder_path: Path, tmp_path: Path, method: str
) -> None:
    base = load(tiny_encoder_path)
    config, model = trained(base, method)
    save_adapter(tmp_path / "a", method=config, state=trainable_state(model), loaded=base)
    for path in (tmp_path / "a").iterdir():
        content = path.read_bytes()
        assert str(tiny_encoder_path).encode() not in content, path.name
        assert str(Path.home()).encode() + b"/" not in content, path.name
    card = read_card(tmp_path / "a")
    assert card.base["base_id"] == tiny_encoder_path.name
    assert card.base["revision"] == f"sha256:{base.resolved.checksum}"
    assert card.label_names == LABELS
    if method == "lora":
        written = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
        assert written["base_model_name_or_path"] == card.base["base_id"]
        assert written["revision"] == card.base["revision"]


def test_nothing_is_pickled(tiny_encoder_path: Path, tmp_path: Path) -> None:
    base = load(tiny_encoder_path)
    config, model = trained(base, "top-k")
    save_adapter(tmp_path / "a", method=config, state=trainable_state(model), loaded=base)
    assert {p.suffix for p in (tmp_path / "a").iterdir()} <= {".json", ".safetensors", ".txt", ".jinja"}


def test_metrics_and_length_reach_the_card_from_extra_too(tiny_encoder_path: Path, tmp_path: Path) -> None:
    base = load(tiny_encoder_path)
    config, model = trained(base, "head")
    extra = {"max_length": 77, "metrics": {"accuracy": 0.9}, "run": "trial-0003"}
    save_adapter(tmp_path / "a", method=config, state=trainable_state(model), loaded=base, extra=extra)
    card = read_card(tmp_path / "a")
    assert (card.max_length, card.metrics, card.extra) == (77, {"accuracy": 0.9}, {"run": "trial-0003"})
    assert card.versions["torch"] == torch.__version__.split("+")[0] or card.versions["torch"] == torch.__version__


def test_a_missing_or_foreign_tensor_is_refused_before_anything_is_written(
    tiny_encoder_path: Path, tmp_path: Path
) -> None:
    base = load(tiny_encoder_path)
    config, model = trained(base, "lora")
    state = trainable_state(model)
    first = next(iter(state))
    with pytest.raises(ModelError, match=r"is missing"):
        save_adapter(tmp_path / "a", method=config, state={k: v for k, v in state.items() if k != first}, loaded=base)
    with pytest.raises(ModelError, match=r"does not belong"):
        save_adapter(tmp_path / "a", method=config, state={**state, "odd.weight": torch.ones(1)}, loaded=base)
    with pytest.raises(ModelError, match=r"'base_model.model.classifier.' is missing"):
        heads = {k: v for k, v in state.items() if "classifier" not in k}
        save_adapter(tmp_path / "a", method=config, state=heads, loaded=base)
    with pytest.raises(DivergedError, match=r"must be finite"):
        save_adapter(tmp_path / "a", method=config, state={**state, first: state[first] * float("nan")}, loaded=base)
    assert list(tmp_path.glob("*")) == [tmp_path / "cache"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_leaves_the_older_adapter_whole(
    error: Exception, tiny_encoder_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load(tiny_encoder_path)
    config, model = trained(base, "head")
    home = tmp_path / "run"
    save_adapter(home / "a", method=config, state=trainable_state(model), loaded=base, metrics={"loss": 1.0})

    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(adapters, "_dump", full)
    with pytest.raises(DiskFullError, match=r"disk is full"):
        save_adapter(home / "a", method=config, state=trainable_state(model), loaded=base, metrics={"loss": 2.0})
    monkeypatch.undo()
    assert read_card(home / "a").metrics == {"loss": 1.0}
    assert [p.name for p in home.iterdir()] == ["a"]


def test_saving_again_replaces_the_folder(tiny_encoder_path: Path, tmp_path: Path) -> None:
    base = load(tiny_encoder_path)
    for method in ("lora", "head"):
        config, model = trained(base, method)
        save_adapter(tmp_path / "run" / "a", method=config, state=trainable_state(model), loaded=base)
    assert not (tmp_path / "run" / "a" / "adapter_config.json").exists()
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["a"]


def test_a_card_of_a_newer_version_or_none_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"must be a folder with autoglm\.json"):
        read_card(tmp_path)
    (tmp_path / "autoglm.json").write_text('{"version": 2}')
    with pytest.raises(ModelError, match=r"version 2 .* reads up to 1. Upgrade"):
        read_card(tmp_path)
    (tmp_path / "autoglm.json").write_text('{"version": 1, "meth')
    with pytest.raises(ModelError, match=r"none that can be read"):
        read_card(tmp_path)
