"""Turning a measure off must really turn it off, and change nothing else."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from benchmarks import ablation


def test_unknown_measures_are_an_error_and_none_is_no_change() -> None:
    """A misspelt measure would otherwise show a gain of one."""
    assert ablation.apply("") == {}
    with pytest.raises(ValueError, match="bucketing"):
        ablation.apply("buckets")


def test_a_function_that_has_moved_is_noticed() -> None:
    """Putting something where nobody looks would show a gain of one too."""
    with pytest.raises(AttributeError, match="tell this benchmark"):
        ablation._replace("autoglm_nb.training.build", "no_such_function", None)


def test_batches_without_bucketing_hold_every_row_once_in_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same rows and sizes, but lengths within a batch vary as much as over all rows."""
    from autoglm_nb.data.batching import BatchOrder

    lengths = np.random.default_rng(0).integers(5, 60, 203)

    def spread(order: BatchOrder) -> float:
        return float(np.mean([np.ptp(lengths[batch]) for batch in order.batches(0) if len(batch) > 1]))

    order = BatchOrder(lengths, 8, 1)
    bucketed = spread(order)
    monkeypatch.setattr(BatchOrder, "batches", BatchOrder.batches)  # puts it back afterwards
    assert ablation.apply("bucketing") == {}
    batches = order.batches(0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(203))
    assert [len(batch) for batch in batches] == [8] * 25 + [3]
    assert spread(order) > 5 * bucketed
    assert [b.tolist() for b in order.batches(0)] == [b.tolist() for b in batches]
    assert order.batches(1)[0].tolist() != batches[0].tolist()


def test_masks_drawn_by_torch_keep_the_share_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other masks of the same probability, shape and type."""
    from autoglm_nb.training import lowrank

    mine = lowrank.keep_mask(7, 0, 30, 21, 63, 0.1, torch.device("cpu"))
    monkeypatch.setattr(lowrank, "keep_mask", lowrank.keep_mask)
    ablation.apply("cheap masks")
    drawn = lowrank.keep_mask(7, 0, 30, 21, 63, 0.1, torch.device("cpu"))
    assert (drawn.shape, drawn.dtype) == (mine.shape, mine.dtype)
    assert float(drawn.float().mean()) == pytest.approx(0.9, abs=0.01)
    assert not torch.equal(drawn, lowrank.keep_mask(7, 0, 30, 21, 63, 0.1, torch.device("cpu")))


@pytest.mark.parametrize(
    ("name", "switch"),
    [("prepacked weights", "products"), ("short attention", "attention"), ("first token", "first-token")],
)
def test_measures_with_a_switch_are_left_out_one_at_a_time(
    name: str, switch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others stay on."""
    from autoglm_nb import settings

    monkeypatch.setenv("AUTOGLM_CPU_PATH", "all")
    everything = settings.cpu_path()
    assert switch in everything
    ablation.apply(name)
    assert settings.cpu_path() == everything - {switch}
    assert os.environ["AUTOGLM_CPU_PATH"]


def test_packing_off_is_one_trial_at_a_time_and_logits_matter_to_language_models() -> None:
    """What the engine is made with, and which measures are listed for a task."""
    assert ablation.apply("packing") == {"capacity": 1}
    assert "labelled logits" in ablation.applicable("causal-lm")
    assert "labelled logits" not in ablation.applicable("classification")
    assert "first token" not in ablation.applicable("causal-lm")


def test_logits_are_computed_everywhere_without_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """No hook is put on the output embedding, so a language model gives a logit for each position."""
    from autoglm_nb.training import build
    from autoglm_nb.training.packed import RowMap

    layer = torch.nn.Linear(4, 9)
    monkeypatch.setattr(build, "keep_labelled", build.keep_labelled)
    build.keep_labelled(layer, RowMap())
    assert len(layer._forward_pre_hooks) == 1
    ablation.apply("labelled logits")
    plain = torch.nn.Linear(4, 9)
    build.keep_labelled(plain, RowMap())
    assert len(plain._forward_pre_hooks) == 0
