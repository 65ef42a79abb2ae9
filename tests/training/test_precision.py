"""What a narrower base costs in quality, on a real model and real texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoglm_nb import AutoTuner

SPACE = "learning_rate = 3e-3\nrank = 8\nbatch_size = 16\nepochs = 2"


@pytest.mark.real
@pytest.mark.slow
def test_a_bf16_base_learns_as_well_as_an_fp32_one(tmp_path: Path) -> None:
    """MiniLM on 450 reviews, in bf16 that a processor without it imitates: accuracies within four points."""
    found = {}
    for precision in ("fp32", "bf16"):
        tuner = AutoTuner("minilm", SPACE, "grid", home=tmp_path, precision=precision, baseline=False, seeds=0)
        results = tuner.optimize(
            "sentiment-domains/movies", target="label", name=precision, max_rows=450, max_trials=1, device="cpu"
        )
        found[precision] = results.best_value
    assert found["fp32"] > 0.65
    assert found["bf16"] == pytest.approx(found["fp32"], abs=0.04)
