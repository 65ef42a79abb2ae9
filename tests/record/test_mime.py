"""The dictionary in the bundle: valid JSON, bounded, the same for the same data."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest

from autoglm_nb import record
from autoglm_nb.protocol import STUDY_MIME, Snapshot
from tests.record import samples


def test_bundle_has_the_three_forms() -> None:
    """Our own type for the extension, HTML and text for everyone else."""
    bundle = record.bundle(samples.finished_snapshot())
    assert set(bundle) == {STUDY_MIME, "text/html", "text/plain"}
    assert (set(Snapshot.__annotations__) - {"decision", "packs", "importance", "importance_after"}) <= set(
        bundle[STUDY_MIME]
    )


def test_long_study_stays_below_the_limit_and_keeps_its_best() -> None:
    """A thousand trials with long reasons: below 60 kB, the best one among those kept, the total still told."""
    snapshot = samples.finished_snapshot(1000)
    for item in snapshot["trials"]:
        item["because"] = "x" * 400
        item["reports"] = [[i, 0.5] for i in range(500)]
    snapshot["notes"] = [{**snapshot["notes"][1], "text": "n" * 5000} for _ in range(80)]
    small = record.trimmed(snapshot)
    assert len(json.dumps(small)) < record.MAX_BYTES
    assert snapshot["headline"]["best_trial"] in [t["number"] for t in small["trials"]]
    assert small["trials_total"] == 1000


def test_numbers_that_json_cannot_carry_become_null() -> None:
    """NaN and infinity are not valid JSON; a strict reader accepts the dictionary."""
    snapshot = samples.finished_snapshot()
    snapshot["trials"][0].update(value=math.nan, metrics={"loss": math.inf}, values=[math.nan])
    text = json.dumps(record.trimmed(snapshot), allow_nan=False)
    assert json.loads(text)["trials"]


def test_snapshot_is_not_changed() -> None:
    """Drawing reads."""
    snapshot = samples.hostile_snapshot()
    before = copy.deepcopy(snapshot)
    record.bundle(snapshot)
    assert snapshot == before


@pytest.mark.parametrize("missing", ["study", "headline", "trials", "curve", "space", "notes", "final", "provenance"])
def test_older_records_with_missing_parts_still_draw(missing: str) -> None:
    """A part that is not there reads as unknown."""
    snapshot: dict[str, Any] = samples.finished_snapshot()
    del snapshot[missing]
    bundle = record.bundle(snapshot)
    assert bundle["text/html"]
    assert bundle["text/plain"]
