"""Files made to do harm: each attack is refused with its reason, and the store stays as it was."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from autoglm_nb.errors import AutoGLMError, SharedFileError
from autoglm_nb.record import html, text
from autoglm_nb.sharing import layout, open_shared, share_zip
from autoglm_nb.sharing.adapter_files import PEFT_FIELDS
from autoglm_nb.store import Store, snapshot
from tests.sharing.conftest import fill

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The entries of an honest zip."""
    folder = tmp_path_factory.mktemp("honest")
    with Store(folder / ".autoglm") as store:
        fill(store)
    with zipfile.ZipFile(share_zip(folder / ".autoglm", "reviews", folder / "x.zip")) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a study in it, to copy."""
    folder = tmp_path_factory.mktemp("busy")
    with Store(folder / ".autoglm") as store:
        fill(store, "mine", identity="fedcba9876543210")
    return folder / ".autoglm"


@pytest.fixture
def untouched(busy: Path, elsewhere: Path, tmp_path: Path) -> Iterator[None]:
    """A store with a study in it that must look the same after the attack; nothing may appear beside it."""
    shutil.copytree(busy, elsewhere)
    with Store(elsewhere) as there:
        before = snapshot(there, "mine")
        yield
        assert [s.name for s in there.studies()] == ["mine"]
        assert snapshot(there, "mine") == before
        with sqlite3.connect(there.path) as connection:
            assert connection.execute("SELECT COUNT(*) FROM studies").fetchone()[0] == 1
        assert [p.name for p in (elsewhere / "runs").iterdir()] == ["mine"]
    assert not (tmp_path / "evil").exists() and not (elsewhere.parent / "evil").exists()


def zipped(path: Path, entries: dict[str, bytes], *, seal: bool = True, **manifest: Any) -> Path:
    """A zip of these entries; sealed, its manifest has the right checksums, so that only the attack is wrong."""
    entries = dict(entries)
    if seal:
        made = json.loads(entries.pop(layout.MANIFEST))
        facts = {n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in entries.items()}
        entries[layout.MANIFEST] = json.dumps(made | {"files": facts} | manifest).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def refused(path: Path, elsewhere: Path, sentence: str) -> None:
    with pytest.raises(SharedFileError, match=sentence):
        open_shared(path, elsewhere)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("../evil", "points outside the folder"),
        ("adapter/../../evil.json", "points outside the folder"),
        ("..\\evil.json", "points outside the folder"),
        ("/evil.json", "has an absolute path"),
        ("\\\\host\\evil.json", "has an absolute path"),
        ("C:\\evil.json", "has an absolute path"),
        ("C:evil.json", "has an absolute path"),
        ("evil.py", "is not part of a shared study"),
        ("adapter/evil.py", "is not part of a shared study"),
        ("adapter/adapter_model.bin", "is not part of a shared study"),
        ("adapter/pytorch_model.pkl", "is not part of a shared study"),
        ("adapter/deep/evil.json", "is not part of a shared study"),
        ("adapter/.hidden.json", "is not part of a shared study"),
        ("adapter/x.json\nevil", "control characters"),
        ("STUDY.JSON", "stands there twice"),
        ("adapter/", "is a link or a device"),
        ("inner.zip", "is not part of a shared study"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(
    good: dict[str, bytes], tmp_path: Path, elsewhere: Path, name: str, sentence: str
) -> None:
    """Traversal, absolute names, drives, code, doubles by case, folders, zips in zips."""
    refused(zipped(tmp_path / "x.zip", {**good, name: b"{}"}), elsewhere, sentence)


@pytest.mark.usefixtures("untouched")
def test_a_name_cut_short_by_a_zero_byte_is_refused(good: dict[str, bytes], tmp_path: Path, elsewhere: Path) -> None:
    """zipfile shows such a name up to the zero byte only."""
    path = zipped(tmp_path / "x.zip", {**good, "adapter/aaaa.json": b"{}"})
    path.write_bytes(path.read_bytes().replace(b"adapter/aaaa.json", b"adapter/a\0aa.json"))
    refused(path, elsewhere, "control characters")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("kind", [0o120777, 0o060666, 0o010666, 0o040755])
def test_links_and_devices_are_refused(good: dict[str, bytes], tmp_path: Path, elsewhere: Path, kind: int) -> None:
    """A link in place of a file would be written through."""
    path = zipped(tmp_path / "x.zip", good)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("adapter/link.json")
        info.create_system, info.external_attr = 3, kind << 16
        archive.writestr(info, b"/etc/passwd")
    refused(path, elsewhere, "is a link or a device")


@pytest.mark.usefixtures("untouched")
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_stands_there_twice_is_refused(good: dict[str, bytes], tmp_path: Path, elsewhere: Path) -> None:
    """One copy would be checked and the other one used."""
    path = zipped(tmp_path / "x.zip", good)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(layout.STUDY, b"{}")
    refused(path, elsewhere, "stands there twice")


@pytest.mark.usefixtures("untouched")
def test_encrypted_entries_and_rare_compression_are_refused(
    good: dict[str, bytes], tmp_path: Path, elsewhere: Path
) -> None:
    """Neither is made by `share`."""
    path = zipped(tmp_path / "x.zip", good)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("adapter/x.json", b"{}")
    refused(path, elsewhere, "compressed in a way")
    path = zipped(tmp_path / "y.zip", good)
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    content[at + 8] |= 1  # the flag of the first line of the list
    path.write_bytes(content)
    refused(path, elsewhere, "is encrypted")


@pytest.mark.usefixtures("untouched")
def test_bombs_are_refused_before_they_unfold(
    good: dict[str, bytes], tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too large by the list, too many entries, compressed tensors, and a size that is a lie."""
    monkeypatch.setattr(layout, "MAX_TEXT_BYTES", 300_000 + max(map(len, good.values())))
    big = b" " * (layout.MAX_TEXT_BYTES + 1)
    path = tmp_path / "x.zip"
    zipped(path, good)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("adapter/x.json", big)
    refused(path, elsewhere, "is larger than the")

    many = {f"adapter/{i}.json": b"{}" for i in range(layout.MAX_ENTRIES)}
    refused(zipped(tmp_path / "many.zip", {**good, **many}), elsewhere, "at most 64 entries")

    with zipfile.ZipFile(zipped(tmp_path / "tensors.zip", good), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("adapter/zeros.safetensors", bytes(1000))
    refused(tmp_path / "tensors.zip", elsewhere, "holds compressed tensors")

    path = tmp_path / "lie.zip"
    with zipfile.ZipFile(zipped(path, good), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("adapter/x.json", bytes(200_000))
    content = bytearray(path.read_bytes())
    at = content.rfind(b"adapter/x.json") - 46  # its line in the list
    assert content[at : at + 4] == b"PK\x01\x02"
    content[at + 24 : at + 28] = struct.pack("<I", 10)
    path.write_bytes(content)
    refused(path, elsewhere, "must list exactly|another size|cannot be read")


@pytest.mark.usefixtures("untouched")
def test_entries_that_share_their_bytes_are_refused(good: dict[str, bytes], tmp_path: Path, elsewhere: Path) -> None:
    """Overlapping entries are how small zips fill large disks (Fifield 2019, "A better zip bomb")."""
    path = zipped(tmp_path / "x.zip", {**good, "adapter/a.json": b"{}" * 50, "adapter/b.json": b"{}" * 50})
    content = bytearray(path.read_bytes())
    first, second = (content.rfind(name) - 46 for name in (b"adapter/a.json", b"adapter/b.json"))
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    path.write_bytes(content)
    refused(path, elsewhere, "share their bytes")


@pytest.mark.usefixtures("untouched")
def test_changed_content_is_refused(good: dict[str, bytes], tmp_path: Path, elsewhere: Path) -> None:
    """Another checksum than the manifest's, an entry too many, one too few, no manifest, no checksum."""
    swapped = {**good, layout.REPORT: good[layout.REPORT] + b"<script>"}
    refused(zipped(tmp_path / "a.zip", swapped, seal=False), elsewhere, "'report.html' has another")
    refused(zipped(tmp_path / "b.zip", {**good, "adapter/x.json": b"{}"}, seal=False), elsewhere, "list exactly")
    fewer = {name: content for name, content in good.items() if name != layout.RECORD}
    refused(zipped(tmp_path / "c.zip", fewer, seal=False), elsewhere, "list exactly what the zip holds.*record.json")
    bare = {name: content for name, content in good.items() if name != layout.MANIFEST}
    refused(zipped(tmp_path / "d.zip", bare, seal=False), elsewhere, "has a manifest, but this zip has none")
    needed = {name: content for name, content in good.items() if name != layout.TRIALS}
    refused(zipped(tmp_path / "e.zip", needed), elsewhere, "has an entry 'trials.json'")
    facts = {name: {"sha256": "x"} for name in good if name != layout.MANIFEST}
    refused(zipped(tmp_path / "f.zip", good, files=facts), elsewhere, "every entry's SHA-256")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ({"version": 2}, "has version 2 of the format.*Upgrade autoglm_nb"),
        ({"version": "1"}, "names no version"),
        ({"version": True}, "names no version"),
        ({"format": "other"}, "not that of a shared study"),
        ({"files": []}, "list exactly"),
        ({"adapter": "../evil"}, "the adapter must be"),
        ({"adapter": ["trial-0002"]}, "the adapter must be"),
        ({"adapter": None}, "the adapter must be"),
    ],
)
def test_manifests_that_are_not_ours_are_refused(
    good: dict[str, bytes], tmp_path: Path, elsewhere: Path, manifest: dict[str, Any], sentence: str
) -> None:
    """A newer version is told apart from damage."""
    refused(zipped(tmp_path / "x.zip", good, **manifest), elsewhere, sentence)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("cut", [10, 500, -30, -1])
