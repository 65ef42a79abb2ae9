"""The request of a shared study: every field checked by its type, and nothing that acts by itself.

Code of a model's own is never allowed by a file, nobody is told about a study because a
file says so, and no place on the sharer's machine means anything here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autoglm_nb.errors import SharedFileError, SpaceError
from autoglm_nb.explain.privacy import private
from autoglm_nb.protocol import SPEC_VERSION, DataSpec, StudySpec
from autoglm_nb.sharing import values

__all__ = ["read_spec"]

_SPACE_FAULTS = (SpaceError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError)


def read_spec(raw: Any) -> StudySpec:
    """A `StudySpec` from JSON that may be hostile.

    Raises:
        SharedFileError: a field is unknown or of another type, or the space cannot be read.
    """
    given = dict(values.mapping(raw, "the request"))
    version = values.whole(given.get("version"), "the version of the request", low=1)
    if version > SPEC_VERSION:
        raise SharedFileError(
            f"The shared study has a request of version {version}, but this autoglm_nb reads versions up to "
            f"{SPEC_VERSION}. Upgrade autoglm_nb to open it."
        )
    data = _fields(DataSpec, given.pop("data", None), "the data of the request")
    spec = _fields(StudySpec, given, "the request", without=("data",))
    place = {key: private(data[key]) if data.get(key) else data.get(key) for key in ("source", "validation", "test")}
    data |= place | {"path": None}
    return StudySpec(
        data=DataSpec(**data),
        **spec
        | {
            "space": _space(spec.get("space")),
            "trust_remote_code": False,
            "hooks": (),
            "notebook": Path(spec["notebook"]).name if spec.get("notebook") else None,
            "executor": values.one_of(spec.get("executor", "process"), "the executor", ("process", "thread")),
        },
    )


def _space(raw: Any) -> dict[str, Any]:
    from autoglm_nb.space import Space

    try:
        return Space.from_json(raw).to_json()
    except _SPACE_FAULTS:
        raise values.wrong("the search space", "one that this version can read") from None


def _fields(kind: Any, raw: Any, what: str, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a record, each checked by its annotation; those that may be left out may."""
    given = values.mapping(raw, what)
    known = {field.name: field for field in dataclasses.fields(kind) if field.name not in without}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise SharedFileError(
            f"In a shared study, {what} has fields that this autoglm_nb does not know "
            f"({', '.join(private(values.text(name, what, limit=40)) for name in unknown[:5])}). Upgrade autoglm_nb."
        )
    found: dict[str, Any] = {}
    for name, field in known.items():
        if name in given:
            found[name] = _BY_ANNOTATION[str(field.type)](given[name], f"`{name}` of {what}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise values.wrong(f"`{name}` of {what}", "given")
    return found


def _texts(raw: Any, what: str) -> tuple[str, ...]:
    return tuple(values.listed(raw, what, values.text, most=1000))


def _configs(raw: Any, what: str) -> tuple[dict[str, Any], ...]:
    return tuple(dict(values.plain(values.mapping(entry, what), what)) for entry in values.listed(raw, what, _same))


def _same(raw: Any, _what: str) -> Any:
    return raw


def _object(raw: Any, what: str) -> dict[str, Any]:
    return dict(values.plain(values.mapping(raw, what), what))


def _optional(check: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    return lambda raw, what: values.maybe(raw, what, check)


def _whole(raw: Any, what: str) -> int:
    return values.whole(raw, what, low=-(2**53))


_BY_ANNOTATION: Mapping[str, Callable[[Any, str], Any]] = {
    "str": values.text,
    "str | None": _optional(values.text),
    "int": _whole,
    "int | None": _optional(_whole),
    "float | None": _optional(values.number),
    "bool": values.flag,
    "tuple[str, ...]": _texts,
    "tuple[dict[str, Any], ...]": _configs,
    "dict[str, Any]": _object,
}
"""How a field of a record is checked, by its annotation as it is written in `protocol`."""
