"""What leaves: complete, the same every time, and nothing private."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from autoglm_nb.errors import RejectedError, StudyNotFoundError, UsageError
from autoglm_nb.sharing import layout, share_page, share_zip
from autoglm_nb.store import Decision, Store, add_decision, snapshot
from tests.sharing.conftest import later

PRIVATE = ("/home", "secret/", "mei-laptop", "/tmp", "Mei-Laptop")


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_zip_holds_everything_a_teammate_needs(shared: Path) -> None:
    """Study, trials, runs, notes, record, report, space, environment, adapter with a card; no file of another kind."""
    found = entries(shared)
    assert set(found) == {
        "manifest.json", "study.json", "trials.json", "runs.json", "notes.json", "record.json", "report.html",
        "space.txt", "environment.json", "adapter/README.md", "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors", "adapter/autoglm.json", "adapter/tokenizer.json",
        "adapter/tokenizer_config.json",
    }  # fmt: skip
    assert "learning_rate = loguniform(1e-05, 0.01)" in found["space.txt"].decode()
    trials = json.loads(found["trials.json"])
    assert [t["state"] for t in trials] == ["complete"] * 3 + ["fail"]
    assert trials[2]["values"] == [0.9] and trials[2]["reports"] == [[1, 0.45]]
    assert json.loads(found["environment.json"])["trained_with"]["torch"] == "2.6.0"


def test_the_manifest_names_version_and_checksum_of_every_entry(shared: Path) -> None:
    """Against hashlib."""
    found = entries(shared)
    manifest = json.loads(found.pop(layout.MANIFEST))
    assert (manifest["format"], manifest["version"], manifest["adapter"]) == ("autoglm-study", 1, "trial-0002")
    assert manifest["files"] == {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in found.items()
    }


def test_nothing_private_leaves(shared: Path, study: str, home: Path, tmp_path: Path) -> None:
    """No absolute path, account or host in any entry, the page included; the signature of a person who signed stays."""
    page = share_page(home, study, tmp_path / "reviews.html")
    for name, content in {**entries(shared), "page": page.read_bytes()}.items():
        text = content.decode("utf-8", "replace")
        assert not [word for word in (*PRIVATE, str(home), str(tmp_path)) if word in text], name
    notes = json.loads(entries(shared)["notes.json"])["notes"]
    assert [(n["author"], n["text"]) for n in notes] == [
        ("Mei Lin", "The third one generalises; see notes.txt"),
        ("", ""),
    ]


def test_tokens_of_the_tokenizer_are_left_alone(shared: Path) -> None:
    """Only settings that name files lose their folder."""
    assert json.loads(entries(shared)["adapter/tokenizer_config.json"]) == {"name_or_path": "tiny", "sep": "</s>"}


@pytest.mark.slow
def test_sharing_twice_gives_the_same_bytes(study: str, home: Path, tmp_path: Path, store: Store) -> None:
    """Nothing in zip or page tells when it was made; a note changes both."""
    files = []
    for turn in ("first", "second"):
        files.append(
            (share_zip(home, study, tmp_path / f"{turn}.zip"), share_page(home, study, tmp_path / f"{turn}.html"))
        )
        later()
    assert files[0][0].read_bytes() == files[1][0].read_bytes()
    assert files[0][1].read_bytes() == files[1][1].read_bytes()
    store.add_note(study, "one more")
    assert share_zip(home, study, tmp_path / "third.zip").read_bytes() != files[0][0].read_bytes()


def test_the_page_is_self_contained(study: str, home: Path, tmp_path: Path, store: Store) -> None:
    """Record and explanation in one document; no script, no request, hostile notes escaped."""
    store.add_note(study, "<script>alert(1)</script><img src=x onerror=alert(1)>")
    page = share_page(home, study, tmp_path / "reviews.html").read_text(encoding="utf-8")
    assert page.count("<html") == page.count("<body") == 1
    assert "Best 0.900 accuracy" in page and "What mattered" in page
    assert "<script" not in page and "onerror=alert" not in page.replace("&lt;img src=x onerror=alert(1)&gt;", "")
    assert "default-src 'none'" in page
    assert "http://" not in page and "https://" not in page


def test_data_leaves_only_when_asked(tmp_path: Path, home: Path, store: Store) -> None:
    """`include_data` puts in the rows."""
    from autoglm_nb.protocol import DataSpec
    from tests.sharing.conftest import fill

    path = tmp_path / "rows.csv"
    path.write_text("text,label\nunmistakable words,positive\n")
    fill(store, data=DataSpec(str(path), path=str(path), text=("text",), target="label"))
    plain = entries(share_zip(home, "reviews", tmp_path / "plain.zip"))
    assert not [name for name, content in plain.items() if b"unmistakable" in content]
    full = entries(share_zip(home, "reviews", tmp_path / "full.zip", include_data=True))
    assert json.loads(full["data.json"]) == {"data": {"text": ["unmistakable words"], "label": ["positive"]}}


def test_the_model_card_is_one_that_a_hub_reads(shared: Path) -> None:
    """Parsed by the hub's own library."""
    from huggingface_hub import ModelCard

    card = ModelCard(entries(shared)["adapter/README.md"].decode())
    facts = card.data.to_dict()
    assert facts["base_model"] == "tiny" and facts["library_name"] == "peft"
    assert facts["tags"] == ["autoglm_nb", "lora", "classification"] and facts["metrics"] == ["accuracy"]
    assert facts["pipeline_tag"] == "text-classification"
    assert "0.860" in card.text and "negative, positive" in card.text