def test_half_a_file_is_refused(good: dict[str, bytes], tmp_path: Path, elsewhere: Path, cut: int) -> None:
    """As a broken download leaves it."""
    path = zipped(tmp_path / "x.zip", good)
    path.write_bytes(path.read_bytes()[:cut])
    refused(path, elsewhere, "cannot be read as one")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "content",
    [
        b"{", b"\xff\xfe", b"[NaN]", b"[Infinity]", b'{"a": 1, "a": 2}', b"[" * 100_000, b"[" + b"9" * 5000 + b"]",
        b"null", b"[1, 2]", b'"x"', b'{"notes": 3}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("entry", [layout.STUDY, layout.TRIALS, layout.RUNS, layout.NOTES])
def test_json_that_is_none_is_refused(
    good: dict[str, bytes], tmp_path: Path, elsewhere: Path, entry: str, content: bytes
) -> None:
    """Broken, not UTF-8, NaN, a key twice, bottomless, endless digits, another shape."""
    refused(zipped(tmp_path / "x.zip", {**good, entry: content}), elsewhere, "must be|In a shared study")


def changed(good: dict[str, bytes], entry: str, path: str, value: Any) -> dict[str, bytes]:
    """The entries with one value put in, at a path such as "0.params.rank.value"."""
    whole = json.loads(good[entry])
    place, keys = whole, path.split(".")
    for key in keys[:-1]:
        place = place[int(key)] if isinstance(place, list) else place[key]
    if isinstance(place, list):
        place[int(keys[-1])] = value
    else:
        place[keys[-1]] = value
    return {**good, entry: json.dumps(whole).encode()}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("entry", "path", "value"),
    [
        (layout.STUDY, "identity", "x" * 65), (layout.STUDY, "identity", "other"), (layout.STUDY, "state", "happy"),
        (layout.STUDY, "directions", []), (layout.STUDY, "directions", ["up"]), (layout.STUDY, "created_at", 1e300),
        (layout.STUDY, "created_at", True), (layout.STUDY, "active_seconds", "1"), (layout.STUDY, "provenance", []),
        (layout.STUDY, "provenance", {"models": [1]}), (layout.STUDY, "provenance", {"data": 1}),
        (layout.STUDY, "final", {"winner": 1}), (layout.STUDY, "final.winner.mean", "high"),
        (layout.STUDY, "spec.name", {"a": 1}), (layout.STUDY, "spec.trials", "many"), (layout.STUDY, "spec.seed", 1.5),
        (layout.STUDY, "spec.space", {"dimensions": [{"name": "__import__('os')"}]}), (layout.STUDY, "spec.space", 3),
        (layout.STUDY, "spec.version", 99), (layout.STUDY, "spec.surprise", 1), (layout.STUDY, "spec.data", None),
        (layout.STUDY, "spec.data.text", "text"), (layout.STUDY, "spec.executor", "shell"),
        (layout.STUDY, "spec.objectives", [1]), (layout.STUDY, "spec.enqueue", ["x"]),
        (layout.TRIALS, "0.number", 7), (layout.TRIALS, "0.number", -1), (layout.TRIALS, "0.state", "COMPLETE"),
        (layout.TRIALS, "0.values", []), (layout.TRIALS, "0.values", [1, 2]), (layout.TRIALS, "0.values", ["0.5"]),
        (layout.TRIALS, "0.values", [None]), (layout.TRIALS, "0.params.rank.value", [4]),
        (layout.TRIALS, "0.params.rank.value", 5), (layout.TRIALS, "0.params.learning_rate.value", "x"),
        (layout.TRIALS, "0.params.rank.distribution.name", "os.system"),
        (layout.TRIALS, "0.params.rank.distribution.attributes", {"choices": [{}]}),
        (layout.TRIALS, "0.params.rank.distribution.attributes", {"choices": []}),
        (layout.TRIALS, "0.params.learning_rate.distribution.attributes.low", "0"),
        (layout.TRIALS, "0.params.learning_rate.distribution.attributes.log", 1),
        (
            layout.TRIALS, "0.params.learning_rate.distribution.attributes",
            {"low": 0.0, "high": 1.0, "log": False, "step": 5e-324},
        ),
        (layout.TRIALS, "0.reports", [[1]]), (layout.TRIALS, "0.reports", [["1", 2]]),
        (layout.TRIALS, "0.constraints", {"0": "x"}), (layout.TRIALS, "0.attributes", []),
        (layout.RUNS, "0.run", "../../evil"), (layout.RUNS, "0.run", "trial-0001"), (layout.RUNS, "0.role", "root"),
        (layout.RUNS, "0.state", "x"), (layout.RUNS, "0.config", []), (layout.RUNS, "0.metrics", "x"),
        (layout.RUNS, "0.value", "0.5"), (layout.RUNS, "0.trial", 10**30), (layout.RUNS, "0.started_at", -1),
        (layout.RUNS, "0.attempts", None), (layout.RUNS, "0.seed", "x"),
        (layout.NOTES, "notes.0.id", "x"), (layout.NOTES, "notes.0.id", "../" + "a" * 29),
        (layout.NOTES, "notes.0.kind", "like"), (layout.NOTES, "notes.0.text", 1), (layout.NOTES, "notes.0.trial", "2"),
        (layout.NOTES, "removed", ["x"]), (layout.NOTES, "removed", None),
    ],
)  # fmt: skip
def test_values_of_another_type_are_refused(
    good: dict[str, bytes], tmp_path: Path, elsewhere: Path, entry: str, path: str, value: Any
) -> None:
    """One value at a time; the message says what it should be."""
    refused(zipped(tmp_path / "x.zip", changed(good, entry, path, value)), elsewhere, "must be|Upgrade|does not know")


