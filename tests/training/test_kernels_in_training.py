"""Trials trained through the Triton kernels, in the interpreter: the losses as without, the launches as promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.kernels.child import child


@pytest.fixture(scope="module")
def interpreted() -> Iterator[Callable[..., Any]]:
    """`interpreted(case, **arguments)` runs a case of tests/training/interpreted.py."""
    yield from child("tests.training.interpreted")


@pytest.mark.slow
def test_a_study_from_a_cell_trains_through_the_kernels(interpreted: Callable[..., Any]) -> None:
    """`%%autotune` with two trials: every layer of every pass launches, and the losses are those of the loop."""
    found = interpreted("study")
    assert found["torch"]["launches"] == {}
    assert [len(curve) for curve in found["triton"]["losses"]] == [3, 3]
    np.testing.assert_allclose(found["triton"]["losses"], found["torch"]["losses"], rtol=1e-5)
    launches = found["triton"]["launches"]
    layers, least = 4, 3  # q and v of two layers; at least three passes, whether the trials shared them or not
    assert set(launches) == {"shrink", "expand", "reduce_rows", "grouped_adamw"}
    assert 3 <= launches["grouped_adamw"] <= 6
    passes = launches["reduce_rows"] // (2 * layers)
    assert launches["reduce_rows"] == 2 * layers * passes and least <= passes <= 2 * least
    assert launches["shrink"] > 2 * layers * passes, "evaluation goes through the kernels too"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fuse"), [("encoder", False), ("decoder", True)])
def test_a_mixed_pack_has_the_losses_of_the_loop(interpreted: Callable[..., Any], kind: str, fuse: bool) -> None:
    """LoRA, rsLoRA, DoRA, LoRA+, four optimizers' settings, other targets; base product by the library or fused."""
    found = interpreted("parity", kind=kind, fuse=fuse)
    np.testing.assert_allclose(found["triton"]["losses"], found["torch"]["losses"], rtol=1e-5)
    np.testing.assert_allclose(found["triton"]["norms"], found["torch"]["norms"], rtol=1e-4)
    assert found["triton"]["launches"]["grouped_adamw"] == 3, "one a step, however many slots and passes"
    assert found["torch"]["launches"] == {}
    assert any("HAS_WEIGHT" in kind for kind in found["triton"]["kinds"]) == fuse, "who makes the base product"


@pytest.mark.slow
def test_what_a_step_launches_is_compiled_ahead_of_time(interpreted: Callable[..., Any]) -> None:
    """With dropout and without: in fp32 and fp16 these and no others, in bf16 further ones; Adam's rows are fp32."""
    found = {name: set(kinds) for name, kinds in interpreted("launched").items()}
    assert found["launched"] == found["fp32"]
    assert found["launched"] - {"grouped_adamw"} == found["fp16"] < found["bf16"]


@pytest.mark.slow
def test_a_poisoned_neighbour_changes_no_bit_of_the_others_step(interpreted: Callable[..., Any]) -> None:
    """NaN in one slot's adapter: weights, moments and step counts of the others are as with a healthy neighbour."""
    found = interpreted("poisoned")
    assert found["failed"] == [False, True, False, False]
    assert found["equal"]


@pytest.mark.slow
def test_all_adam_slots_step_in_one_launch(interpreted: Callable[..., Any]) -> None:
    """Clipped, with decay, L2 and LoRA+; where the loss is NaN there is no step; SGD steps alone; as torch's own."""
    found = interpreted("optimizers")
    assert found["launches"] == {"grouped_adamw": 2}
    assert found["updated"] == [True, False, True, True]
    assert found["worst"] < 1e-6


@pytest.mark.slow
def test_a_checkpoint_moves_between_kernels_and_torch(interpreted: Callable[..., Any]) -> None:
    """The optimizers' state is torch's either way."""
    curves = interpreted("restored")
    for name in ("torch to triton", "triton to torch"):
        np.testing.assert_allclose(curves[name], curves["torch to torch"], rtol=1e-5)
