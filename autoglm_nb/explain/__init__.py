"""A stored study explained: why the winner won, how sure that is, what to try next.

Contract: `explain(home, study, what, trial)` is a function from the store to a document;
it reads, never writes, and may run while a worker trains (`kept` alone leaves a few figures in
the store, for the card). Every sentence is computed from figures and carries its evidence;
where the data do not carry a claim, the sentence says so.

Data flow: store -> `facts.load` (one snapshot, the confirmation runs) -> `sections` and
`figures` -> `Explanation` -> text, HTML fragment, page (`report`), JSON, figure files.
Heavy libraries (matplotlib, scikit-learn, Optuna) are imported when a function needs them;
the notebook runs `python -m autoglm_nb.explain` as a child, so that the kernel never does.

Failure modes: an unknown study raises `StudyNotFoundError`, an unknown part or trial
`UsageError`; a study without trials, or with failed ones only, is explained as such.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoglm_nb.lazy import front_door

if TYPE_CHECKING:
    from autoglm_nb.explain.document import Explanation, Section, Sentence, Table
    from autoglm_nb.explain.page import report
    from autoglm_nb.explain.study import WHAT, explain

__all__ = ["WHAT", "Explanation", "Section", "Sentence", "Table", "explain", "report"]

_HOMES = {
    "Explanation": "document",
    "Section": "document",
    "Sentence": "document",
    "Table": "document",
    "WHAT": "study",
    "explain": "study",
    "report": "page",
}

__getattr__ = front_door(__name__, _HOMES)