def test_a_tag_of_several_lines_becomes_one_line(good: dict[str, bytes], tmp_path: Path, elsewhere: Path) -> None:
    """As where a person writes it; only comments have lines."""
    entries = changed(changed(good, layout.NOTES, "notes.0.kind", "tag"), layout.NOTES, "notes.0.text", "a\n\n b")
    name = open_shared(zipped(tmp_path / "x.zip", entries), elsewhere).name
    with Store(elsewhere) as there:
        assert [note["text"] for note in there.notes(name) if note["kind"] == "tag"] == ["a b"]


CARD, PEFT = "adapter/autoglm.json", "adapter/adapter_config.json"


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("entry", "path", "value", "sentence"),
    [
        (PEFT, "auto_mapping", {"parent_library": "os"}, "asks for code of its own"),
        (PEFT, "runtime_config", {}, "without 'runtime_config'"),
        (PEFT, "base_model_name_or_path", "/etc", "not a place"),
        (PEFT, "base_model_name_or_path", "../base", "not a place"),
        (PEFT, "target_modules", ["(a+)+$"], "a module's name"),
        (PEFT, "target_modules", "(a+)+$", "a list"),
        ("adapter/tokenizer_config.json", "auto_map", {"AutoTokenizer": "evil.Evil"}, "asks for code of its own"),
        (CARD, "base.checksum", "../../../etc/passwd", "a SHA-256"),
        (CARD, "base.name", "/home/evil/model", "not a place"),
        (CARD, "base.name", "~/model", "not a place"),
        (CARD, "base.base_id", "..", "not a place"),
        (CARD, "version", 99, "has version 99.*Upgrade"),
        (CARD, "task", "evil", "must be one of"),
        (CARD, "base", None, "an object"),
    ],
)
def test_adapters_that_lead_to_code_or_places_are_refused(
    good: dict[str, bytes], tmp_path: Path, elsewhere: Path, entry: str, path: str, value: Any, sentence: str
) -> None:
    """What PEFT, transformers and the loader of this package would follow."""
    refused(zipped(tmp_path / "x.zip", changed(good, entry, path, value)), elsewhere, sentence)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04.", struct.pack("<Q", 2**40) + b"{}", b"\x08" + b"\0" * 7 + b"notjson!"]
)
def test_tensors_that_are_none_are_refused(
    good: dict[str, bytes], tmp_path: Path, elsewhere: Path, content: bytes
) -> None:
    """Empty, a pickle, a header without end, a header that is not JSON."""
    broken = {**good, "adapter/adapter_model.safetensors": content}
    refused(zipped(tmp_path / "x.zip", broken), elsewhere, "must hold safetensors")


