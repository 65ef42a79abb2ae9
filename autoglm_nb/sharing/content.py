"""The JSON of a shared zip as records that a store may take, and what makes two studies the same.

Nothing passes that is not named here with its type. Attributes of trials come in only
under the names that this package writes itself: samplers of Optuna keep pickled objects
in others (CMA-ES unpickles `cma:optimizer:*`), so no system attribute is read at all,
and constraints are set through `create_trial`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoglm_nb.protocol import NoteSnapshot, RunRole, StudySpec, StudyState, TrialState
from autoglm_nb.sharing import values
from autoglm_nb.sharing.request import read_spec
from autoglm_nb.store.decisions import VERDICTS, Decision
from autoglm_nb.store.notes import KINDS, LONGEST_NOTE
from autoglm_nb.store.portable import KEPT_ATTRIBUTES, RUN_FIELDS

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

__all__ = ["SAID_SO", "Content", "content_id", "frozen_trials", "read_content"]

SAID_SO = "(as the shared file says)"
"""Stands behind a reviewer's name: a file is no decision system, and anybody can write one."""

NOT_ENDED = "It had not ended when the study was shared."
_ENDED = ("complete", "pruned", "fail")
_OPEN = ("running", "waiting")
_FINAL_STATES = (StudyState.FINISHED, StudyState.STOPPED, StudyState.FAILED)
_NOTE_ID = re.compile(r"[0-9a-f]{32}")
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_IDENTITY = re.compile(r"[0-9A-Za-z_-]{0,64}")
_LATEST = 32_503_680_000.0  # the year 3000, in Unix seconds


@dataclass(frozen=True)
class Content:
    """A shared study, checked. Trials and runs have all ended; see `settled`.

    Attributes:
        name: as it was called where it was shared; not checked to be a folder's name.
        spec: the request, with `trust_remote_code` off and without any place of the sharer's machine.
        study: `state`, `reason`, `provenance`, `final`, `active_seconds`, `created_at`, `directions`.
        trials: rows as `store.portable` writes them.
        runs: likewise.
        notes: with ids of 32 digits.
        removed_notes: ids.
        decisions: of a decision system on the trials' models, oldest first, as the file tells them.
    """

    name: str
    spec: StudySpec
    study: dict[str, Any]
    trials: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    notes: list[NoteSnapshot]
    removed_notes: list[str]
    decisions: list[Decision]

    @property
    def id(self) -> str:
        """What it has in common with copies of itself: request, trials and runs, but neither name nor notes."""
        return content_id(self.spec.identity, self.spec.space, self.study["directions"], self.trials, self.runs)


def read_content(study: Any, trials: Any, runs: Any, notes: Any) -> Content:
    """Check the four parts of a shared study.

    Raises:
        SharedFileError: something is not what it should be.
    """
    raw = values.mapping(study, "the study")
    spec = read_spec(raw.get("spec"))
    identity = values.text(raw.get("identity"), "the identity")
    if not _IDENTITY.fullmatch(identity) or identity != spec.identity:
        raise values.wrong("the identity", "letters and digits, the same in the request")
    directions = values.listed(
        raw.get("directions"), "a direction", lambda d, what: values.one_of(d, what, ("maximize", "minimize")), most=16
    )
    if len(directions) != max(1, len(spec.objectives)):
        raise values.wrong("the directions", "as many as the objectives")
    state = values.one_of(raw.get("state"), "the state", set(StudyState))
    reason = values.text(raw.get("reason"), "the reason", limit=2000)
    if StudyState(state) not in _FINAL_STATES:
        state, reason = str(StudyState.STOPPED), f"It was {state} when it was shared. {reason}".rstrip()
    final_trials, numbers = _trials(trials, len(directions))
    facts = {
        "state": state,
        "reason": reason,
        "provenance": _provenance(raw.get("provenance")),
        "final": values.maybe(raw.get("final"), "the final comparison", _final),
        "active_seconds": abs(values.number(raw.get("active_seconds"), "the training time")),
        "created_at": _moment(raw.get("created_at"), "the time of creation"),
        "directions": directions,
    }
    told = values.mapping(notes, "the notes")
    return Content(
        name=values.text(raw.get("name"), "the name", limit=200),
        spec=spec,
        study=facts,
        trials=final_trials,
        runs=_runs(runs, numbers),
        notes=values.listed(told.get("notes"), "a note", _note, most=100_000),
        removed_notes=values.listed(told.get("removed"), "a removed note", _note_id, most=100_000),
        decisions=values.listed(raw.get("decisions", []), "a decision", _decision, most=1000),
    )


