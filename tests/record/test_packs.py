"""Shared passes in words."""

from __future__ import annotations

from autoglm_nb.record.packs import pack_rows


def test_packs_are_told_with_their_figures() -> None:
    """Who shares, who does not and why, predicted beside measured."""
    packs = {
        "now": [
            {
                "trials": [3, 4, "baseline"],
                "model": "minilm",
                "method": "lora",
                "tokens_per_step": 812.4,
                "passes_per_step": 1.5,
                "occupancy": 0.913,
            }
        ],
        "alone": [{"trial": 6, "because": "Method adapter cannot share a pass."}],
        "predicted": {"seconds_per_step": 0.2, "pass_memory_gb": 0.11},
        "measured": {"seconds_per_step": 0.21, "pass_memory_gb": 0.1},
    }
    rows = dict(pack_rows({"packs": packs}))
    assert rows["Sharing passes"].startswith("#3, #4, baseline (lora) · 812 tokens a step in 1.5 passes · 91%")
    assert rows["#6 alone"] == "Method adapter cannot share a pass."
    assert rows["A step"] == "0.21 s measured, 0.2 s predicted"
    assert rows["Memory of a pass"] == "0.1 GB measured, 0.11 GB predicted"


def test_nothing_is_said_where_nothing_is_trained_or_known() -> None:
    """No packs, half a record or nonsense draws nothing and fails nowhere."""
    assert pack_rows({}) == [] and pack_rows({"packs": None}) == [] and pack_rows({"packs": 3}) == []
    assert pack_rows({"packs": {"now": None, "alone": [7], "predicted": {"seconds_per_step": None}}}) == []