def test_our_own_adapters_have_no_field_that_is_refused(tmp_path: Path, tiny_encoder_path: Path) -> None:
    """Whatever `save_adapter` learns to write has to be let through here."""
    from autoglm_nb.models import load_base, resolve
    from autoglm_nb.models.adapters import _peft_config
    from autoglm_nb.models.methods import PEFT_METHODS, method_config

    base = load_base(resolve(str(tiny_encoder_path)), task="classification", label_names=["a", "b"])
    for method in PEFT_METHODS:
        config = method_config({"method": method, "rank": 4, "prompt_length": 4}, base)
        assert set(_peft_config(config, base)) <= PEFT_FIELDS, method


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_pickled_attribute_of_a_sampler_never_arrives(home: Path, elsewhere: Path, tmp_path: Path) -> None:
    """CMA-ES unpickles `cma:optimizer:*`: it is neither shared nor taken in, and a search here does not run it."""
    import pickle

    import optuna

    mark = tmp_path / "evil"
    attribute = pickle.dumps(Trap(mark)).hex()
    with Store(home) as store:
        fill(store)
        told = store.optuna_study("reviews", ["maximize"])
        store.optuna_storage().set_study_system_attr(told._study_id, "cma:optimizer:0", attribute)
        with sqlite3.connect(store.path) as connection:
            connection.execute(
                "INSERT INTO trial_system_attributes (trial_id, key, value_json) "
                "SELECT trial_id, 'cma:optimizer:0', ? FROM trials",
                (json.dumps(attribute),),
            )
    path = share_zip(home, "reviews", tmp_path / "x.zip")
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    assert not [name for name, content in entries.items() if b"cma:" in content or attribute.encode() in content]

    rows = json.loads(entries[layout.TRIALS])
    for row in rows:  # a forged file says it again, wherever it may be looked for
        row["attributes"]["cma:optimizer:0"] = attribute
        row["system_attrs"] = row["attributes"]
        row["constraints"] = {}
    forged = zipped(tmp_path / "forged.zip", {**entries, layout.TRIALS: json.dumps(rows).encode()})
    open_shared(forged, elsewhere)
    with Store(elsewhere) as there:
        study = there.optuna_study("reviews", ["maximize"])
        assert all(t.system_attrs == {} for t in study.trials)
        assert all(set(t.user_attrs) <= {"config", "proposed_by"} for t in study.trials)
        study.sampler = optuna.samplers.CmaEsSampler(seed=0, n_startup_trials=1)
        trial = study.ask()
        trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True)
        trial.suggest_float("dropout", 0.0, 0.5)
        with sqlite3.connect(there.path) as connection:
            kept = connection.execute("SELECT value_json FROM trial_system_attributes").fetchall()
    assert attribute not in str(kept)
    assert not mark.exists()
    pickle.loads(bytes.fromhex(attribute))
    assert mark.exists(), "the trap works"