def content_id(
    identity: str,
    space: Mapping[str, Any],
    directions: Sequence[str],
    trials: Sequence[Mapping[str, Any]],
    runs: Sequence[Mapping[str, Any]],
) -> str:
    """SHA-256 over what a study found, without what may differ between copies (names, sentences, times)."""
    facts = [
        identity,
        space,
        list(directions),
        [[t["number"], t["state"], t["values"], _chosen(t), t["reports"], t["constraints"]] for t in trials],
        sorted([r["run"], r["role"], r["trial"], r["state"], r["config"], r["value"]] for r in runs),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def frozen_trials(content: Content) -> list[FrozenTrial]:
    """The trials as Optuna's own, made with `create_trial`; neither system attributes nor foreign ones.

    Raises:
        SharedFileError: a value lies outside its distribution.
    """
    from optuna.distributions import check_distribution_compatibility
    from optuna.trial import TrialState as OptunaState
    from optuna.trial import create_trial

    known: dict[str, BaseDistribution] = {}
    first: dict[str, BaseDistribution] = {}

    def distribution(name: str, raw: Mapping[str, Any]) -> BaseDistribution:
        """The same object for the same JSON; one name keeps to one kind and one set of choices, as in Optuna."""
        text = json.dumps(raw, sort_keys=True)
        if text not in known:
            known[text] = _distribution(raw)
        if first.setdefault(name, known[text]) is not known[text]:
            check_distribution_compatibility(first[name], known[text])
        return known[text]

    states = {"complete": OptunaState.COMPLETE, "pruned": OptunaState.PRUNED, "fail": OptunaState.FAIL}
    found = []
    for row in content.trials:
        try:
            params = {name: param["value"] for name, param in row["params"].items()}
            found.append(
                create_trial(
                    state=states[row["state"]],
                    values=[float(v) for v in row["values"]] or None,
                    params=params,
                    distributions={name: distribution(name, p["distribution"]) for name, p in row["params"].items()},
                    user_attrs=dict(row["attributes"]),
                    intermediate_values={step: math.nan if v is None else float(v) for step, v in row["reports"]},
                    constraints=dict(row["constraints"]) or None,
                )
            )
        except (ValueError, TypeError, KeyError, ArithmeticError):  # a step too fine for its range is Decimal's error
            raise values.wrong(f"trial {row['number']}", "within its distributions") from None
    return found


def _trials(raw: Any, objectives: int) -> tuple[list[dict[str, Any]], set[int]]:
    """Trial rows that have ended, by number from 0, and those numbers."""
    rows = values.listed(raw, "a trial", lambda row, what: _trial(row, what, objectives))
    if [row["number"] for row in rows] != list(range(len(rows))):
        raise values.wrong("the numbers of the trials", "0, 1, 2 and so on")
    while rows and rows[-1]["state"] in _OPEN:  # asked for, never told: nothing came of them
        rows.pop()
    return [row | {"state": "fail"} if row["state"] in _OPEN else row for row in rows], {r["number"] for r in rows}


def _trial(raw: Any, what: str, objectives: int) -> dict[str, Any]:
    row = values.mapping(raw, what)
    number = values.whole(row.get("number"), "a trial's number", high=10**7)
    what = f"trial {number}"
    state = values.one_of(row.get("state"), what, {*_ENDED, *_OPEN})
    given = values.listed(row.get("values"), f"a value of {what}", _value, most=16)
    if state == "complete" and (len(given) != objectives or None in given):
        raise values.wrong(f"the values of {what}", f"{objectives} of them")
    if state not in ("complete", "pruned") or len(given) != objectives or None in given:
        given = []  # a pruned trial keeps its last report as its value
    attributes = values.mapping(row.get("attributes"), f"the attributes of {what}")
    return {
        "number": number,
        "state": state,
        "values": given,
        "params": {
            values.text(name, what, limit=200): _param(param, f"{name} of {what}")
            for name, param in values.mapping(row.get("params"), f"the parameters of {what}").items()
        },
        "reports": values.listed(row.get("reports"), f"a report of {what}", _report),
        "attributes": {k: values.plain(attributes[k], what) for k in KEPT_ATTRIBUTES if k in attributes},
        "constraints": {
            values.text(name, what, limit=200): values.number(value, f"a constraint of {what}")
            for name, value in values.mapping(row.get("constraints"), f"the constraints of {what}").items()
        },
    }


def _value(raw: Any, what: str) -> float | str | None:
    """A number, None for NaN, or one of two words for the infinities; a word, so that it stays JSON."""
    if raw in ("inf", "-inf"):
        return str(raw)
    return values.maybe(raw, what, values.number)


def _report(raw: Any, what: str) -> list[Any]:
    if not isinstance(raw, list) or len(raw) != 2:
        raise values.wrong(what, "a step and a value")
    return [values.whole(raw[0], what), _value(raw[1], what)]


def _param(raw: Any, what: str) -> dict[str, Any]:
    param = values.mapping(raw, what)
    distribution = _distribution_json(param.get("distribution"), what)
    return {"value": _scalar(param.get("value"), what), "distribution": distribution}


def _scalar(raw: Any, what: str) -> Any:
    if isinstance(raw, list | dict):
        raise values.wrong(what, "a single value")
    return values.plain(raw, what)


def _distribution_json(raw: Any, what: str) -> dict[str, Any]:
    """One of Optuna's three distributions, with their own fields alone."""
    given = values.mapping(raw, what)
    name = values.one_of(given.get("name"), what, ("FloatDistribution", "IntDistribution", "CategoricalDistribution"))
    fields = values.mapping(given.get("attributes"), what)
    if name == "CategoricalDistribution":
        choices = values.listed(fields.get("choices"), what, _scalar, most=10_000)
        return {"name": name, "attributes": {"choices": choices}}
    limit = values.number if name == "FloatDistribution" else _any_whole
    return {
        "name": name,
        "attributes": {
            "low": limit(fields.get("low"), what),
            "high": limit(fields.get("high"), what),
            "log": values.flag(fields.get("log"), what),
            "step": values.maybe(fields.get("step"), what, limit),
        },
    }


def _distribution(raw: Mapping[str, Any]) -> BaseDistribution:
    from optuna import distributions

    kinds = {
        "FloatDistribution": distributions.FloatDistribution,
        "IntDistribution": distributions.IntDistribution,
        "CategoricalDistribution": distributions.CategoricalDistribution,
    }
    made: BaseDistribution = kinds[raw["name"]](**raw["attributes"])
    return made


def _runs(raw: Any, numbers: set[int]) -> list[dict[str, Any]]:
    """Run rows that have ended; a trial that came to nothing takes its run along."""
    rows = values.listed(raw, "a run", _run)
    if len({row["run"] for row in rows}) != len(rows):
        raise values.wrong("the names of the runs", "all different")
    kept = []
    for row in rows:
        if TrialState(row["state"]).final:
            kept.append(row)
        elif row["role"] == RunRole.TRIAL and row["trial"] in numbers:
            kept.append(row | {"state": str(TrialState.FAILED), "value": None, "because": NOT_ENDED})
    return kept


def _run(raw: Any, what: str) -> dict[str, Any]:
    row = values.mapping(raw, what)
    run = values.text(row.get("run"), "the name of a run")
    if not _RUN_NAME.fullmatch(run):
        raise values.wrong("the name of a run", "letters, digits, - and _")
    what = f"run {run}"
    found = {
        "run": run,
        "role": values.one_of(row.get("role"), what, set(RunRole)),
        "trial": values.maybe(row.get("trial"), what, values.whole),
        "state": values.one_of(row.get("state"), what, set(TrialState)),
        "config": values.plain(values.mapping(row.get("config"), what), f"the configuration of {what}"),
        "proposed_by": values.text(row.get("proposed_by"), what, limit=300),
        "because": values.text(row.get("because"), what, limit=2000),
        "value": values.maybe(row.get("value"), what, values.number),
        "metrics": values.plain(values.mapping(row.get("metrics"), what), f"the metrics of {what}"),
        "seed": values.maybe(row.get("seed"), what, _any_whole),
        "micro_batch": values.maybe(row.get("micro_batch"), what, values.whole),
        "seconds": abs(values.number(row.get("seconds"), what)),
        "started_at": _moment(row.get("started_at"), what),
        "ended_at": values.maybe(row.get("ended_at"), what, _moment),
    }
    for field in ("attempts", "deaths", "stalled_deaths", "step", "total_steps"):
        found[field] = values.whole(row.get(field), f"{field} of {what}")
    return {field: found[field] for field in RUN_FIELDS}


def _note(raw: Any, what: str) -> NoteSnapshot:
    note = values.mapping(raw, what)
    kind, text = values.one_of(note.get("kind"), what, KINDS), values.text(note.get("text"), what, limit=LONGEST_NOTE)
    return NoteSnapshot(
        id=_note_id(note.get("id"), what),
        trial=values.maybe(note.get("trial"), what, values.whole),
        kind=kind,
        text=text if kind == "comment" else " ".join(text.split()),  # one line, as where they are written
        author=values.text(note.get("author"), what, limit=80),
        created_at=_moment(note.get("created_at"), what),
    )


def _decision(raw: Any, what: str) -> Decision:
    told = values.mapping(raw, what)
    return Decision(
        verdict=values.one_of(told.get("verdict"), what, VERDICTS),
        reviewer=values.text(told.get("reviewer"), what, limit=200).removesuffix(SAID_SO).strip(),
        reason=values.text(told.get("reason"), what, limit=2000),
        decided_at=values.text(told.get("decided_at"), what, limit=40),
        trial=values.maybe(told.get("trial"), what, values.whole),
    )


def _note_id(raw: Any, what: str) -> str:
    if not isinstance(raw, str) or not _NOTE_ID.fullmatch(raw):
        raise values.wrong(f"the id of {what}", "32 hexadecimal digits")
    return raw


def _provenance(raw: Any) -> dict[str, Any]:
    """Anything in JSON; the two parts that a worker reads have to be objects of objects."""
    found: dict[str, Any] = values.plain(values.mapping(raw, "the provenance"), "the provenance")
    for model in values.mapping(found.get("models", {}), "the models").values():
        values.text(values.mapping(model, "a model").get("checksum"), "a model's checksum")
    values.mapping(found.get("data", {}), "the description of the data")
    return found


def _final(raw: Any, what: str) -> dict[str, Any]:
    final = values.mapping(raw, what)
    found: dict[str, Any] = {
        "metric": values.text(final.get("metric"), what, limit=100),
        "split": values.text(final.get("split"), what, limit=40),
        "rows": values.whole(final.get("rows"), what),
        "seeds": values.listed(final.get("seeds"), what, _any_whole, most=1000),
        "winner": _score(final.get("winner"), what),
        "baseline": values.maybe(final.get("baseline"), what, _score),
        "majority": values.maybe(final.get("majority"), what, values.number),
    }
    if final.get("difference") is not None:
        paired = values.mapping(final["difference"], what)
        found["difference"] = {
            key: values.maybe(paired.get(key), what, values.number) for key in ("mean", "low", "high", "p")
        }
    return found


def _score(raw: Any, what: str) -> dict[str, Any]:
    score = values.mapping(raw, what)
    return {
        "values": values.listed(score.get("values"), what, values.number, most=1000),
        **{key: values.maybe(score.get(key), what, values.number) for key in ("mean", "low", "high")},
    }


def _moment(raw: Any, what: str) -> float:
    found = values.number(raw, what)
    if not 0 <= found <= _LATEST:
        raise values.wrong(f"a time of {what}", "Unix seconds")
    return found


def _any_whole(raw: Any, what: str) -> int:
    return values.whole(raw, what, low=-(2**53))


def _chosen(trial: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {name: param["value"] for name, param in trial["params"].items()}
    return {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in chosen.items()}
