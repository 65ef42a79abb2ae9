"""Random search spaces for property tests: nested branches, reused names, all kinds of dimension."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from autoglm_nb.space import And, Compare, Condition, Constant, Dimension, Or, Parameter, Space

finite = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 6))
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=6)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-100, 100), finite, texts)
modules = st.lists(st.sampled_from(["q_proj", "k_proj", "v_proj", "o_proj"]), min_size=1, max_size=3).map(tuple)


def _distinct(choices: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for choice in choices:
        if not any(isinstance(choice, bool) == isinstance(k, bool) and choice == k for k in kept):
            kept.append(choice)
    return kept


@st.composite
def dimensions(draw: st.DrawFn, name: str, condition: Condition | None = None) -> Dimension:
    kind = draw(st.sampled_from(["real", "step", "log", "int", "logint", "choice", "modules"]))
    if kind == "choice":
        choices = _distinct(draw(st.lists(scalars, min_size=1, max_size=4)))
        return Dimension.choice(name, tuple(choices), condition=condition)
    if kind == "modules":
        choices = _distinct(draw(st.lists(st.one_of(modules, st.just("qv")), min_size=1, max_size=3)))
        return Dimension.choice(name, tuple(choices), condition=condition)
    if kind in ("int", "logint"):
        low = draw(st.integers(1 if kind == "logint" else -50, 50))
        high = low + draw(st.integers(0, 60))
        step = draw(st.integers(1, 7)) if kind == "int" else 1
        return Dimension.integer(name, low, high, step=step, log=kind == "logint", condition=condition)
    low = draw(st.floats(1e-6, 10)) if kind == "log" else draw(finite)
    high = low + draw(st.floats(0, 100))
    step = draw(st.sampled_from([0.05, 0.1, 0.25, 3])) if kind == "step" else None
    return Dimension.real(name, low, high, step=step, log=kind == "log", condition=condition)


@st.composite
def comparisons(draw: st.DrawFn, about: Parameter) -> Condition:
    """A condition on one parameter, with constants it can take."""
    values = [about.value] if isinstance(about, Constant) else about.points(4)
    value = draw(st.sampled_from(values))
    numeric = isinstance(about, Dimension) and about.kind != "categorical"
    op = draw(st.sampled_from(["==", "!=", "in", "not in", *(["<", "<=", ">", ">="] if numeric else [])]))
    if op in ("in", "not in"):
        several = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
        return Compare(about.name, op, tuple(_distinct(several)))
    return Compare(about.name, op, value)


@st.composite
def parameter_lists(draw: st.DrawFn) -> list[Parameter]:
    counter = iter(range(100))

    def block(path: tuple[Condition, ...], visible: list[Parameter], depth: int, names: list[str]) -> list[Parameter]:
        made: list[Parameter] = []
        seen = list(visible)
        for _ in range(draw(st.integers(1, 3))):
            if depth < 2 and seen and draw(st.booleans()):
                test = draw(comparisons(draw(st.sampled_from(seen))))
                if draw(st.booleans()):
                    other = draw(comparisons(draw(st.sampled_from(seen))))
                    test = draw(st.sampled_from([And, Or]))((test, other))
                inside = block((*path, test), seen, depth + 1, [])
                made += inside
                if draw(st.booleans()):  # the same names again where the test fails
                    made += block((*path, _opposite(test)), seen, depth + 1, [p.name for p in inside])
                continue
            name = names.pop() if names else f"h{next(counter)}"
            condition = And(path) if len(path) > 1 else (path[0] if path else None)
            parameter: Parameter = (
                Constant(name, draw(st.one_of(scalars, modules)), condition)
                if draw(st.integers(0, 4)) == 0
                else draw(dimensions(name, condition))
            )
            made.append(parameter)
            seen.append(parameter)
        return made

    return block((), [], 0, [])


def _opposite(test: Condition) -> Condition:
    """Written independently of the code under test: De Morgan by hand."""
    flipped = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "in": "not in", "not in": "in"}
    if isinstance(test, Compare):
        return Compare(test.name, flipped[test.op], test.value)
    assert isinstance(test, (And, Or))
    return (Or if isinstance(test, And) else And)(tuple(_opposite(part) for part in test.parts))


spaces = parameter_lists().map(Space)
