"""The Pareto front of a finished study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["pareto_front"]


def pareto_front(values: Mapping[int, Sequence[float | None]], directions: Sequence[str]) -> set[int]:
    """Numbers of the trials that no other beats in every objective; equals stay together.

    Args:
        values: objectives of each trial; one with a missing objective cannot be on the front.
        directions: `minimize` or `maximize` for each objective.
    """
    signs = [1.0 if d == "minimize" else -1.0 for d in directions]
    points = []
    for number, row in values.items():
        given = [v for v in row if v is not None]
        if len(given) == len(row) == len(signs):
            points.append((tuple(s * v for s, v in zip(signs, given, strict=True)), number))
    front: set[int] = set()
    kept: list[tuple[float, ...]] = []
    # In lexicographic order a point can only be dominated by one before it, and then by one on the front.
    for point, number in sorted(points):
        if kept and point == kept[-1]:
            front.add(number)
        elif not any(all(a <= b for a, b in zip(other, point, strict=True)) for other in reversed(kept)):
            kept.append(point)
            front.add(number)
    return front
