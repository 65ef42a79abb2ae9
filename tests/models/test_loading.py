"""Loading a base: labels, dropout, freezing, types, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from autoglm_nb.errors import ModelError
from autoglm_nb.models import load_base, resolve
from tests.models.helpers import load


def test_label_names_stand_in_the_models_config(tiny_encoder_path: Path) -> None:
    base = load_base(resolve(str(tiny_encoder_path)), task="classification", label_names=["no", "maybe", "yes"])
    assert base.model.config.id2label == {0: "no", 1: "maybe", 2: "yes"}
    assert base.model.config.label2id == {"no": 0, "maybe": 1, "yes": 2}
    assert base.head_modules == ["classifier"]
    assert base.model.classifier.weight.shape == (3, 32)


def test_a_decoder_classifies_with_its_pad_token_known(tiny_decoder_path: Path) -> None:
    base = load(tiny_decoder_path)
    assert base.head_modules == ["score"]
    assert base.model.config.pad_token_id == base.tokenizer.pad_token_id == 2


def test_padding_changes_no_answer_of_a_decoder_whose_config_names_another_pad_token(
    tiny_decoder_path: Path, tmp_path: Path
) -> None:
    """Its classifier reads the last token that is no padding, by the id that batches are padded with."""
    folder = tmp_path / "other-pad"
    shutil.copytree(tiny_decoder_path, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": 0}))
    base = load(folder)
    short, long = "a good film", "a good film with a very long and quite dull second half"
    answers = []
    for texts in ([short], [short, long]):
        with torch.no_grad():
            answers.append(base.model(**base.tokenizer(texts, padding=True, return_tensors="pt")).logits[0])
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-5, atol=1e-5)


def test_every_parameter_is_frozen(tiny_encoder_path: Path) -> None:
    assert not any(p.requires_grad for p in load(tiny_encoder_path).model.parameters())


def test_the_bases_own_dropout_is_off_unless_asked_for(tiny_encoder_path: Path) -> None:
    resolved = resolve(str(tiny_encoder_path))
    ids = torch.tensor([[2, 40, 41, 3]])
    quiet = load_base(resolved, task="classification", num_labels=2).model.train()
    assert torch.equal(quiet(ids).logits, quiet(ids).logits)
    noisy = load_base(resolved, task="classification", num_labels=2, base_dropout=True).model.train()
    assert not torch.equal(noisy(ids).logits, noisy(ids).logits)


def test_the_new_head_follows_its_seed_and_nothing_else(tiny_encoder_path: Path) -> None:
    resolved = resolve(str(tiny_encoder_path))
    state = torch.random.get_rng_state()
    heads = [
        load_base(resolved, task="classification", num_labels=2, head_seed=seed).model.classifier.weight
        for seed in (0, 0, 1)
    ]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [({}, torch.float32), ({"precision": "bf16"}, torch.bfloat16), ({"dtype": "float16"}, torch.float16)],
)
def test_the_type_of_the_weights_is_float32_unless_asked_for(
    tiny_decoder_path: Path, arguments: dict[str, str], expected: torch.dtype
) -> None:
    base = load_base(resolve(str(tiny_decoder_path)), task="causal-lm", **arguments)  # type: ignore[arg-type]
    assert {p.dtype for p in base.model.parameters()} == {expected}


def test_fused_attention_gives_the_plain_ones_numbers(tiny_encoder_path: Path) -> None:
    base = load(tiny_encoder_path)
    assert base.model.config._attn_implementation == "sdpa"
    batch = base.tokenizer(["a good film", "we thought the plot was dull"], padding=True, return_tensors="pt")
    fused = base.model(**batch).logits
    base.model.set_attn_implementation("eager")
    torch.testing.assert_close(base.model(**batch).logits, fused, rtol=1e-4, atol=1e-5)


def test_loading_prints_nothing(tiny_encoder_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(tiny_encoder_path)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@pytest.mark.parametrize(
    ("task", "arguments", "sentence"),
    [
        ("causal-lm", {}, "needs a decoder, but .* is an encoder"),
        ("summary", {}, "`task` must be one of"),
        ("classification", {"label_names": ["only"]}, "at least two classes, but got 1"),
        ("classification", {"label_names": ["a", "b"], "num_labels": 3}, "must be the number of label names"),
        ("classification", {"num_labels": 2, "precision": "fp8"}, "`precision` must be one of"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    tiny_encoder_path: Path, task: str, arguments: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence):
        load_base(resolve(str(tiny_encoder_path)), task=task, **arguments)  # type: ignore[arg-type]


def test_a_models_own_code_runs_only_when_the_user_says_so(tiny_encoder_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own-code"
    shutil.copytree(tiny_encoder_path, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own_kind", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    marker = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w')\n")
    with pytest.raises(ModelError, match=r"needs Python code of its own.*--trust-remote-code"):
        load_base(resolve(str(folder)), task="classification", num_labels=2)
    assert not marker.exists()
