"""Which definitions of a space can meet: reachability over a small set of worlds.

Conditions only ask how a parameter compares with a few constants, so each
parameter falls into finitely many classes of values that no condition can tell
apart. A *world* assigns one class to every parameter that conditions mention.
Walking the definitions in order and splitting worlds along the way answers
exactly, without sampling: is a name defined twice at once, does a condition ask
for a parameter that may have no value there, is a branch always or never taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from autoglm_nb.errors import did_you_mean
from autoglm_nb.space.conditions import Compare, Condition, Inactive, atoms, conjunction, path_of
from autoglm_nb.space.dimensions import Constant, Dimension, Parameter
from autoglm_nb.space.values import Value, same, source

__all__ = ["MAX_WORLDS", "UNKNOWN", "Step", "Survey", "survey", "thresholds"]

MAX_WORLDS = 20_000
"""More combinations of conditions than this are refused rather than guessed at."""

UNKNOWN = "?"
"""Prefix of a stand-in name for a condition that could not be read; it may be true or false."""


@dataclass(frozen=True)
class Step:
    """One thing in the order of the cell: a definition, a test, or a definition that failed.

    Attributes:
        path: the condition under which this place is reached.
        parameter: what is defined here.
        test: the condition an `if` evaluates here.
        broken: the name whose definition here has faults of its own.
        line: for messages; None for a space made without a cell.
    """

    path: Condition | None = None
    parameter: Parameter | None = None
    test: Condition | None = None
    broken: str = ""
    line: int | None = None


@dataclass
class Survey:
    """What `survey` found out.

    Attributes:
        faults: line and sentence.
        reduced: for the position of each definition, its path without the parts
            that others imply; None when it is always reached.
        never: positions of definitions that are never reached.
        worlds: the final worlds with their weights.
    """

    faults: list[tuple[int | None, str]] = field(default_factory=list)
    reduced: dict[int, Condition | None] = field(default_factory=dict)
    never: set[int] = field(default_factory=set)
    worlds: list[tuple[dict[str, Value], int | None]] = field(default_factory=list)


def survey(steps: Sequence[Step], *, limit: int = MAX_WORLDS) -> Survey:
    """Walks the steps in order; see the module's docstring.

    Each world of the result has a weight: how many combinations of the
    mentioned parameters it stands for, None where that is a continuum.
    """
    result = Survey()
    found = result.faults
    marks = thresholds(atom for step in steps for c in (step.path, step.test) for atom in atoms(c))
    times = Counter(step.parameter.name if step.parameter else step.broken for step in steps)
    broken = {step.broken for step in steps if step.broken}
    defined: dict[str, list[tuple[Parameter, int | None]]] = {}
    worlds: list[tuple[dict[str, Value], int | None]] = [({}, 1)]
    reported: set[tuple[int | None, str]] = set()

    def report(line: int | None, message: str) -> None:
        if (line, message) not in reported:
            reported.add((line, message))
            found.append((line, message))

    def ask(condition: Condition, world: Mapping[str, Value], line: int | None) -> None:
        """Reports what is wrong with evaluating the condition here."""
        try:
            condition.holds(world)
        except Inactive as inactive:
            if not inactive.name.startswith(UNKNOWN) and inactive.name not in broken:
                report(line, _inactive_text(inactive.name, defined.get(inactive.name, [])))
        except TypeError:
            report(
                line,
                f"The condition `{condition.source()}` compares by size what has no size. "
                "Use <, <=, >, >= with numbers only.",
            )

    for index, step in enumerate(steps):
        reached = [_reached(step.path, world) for world, _ in worlds]
        if step.test is not None:
            for atom in atoms(step.test):
                _foreign_value(atom, [p for p, _ in defined.get(atom.name, [])], broken, step.line, report)
            for (world, _), here in zip(worlds, reached, strict=True):
                if here:
                    ask(step.test, world, step.line)
        elif step.parameter is not None:
            name = step.parameter.name
            for (world, _), here in zip(worlds, reached, strict=True):
                if here and name in world:
                    report(step.line, _duplicate_text(step.parameter, defined[name]))
                    break
            if not any(here is None or here for here in reached):
                result.never.add(index)
            result.reduced[index] = _reduced(step.path, reached, [world for world, _ in worlds])
            defined.setdefault(name, []).append((step.parameter, step.line))
            if name in marks or times[name] > 1:
                worlds = _split(worlds, reached, step.parameter, marks.get(name))
                if len(worlds) > limit:
                    report(
                        step.line,
                        f"The conditions distinguish more than {limit} combinations of values, which "
                        f"is too many to check. Let fewer parameters than up to `{name}` decide.",
                    )
                    return result
    result.worlds = worlds
    return result


def thresholds(compared: Iterable[Compare]) -> dict[str, list[float]]:
    """Per name, the numbers it is compared with; a name without numbers has an empty list."""
    marks: dict[str, list[float]] = {}
    for atom in compared:
        values = atom.value if isinstance(atom.value, tuple) else (atom.value,)
        numbers = [v for v in values if isinstance(v, (int, float))]
        marks.setdefault(atom.name, []).extend(numbers)
    return marks


def _reached(path: Condition | None, world: Mapping[str, Value]) -> bool | None:
    """Whether a place is reached; None when that cannot be known (its test has faults)."""
    try:
        return path is None or path.holds(world)
    except (Inactive, TypeError):
        return None


def _reduced(
    path: Condition | None, reached: Sequence[bool | None], worlds: Sequence[Mapping[str, Value]]
) -> Condition | None:
    """The path without the parts whose absence changes nothing in any world."""
    parts = list(path_of(path))
    for part in tuple(parts):
        others = [other for other in parts if other is not part]
        shorter = conjunction(others)
        if all(_reached(shorter, world) is here for world, here in zip(worlds, reached, strict=True)):
            parts = others
    return conjunction(parts)


def _split(
    worlds: list[tuple[dict[str, Value], int | None]],
    reached: Sequence[bool | None],
    parameter: Parameter,
    marks: list[float] | None,
) -> list[tuple[dict[str, Value], int | None]]:
    """Every world in which the parameter is defined, once per class of its values."""
    if isinstance(parameter, Constant):
        classes: list[tuple[Value, int | None]] = [(parameter.value, 1)]
    elif marks is None:
        classes = [(None, parameter.count())]
    else:
        classes = list(parameter.classes(marks))
    after: list[tuple[dict[str, Value], int | None]] = []
    for (world, weight), here in zip(worlds, reached, strict=True):
        if not here or parameter.name in world:
            after.append((world, weight))
            continue
        for value, share in classes:
            both = None if weight is None or share is None else weight * share
            after.append(({**world, parameter.name: value}, both))
    return after


def _foreign_value(
    atom: Compare,
    parameters: list[Parameter],
    broken: set[str],
    line: int | None,
    report: Callable[[int | None, str], None],
) -> None:
    """Reports an `==` or `in` with a value that the dimension never takes: most often a slip of the pen."""
    if atom.op not in ("==", "!=", "in", "not in") or not parameters or atom.name in broken:
        return
    if not all(isinstance(p, Dimension) and p.kind == "categorical" for p in parameters):
        return
    known = [choice for p in parameters if isinstance(p, Dimension) for choice in p.choices]
    for value in atom.value if atom.op in ("in", "not in") else (atom.value,):
        if not any(same(value, choice) for choice in known):
            names = [str(choice) for choice in known]
            report(
                line,
                f"`{atom.name}` is never {source(value)}, so `{atom.source()}` asks for nothing. "
                f"{did_you_mean(str(value), names)}",
            )


def _inactive_text(name: str, definitions: list[tuple[Parameter, int | None]]) -> str:
    if not definitions:
        return f"`{name}` is used before it is defined. Move its definition up."
    when = " or ".join(p.condition.source() for p, _ in definitions if p.condition is not None)
    return (
        f"`{name}` has a value only when {when}, but this condition is evaluated in other cases too. "
        f"Put the `if` inside that branch."
    )


def _duplicate_text(parameter: Parameter, earlier: list[tuple[Parameter, int | None]]) -> str:
    lines = [str(line) for _, line in earlier if line is not None]
    where = f" (first on line {lines[0]})" if lines else ""
    return (
        f"`{parameter.name}` is defined twice{where}, and both definitions can be active at once. "
        "Remove one, or put them into branches that exclude each other (if / else)."
    )