@pytest.mark.parametrize(
    "name",
    [
        "../../evil",
        "a/b",
        "<script>alert(1)</script>",
        "con",
        "x" * 300,
        "",
        "\u202egnp.exe",
        "a\0b",
        "研究",
        "-rf",
        ". .",
    ],
)
def test_hostile_study_names_become_names_of_folders(
    good: dict[str, bytes], tmp_path: Path, elsewhere: Path, name: str
) -> None:
    """Whatever it was called there, the study gets a name here, and its folder lies among the others."""
    path = zipped(tmp_path / "x.zip", changed(good, layout.STUDY, "name", name))
    opened = open_shared(path, elsewhere)
    with Store(elsewhere) as there:
        assert there.study_dir(opened.name).is_dir()
        assert there.study_dir(opened.name).parent == elsewhere / "runs"
        assert there.spec(opened.name).name == opened.name
    assert "<script" not in opened.name and "\u202e" not in opened.sentence


def test_hostile_texts_are_drawn_as_texts(good: dict[str, bytes], tmp_path: Path, elsewhere: Path) -> None:
    """Markup, terminal codes and direction overrides in every text that may be set reach no view as such."""
    evil = "<img src=x onerror=alert(1)>\x1b[31m\u202e"
    entries = good
    for entry, path in (
        (layout.STUDY, "reason"), (layout.STUDY, "spec.cell"), (layout.STUDY, "spec.model"),
        (layout.STUDY, "spec.data.source"), (layout.STUDY, "provenance.versions.python"),
        (layout.RUNS, "3.because"), (layout.RUNS, "0.proposed_by"), (layout.RUNS, "0.config.method"),
        (layout.NOTES, "notes.0.text"), (layout.NOTES, "notes.0.author"),
    ):  # fmt: skip
        entries = changed(entries, entry, path, evil)
    metrics = {"accuracy": 0.7, "train_loss": evil, evil: evil, "latency_ms_p50": evil}
    entries = changed(entries, layout.RUNS, "0.metrics", metrics)
    open_shared(zipped(tmp_path / "x.zip", entries), elsewhere)
    with Store(elsewhere) as there:
        shot = snapshot(there, "reviews")
    page, plain = html(shot), text(shot)
    assert "<img src=x" not in page and "onerror=alert(1)&gt;" in page
    assert "\x1b" not in page + plain + json.dumps(shot, ensure_ascii=False)
    assert "\u202e" not in page + plain + json.dumps(shot, ensure_ascii=False)
    from autoglm_nb.explain import explain

    assert "<img src=x" not in explain(elsewhere, "reviews").html