def test_hostile_labels_and_names_stay_inside_the_card(store: Store, home: Path, tmp_path: Path) -> None:
    """Neither a front matter key nor a tag of HTML can be added through a label."""
    from huggingface_hub import ModelCard

    from autoglm_nb.sharing.card import model_card
    from autoglm_nb.store import snapshot
    from tests.sharing.conftest import CARD, fill

    fill(store)
    evil: dict[str, Any] = {**CARD, "label_names": ['x"\n---\nlicense: evil', "<script>"], "task": 'a\nlicense: "evil"'}
    evil["base"] = {**CARD["base"], "base_id": 'tiny"\nlicense: evil'}  # type: ignore[dict-item]
    card = ModelCard(model_card(evil, dict(snapshot(store, "reviews"))))
    assert "license" not in card.data.to_dict()
    assert "<script>" not in card.text


def test_faults_of_the_request_are_told(study: str, home: Path, tmp_path: Path) -> None:
    """A missing folder, a folder in place of a file, an unknown study; nothing half-written is left."""
    with pytest.raises(UsageError, match="does not exist"):
        share_zip(home, study, tmp_path / "no" / "x.zip")
    with pytest.raises(UsageError, match="is a folder"):
        share_page(home, study, tmp_path)
    with pytest.raises(StudyNotFoundError):
        share_zip(home, "other", tmp_path / "x.zip")
    assert not list(tmp_path.glob(".*part"))


def test_a_study_without_trials_can_be_shared(store: Store, home: Path, tmp_path: Path) -> None:
    """Before Optuna has made its tables."""
    from tests.store.conftest import make_spec

    store.create_study(make_spec("early"))
    assert json.loads(entries(share_zip(home, "early", tmp_path / "x.zip"))["trials.json"]) == []


def test_a_rejected_model_is_shared_by_force_only(store: Store, study: str, home: Path, tmp_path: Path) -> None:
    """The sentence names the reviewer's reason; a page, which holds no model, is not held back."""
    winner = snapshot(store, study)["headline"]["best_trial"]
    add_decision(store, study, Decision("reject", reason="It fails on names", trial=winner, key="k"))
    with pytest.raises(RejectedError, match="It fails on names"):
        share_zip(home, study, tmp_path / "no.zip")
    assert not (tmp_path / "no.zip").exists()
    assert share_zip(home, study, tmp_path / "yes.zip", force=True).exists()
    assert share_page(home, study, tmp_path / "page.html").exists()
