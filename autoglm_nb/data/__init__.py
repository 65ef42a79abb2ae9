"""Data: from what the user named to batches of tokens.

Contract: `check` answers in the notebook, without torch, whether the data can
serve the task; `prepare` makes the rows and the three splits, once per study;
`encode` turns them into token ids, cached across trials and workers;
`BatchOrder` and `collate` hand them to the training loop.

Data flow: `sources` (file, folder, catalogue, hub id) or `objects` (DataFrame
and others, stored as Parquet) -> `columns` (which are text and target) ->
`rows` (examples and labels, validated) -> `splitting` -> `dataset` (written to
`splits.json`, reused afterwards) -> `encoding` -> `batching`. `report` describes the result.

Failure modes: everything wrong with the data is a `DataError` that names the
rule, what was found and the remedy. Splits already made are never remade: data
that changed since is an error. A damaged token cache is made anew. Rows of the
same normalised text never lie in two splits that this room made; overlap of
sets given by the user is a note.

Names load lazily, so that `import autoglm_nb.data` imports neither pandas nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoglm_nb.lazy import front_door

if TYPE_CHECKING:
    from autoglm_nb.data.batching import BatchOrder, collate
    from autoglm_nb.data.catalogue import CATALOGUE
    from autoglm_nb.data.chat import PLAIN_CHAT_TEMPLATE
    from autoglm_nb.data.checking import DataReport, check
    from autoglm_nb.data.dataset import Dataset, Split, prepare
    from autoglm_nb.data.encoding import EncodedData, EncodedSplit, default_max_length, encode
    from autoglm_nb.data.fingerprints import fingerprint
    from autoglm_nb.data.objects import store_object
    from autoglm_nb.data.report import describe, majority_score
    from autoglm_nb.data.rows import Example
    from autoglm_nb.data.sources import anchor

__all__ = [
    "CATALOGUE",
    "PLAIN_CHAT_TEMPLATE",
    "BatchOrder",
    "DataReport",
    "Dataset",
    "EncodedData",
    "EncodedSplit",
    "Example",
    "Split",
    "anchor",
    "check",
    "collate",
    "default_max_length",
    "describe",
    "encode",
    "fingerprint",
    "majority_score",
    "prepare",
    "store_object",
]

_HOMES = {
    "CATALOGUE": "catalogue",
    "PLAIN_CHAT_TEMPLATE": "chat",
    "BatchOrder": "batching",
    "DataReport": "checking",
    "Dataset": "dataset",
    "EncodedData": "encoding",
    "EncodedSplit": "encoding",
    "Example": "rows",
    "Split": "dataset",
    "anchor": "sources",
    "check": "checking",
    "collate": "batching",
    "default_max_length": "encoding",
    "describe": "report",
    "encode": "encoding",
    "fingerprint": "fingerprints",
    "majority_score": "report",
    "prepare": "dataset",
    "store_object": "objects",
}

__getattr__ = front_door(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
