"""How a proposal came about, in words: the `proposed_by` of a trial.

The words follow what the sampler really did for this trial, dimension by
dimension. Where several things happened the model's own proposal comes first and
the exceptions name their dimensions: "expected improvement; independent draw
(conditional): rank".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from autoglm_nb.search.recording import Draw, Words

__all__ = ["GIVEN", "proposed_by"]

GIVEN = "given"


def proposed_by(draw: Draw | None, active: Mapping[str, str], given: Collection[str], words: Words) -> str:
    """The sentence for one trial.

    Args:
        draw: what the sampler recorded; None when it did not draw this trial.
        active: key and name of each active dimension with more than one value.
        given: keys whose values a person gave.
        words: what the strategy calls its proposals.
    """
    groups: dict[str, list[str]] = {}
    for key, name in active.items():
        groups.setdefault(GIVEN if key in given else _origin(draw, key, words), []).append(name)
    if not groups:
        return GIVEN if given else "the only configuration"
    first, *rest = sorted(groups, key=lambda label: (label != GIVEN, label != words.joint, -len(groups[label])))
    return "; ".join([first, *(f"{label}: {', '.join(groups[label])}" for label in rest)])


def _origin(draw: Draw | None, key: str, words: Words) -> str:
    if draw is None:
        return words.joint
    if key in draw.joint and key not in draw.independent:
        return words.joint
    known = draw.completed + (draw.pruned if words.counts_pruned else 0)
    if known < words.startup or (words.generations and not draw.joint):
        return words.start
    return words.changed if words.changed and key in (draw.space or ()) else words.alone
