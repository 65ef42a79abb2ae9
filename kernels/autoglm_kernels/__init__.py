"""Grouped LoRA and grouped AdamW for many trials on one frozen base.

Contract: the rows of all trials of a pack lie in one tensor; `Routing` says which
rows belong to which group (one group a trial), `LayerTable` what a layer adds for
each group (rank 0: nothing). `grouped_lora` gives the layer's output and has an
autograd formula; `step_together` makes one optimizer step for many optimizers in
one launch. No tile multiplies another group's weights, so a NaN stays at home.

Each kernel has a plain PyTorch twin, which the tests hold it to and which runs where
Triton does not. `AUTOGLM_KERNELS` chooses (`triton` or `torch`); unset, Triton runs
where the tensors are on a GPU.
Triton is optional and imported on first use. Layouts, mathematics and costs are in the
README beside this package; nothing here has been run on a GPU yet.

Failures: `ValueError` for shapes and tables that do not fit, `RuntimeError` for a
backend that cannot run here. Both say what to do.
"""

from __future__ import annotations

from autoglm_kernels.adamw import HyperRow, grouped_adamw, hyper_table, step_together
from autoglm_kernels.backend import backend_for, launches, reset_launches
from autoglm_kernels.dropout import keep_mask, keep_scale, token_ids
from autoglm_kernels.ops import grouped_lora, low_rank_terms
from autoglm_kernels.routing import LayerEntry, LayerTable, Routing, Tables, layer_table, layer_tables, make_routing

__all__ = [
    "HyperRow",
    "LayerEntry",
    "LayerTable",
    "Routing",
    "Tables",
    "backend_for",
    "grouped_adamw",
    "grouped_lora",
    "hyper_table",
    "keep_mask",
    "keep_scale",
    "launches",
    "layer_table",
    "layer_tables",
    "low_rank_terms",
    "make_routing",
    "reset_launches",
    "step_together",
    "token_ids",
]
