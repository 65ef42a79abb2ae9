"""What search and explanation both ask of past trials: which settings mattered, and how sure is that.

Contract: pure functions from trials (records shaped like `protocol.TrialSnapshot`) and a
`space.Space` to frozen results. Nothing is stored, printed or cached; the same trials and
seed give the same numbers. numpy is imported here, scikit-learn and Optuna only when a
function is called, so that the room is cheap to import.

Data flow: `observe` turns trials into observations (which count, and how pruned ones
enter) -> `encoding` turns configurations into a unit-cube matrix -> `forest` fits and
validates a surrogate -> `fanova`, `pedanova`, `attribution` and `around` ask it.

Failure modes are results, not exceptions: with too few trials, equal values or a surrogate
that does not predict held-out trials, `Importance.evidence` is False and `because` says why.
An unknown direction raises `UsageError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoglm_nb.lazy import front_door

if TYPE_CHECKING:
    from autoglm_nb.surrogates.around import Move, Sensitivity, sensitivity
    from autoglm_nb.surrogates.attribution import Attribution, Effect, shapley
    from autoglm_nb.surrogates.encoding import Axis, Encoder, axes_of
    from autoglm_nb.surrogates.fanova import Importance, Interaction, Share, importance
    from autoglm_nb.surrogates.observations import Observations, observe
    from autoglm_nb.surrogates.pedanova import ped_anova

__all__ = [
    "Attribution",
    "Axis",
    "Effect",
    "Encoder",
    "Importance",
    "Interaction",
    "Move",
    "Observations",
    "Sensitivity",
    "Share",
    "axes_of",
    "importance",
    "observe",
    "ped_anova",
    "sensitivity",
    "shapley",
]

_HOMES = {
    "Axis": "encoding",
    "Encoder": "encoding",
    "axes_of": "encoding",
    "Importance": "fanova",
    "Interaction": "fanova",
    "Share": "fanova",
    "importance": "fanova",
    "Observations": "observations",
    "observe": "observations",
    "ped_anova": "pedanova",
    "Move": "around",
    "Sensitivity": "around",
    "sensitivity": "around",
    "Attribution": "attribution",
    "Effect": "attribution",
    "shapley": "attribution",
}

__getattr__ = front_door(__name__, _HOMES)
