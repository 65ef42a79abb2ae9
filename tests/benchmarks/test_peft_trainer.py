"""The peer does what a careful user's script does: its data, its model, its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import workload
from tests import tiny

pytestmark = pytest.mark.slow  # PEFT and the Trainer take seconds to import


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> workload.Files:
    folder = tmp_path_factory.mktemp("rows")
    tiny.toy_reviews(260).to_csv(folder / "rows.csv", index=False)
    return workload.write_files(str(folder / "rows.csv"), folder, rows=120, validation_rows=63, test_rows=30)


def _data(files: workload.Files, model: Path, task: str, cache: Path) -> Any:
    from benchmarks.peers import peft_trainer

    paths = {name: getattr(files, name) for name in workload.SPLITS}
    return peft_trainer.read_data(str(model), paths, files.labels, task=task, cache=cache)


def _trainer(model: Path, data: Any, folder: Path, **recipe: bool) -> Any:
    from benchmarks.peers import peft_trainer

    config = workload.configurations(1)[0]
    return peft_trainer.make_trainer(
        str(model), data, config, peft_trainer.Recipe(**recipe), seed=0, output=folder / "out"
    )


def test_only_low_rank_terms_of_query_and_value_and_the_head_train(
    files: workload.Files, tiny_encoder_path: Path, tmp_path: Path
) -> None:
    """Rank 8 at two layers, as `configurations` says with target_modules = "qv"."""
    trainer = _trainer(tiny_encoder_path, _data(files, tiny_encoder_path, "classification", tmp_path), tmp_path)
    names = [name for name, p in trainer.model.named_parameters() if p.requires_grad]
    lora = [name for name in names if "lora_" in name]
    assert len(lora) == 2 * 2 * 2
    assert all("query" in name or "value" in name for name in lora)
    assert all("classifier" in name for name in set(names) - set(lora))
    assert trainer.model.num_parameters(only_trainable=True) == 8 * 8 * tiny.HIDDEN + 2 * tiny.HIDDEN + 2


@pytest.mark.parametrize(("base_dropout", "expected"), [(True, 0.1), (False, 0.0)])
def test_the_bases_own_dropout_is_as_shipped_or_off(
    base_dropout: bool, expected: float, files: workload.Files, tiny_encoder_path: Path, tmp_path: Path
) -> None:
    """The adapter's own dropout is another matter (here 0)."""
    data = _data(files, tiny_encoder_path, "classification", tmp_path)
    model = _trainer(tiny_encoder_path, data, tmp_path, base_dropout=base_dropout).model
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {expected}


def test_training_learns_and_the_score_is_the_share_of_right_answers(
    files: workload.Files, tiny_encoder_path: Path, tmp_path: Path
) -> None:
    """Against a count by hand over the validation rows; batches by length read every row once."""
    from benchmarks.peers import peft_trainer

    data = _data(files, tiny_encoder_path, "classification", tmp_path)
    trainer = _trainer(tiny_encoder_path, data, tmp_path, group_by_length=True)
    assert sorted(trainer._get_train_sampler(data.train)) == list(range(120))
    trainer.train()
    assert trainer.state.global_step == 8
    found = peft_trainer.evaluate(trainer, data.validation)
    right = 0
    trainer.model.eval()
    for row in data.validation:
        ids = torch.tensor([row["input_ids"]])
        with torch.no_grad():
            logits = trainer.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        right += int(logits.argmax()) == row["labels"]
    assert found["accuracy"] == pytest.approx(right / 63)
    assert all(entry["grad_norm"] > 0 for entry in trainer.state.log_history if "grad_norm" in entry)


def test_a_language_model_learns_its_end_and_is_scored_by_tokens(
    files: workload.Files, tiny_decoder_path: Path, tmp_path: Path
) -> None:
    """The end token, which is the pad token too, has a label; the mean is over tokens, not over batches."""
    from benchmarks.peers import peft_trainer

    data = _data(files, tiny_decoder_path, "causal-lm", tmp_path)
    end = data.tokenizer.eos_token_id
    rows = [{k: v for k, v in data.train[i].items() if k != "length"} for i in (0, 1)]
    batch = data.collator(rows)
    ends = [(row != -100).nonzero().max().item() for row in batch["labels"]]
    assert [batch["labels"][i, last].item() for i, last in enumerate(ends)] == [end, end]
    assert (batch["labels"] == -100).equal(batch["attention_mask"] == 0)
    trainer = _trainer(tiny_decoder_path, data, tmp_path)
    trainer.model.eval()
    total, count = 0.0, 0
    for row in data.validation:
        ids = torch.tensor([row["input_ids"]])
        with torch.no_grad():
            shares = trainer.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        total -= float(shares.gather(1, ids[0, 1:, None]).sum())
        count += ids.shape[1] - 1
    assert peft_trainer.language_model_loss(trainer, data.validation) == pytest.approx(total / count, rel=1e-4)