def test_what_acts_by_itself_is_switched_off(good: dict[str, bytes], tmp_path: Path, elsewhere: Path) -> None:
    """A file may neither allow a model's own code, nor name a place to read from, nor tell other services."""
    entries = good
    for path, value in (
        ("spec.trust_remote_code", True), ("spec.data.path", "/etc/passwd"), ("spec.data.source", "/etc/passwd"),
        ("spec.data.test", "~/.ssh/id_rsa"), ("spec.notebook", "/home/x/../y.ipynb"), ("spec.hooks", ["mlflow"]),
    ):  # fmt: skip
        entries = changed(entries, layout.STUDY, path, value)
    open_shared(zipped(tmp_path / "x.zip", entries), elsewhere)
    with Store(elsewhere) as there:
        spec = there.spec("reviews")
    assert spec.trust_remote_code is False and spec.hooks == ()
    assert (spec.data.path, spec.data.source, spec.data.test) == (None, "passwd", "id_rsa")
    assert spec.notebook == "y.ipynb"


def test_every_field_of_a_request_is_checked() -> None:
    """A field that is added to the request needs a check by its type."""
    import dataclasses

    from autoglm_nb.protocol import DataSpec, StudySpec
    from autoglm_nb.sharing.request import _BY_ANNOTATION

    kinds = {str(f.type) for kind in (DataSpec, StudySpec) for f in dataclasses.fields(kind) if f.name != "data"}
    assert kinds <= set(_BY_ANNOTATION)


def test_random_bytes_never_raise_anything_else(good: dict[str, bytes], tmp_path: Path, elsewhere: Path) -> None:
    """A zip with bytes changed at random is opened as it was or refused in words."""
    import random

    whole = io.BytesIO(zipped(tmp_path / "x.zip", good).read_bytes()).getvalue()
    generator = random.Random(0)
    opened = 0
    for turn in range(120):
        content = bytearray(whole)
        for _ in range(generator.choice((1, 3, 30))):
            content[generator.randrange(len(content))] = generator.randrange(256)
        path = tmp_path / f"{turn}.zip"
        path.write_bytes(content)
        try:
            open_shared(path, elsewhere)
            opened += 1
        except AutoGLMError as error:
            assert str(error) and "Traceback" not in str(error)
    assert opened < 120
    assert "pickle" not in {name.partition(".")[0] for name in sys.modules if name.startswith("autoglm_nb.sharing")}
